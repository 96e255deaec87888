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


def partly_labelled(seed, rows=800, *, ties=True):
    """Rows of four days, one in 20 a fraud that scores higher, and one label in five not known."""
    generator = np.random.default_rng(seed)
    fraud = generator.random(rows) < 0.05
    scores = generator.normal(size=rows) + 2 * fraud
    amounts = generator.lognormal(2, 1, rows)
    labels = np.where(generator.random(rows) < 0.2, np.nan, fraud)
    day = np.sort(generator.integers(0, 4, rows))
    return made(scores.round(1) if ties else scores, labels=labels, amounts=amounts, day=day)


def every_cut(rows):
    """Every cut that flags other rows than the next one, the lowest below all scores."""
    return np.unique(np.concatenate([rows.scores, [rows.scores.min() - 1]]))
