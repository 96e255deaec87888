"""Scores on Apache Spark: its tasks score batches of a feature table by a Detector, which each process loads once."""

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.tables.spark import Stretch, a_task_each, on_spark, stretches


def scores_on_spark(features: Path, detector: Detector, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return what `Detector.both_scores` makes of a feature table's rows, by the cluster of the Detector's settings.

    Parameters
    ----------
    features : Path
        Feature table (Parquet).
    detector : Detector
    folder : Path
        Gets the artefact while it is at work; the whole cluster sees it and the table at the same paths.

    Returns
    -------
    pair of arrays of shape (n_rows,), float64
        One array twice where known frauds add nothing.

    Raises
    ------
    ResourceError
        When the cluster can't be reached, or a job fails.
    """
    both = np.empty((2, pq.read_metadata(features).num_rows))
    with (
        TemporaryDirectory(prefix=".spark-", dir=folder) as name,
        on_spark(detector.config.engine, "scoring") as spark,
    ):
        artefact = Path(name).absolute() / "detector"
        detector.save(artefact)
        score = partial(_scores_of, str(artefact), detector.encoder.table_columns)
        pieces = a_task_each(spark, score, stretches(features), "first long, scores binary").toArrow()
    for first, content in zip(pieces["first"].to_pylist(), pieces["scores"], strict=True):
        piece = np.frombuffer(content.as_buffer(), np.float64).reshape(2, -1)
        both[:, first : first + piece.shape[1]] = piece
    scores, one_class = both
    return scores, scores if detector.feedback is None else one_class


def _scores_of(folder: str, columns: list[str], stretch: Stretch) -> Iterator[pa.RecordBatch]:
    first = stretch.first
    for batch in stretch.read(columns):
        both = np.stack(_detector(folder).both_scores(batch))
        yield pa.record_batch(
            {"first": pa.array([first], pa.int64()), "scores": pa.array([both.tobytes()], pa.binary())}
        )
        first += batch.num_rows


@lru_cache(maxsize=1)
def _detector(folder: str) -> Detector:
    return Detector.load(Path(folder))
