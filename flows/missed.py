"""The random audit slice: drawn beside the alerts of a batch, and what its labels say of missed fraud."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.evaluation.missed import MissedFraud, missed_fraud
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.scoring.audit import FILE, write_audit
from pipeline.scoring.score import Scored
from pipeline.settings.config import Config
from pipeline.workspace.folder import WorkFolder


def draw(
    rows: Path, scored: Scored, detector: Detector, folder: Path, reviewed: Sequence[Path]
) -> tuple[Path | None, MissedFraud | None]:
    """Write the audit slice of a batch, and return it with what the labels known by now say."""
    audit = write_audit(rows, scored, detector, folder)
    if audit is None:
        return None, None
    return audit, missed_fraud([folder], detector.config, _now(), reviewed)


def missed_text(missed: MissedFraud | None) -> dict[str, str]:
    """Return the estimate under its name, for the terminal; nothing without one."""
    return {"missed": str(missed)} if missed else {}


def missed_by_version(config: Config) -> dict[str, str]:
    """Return what all audits of this table say, in words, for each version of the model that scored."""
    work, folders = WorkFolder(config), defaultdict(list)
    reviewed = ReviewedLabels(work.labels, config).files()
    for path in sorted(work.batches.glob(f"*/{FILE}")):
        scores = path.with_name("scores.parquet")
        if config.contract.id in pq.read_schema(scores).names:
            versions = pq.ParquetFile(scores).read_row_group(0, columns=["model_version"]).column(0)
            folders[str(versions[0])].append(path.parent)
    found = {version: missed_fraud(of, config, _now(), reviewed) for version, of in folders.items()}
    return {f"version {version}": str(missed) for version, missed in sorted(found.items()) if missed}


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
