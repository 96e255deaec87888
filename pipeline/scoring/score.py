"""Stream a feature table through a detector: scores, flags and the rows of the queue in one pass.

A batch of rows is read and encoded by one thread while the one before it is scored by another, the one before that is
flagged, and the one before that written. Only a line that each batch draws anew needs all scores first, and then a
second pass; ranks and reasons are those of the rows that the pass kept.
"""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.detector.reference import UNUSUAL
from pipeline.scoring.alerts import for_spreadsheets
from pipeline.scoring.nearest import NEAREST_TYPE, unflagged_at
from pipeline.scoring.reasons import REASONS_TYPE, explain, sentence
from pipeline.scoring.spark import scores_on_spark
from pipeline.settings.output import EXPLORING, FLAGGED, name_beside, name_within
from pipeline.settings.titles import second_header
from pipeline.tables.ahead import ahead, behind
from pipeline.tables.parquet import read_batches
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
    unusual : int
        Rows with a p-value of at most `UNUSUAL`.
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
    unusual: int
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


OnPart = Callable[[pa.RecordBatch, np.ndarray, np.ndarray], None]
"""What is called with rows that were scored, their p-values and flags: arrays of shape (n_rows,)."""
Scores = tuple[np.ndarray, np.ndarray]
"""Of each row the score, and that of the model alone: float64 of shape (n_rows,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """A batch of rows that was scored and flagged; arrays of shape (n_rows,)."""

    rows: pa.RecordBatch
    scores: Scores
    cuts: np.ndarray
    flags: np.ndarray
    picks: np.ndarray


class _Gathered:
    """What a pass keeps of the parts of a table of n rows.

    Attributes
    ----------
    scores, one_class, flags, picks : arrays of shape (n_rows,)
    queue : list of pa.RecordBatch
        The rows that are flagged or picked, in the table's order.
    cuts : list of arrays
        Of these rows.
    days : set of date
    unseen : Counter
    unusual : int
    """

    def __init__(self, n_rows: int, detector: Detector, *, is_alone: bool) -> None:
        self.detector = detector
        self.scores = np.empty(n_rows)
        self.one_class = self.scores if is_alone else np.empty(n_rows)
        self.flags, self.picks = np.empty((2, n_rows), dtype=bool)
        self.queue: list[pa.RecordBatch] = []
        self.cuts = [np.empty(0)]
        self.days: set[date] = set()
        self.unseen: Counter[str] = Counter()
        self.unusual = 0
        self._rows = 0

    def add(self, part: _Part, p_values: np.ndarray) -> None:
        """Keep what flags, ranks and reasons go by, and count the rest."""
        here = slice(self._rows, self._rows + part.rows.num_rows)
        self.scores[here], self.one_class[here] = part.scores
        self.flags[here], self.picks[here] = part.flags, part.picks
        chosen = part.flags | part.picks
        self.queue.append(part.rows.filter(pa.array(chosen)))
        self.cuts.append(part.cuts[chosen])
        self.unusual += int(np.count_nonzero(p_values <= UNUSUAL))
        config = self.detector.config
        moments = part.rows.column(config.contract.timestamp)
        self.days.update(np.unique(local_days(moments, config.table.time_zone)).tolist())
        self.unseen.update({name: int(mask.sum()) for name, mask in self.detector.encoder.unseen(part.rows).items()})
        self._rows = here.stop


def score_table(
    features: Path,
    detector: Detector,
    folder: Path,
    *,
    batch_id: str,
    model_version: str,
    scored_at: datetime,
    known_scores: tuple[np.ndarray, np.ndarray] | None = None,
    on_part: OnPart = lambda rows, p_values, flags: None,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Scored:
    """Score a feature table and write its scores and alerts.

    A Detector that is settled for a Spark cluster (`pipeline.scoring.spark`) has that score the rows; the rest is here.
    Writes ``scores.parquet`` (every row, in the table's order), ``alerts.parquet`` and ``alerts.csv``
    (flagged rows by rank, then those that explore; text harmless to spreadsheets, sensitive columns masked). Memory
    holds some batches of rows, the scores of the table, and the alerts.

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
    on_part : callable, optional
        Called with each batch of rows, their p-values and flags, in the table's order.
    on_rows : callable, optional
        Called with the number of rows after each of them.

    Returns
    -------
    Scored
    """
    folder.mkdir(parents=True, exist_ok=True)
    contract, zone, schema = detector.config.contract, detector.config.table.time_zone, pq.read_schema(features)
    marks: Marks = {"batch_id": batch_id, "model_version": model_version, "scored_at": scored_at}
    if known_scores is None and detector.config.engine.name == "spark":
        known_scores = scores_on_spark(features, detector, folder)
    known, cuts = known_scores, None
    if detector.cut.is_per_batch:
        known, cuts = _line_of_batch(features, detector, known_scores)
    is_alone = detector.feedback is None if known is None else known[0] is known[1]
    gathered = _Gathered(pq.read_metadata(features).num_rows, detector, is_alone=is_alone)
    columns = _scores_of(_no_part(schema), detector, marks).schema
    with (
        ParquetWriter(folder / "scores.parquet", columns, distinct=[contract.id]) as writer,
        behind(writer.write) as write,
        closing(_parts(features, detector, known, cuts)) as parts,
    ):
        for part in parts:
            write(rows := _scores_of(part, detector, marks))
            p_values = rows.column("p_value").to_numpy()
            gathered.add(part, p_values)
            on_part(part.rows, p_values, part.flags)
            on_rows(part.rows.num_rows)
    scores, one_class, flags, picks = gathered.scores, gathered.one_class, gathered.flags, gathered.picks
    rows = pa.Table.from_batches(gathered.queue, schema=schema)
    in_file, order = _order(rows.column(contract.id), scores, one_class, flags=flags, picks=picks)
    places = in_file[order]
    alerts = _alerts(
        rows.take(pa.array(order)),
        detector,
        scores=(scores[places], one_class[places]),
        flags=flags[places],
        cuts=np.concatenate(gathered.cuts)[order],
        marks=marks,
    )
    _write_alerts(alerts, folder, detector)
    times = alerts.column(name_within(contract.timestamp, alerts.column_names))
    alerts_by_day = Counter(local_days(times, zone)[flags[places]].tolist())
    return Scored(
        scored=len(flags),
        flagged=int(flags.sum()),
        exploring=int(picks.sum()),
        unusual=gathered.unusual,
        alerts_per_day={day: alerts_by_day[day] for day in sorted(gathered.days)},
        unseen=dict(gathered.unseen),
        threshold=_one_cut(detector, cuts),
        scores=folder / "scores.parquet",
        alerts=folder / "alerts.parquet",
        alerts_csv=folder / "alerts.csv",
        marks=marks,
        anomaly_scores=scores,
        one_class_scores=one_class,
        flags=flags,
        picks=picks,
        alert_places=places,
    )


def _parts(
    features: Path, detector: Detector, known: Scores | None, cuts: float | np.ndarray | None
) -> Generator[_Part]:
    """Yield the table's rows as they are flagged, in order; with `cuts` of the whole table, by those."""
    segment, start = detector.cut.segment, 0
    for rows, scores in _scored(features, detector, known):
        here = slice(start, start + rows.num_rows)
        if cuts is None:
            own = detector.cuts(scores[0], rows.column(segment) if segment else None)
        else:
            own = cuts if isinstance(cuts, float) else cuts[here]
        flags, start = scores[0] > own, here.stop
        yield _Part(
            rows=rows,
            scores=scores,
            cuts=np.broadcast_to(np.asarray(own, dtype=np.float64), flags.shape),
            flags=flags,
            picks=detector.picks(scores[1], flags),
        )


def _scored(
    features: Path, detector: Detector, known: Scores | None, columns: Sequence[str] | None = None
) -> Iterator[tuple[pa.RecordBatch, Scores]]:
    """Yield a table's rows and their scores; reading, encoding and scoring are a batch or two ahead."""
    names = list(columns) if columns is not None else None
    if known is not None:
        start = 0
        for rows in ahead(read_batches(features, columns=names)):
            here = slice(start, start + rows.num_rows)
            scores = known[0][here]
            yield rows, (scores, scores if known[1] is known[0] else known[1][here])
            start = here.stop
        return
    encoded = ahead((rows, detector.encoder.transform(rows)) for rows in read_batches(features, columns=names))
    yield from ahead((rows, detector.both_matrix_scores(matrix)) for rows, matrix in encoded)


def _line_of_batch(features: Path, detector: Detector, known: Scores | None) -> tuple[Scores, float | np.ndarray]:
    """Return the scores of a whole table, and the line that they draw: the cut of each row, or of all."""
    segment = detector.cut.segment
    if known is not None and not segment:
        return known, detector.cuts(known[0])
    columns = list(dict.fromkeys([*detector.encoder.table_columns, *([segment] if segment else [])]))
    parts: list[Scores] = [(np.empty(0), np.empty(0))]
    values: list[pa.Array] = []
    for rows, scores in _scored(features, detector, known, columns):
        parts.append(scores)
        if segment:
            values.append(rows.column(segment).dictionary_encode())
    if known is None:
        joined = np.concatenate([pair[0] for pair in parts])
        known = joined, joined if detector.feedback is None else np.concatenate([pair[1] for pair in parts])
    segments = pa.chunked_array(values or [pa.array([], pa.string())]).unify_dictionaries() if segment else None
    return known, detector.cuts(known[0], segments)


def _order(
    ids: pa.ChunkedArray, scores: np.ndarray, one_class: np.ndarray, *, flags: np.ndarray, picks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the rows of the queue stand in the table, and their order.

    By falling score, ties by id; those that explore come behind, by falling score of the one-class model.
    """
    in_file = np.flatnonzero(flags | picks)
    is_pick = picks[in_file]
    table = pa.table(
        {
            "explores": is_pick.astype(np.int8),
            "score": np.where(is_pick, one_class[in_file], scores[in_file]),
            "id": ids,
        }
    )
    keys = [("explores", "ascending"), ("score", "descending"), ("id", "ascending")]
    return in_file, pc.sort_indices(table, sort_keys=keys).to_numpy().astype(np.int64)


def _one_cut(detector: Detector, cuts: float | np.ndarray | None) -> float | None:
    """Return the one cut to show for a batch; where there are several, that of rows without one of their own."""
    if isinstance(cuts, np.ndarray) or (cuts is None and detector.cut.parts):
        return detector.threshold
    cut = detector.threshold if cuts is None else cuts
    return cut if np.isfinite(cut) else None


def _scores_of(part: _Part, detector: Detector, marks: Marks) -> pa.Table:
    """Return the rows of the table of scores."""
    key = detector.config.contract.id
    table = pa.table({key: part.rows.column(key), **detector.figures(*part.scores)})
    return with_marks(table, part.flags, marks)


def _no_part(schema: pa.Schema) -> _Part:
    rows, none = pa.RecordBatch.from_pylist([], schema=schema), np.empty(0)
    flags = np.empty(0, dtype=bool)
    return _Part(rows=rows, scores=(none, none), cuts=none, flags=flags, picks=flags)


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


def _write_alerts(alerts: pa.Table, folder: Path, detector: Detector) -> None:
    with ParquetWriter(folder / "alerts.parquet", alerts.schema) as writer:
        writer.write(alerts)
    spreadsheet = for_spreadsheets(alerts, detector.config)
    titles = second_header(spreadsheet.column_names, detector.config)
    write_csv(folder / "alerts.csv", [spreadsheet], spreadsheet.schema, second=titles)


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
