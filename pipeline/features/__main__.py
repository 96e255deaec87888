"""A shard's process: ``python -m pipeline.features FOLDER BUCKET``, as `pipeline.features.shards` starts it."""

import sys
from pathlib import Path

from pipeline.errors import ResourceError
from pipeline.features.shards import TOO_LARGE, compute_bucket

try:
    compute_bucket(Path(sys.argv[1]), int(sys.argv[2]))
except ResourceError:
    sys.exit(TOO_LARGE)
