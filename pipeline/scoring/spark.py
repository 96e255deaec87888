"""Scoring on Apache Spark: tasks score and flag stretches of a feature table, and find the reasons of alerts.

A task does what one process does to the same rows. What it makes it writes into a folder of the batch that the whole
cluster sees, as a whole or not at all: a task that is tried again writes the same once more.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.calibration.threshold import Threshold
from pipeline.detector.artefact import Detector
from pipeline.scoring.parts import Marks, Part, ScoresOnDisk, parts, scored, written
from pipeline.scoring.why import chunks, joined, why
from pipeline.tables.parquet import ROWS_READ
from pipeline.tables.pieces import table_of
from pipeline.tables.spark import Stretch, answers, join_on_spark, on_spark, stretches
from pipeline.tables.writing import replacing


class Tasks:
    """The tasks of a cluster at work on one batch.

    Each method raises `ResourceError` when the cluster can't be reached, or a job fails.

    Parameters
    ----------
    features : Path
        Feature table (Parquet) with a row at least.
    detector : Detector
        Settled for the cluster. It is saved once, and loaded once by each of the cluster's processes.
    scratch : Path
        Folder that the whole cluster sees, as it sees the table, at the same path; it is for this batch alone.
    """

    def __init__(self, features: Path, detector: Detector, scratch: Path) -> None:
        self._features, self._detector, self._scratch = features, detector, scratch.absolute()

    def scores(self) -> ScoresOnDisk:
        """Score the table: what `Detector.both_scores` makes of its rows, a file a stretch."""
        scores = ScoresOnDisk([*self._stretches.values()], is_alone=self._detector.feedback is None)
        self._run(_score, [*self._stretches.items()], is_alone=scores.is_alone)
        return scores

    @contextmanager
    def written(self, path: Path, cut: Threshold, marks: Marks) -> Iterator[Callable[[Part], np.ndarray]]:
        """Write the table of scores that `parts.written` does, once all is scored; give what returns parts' p-values.

        Parameters
        ----------
        path : Path
        cut : Threshold
            With the cuts of the batch drawn.
        marks : Marks
        """
        is_alone = self._detector.feedback is None
        self._run(_write_scores, [*self._stretches.items()], is_alone=is_alone, cut=cut, marks=marks)
        files = [_rows(scores) for scores in self._stretches.values()]
        with on_spark(self._detector.config.engine, "scoring") as spark:
            join_on_spark(spark, files, self._scratch / "joined.parquet").replace(path)
        yield lambda part: self._detector.calibration.p_value(part.scores[0])

    def why(self, rows: pa.Table, cuts: np.ndarray) -> pa.Table:
        """Explain rows of the table as `why.why` does, in the same chunks as one process, a task each.

        Parameters
        ----------
        rows : pa.Table of n_rows
        cuts : array of shape (n_rows,)
        """
        chosen = []
        for number, (chunk, own) in enumerate(chunks(rows, cuts)):
            _write(path := self._scratch / f"chunk-{number:06d}", chunk)
            chosen.append((path, own))
        self._run(_why, chosen)
        return joined(table_of(_explained(path).read_bytes()) for path, _ in chosen)

    @cached_property
    def _stretches(self) -> dict[Stretch, Path]:
        """The table's stretches, in order, and where their scores lie; a processor scores 70,000 rows in a second."""
        found = stretches(self._features, ROWS_READ)
        return {stretch: self._scratch / f"scores-{stretch.first:012d}" for stretch in found}

    @cached_property
    def _artefact(self) -> Path:
        self._detector.save(folder := self._scratch / "detector")
        return folder

    def _run(self, work: Callable[..., None], items: Sequence[tuple[Any, ...]], **told: Any) -> None:
        """Have tasks do some work, each with the Detector and one of the items."""
        with on_spark(self._detector.config.engine, "scoring") as spark:
            answers(spark, partial(_with_detector, str(self._artefact), partial(work, **told)), items)


def _with_detector(artefact: str, work: Callable[..., None], item: tuple[Any, ...]) -> None:
    work(_detector(artefact), *item)


@lru_cache(maxsize=1)
def _detector(artefact: str) -> Detector:
    return Detector.load(Path(artefact))


def _score(detector: Detector, stretch: Stretch, scores: Path, *, is_alone: bool) -> None:
    batches = stretch.read(detector.encoder.table_columns)
    ScoresOnDisk([scores], is_alone).write(scores, (both for _, both in scored(batches, detector)))


def _write_scores(
    detector: Detector, stretch: Stretch, scores: Path, *, is_alone: bool, cut: Threshold, marks: Marks
) -> None:
    columns = dict.fromkeys(filter(None, [detector.config.contract.id, cut.segment]))
    known = ScoresOnDisk([scores], is_alone)
    with written(_rows(scores), Path(stretch.file), detector, marks) as write:
        for part in parts(scored(stretch.read([*columns]), detector, known), detector, cut):
            write(part)


def _rows(scores: Path) -> Path:
    """Return where the rows of the table of scores lie whose scores lie in a file."""
    return scores.with_suffix(".parquet")


def _why(detector: Detector, chunk: Path, cuts: np.ndarray) -> None:
    _write(_explained(chunk), why(detector, table_of(chunk.read_bytes()), cuts))


def _explained(chunk: Path) -> Path:
    return chunk.with_suffix(".why")


def _write(path: Path, table: pa.Table) -> None:
    """Write a table as a piece is written: as it is in memory, to the last bit."""
    with replacing(path) as stream, pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
