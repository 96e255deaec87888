"""Scored rows made of scores alone."""

import numpy as np
import pyarrow as pa

from pipeline.calibration.held_out import ScoredRows


def made(
    scores, *, labels=None, day=None, whole=None, days=None, amounts=None, customers=None, **segments
) -> ScoredRows:
    """Rows of one day, all normal and labelled, unless something else is given."""
    scores = np.asarray(scores, dtype=np.float64)
    labels = np.zeros(len(scores)) if labels is None else np.asarray(labels, dtype=np.float64)
    day = np.zeros(len(scores), np.int32) if day is None else np.asarray(day, np.int32)
    return ScoredRows(
        scores=scores,
        labels=labels,
        normal=labels == 0,
        day=day,
        whole=np.ones(len(scores), bool) if whole is None else np.asarray(whole, bool),
        days=float(len(np.unique(day))) if days is None else days,
        amounts=None if amounts is None else np.asarray(amounts, np.float64),
        customers=None if customers is None else np.asarray(customers, np.int32),
        segments={name: pa.array(values, pa.string()).dictionary_encode() for name, values in segments.items()},
    )
