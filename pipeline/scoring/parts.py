"""Rows of a feature table, scored and flagged a batch at a time: by one process, and by tasks, each over its stretch.

A batch of rows is read and encoded by one thread while the one before it is scored by another.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.calibration.threshold import Threshold
from pipeline.detector.artefact import Detector
from pipeline.tables.ahead import ahead, behind
from pipeline.tables.writing import ParquetWriter, replacing

Marks = Mapping[str, str | datetime]
"""Which run says it: the columns `MARKS` of pipeline/settings/output.py, each with its one value."""
Scores = tuple[np.ndarray, np.ndarray]
"""Of each row the score, and that of the model alone: float64 of shape (n_rows,), one array twice where known frauds
add nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A batch of rows that was scored and flagged; arrays of shape (n_rows,).

    Attributes
    ----------
    rows : pa.RecordBatch
    scores : pair of arrays of float64
    cuts : array of float64
    flags, picks : arrays of bool
        Rows above their cut, and others that explore.
    """

    rows: pa.RecordBatch
    scores: Scores
    cuts: np.ndarray
    flags: np.ndarray
    picks: np.ndarray

    @classmethod
    def empty(cls, schema: pa.Schema) -> Self:
        """Return a batch without rows."""
        rows, none = pa.RecordBatch.from_pylist([], schema=schema), np.empty(0)
        flags = np.empty(0, dtype=bool)
        return cls(rows=rows, scores=(none, none), cuts=none, flags=flags, picks=flags)

    def take(self, places: np.ndarray) -> Self:
        """Return some of the rows."""
        return type(self)(
            rows=self.rows.take(pa.array(places)),
            scores=(self.scores[0][places], self.scores[1][places]),
            cuts=self.cuts[places],
            flags=self.flags[places],
            picks=self.picks[places],
        )


@dataclass(frozen=True)
class ScoresOnDisk:
    """Scores of rows that lie in files, one after the other, in the order of the rows.

    Parameters
    ----------
    paths : sequence of Path
    is_alone : bool
        Whether known frauds add nothing, so that a row has one score and not two.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> some, others = np.array([0.5, 2.0]), np.array([1.0, 4.0])
    >>> with TemporaryDirectory() as folder:
    ...     scores = ScoresOnDisk([Path(folder, "a"), Path(folder, "b")], is_alone=True)
    ...     scores.write(scores.paths[0], [(some, some)])
    ...     scores.write(scores.paths[1], [(others, others)])
    ...     read = scores.reader()
    ...     [read(rows)[0].tolist() for rows in (3, 1)]
    [[0.5, 2.0, 1.0], [4.0]]
    """

    paths: Sequence[Path]
    is_alone: bool

    def write(self, path: Path, batches: Iterable[Scores]) -> None:
        """Write the scores of batches of rows to one of the files, as a whole or not at all."""
        with replacing(path) as stream:
            for scores in batches:
                stream.write(np.column_stack(scores[: self._width]).tobytes())

    def reader(self) -> Callable[[int], Scores]:
        """Return what reads the scores of the next so many rows, wherever files end."""
        files, offset = deque(self.paths), 0

        def read(rows: int) -> Scores:
            nonlocal offset
            numbers, parts = rows * self._width, [np.empty(0)]
            while numbers:
                part = np.fromfile(files[0], np.float64, numbers, offset=offset)
                parts.append(part)
                numbers, offset = numbers - len(part), offset + part.nbytes
                if numbers:
                    files.popleft()
                    offset = 0
            scores = np.ascontiguousarray(np.concatenate(parts).reshape(rows, self._width).T)
            return scores[0], scores[0] if self.is_alone else scores[1]

        return read

    @property
    def _width(self) -> int:
        return 2 - self.is_alone


def scored(
    batches: Iterator[pa.RecordBatch], detector: Detector, known: Scores | ScoresOnDisk | None = None
) -> Iterator[tuple[pa.RecordBatch, Scores]]:
    """Yield rows and their scores; reading, encoding and scoring are a batch or two ahead.

    Parameters
    ----------
    batches : iterator of pa.RecordBatch
        Rows of a feature table, side by side; where nothing is known, with the columns that the encoder reads.
    detector : Detector
    known : pair of arrays, or ScoresOnDisk, optional
        The scores of these rows, where they are known already.
    """
    if known is None:
        encoded = ahead((rows, detector.encoder.transform(rows)) for rows in batches)
        yield from ahead((rows, detector.both_matrix_scores(matrix)) for rows, matrix in encoded)
        return
    read = known.reader() if isinstance(known, ScoresOnDisk) else _reader(known)
    for rows in ahead(batches):
        yield rows, read(rows.num_rows)


def _reader(known: Scores) -> Callable[[int], Scores]:
    start = 0

    def read(rows: int) -> Scores:
        nonlocal start
        here = slice(start, start := start + rows)
        scores = known[0][here]
        return scores, scores if known[1] is known[0] else known[1][here]

    return read


def parts(scored_rows: Iterable[tuple[pa.RecordBatch, Scores]], detector: Detector, cut: Threshold) -> Generator[Part]:
    """Yield rows as they are flagged by a cut.

    Parameters
    ----------
    scored_rows : iterable of pa.RecordBatch and scores
        From `scored`, with the column ``cut.segment`` where there is one.
    detector : Detector
    cut : Threshold
        With the cuts of the batch drawn.
    """
    for rows, scores in scored_rows:
        own = cut.fixed_cuts(rows.column(cut.segment) if cut.segment else None)
        flags = scores[0] > own
        yield Part(
            rows=rows,
            scores=scores,
            cuts=np.broadcast_to(np.asarray(own, dtype=np.float64), flags.shape),
            flags=flags,
            picks=detector.picks(scores[1], flags),
        )


@contextmanager
def written(path: Path, features: Path, detector: Detector, marks: Marks) -> Iterator[Callable[[Part], np.ndarray]]:
    """Give what writes parts to a table of scores, behind whoever calls it, and returns their p-values.

    Parameters
    ----------
    path : Path
        There as a whole or not at all.
    features : Path
        The feature table that the parts are of.
    detector : Detector
    marks : Marks
    """
    schema = _rows_of_scores(Part.empty(pq.read_schema(features)), detector, marks).schema
    distinct = [detector.config.contract.id]
    with ParquetWriter(path, schema, distinct=distinct) as writer, behind(writer.write) as write:

        def put(part: Part) -> np.ndarray:
            write(rows := _rows_of_scores(part, detector, marks))
            return rows.column("p_value").to_numpy()

        yield put


def _rows_of_scores(part: Part, detector: Detector, marks: Marks) -> pa.Table:
    key = detector.config.contract.id
    table = pa.table({key: part.rows.column(key), **detector.figures(*part.scores)})
    return with_marks(table, part.flags, marks)


def with_marks(table: pa.Table, flags: np.ndarray, marks: Marks) -> pa.Table:
    """Add the columns is_flagged, batch_id, model_version and scored_at."""
    table = table.append_column("is_flagged", pa.array(flags))
    for name, value in marks.items():
        kind = pa.timestamp("us", tz="UTC") if name == "scored_at" else pa.string()
        table = table.append_column(name, pa.repeat(pa.scalar(value, kind), table.num_rows))
    return table
