"""Tables as other people deliver them, written for a test and read again."""

from pathlib import Path

import pyarrow as pa

from pipeline.settings.config import TableConfig
from pipeline.tables.reading import open_table

SETTINGS = TableConfig()


def rows_of(path, settings=SETTINGS, rows=1000) -> pa.Table:
    return pa.Table.from_batches(list(open_table(path, settings).batches(rows)))


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path
