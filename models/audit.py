"""What to look at before a model is trusted: rows that should not have been fitted, and models that say nothing."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from models.capabilities import WithCode
from models.one_class import OneClassModel

FLAGGED = 0.5
"""A model that flags more than this share of normal rows is useless."""
CODE_SPREAD = 1e-6
"""Codes that differ by less than this, against the largest, are the same."""
LEAST_APART = 0.1
"""A code has collapsed when fewer than this share of the rows have another one than the median."""


def movement(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Return how much scores moved from one fit to another of the same rows, shape (n_rows,).

    ``median_before``, ``median_after``, and Spearman's ``rank_correlation`` of the two: 1 means that the rows kept
    their order.

    Examples
    --------
    >>> movement(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 5.0]))
    {'median_before': 2.0, 'median_after': 4.0, 'rank_correlation': 1.0}
    """
    is_constant = before.min() == before.max() or after.min() == after.max()
    correlation = 0.0 if is_constant else float(spearmanr(before, after).statistic)
    return {
        "median_before": float(np.median(before)),
        "median_after": float(np.median(after)),
        "rank_correlation": correlation,
    }


def check_not_degenerate(model: OneClassModel, X: ArrayLike) -> None:
    """Refuse a model that cannot tell rows apart.

    Parameters
    ----------
    model : OneClassModel
        Fitted.
    X : array or frame of shape (n_rows, n_columns)
        Normal rows that took no part in fitting; some hundred at least, and not all alike.

    Raises
    ------
    ValueError
        When all rows score alike, when ``predict`` calls most of them outliers, or when an autoencoder's code is
        the same for nearly all of them.
    """
    name, scores = type(model).__name__, model.anomaly_score(X)
    if scores.min() == scores.max():
        raise ValueError(f"{name} gives all {len(scores):,} rows the same score, {scores[0]:g}: it has learnt nothing")
    share = float((-scores < model.offset_).mean())
    if share > FLAGGED:
        raise ValueError(
            f"{name} flags {100 * share:.0f} % of {len(scores):,} normal rows, against "
            f"{100 * model.contamination:.3g} % of those that it was fitted on: these rows are of another kind, "
            "or it has learnt its fit rows by heart"
        )
    if isinstance(model, WithCode):
        code = model.encode(X).astype(np.float64)
        apart = np.abs(code - np.median(code, axis=0)) > CODE_SPREAD * max(1.0, np.abs(code).max())
        different = float(apart.any(axis=1).mean())
        if different < LEAST_APART:
            rate = model.get_params().get("learning_rate")
            remedy = "" if rate is None else f"; lower its penalty or its learning_rate={rate:g}"
            raise ValueError(
                f"{name} gives {100 * (1 - different):.0f} % of {len(scores):,} rows the same code: "
                f"it has collapsed{remedy}"
            )
