"""Scored rows for the tests of this folder."""

import numpy as np

from pipeline.evaluation.measures import Outcomes


def outcomes(n=4000, seed=0, *, days=8, unknown=0.0, cards=400):
    """Rows of some days, one in 20 a fraud that scores two standard deviations higher; flagged above 2."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.05).astype(float)
    scores = rng.normal(size=n) + 2 * labels
    labels[rng.random(n) < unknown] = np.nan
    return Outcomes.of(
        np.sort(rng.integers(0, days, n)),
        rng.integers(0, cards, n),
        scores,
        labels,
        flagged=scores > 2,
        amounts=rng.gamma(2, 30, n),
    )
