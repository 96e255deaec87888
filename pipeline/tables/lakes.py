"""Folders whose Parquet files a table format keeps: which of them are rows of the table now."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

from pipeline.errors import InputError

_FEATURES = {"columnMapping", "deletionVectors", "timestampNtz", "vacuumProtocolCheck"}  # a use is refused, or harmless
_ACTIONS = ("add", "remove", "metaData", "protocol")


def live_files(folder: Path) -> tuple[Path, ...] | None:
    """Return the files that hold the rows of a Delta table now, or None for a folder that is none.

    The latest version is read: the log's last checkpoint, and the commits after it.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    InputError
        For a Delta table with rows deleted inside files, renamed columns or files elsewhere, for an Iceberg or Hudi
        table, and for a log that can't be read.
    """
    for mark, kind in ((".hoodie", "a Hudi"), ("metadata", "an Iceberg")):
        if (folder / mark).is_dir() and (kind == "a Hudi" or any((folder / mark).glob("*.metadata.json"))):
            raise InputError(
                f"{folder} is {kind} table, whose folder holds files with rows that were changed or deleted since; "
                "export its rows to Parquet files"
            )
    log = folder / "_delta_log"
    if not log.is_dir():
        return None
    try:
        files = _replay(folder, log)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{log} can't be read ({type(error).__name__}); export the table's rows to Parquet") from None
    return tuple(sorted(files))


def _replay(folder: Path, log: Path) -> set[Path]:
    files: set[Path] = set()
    for action in _actions(log):
        for name in _ACTIONS:
            content = action.get(name)
            if content is None:
                continue
            if name == "protocol":
                others = sorted(set(content.get("readerFeatures") or ()) - _FEATURES)
                _refuse(folder, bool(others), f"needs what is not understood here ({', '.join(others)})")
            elif name == "metaData":
                mode = dict(content.get("configuration") or {}).get("delta.columnMapping.mode", "none")
                _refuse(folder, mode != "none", "keeps its columns under other names")
            elif name in ("add", "remove"):
                place = unquote(content["path"])
                _refuse(folder, "://" in place or place.startswith("/"), "has files elsewhere")
                _refuse(
                    folder, name == "add" and bool(content.get("deletionVector")), "marks rows deleted inside files"
                )
                (files.add if name == "add" else files.discard)(folder / place)
    return files


def _refuse(folder: Path, is_so: bool, what: str) -> None:  # noqa: FBT001
    if is_so:
        raise InputError(f"{folder} is a Delta table that {what}; export its rows to Parquet files")


def _actions(log: Path) -> Iterator[dict[str, Any]]:
    """Yield the log's actions from its last checkpoint on, in their order."""
    first = 0
    if (log / "_last_checkpoint").is_file():
        last = json.loads((log / "_last_checkpoint").read_text(encoding="utf-8"))
        first = int(last["version"]) + 1
        for part in _checkpoint(log, int(last["version"])):
            with pq.ParquetFile(part) as reader:
                columns = [name for name in _ACTIONS if name in reader.schema_arrow.names]
                for batch in reader.iter_batches(4_096, columns=columns):
                    yield from batch.to_pylist()
    version = first
    while (commit := log / f"{version:020d}.json").is_file():
        yield from (json.loads(line) for line in commit.read_text(encoding="utf-8").splitlines() if line.strip())
        version += 1
    later = max((int(file.stem) for file in log.glob("*.json") if file.stem.isdigit()), default=version - 1)
    if version == 0 or later >= version:
        raise KeyError(version)


def _checkpoint(log: Path, version: int) -> list[Path]:
    parts = sorted(log.glob(f"{version:020d}.checkpoint*.parquet"))
    if not parts:
        raise KeyError(version)
    return parts
