"""Stream a feature table through a detector; then, in a second pass, flags, ranks and reasons."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.scoring.alerts import for_spreadsheets
from pipeline.scoring.nearest import NEAREST_TYPE, unflagged_at
from pipeline.scoring.reasons import REASONS_TYPE, explain, sentence
from pipeline.settings.output import EXPLORING, FLAGGED, name_beside, name_within
from pipeline.settings.titles import second_header
from pipeline.tables.parquet import ROWS_READ, read_batches
from pipeline.tables.period import local_days
from pipeline.tables.writing import ParquetWriter, write_csv

EXPLAINED_AT_A_TIME = 4096

Marks = Mapping[str, str | datetime]
"""Which run says it: the columns `MARKS` of pipeline/settings/output.py, each with its one value."""


@dataclass(frozen=True)
class Scored:
    """What came of scoring one batch.

    Parameters
    ----------
    scored, flagged, exploring : int
        Rows with a score, those of them that it flagged, and further ones that are in the queue to explore.
    alerts_per_day : dict of date to int
        Flagged rows, for every day of the batch in the table's time zone, days without an alert included.
    unseen : dict of str to int
        Rows with a value that no fit row held, for each categorical column.
    threshold : float or None
        The score above which rows were flagged, where no cut of their own holds; None where none could be.
    scores, alerts, alerts_csv : Path
        The files written.
    marks : mapping of str to str or datetime
        What all rows of the files have alike: batch_id, model_version and scored_at.
    anomaly_scores, one_class_scores : arrays of shape (n_rows,), float64
        Of every row, in the table's order: with and without what known frauds add.
    flags, picks : arrays of shape (n_rows,), bool
        Whether the score flagged the row, and whether it is in the queue to explore; never both.
    alert_places : array of shape (n_alerts,), int64
        Where the rows of the queue stand in the table, by rank.
    """

    scored: int
    flagged: int
    exploring: int
    alerts_per_day: dict[date, int]
    unseen: dict[str, int]
    threshold: float | None
    scores: Path
    alerts: Path
    alerts_csv: Path
    marks: Marks
    anomaly_scores: np.ndarray = field(repr=False, compare=False)
    one_class_scores: np.ndarray = field(repr=False, compare=False)
    flags: np.ndarray = field(repr=False, compare=False)
    picks: np.ndarray = field(repr=False, compare=False)
    alert_places: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True, eq=False)
class _Rows:
    """What the first pass gathers of the rows, in the table's order; segments where the threshold goes by one."""

    ids: pa.ChunkedArray
    scores: np.ndarray
    one_class: np.ndarray
    segments: pa.ChunkedArray | None
    days: set[date]
    unseen: dict[str, int]


