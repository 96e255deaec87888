"""What a scored batch got, held against what its threshold promised."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline import thresholds
from pipeline.detector import Detector
from pipeline.scoring import Scored
from pipeline.thresholds import Got, Rows


def held_against(features: Path, scored: Scored, detector: Detector, labels: np.ndarray | None) -> Got:
    """Say what a batch got of what was promised.

    Parameters
    ----------
    features : Path
        The feature table that was scored.
    scored : Scored
    detector : Detector
    labels : array of shape (n_rows,), or None
        1 fraud, 0 normal, NaN not known by now: ``Measured.labels``.
    """
    results = pq.read_table(scored.scores, columns=["anomaly_score", "is_flagged"])
    scores = results.column("anomaly_score").to_numpy()
    known = np.full(len(scores), np.nan) if labels is None else labels
    # As in training: without labels in the table, all rows count as normal that review has not found to be fraud.
    is_labelled = detector.summary["labels"] == detector.config.contract.label
    rows = Rows.of(
        pq.read_table(features, columns=Rows.columns(detector.config)),
        detector.config,
        scores,
        known,
        known == 0 if is_labelled else known != 1,
    )
    return thresholds.got(detector.cut, rows, results.column("is_flagged").to_numpy(zero_copy_only=False))
