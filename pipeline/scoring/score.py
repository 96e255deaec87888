"""Stream a feature table through a detector: scores, flags and the rows of the queue in one pass.

A batch of rows is read and encoded by one thread while the one before it is scored by another, the one before that is
flagged, and the one before that written. Only a line that each batch draws anew needs all scores first, which lie on
disk meanwhile, and then a second pass; so do they where a cluster's tasks score and write. Ranks and reasons are those
of the rows that the pass kept. Memory holds these rows and some batches, however many there are.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
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
from pipeline.calibration.threshold import Threshold
from pipeline.detector.artefact import Detector
from pipeline.detector.reference import UNUSUAL
from pipeline.scoring.alerts import for_spreadsheets
from pipeline.scoring.parts import Marks, Part, Scores, ScoresOnDisk, parts, scored, with_marks, written
from pipeline.scoring.spark import Tasks
from pipeline.scoring.why import EXPLAINED_AT_A_TIME, chunks, joined, why
from pipeline.settings.output import EXPLORING, FLAGGED, name_beside, name_within
from pipeline.settings.titles import second_header
from pipeline.tables.parquet import read_batches
from pipeline.tables.period import local_days
from pipeline.tables.writing import ParquetWriter, write_csv

FIRST_ALERTS = 500
"""Rows of the queue that are handed on as the detector saw them."""


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
    def of(cls, parts: Sequence[Part], places: Sequence[np.ndarray], schema: pa.Schema) -> Self:
        """Put the rows that several passed parts kept together."""
        parts = [Part.empty(schema), *parts]
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
        self._queue: list[Part] = []
        self._places: list[np.ndarray] = []

    def add(self, part: Part, p_values: np.ndarray) -> None:
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

    Writes ``scores.parquet`` (every row, in the table's order), ``alerts.parquet`` and ``alerts.csv`` (flagged rows by
    rank, then those that explore; text harmless to spreadsheets, sensitive columns masked). Memory holds some batches
    of rows and the alerts, whatever the table's size. A Detector that is settled for a Spark cluster has its tasks
    score and flag the rows, write the table of scores, and find the reasons (`pipeline.scoring.spark`).

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
    marks: Marks = {"batch_id": batch_id, "model_version": model_version, "scored_at": scored_at}
    gathered = _Gathered(detector)
    # A task that was given up may write into the folder while it is removed.
    with TemporaryDirectory(prefix=".scoring-", dir=folder, ignore_cleanup_errors=True) as scratch:
        by_tasks = detector.config.engine.name == "spark" and pq.read_metadata(features).num_rows
        tasks = Tasks(features, detector, Path(scratch)) if by_tasks else None
        scoring = tasks if known_scores is None else None
        known, cut = _with_line(features, detector, scoring.scores() if scoring else known_scores, Path(scratch))
        out = folder / "scores.parquet"
        writing = scoring.written(out, cut, marks) if scoring else written(out, features, detector, marks)
        found = parts(scored(read_batches(features), detector, known), detector, cut)
        with writing as p_values_of, closing(found):
            for part in found:
                p_values = p_values_of(part)
                gathered.add(part, p_values)
                on_part(part.rows, p_values, part.flags)
                on_rows(part.rows.num_rows)
        queue = gathered.queue(pq.read_schema(features))
        alerts = _alerts(queue, detector, marks, tasks)
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


def _with_line(
    features: Path, detector: Detector, known: Scores | ScoresOnDisk | None, scratch: Path
) -> tuple[Scores | ScoresOnDisk | None, Threshold]:
    """Return what is known of a table's scores, and the threshold with the cuts of its rows.

    A line that each batch draws anew needs all scores, which are known then.
    """
    line = batch_line(detector.cut, detector.held_out)
    if line is None:
        return known, detector.cut
    segment = detector.cut.segment
    columns = detector.encoder.table_columns if known is None else [detector.config.contract.id]
    batches = read_batches(features, list(dict.fromkeys([*columns, *filter(None, [segment])])))

    def looked_at() -> Iterator[Scores]:
        for rows, scores in scored(batches, detector, known):
            line.add(scores[0], rows.column(segment) if segment else None)
            yield scores

    if known is not None:
        for _ in looked_at():
            pass
        return known, line.drawn()
    found = ScoresOnDisk([scratch / "scores"], is_alone=detector.feedback is None)
    found.write(found.paths[0], looked_at())
    return found, line.drawn()


def _one_cut(detector: Detector, cut: Threshold) -> float | None:
    """Return the one cut to show for a batch; where there are several, that of rows without one of their own."""
    value = detector.threshold if cut.parts else cut.value
    return value if np.isfinite(value) else None


def _alerts(queue: _Queue, detector: Detector, marks: Marks, tasks: Tasks | None) -> pa.Table:
    """Return the alerts of rows by rank: input columns, and the columns `ALERTS`."""
    flags = queue.flags
    added = with_marks(pa.table(detector.figures(*queue.scores)), flags, marks)
    added = added.append_column("picked", pa.array(np.where(flags, FLAGGED, EXPLORING).tolist(), pa.string()))
    added = added.append_column("threshold", pa.array(queue.cuts))
    added = added.append_column("rank", pa.array(np.arange(1, len(flags) + 1)))
    reasons = _why(queue, detector, tasks)
    for name in reasons.column_names:
        added = added.append_column(name, reasons.column(name))
    return beside_input(queue.rows, added, detector)


def _why(queue: _Queue, detector: Detector, tasks: Tasks | None) -> pa.Table:
    # A chunk takes one task as long as it takes here.
    if tasks and len(queue.places) > EXPLAINED_AT_A_TIME:
        return tasks.why(queue.rows, queue.cuts)
    return joined(why(detector, *chunk) for chunk in chunks(queue.rows, queue.cuts))


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