def score_table(
    features: Path,
    detector: Detector,
    folder: Path,
    *,
    batch_id: str,
    model_version: str,
    scored_at: datetime,
    known_scores: tuple[np.ndarray, np.ndarray] | None = None,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Scored:
    """Score a feature table and write its scores and alerts.

    Writes ``scores.parquet`` (every row, in the table's order), ``alerts.parquet`` and ``alerts.csv``
    (flagged rows by rank, then those that explore; text harmless to spreadsheets, sensitive columns masked). Memory
    holds a batch of rows, the ids and scores of the table, and the alerts.

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
    known_scores : pair of arrays of shape (n_rows,), float64, optional
        What `Detector.both_scores` makes of the rows, where that is known already.
    on_rows : callable, optional
        Called with the number of rows after each batch of the first pass.

    Returns
    -------
    Scored
    """
    folder.mkdir(parents=True, exist_ok=True)
    contract, zone = detector.config.contract, detector.config.table.time_zone
    marks: Marks = {"batch_id": batch_id, "model_version": model_version, "scored_at": scored_at}
    rows = _read_rows(features, detector, known_scores, on_rows)
    cuts = detector.cuts(rows.scores, rows.segments)
    flags, ranks = detector.flag(rows.scores, rows.ids, cuts)
    picks = detector.picks(rows.one_class, flags)
    places = np.concatenate([np.flatnonzero(flags)[np.argsort(ranks[flags])], _by_score(rows, picks)])
    in_file = np.argsort(np.argsort(places))
    alerts = _alerts(
        _rows_of(features, flags | picks).take(pa.array(in_file)),
        detector,
        scores=(rows.scores[places], rows.one_class[places]),
        flags=flags[places],
        cuts=np.broadcast_to(cuts, flags.shape)[places],
        marks=marks,
    )
    with ParquetWriter(folder / "alerts.parquet", alerts.schema) as writer:
        writer.write(alerts)
    spreadsheet = for_spreadsheets(alerts, detector.config)
    titles = second_header(spreadsheet.column_names, detector.config)
    write_csv(folder / "alerts.csv", [spreadsheet], spreadsheet.schema, second=titles)
    _write_scores(folder / "scores.parquet", rows, flags, detector=detector, marks=marks)

    times = alerts.column(name_within(contract.timestamp, alerts.column_names))
    alerts_by_day = Counter(local_days(times, zone)[flags[places]].tolist())
    return Scored(
        scored=len(flags),
        flagged=int(flags.sum()),
        exploring=int(picks.sum()),
        alerts_per_day={day: alerts_by_day[day] for day in sorted(rows.days)},
        unseen=rows.unseen,
        threshold=_one_cut(cuts, detector),
        scores=folder / "scores.parquet",
        alerts=folder / "alerts.parquet",
        alerts_csv=folder / "alerts.csv",
        marks=marks,
        anomaly_scores=rows.scores,
        one_class_scores=rows.one_class,
        flags=flags,
        picks=picks,
        alert_places=places,
    )


def _read_rows(
    features: Path,
    detector: Detector,
    known_scores: tuple[np.ndarray, np.ndarray] | None,
    on_rows: Callable[[int], None],
) -> _Rows:
    """Score every row, unless its score is known, and gather what flags and ranks go by."""
    contract, zone, segment = detector.config.contract, detector.config.table.time_zone, detector.cut.segment
    inputs = (feature.column for feature in detector.features)
    columns = dict.fromkeys([contract.id, contract.timestamp, *([segment] if segment else []), *inputs])
    ids: list[pa.Array] = []
    scores = [(np.empty(0), np.empty(0))] if known_scores is None else [known_scores]
    segments: list[pa.Array] = []
    days: set[date] = set()
    unseen: Counter[str] = Counter()
    for batch in read_batches(features, columns=list(columns)):
        ids.append(batch.column(contract.id))
        if known_scores is None:
            scores.append(detector.both_scores(batch))
        if segment:
            segments.append(batch.column(segment).dictionary_encode())
        days.update(np.unique(local_days(batch.column(contract.timestamp), zone)).tolist())
        unseen.update({name: int(values.sum()) for name, values in detector.encoder.unseen(batch).items()})
        on_rows(batch.num_rows)
    return _Rows(
        ids=pa.chunked_array(ids, pq.read_schema(features).field(contract.id).type),
        scores=np.concatenate([pair[0] for pair in scores]),
        one_class=np.concatenate([pair[1] for pair in scores]),
        segments=pa.chunked_array(segments or [pa.array([], pa.string())]).unify_dictionaries() if segment else None,
        days=days,
        unseen=dict(unseen),
    )


def _one_cut(cuts: float | np.ndarray, detector: Detector) -> float | None:
    """Return the one cut to show for a batch."""
    if not isinstance(cuts, float):
        return detector.threshold  # of rows without a cut of their own
    return cuts if np.isfinite(cuts) else None


def _write_scores(path: Path, rows: _Rows, flags: np.ndarray, *, detector: Detector, marks: Marks) -> None:
    def part(start: int) -> pa.Table:
        here = slice(start, start + ROWS_READ)
        figures = detector.figures(rows.scores[here], rows.one_class[here])
        table = pa.table({detector.config.contract.id: rows.ids.slice(start, ROWS_READ), **figures})
        return with_marks(table, flags[here], marks)

    with ParquetWriter(path, part(len(flags)).schema) as writer:
        for start in range(0, len(flags), ROWS_READ):
            writer.write(part(start))


def with_marks(table: pa.Table, flags: np.ndarray, marks: Marks) -> pa.Table:
    """Add the columns is_flagged, batch_id, model_version and scored_at."""
    table = table.append_column("is_flagged", pa.array(flags))
    for name, value in marks.items():
        kind = pa.timestamp("us", tz="UTC") if name == "scored_at" else pa.string()
        table = table.append_column(name, pa.repeat(pa.scalar(value, kind), table.num_rows))
    return table


def _alerts(
    rows: pa.Table,
    detector: Detector,
    *,
    scores: tuple[np.ndarray, np.ndarray],
    flags: np.ndarray,
    cuts: np.ndarray,
    marks: Marks,
) -> pa.Table:
    """Return the alerts of rows by rank: input columns, and the columns `ALERTS`."""
    added = with_marks(pa.table(detector.figures(*scores)), flags, marks)
    added = added.append_column("picked", pa.array(np.where(flags, FLAGGED, EXPLORING).tolist(), pa.string()))
    added = added.append_column("threshold", pa.array(cuts))
    added = added.append_column("rank", pa.array(np.arange(1, rows.num_rows + 1)))
    for name, column in _explained(rows, detector, cuts).items():
        added = added.append_column(name, column)
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
    names = input_columns(rows.column_names, detector)
    table = rows.select(names).rename_columns([name_beside(name, added.column_names) for name in names])
    for name in added.column_names:
        table = table.append_column(added.schema.field(name), added.column(name))
    return table


def input_columns(names: Collection[str], detector: Detector) -> list[str]:
    """Return those of a feature table's columns that the input had: all but the detector's features."""
    features = {name for feature in detector.features for name in (feature.column, feature.expected)}
    features -= set(detector.config.contract.columns)
    return [name for name in names if name not in features]


def _by_score(rows: _Rows, picks: np.ndarray) -> np.ndarray:
    """Return where the rows that explore stand, by falling score of the one-class model; ties by id."""
    places = np.flatnonzero(picks)
    table = pa.table({"score": rows.one_class[places], "id": rows.ids.take(pa.array(places))})
    order = pc.sort_indices(table, sort_keys=[("score", "descending"), ("id", "ascending")])
    return places[order.to_numpy()]


def _rows_of(path: Path, flags: np.ndarray) -> pa.Table:
    """Return some rows of a Parquet file, in its order."""
    batches, start = [], 0
    for batch in read_batches(path):
        batches.append(batch.filter(pa.array(flags[start : start + batch.num_rows])))
        start += batch.num_rows
    return pa.Table.from_batches(batches, schema=pq.read_schema(path))


def _explained(rows: pa.Table, detector: Detector, cuts: np.ndarray) -> dict[str, pa.ChunkedArray]:
    """Return the columns of alerts that say why: how many known frauds a row is like, and its reasons."""
    parts = []
    for start in range(0, rows.num_rows, EXPLAINED_AT_A_TIME):
        part = rows.slice(start, EXPLAINED_AT_A_TIME)
        alike, reasons = pa.array(detector.alike(part)), explain(detector, part)
        nearest = unflagged_at(detector, part, reasons, cuts[start : start + EXPLAINED_AT_A_TIME])
        parts.append((alike, reasons, nearest, sentence(reasons, alike)))
    types = {"like_frauds": pa.int64(), "reasons": REASONS_TYPE, "unflagged_at": NEAREST_TYPE, "reason": pa.string()}
    return {
        name: pa.chunked_array([part[place] for part in parts], type=kind)
        for place, (name, kind) in enumerate(types.items())
    }
