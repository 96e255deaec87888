"""Stream a feature table through a detector: scores, flags and the rows of the queue in one pass.

A batch of rows is read and encoded by one thread while the one before it is scored by another, the one before that is
flagged, and the one before that written. Only a line that each batch draws anew needs all scores first, which lie on
disk meanwhile, and then a second pass; ranks and reasons are those of the rows that the pass kept. Memory holds these
rows and some batches, however many there are.
"""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.calibration.strategies.choice import batch_line
from pipeline.calibration.strategies.strategy import BatchLine
from pipeline.calibration.threshold import Threshold
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
FIRST_ALERTS = 500
"""Rows of the queue that are handed on as the detector saw them."""

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
    alert_places : array of shape (n_alerts,), int64
        Where the rows of the queue stand in the table, by rank: first those that are flagged, then those that explore.
    first_alerts : pa.Table
        The first `FIRST_ALERTS` rows of the queue, by rank, with all columns of the feature table.
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
    alert_places: np.ndarray = field(repr=False, compare=False)
    first_alerts: pa.Table = field(repr=False, compare=False)

    @property
    def flagged_places(self) -> np.ndarray:
        """Where the flagged rows stand in the table, ascending; int64 of shape (n_flagged,)."""
        return np.sort(self.alert_places[: self.flagged])

    def column(self, name: str) -> np.ndarray:
        """Read a column of `scores`, of shape (n_rows,) in the table's order: 8 bytes of memory a row, a flag 1."""
        return pq.read_table(self.scores, columns=[name]).column(0).to_numpy()

    def each_score(self) -> Iterator[np.ndarray]:
        """Read the anomaly scores batch by batch, in the table's order."""
        for batch in read_batches(self.scores, columns=["anomaly_score"]):
            yield batch.column(0).to_numpy()


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

    def take(self, places: np.ndarray) -> Self:
        """Return some of the rows."""
        return type(self)(
            rows=self.rows.take(pa.array(places)),
            scores=(self.scores[0][places], self.scores[1][places]),
            cuts=self.cuts[places],
            flags=self.flags[places],
            picks=self.picks[places],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Queue:
    """The rows that are flagged or picked, in the table's order; arrays of shape (n_rows,).

    Attributes
    ----------
    places : array of int64
        Where they stand in the table.
    """

    rows: pa.Table
    places: np.ndarray
    scores: Scores
    cuts: np.ndarray
    flags: np.ndarray

    @classmethod
    def of(cls, parts: Sequence[_Part], places: Sequence[np.ndarray], schema: pa.Schema) -> Self:
        """Put the rows that several passed parts kept together."""
        parts = [_no_part(schema), *parts]
        return cls(
            rows=pa.Table.from_batches([part.rows for part in parts], schema=schema),
            places=np.concatenate([np.empty(0, np.int64), *places]),
            scores=(
                np.concatenate([part.scores[0] for part in parts]),
                np.concatenate([part.scores[1] for part in parts]),
            ),
            cuts=np.concatenate([part.cuts for part in parts]),
            flags=np.concatenate([part.flags for part in parts]),
        )

    def ranked(self, key: str) -> Self:
        """Return the rows by falling score, ties by id; those that explore behind, by the one-class model's score."""
        table = pa.table(
            {
                "explores": (~self.flags).astype(np.int8),
                "score": np.where(self.flags, *self.scores),
                "id": self.rows.column(key),
            }
        )
        keys = [("explores", "ascending"), ("score", "descending"), ("id", "ascending")]
        order = pc.sort_indices(table, sort_keys=keys).to_numpy()
        return type(self)(
            rows=self.rows.take(pa.array(order)),
            places=self.places[order],
            scores=(self.scores[0][order], self.scores[1][order]),
            cuts=self.cuts[order],
            flags=self.flags[order],
        )


class _Gathered:
    """What a pass keeps of the parts of a table.

    Attributes
    ----------
    rows, unusual : int
    days : set of date
    unseen : Counter
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.days: set[date] = set()
        self.unseen: Counter[str] = Counter()
        self.rows = self.unusual = 0
        self._queue: list[_Part] = []
        self._places: list[np.ndarray] = []

    def add(self, part: _Part, p_values: np.ndarray) -> None:
        """Keep what ranks and reasons go by, and count the rest."""
        chosen = np.flatnonzero(part.flags | part.picks)
        if len(chosen):
            self._queue.append(part.take(chosen))
            self._places.append(self.rows + chosen)
        self.unusual += int(np.count_nonzero(p_values <= UNUSUAL))
        config = self.detector.config
        moments = part.rows.column(config.contract.timestamp)
        self.days.update(np.unique(local_days(moments, config.table.time_zone)).tolist())
        self.unseen.update({name: int(mask.sum()) for name, mask in self.detector.encoder.unseen(part.rows).items()})
        self.rows += part.rows.num_rows

    def queue(self, schema: pa.Schema) -> _Queue:
        """Return the rows that were kept, by rank."""
        return _Queue.of(self._queue, self._places, schema).ranked(self.detector.config.contract.id)


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
    holds some batches of rows and the alerts, whatever the table's size.

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
    schema = pq.read_schema(features)
    marks: Marks = {"batch_id": batch_id, "model_version": model_version, "scored_at": scored_at}
    if known_scores is None and detector.config.engine.name == "spark":
        known_scores = scores_on_spark(features, detector, folder)
    known: Scores | _OnDisk | None = known_scores
    gathered, cut = _Gathered(detector), detector.cut
    with ExitStack() as stack:
        if line := batch_line(detector.cut, detector.held_out):
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix=".line-", dir=folder)))
            known, cut = _line_of_batch(features, detector, known_scores, line=line, scratch=scratch)
        columns, parts = _scores_of(_no_part(schema), detector, marks).schema, _parts(features, detector, known, cut)
        writer = stack.enter_context(
            ParquetWriter(folder / "scores.parquet", columns, distinct=[detector.config.contract.id])
        )
        write = stack.enter_context(behind(writer.write))
        for part in stack.enter_context(closing(parts)):
            write(rows := _scores_of(part, detector, marks))
            p_values = rows.column("p_value").to_numpy()
            gathered.add(part, p_values)
            on_part(part.rows, p_values, part.flags)
            on_rows(part.rows.num_rows)
    queue = gathered.queue(schema)
    alerts = _alerts(queue, detector, marks)
    _write_alerts(alerts, folder, detector)
    return _result(gathered, queue, alerts, folder=folder, cut=cut, marks=marks)


def _result(
    gathered: _Gathered, queue: _Queue, alerts: pa.Table, *, folder: Path, cut: Threshold, marks: Marks
) -> Scored:
    config, flagged = gathered.detector.config, int(np.count_nonzero(queue.flags))
    times = alerts.column(name_within(config.contract.timestamp, alerts.column_names))
    alerts_by_day = Counter(local_days(times, config.table.time_zone)[queue.flags].tolist())
    return Scored(
        scored=gathered.rows,
        flagged=flagged,
        exploring=len(queue.flags) - flagged,
        unusual=gathered.unusual,
        alerts_per_day={day: alerts_by_day[day] for day in sorted(gathered.days)},
        unseen=dict(gathered.unseen),
        threshold=_one_cut(gathered.detector, cut),
        scores=folder / "scores.parquet",
        alerts=folder / "alerts.parquet",
        alerts_csv=folder / "alerts.csv",
        marks=marks,
        alert_places=queue.places,
        first_alerts=queue.rows.take(pa.array(np.arange(min(FIRST_ALERTS, len(queue.places))))),
    )


@dataclass(frozen=True)
class _OnDisk:
    """Scores of a table's rows that lie in a file, in its order, a batch after the other."""

    path: Path
    is_alone: bool

    def write(self, batches: Iterable[Scores]) -> None:
        with self.path.open("wb") as stream:
            for scores in batches:
                np.stack(scores[: 2 - self.is_alone]).tofile(stream)

    @contextmanager
    def reader(self) -> Iterator[Callable[[int], Scores]]:
        """Give what reads the scores of the next so many rows, which have to be those of the next batch written."""
        with self.path.open("rb") as stream:

            def read(rows: int) -> Scores:
                pair = np.fromfile(stream, np.float64, (2 - self.is_alone) * rows).reshape(-1, rows)
                scores = pair[0]
                return scores, scores if self.is_alone else pair[1]

            yield read


@contextmanager
def _in_memory(known: Scores) -> Iterator[Callable[[int], Scores]]:
    start = 0

    def read(rows: int) -> Scores:
        nonlocal start
        here = slice(start, start := start + rows)
        scores = known[0][here]
        return scores, scores if known[1] is known[0] else known[1][here]

    yield read


def _parts(features: Path, detector: Detector, known: Scores | _OnDisk | None, cut: Threshold) -> Generator[_Part]:
    """Yield the table's rows as they are flagged, in order."""
    for rows, scores in _scored(features, detector, known):
        own = cut.fixed_cuts(rows.column(cut.segment) if cut.segment else None)
        flags = scores[0] > own
        yield _Part(
            rows=rows,
            scores=scores,
            cuts=np.broadcast_to(np.asarray(own, dtype=np.float64), flags.shape),
            flags=flags,
            picks=detector.picks(scores[1], flags),
        )


def _scored(
    features: Path, detector: Detector, known: Scores | _OnDisk | None, columns: Sequence[str] | None = None
) -> Iterator[tuple[pa.RecordBatch, Scores]]:
    """Yield a table's rows and their scores; reading, encoding and scoring are a batch or two ahead."""
    if known is not None:
        with known.reader() if isinstance(known, _OnDisk) else _in_memory(known) as read:
            for rows in ahead(read_batches(features, columns)):
                yield rows, read(rows.num_rows)
        return
    encoded = ahead((rows, detector.encoder.transform(rows)) for rows in read_batches(features, columns))
    yield from ahead((rows, detector.both_matrix_scores(matrix)) for rows, matrix in encoded)


def _line_of_batch(
    features: Path, detector: Detector, known: Scores | None, *, line: BatchLine, scratch: Path
) -> tuple[Scores | _OnDisk, Threshold]:
    """Return the scores of a whole table, and the threshold with the cuts that they draw."""
    segment = detector.cut.segment
    columns = [*detector.encoder.table_columns] if known is None else [detector.config.contract.id]
    columns = list(dict.fromkeys([*columns, *([segment] if segment else [])]))

    def looked_at() -> Iterator[Scores]:
        for rows, scores in _scored(features, detector, known, columns):
            line.add(scores[0], rows.column(segment) if segment else None)
            yield scores

    on_disk = _OnDisk(scratch / "scores", detector.feedback is None if known is None else known[0] is known[1])
    on_disk.write(looked_at())
    return on_disk, line.drawn()


def _one_cut(detector: Detector, cut: Threshold) -> float | None:
    """Return the one cut to show for a batch; where there are several, that of rows without one of their own."""
    value = detector.threshold if cut.parts else cut.value
    return value if np.isfinite(value) else None


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


def _alerts(queue: _Queue, detector: Detector, marks: Marks) -> pa.Table:
    """Return the alerts of rows by rank: input columns, and the columns `ALERTS`."""
    flags = queue.flags
    added = with_marks(pa.table(detector.figures(*queue.scores)), flags, marks)
    added = added.append_column("picked", pa.array(np.where(flags, FLAGGED, EXPLORING).tolist(), pa.string()))
    added = added.append_column("threshold", pa.array(queue.cuts))
    added = added.append_column("rank", pa.array(np.arange(1, len(flags) + 1)))
    for name, column in _explained(queue.rows, detector, queue.cuts).items():
        added = added.append_column(name, column)
    return beside_input(queue.rows, added, detector)


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
