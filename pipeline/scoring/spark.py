"""Scores on Apache Spark: its tasks score batches of a feature table by a Detector, which each process loads once."""

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from pipeline.detector.artefact import Detector
from pipeline.tables.parquet import link_files
from pipeline.tables.spark import on_spark, read_parquet


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
    columns = detector.encoder.table_columns
    with (
        TemporaryDirectory(prefix=".spark-", dir=folder) as name,
        on_spark(detector.config.engine, "scoring") as spark,
    ):
        scratch = Path(name)
        detector.save(scratch / "detector")
        rows, names = read_parquet(spark, link_files("features", [features], scratch))
        own = rows.select("place", *(f"p{names.index(column)}" for column in columns))
        score = partial(_scores_of, str(scratch / "detector"), columns)
        table = own.mapInArrow(score, "place long, score double, one_class double").toArrow()
    places = table["place"].to_numpy()
    scores, one_class = np.empty((2, len(places)))
    scores[places], one_class[places] = table["score"].to_numpy(), table["one_class"].to_numpy()
    return scores, scores if detector.feedback is None else one_class


def _scores_of(folder: str, columns: list[str], batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rows = pa.Table.from_batches([batch])
        scores, one_class = _detector(folder).both_scores(rows.drop(["place"]).rename_columns(columns))
        yield pa.record_batch({"place": batch["place"], "score": scores, "one_class": one_class})


@lru_cache(maxsize=1)
def _detector(folder: str) -> Detector:
    return Detector.load(Path(folder))
