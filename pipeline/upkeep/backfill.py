"""Scores of past days by a version, a folder a day: beside what was published, and without touching it.

A day's rows see their own past only, in features and labels, as on the night on which they came; what may have seen the
future is the version, and `days_seen` says so.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.errors import InputError, ResourceError
from pipeline.intake import ShowStep, accept, features_of, silent
from pipeline.scoring.score import score_table
from pipeline.selection.compared_rows import trained_until
from pipeline.tables.batch import Batch, batch_id
from pipeline.tables.parquet import filter_rows
from pipeline.tables.period import TIMESTAMP, Period, local_days
from pipeline.tables.writing import ParquetWriter, write_text
from pipeline.workspace.workspace import Workspace

FACTS = "day.json"


@dataclass(frozen=True)
class Source:
    """Where the rows of past days come from. Made by `open_source`.

    Parameters
    ----------
    name : str
        For people.
    accepted : Path or None
        Accepted rows of a table's period (Parquet); None for those of the history.
    past : tuple of Path
        What features may look back into beside the history.
    quarantined : int
        Rows of the table that are broken.
    """

    name: str
    accepted: Path | None = None
    past: tuple[Path, ...] = ()
    quarantined: int = 0


@dataclass(frozen=True, kw_only=True)
class Day:
    """What a version made of a day.

    Attributes
    ----------
    rows, flagged : int
    digest : str
        Of the rows: the same ones are not scored again.
    """

    rows: int
    flagged: int
    digest: str


def open_source(table: str, workspace: Workspace, period: Period, scratch: Path, *, step: ShowStep = silent) -> Source:
    """Validate a table and keep its rows of a period, or take those that the history holds.

    Parameters
    ----------
    table : str
        File or folder. Left empty: the configuration's table and, where that has no row in the period, the history.
    workspace : Workspace
    period : Period
        With both ends.
    scratch : Path
    step : callable
        Shows the progress of "validate".

    Raises
    ------
    InputError
        When the table that was named can't be read or has no row in the period; or neither the configuration's nor the
        history has one.
    """
    config = workspace.config
    if path := table or config.table.path:
        try:
            validated = accept(Batch.of(path, config, period), workspace, scratch, step=step)
        except (InputError, ResourceError):
            if table:
                raise
        else:
            past = (validated.lookback, validated.accepted)
            return Source(str(path), validated.accepted, past, validated.counts.quarantined)
    if not workspace.history.files(period.start, period.end):
        raise InputError(
            f"neither the history nor table.path has a row of the days asked for, {period.start:%Y-%m-%d %H:%M} to "
            f"{period.end:%Y-%m-%d %H:%M} UTC; name a file or folder that has them after the command"
        )
    return Source("the history of accepted rows")


def days_between(first: date, last: date) -> list[date]:
    """Return the days from one to another, both included.

    Examples
    --------
    >>> [str(day) for day in days_between(date(2025, 2, 28), date(2025, 3, 1))]
    ['2025-02-28', '2025-03-01']
    """
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def days_seen(days: Sequence[date], detector: Detector) -> int:
    """Return how many days are not later than the last that a version learned from."""
    until = pa.array([trained_until(detector)], TIMESTAMP)
    return sum(day <= local_days(until, detector.config.table.time_zone)[0].item() for day in days)


def rows_of_day(source: Source, workspace: Workspace, day: date, out: Path) -> int:
    """Write the rows of a day of the table's time zone to a Parquet file; return how many there are."""
    timestamp = workspace.config.contract.timestamp
    period = Period.of_days(day, day, workspace.config.table.time_zone)
    files = [source.accepted] if source.accepted else workspace.history.files(period.start, period.end)
    if not files:
        return 0
    at = pc.field(timestamp)
    inside = (at >= pa.scalar(period.start, TIMESTAMP)) & (at < pa.scalar(period.end, TIMESTAMP))
    # Of a table in the order of time, only the parts that may have rows of the day are read.
    rows = ds.dataset([str(file) for file in files]).to_table(filter=inside).sort_by(timestamp)
    with ParquetWriter(out, rows.schema) as writer:
        writer.write(rows)
    return int(rows.num_rows)


def leave_out_scored(rows: Path, workspace: Workspace, day: date) -> int:
    """Leave out, in place, the rows that a published batch has scores of; return how many are left."""
    config, period = workspace.config, Period.of_days(day, day, workspace.config.table.time_zone)
    key = config.contract.id
    ids = pq.read_table(rows, columns=[key])[key].cast(pa.string())
    is_scored = np.zeros(len(ids), dtype=bool)
    start, end = period.start or datetime.min, period.end or datetime.max
    for entry in workspace.ledger.near(start, end, timedelta(0)):
        scores = Path(entry.folder) / "scores.parquet"
        if scores.is_file() and key in pq.read_schema(scores).names:
            published = pq.read_table(scores, columns=[key])[key].cast(pa.string())
            is_scored |= pc.is_in(ids, value_set=published.combine_chunks()).to_numpy()
    kept = rows.with_name(f"{rows.name}.kept")
    count = filter_rows(rows, kept, ~is_scored)
    kept.replace(rows)
    return count


def place_of(workspace: Workspace, version: str, day: date) -> Path:
    """Return the folder that a day's scores by a version lie in."""
    return workspace.folder.backfills / f"v{version}" / str(day)


def scored_before(folder: Path, digest: str) -> Day | None:
    """Return what a folder has of the same rows; None where they are to be scored."""
    try:
        day = Day(**json.loads((folder / FACTS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return day if day.digest == digest else None


def digest_of(rows: Path) -> str:
    """Return the digest of a day's rows, whatever the batches are that brought them."""
    with rows.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def score_day(rows: Path, day: date, detector: Detector, *, version: str, source: Source, workspace: Workspace) -> Day:
    """Score the rows of a day into its folder, which appears whole or not at all; return what came of them.

    The folder gets ``scores.parquet``, ``alerts.parquet`` and ``alerts.csv``, as that of a batch. A day that was scored
    before is left as it is, while its rows are the same.
    """
    digest, final = digest_of(rows), place_of(workspace, version, day)
    if before := scored_before(final, digest):
        return before
    config = workspace.config
    with workspace.folder.staged(final) as folder:
        features = features_of(rows, workspace, folder / ".features.parquet", lookback=source.past)
        name = batch_id(digest, Period.of_days(day, day, config.table.time_zone), config.contract)
        scored = score_table(
            features, detector, folder, batch_id=name, model_version=version, scored_at=datetime.now(UTC)
        )
        result = Day(rows=scored.scored, flagged=scored.flagged, digest=digest)
        write_text(folder / FACTS, json.dumps(asdict(result)))
    return result
