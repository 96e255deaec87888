"""Stream a feature table through a detector; then, in a second pass, flags, ranks and reasons."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.scoring.alerts import for_spreadsheets
from pipeline.scoring.reasons import REASONS_TYPE, explain, sentence
from pipeline.settings.output import FIGURES, name_beside, name_within
from pipeline.tables.parquet import read_batches
from pipeline.tables.period import local_days
from pipeline.tables.writing import ParquetWriter, write_csv

EXPLAINED_AT_A_TIME = 4096


@dataclass(frozen=True)
class Scored:
    """What came of scoring one batch.

    Parameters
    ----------
    scored, flagged : int
        Rows with a score, and those of them that became alerts.
    alerts_per_day : dict of date to int
        For every day of the batch in the table's time zone, days without an alert included.
    unseen : dict of str to int
        Rows with a value that no fit row held, for each categorical column.
    threshold : float or None
        The score above which rows were flagged, where no cut of their own holds; None where none could be.
    scores, alerts, alerts_csv : Path
        The files written.
    """

    scored: int
    flagged: int
    alerts_per_day: dict[date, int]
    unseen: dict[str, int]
    threshold: float | None
    scores: Path
    alerts: Path
    alerts_csv: Path


def score_table(
    features: Path,
    detector: Detector,
    folder: Path,
    *,
    batch_id: str,
    model_version: str,
    scored_at: datetime,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Scored:
    """Score a feature table and write its scores and alerts.

    Writes ``scores.parquet`` (every row, in the table's order), ``alerts.parquet`` and ``alerts.csv``
    (flagged rows by rank; text harmless to spreadsheets, sensitive columns masked). Memory holds a batch of
    rows, the ids and scores of the table, and the alerts.

    Parameters
    ----------
    features : Path
        Feature table (Parquet) with all columns of the input.
    detector : Detector
    folder : Path
        Made when it does not exist.
    batch_id, model_version : str
    scored_at : datetime
        UTC.
    on_rows : callable, optional
        Called with the number of rows after each batch of the first pass.

    Returns
    -------
    Scored
    """
    folder.mkdir(parents=True, exist_ok=True)
    contract, zone = detector.config.contract, detector.config.table.time_zone
    marks: dict[str, str | datetime] = {"batch_id": batch_id, "model_version": model_version, "scored_at": scored_at}
    with TemporaryDirectory(dir=folder, prefix=".scoring-") as temporary:
        raw = Path(temporary) / "scores.parquet"
        days, unseen = _score_rows(features, detector, raw, on_rows)
        ids_and_scores = pq.read_table(raw, columns=[contract.id, "anomaly_score"])
        scores = ids_and_scores.column("anomaly_score").to_numpy()
        cuts = cuts_of(features, scores, detector)
        flags, ranks = detector.flag(scores, ids_and_scores.column(contract.id), cuts)
        row_cuts = np.broadcast_to(cuts, flags.shape)[flags]
        alerts = _alerts(features, raw, detector, flags=flags, ranks=ranks, cuts=row_cuts, marks=marks)
        with ParquetWriter(folder / "alerts.parquet", alerts.schema) as writer:
            writer.write(alerts)
        spreadsheet = for_spreadsheets(alerts, detector.config)
        write_csv(folder / "alerts.csv", [spreadsheet], spreadsheet.schema)
        _write_scores(folder / "scores.parquet", raw, flags, marks)

    times = alerts.column(name_within(contract.timestamp, alerts.column_names))
    alerts_by_day = Counter(local_days(times, zone).tolist())
    return Scored(
        scored=len(flags),
        flagged=alerts.num_rows,
        alerts_per_day={day: alerts_by_day[day] for day in sorted(days)},
        unseen=unseen,
        threshold=_one_cut(cuts, detector),
        scores=folder / "scores.parquet",
        alerts=folder / "alerts.parquet",
        alerts_csv=folder / "alerts.csv",
    )


def _score_rows(
    features: Path, detector: Detector, out: Path, on_rows: Callable[[int], None]
) -> tuple[set[date], dict[str, int]]:
    """Write id and scores of every row; return the days of the rows, and how many hold a new value, by column."""
    contract, zone = detector.config.contract, detector.config.table.time_zone
    days: set[date] = set()
    unseen: Counter[str] = Counter()

    def counted(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            days.update(np.unique(local_days(batch.column(contract.timestamp), zone)).tolist())
            unseen.update({name: int(rows.sum()) for name, rows in detector.encoder.unseen(batch).items()})
            yield batch
            on_rows(batch.num_rows)

    columns = dict.fromkeys([contract.id, contract.timestamp, *(feature.column for feature in detector.features)])
    numbers = [(name, pa.float64()) for name in FIGURES]
    with ParquetWriter(out, pa.schema([pq.read_schema(features).field(contract.id), *numbers])) as writer:
        for batch in detector.score(counted(read_batches(features, columns=list(columns)))):
            writer.write(batch)
    return days, dict(unseen)


def cuts_of(features: Path, scores: np.ndarray, detector: Detector) -> float | np.ndarray:
    """Return the score above which each row of a whole feature table is flagged, or the one for all rows."""
    segment = detector.cut.segment
    return detector.cuts(scores, pq.read_table(features, columns=[segment])[segment] if segment else None)


def _one_cut(cuts: float | np.ndarray, detector: Detector) -> float | None:
    """Return the one cut to show for a batch."""
    if not isinstance(cuts, float):
        return detector.threshold  # of rows without a cut of their own
    return cuts if np.isfinite(cuts) else None


def _write_scores(path: Path, raw: Path, flags: np.ndarray, marks: dict[str, str | datetime]) -> None:
    schema = _with_marks(pq.read_schema(raw).empty_table(), flags[:0], marks).schema
    start = 0
    with ParquetWriter(path, schema) as writer:
        for batch in read_batches(raw):
            table = pa.Table.from_batches([batch])
            writer.write(_with_marks(table, flags[start : start + batch.num_rows], marks))
            start += batch.num_rows


def _with_marks(table: pa.Table, flags: np.ndarray, marks: dict[str, str | datetime]) -> pa.Table:
    """Add the columns is_flagged, batch_id, model_version and scored_at."""
    table = table.append_column("is_flagged", pa.array(flags))
    for name, value in marks.items():
        kind = pa.timestamp("us", tz="UTC") if name == "scored_at" else pa.string()
        table = table.append_column(name, pa.repeat(pa.scalar(value, kind), table.num_rows))
    return table


def _alerts(
    features: Path,
    raw: Path,
    detector: Detector,
    *,
    flags: np.ndarray,
    ranks: np.ndarray,
    cuts: np.ndarray,
    marks: dict[str, str | datetime],
) -> pa.Table:
    """Return the flagged rows by rank: input columns, scores columns, threshold, rank, reasons, reason."""
    rows = _flagged(features, flags)
    scores = _flagged(raw, flags).drop_columns([detector.config.contract.id])
    by_rank = pa.array(np.argsort(ranks[flags]))
    rows, scores = rows.take(by_rank), scores.take(by_rank)
    parts = [explain(detector, part) for part in _parts(rows)]
    reasons = pa.chunked_array(parts, type=REASONS_TYPE)
    reason = pa.chunked_array([sentence(part) for part in parts], type=pa.string())

    added = _with_marks(scores, flags[flags], marks)
    added = added.append_column("threshold", pa.array(cuts).take(by_rank))
    added = added.append_column("rank", pa.array(np.arange(1, rows.num_rows + 1)))
    added = added.append_column("reasons", reasons).append_column("reason", reason)
    return beside_input(rows, added, detector)


def beside_input(rows: pa.Table, added: pa.Table, detector: Detector) -> pa.Table:
    """Return the input's columns of rows of a feature table, with columns added.

    A table that was scored before may come back with columns of these names, which are called otherwise then
    (`name_beside`).

    Parameters
    ----------
    rows : pa.Table of n_rows
    added : pa.Table of n_rows
    detector : Detector
        Whose features are left out.
    """
    columns = {name for feature in detector.features for name in (feature.column, feature.expected)}
    columns -= set(detector.config.contract.columns)
    names = [name for name in rows.column_names if name not in columns]
    table = rows.select(names).rename_columns([name_beside(name, added.column_names) for name in names])
    for field in added.schema:
        table = table.append_column(field, added.column(field.name))
    return table


def _flagged(path: Path, flags: np.ndarray) -> pa.Table:
    """Return the flagged rows of a Parquet file, in its order."""
    batches, start = [], 0
    for batch in read_batches(path):
        batches.append(batch.filter(pa.array(flags[start : start + batch.num_rows])))
        start += batch.num_rows
    return pa.Table.from_batches(batches, schema=pq.read_schema(path))


def _parts(rows: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, rows.num_rows, EXPLAINED_AT_A_TIME):
        yield rows.slice(start, EXPLAINED_AT_A_TIME)
