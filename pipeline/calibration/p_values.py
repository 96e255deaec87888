"""From anomaly scores to p-values, by the scores of normal rows that took no part in fitting."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

TAIL_SHARE = 0.1
"""Share of the scores that the tail law is fitted to: the largest."""
MIN_EXCEEDANCES = 50
"""Least scores above the tail law's level."""
MIN_FIT_P_VALUE = 0.05
"""Least p-value of the Kolmogorov-Smirnov test of the tail law."""
MAX_SHAPE = 1.0
"""Shape from which on a generalised Pareto law has no mean."""


@dataclass(frozen=True)
class TailLaw:
    """A generalised Pareto law for the scores above a level.

    Parameters
    ----------
    level : float
        The score above which the law holds.
    exceedances : int
        Calibration scores above the level.
    shape, scale : float
        Of the generalised Pareto law (``xi >= 0`` and ``sigma > 0``).
    """

    level: float
    exceedances: int
    shape: float
    scale: float


class Calibration:
    """Split-conformal p-values, and extrapolated ones for scores beyond the calibration rows.

    Parameters
    ----------
    scores : array of shape (n,)
        Anomaly scores of normal rows that took no part in fitting; any order, finite.
    tail : TailLaw, optional
        The law above the largest scores; None when they do not follow one.

    References
    ----------
    Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005.
    Bates, Candes, Lei, Romano and Sesia, Testing for outliers with conformal p-values,
    Annals of Statistics 51(1), 2023, equation 3.

    Examples
    --------
    >>> calibration = Calibration(np.array([1.0, 2.0, 3.0, 4.0]))
    >>> calibration.p_value(np.array([0.0, 3.0, 3.5, 9.0])).tolist()
    [1.0, 0.6, 0.4, 0.2]
    """

    def __init__(self, scores: np.ndarray, tail: TailLaw | None = None) -> None:
        self.scores = np.sort(np.asarray(scores, dtype=np.float64))
        self.tail = tail

    @classmethod
    def fit(cls, scores: np.ndarray) -> Self:
        """Return the calibration of these scores, with the tail law of the largest of them.

        Parameters
        ----------
        scores : array of shape (n,), n >= 1
            Anomaly scores of normal rows that took no part in fitting.

        Raises
        ------
        ValueError
            When there is no score, or one is not finite.
        """
        scores = np.asarray(scores, dtype=np.float64)
        if len(scores) == 0 or not np.isfinite(scores).all():
            raise ValueError("calibration needs at least one score, and finite ones")
        return cls(scores, fit_tail(scores))

    def p_value(self, scores: np.ndarray) -> np.ndarray:
        """Return (1 + calibration scores at least as high) / (1 + their number), in [1 / (n + 1), 1].

        For a new row exchangeable with the calibration rows, P(p_value <= a) <= a for every a.

        Parameters
        ----------
        scores : array of shape (n_rows,)

        Returns
        -------
        array of shape (n_rows,), float64
        """
        at_least = len(self.scores) - np.searchsorted(self.scores, scores, side="left")
        return (1 + at_least) / (1 + len(self.scores))

    def tail_p_value(self, scores: np.ndarray, p_values: np.ndarray | None = None) -> np.ndarray | None:
        """Return the p-value, beyond the tail's level extrapolated by the law fitted there.

        Up to the level it equals `p_value`; above, it is p(level) times the law's survival function
        (peaks over threshold: Pickands, Annals of Statistics 3(1), 1975; Balkema and de Haan, Annals of
        Probability 2(5), 1974). It never rises with the score and is never 0. Unlike `p_value`
        it rests on the law, and holds no guarantee.

        Parameters
        ----------
        scores : array of shape (n_rows,)
        p_values : array of shape (n_rows,), optional
            What `p_value` makes of them, where that is known already.

        Returns
        -------
        array of shape (n_rows,), float64, or None
            None when no law fits the largest calibration scores.
        """
        if self.tail is None:
            return None
        scores = np.asarray(scores, dtype=np.float64)
        level_share = (1 + self.tail.exceedances) / (1 + len(self.scores))
        excess = np.maximum(scores - self.tail.level, 0) / self.tail.scale
        shape = self.tail.shape
        log_survival = -np.log1p(shape * excess) / shape if shape > 0 else -excess
        extrapolation = np.maximum(level_share * np.exp(log_survival), np.finfo(np.float64).tiny)
        return np.where(scores > self.tail.level, extrapolation, self.p_value(scores) if p_values is None else p_values)

    def to_dict(self) -> dict[str, Any]:
        """Return the tail law as JSON types; the scores are kept as a table of their own."""
        return {"tail": None if self.tail is None else vars(self.tail)}

    @classmethod
    def from_dict(cls, raw: dict[str, Any], scores: np.ndarray) -> Self:
        """Return the calibration that `to_dict` was called on, from its result and the scores."""
        return cls(scores, None if raw["tail"] is None else TailLaw(**raw["tail"]))


def fit_tail(scores: np.ndarray) -> TailLaw | None:
    """Return the generalised Pareto law of the excesses of the top tenth of the scores.

    Departs from the textbook fit: a negative shape is replaced by 0 (an exponential law), so that no score,
    however high, is called impossible.

    Parameters
    ----------
    scores : array of shape (n,)

    Returns
    -------
    TailLaw or None
        None with fewer than 50 scores above the level, a shape of 1 or more (the law has no mean), or a
        Kolmogorov-Smirnov test that rejects the law at 5 %.

    Examples
    --------
    >>> tail = fit_tail(np.random.default_rng(0).exponential(size=20_000))
    >>> tail.shape < 0.1, 0.9 < tail.scale < 1.1
    (True, True)
    """
    return tail_or_reason(scores)[0]


def tail_or_reason(scores: np.ndarray) -> tuple[TailLaw | None, str]:
    """Return what `fit_tail` does and, where that is None, the reason: what there is, and what is asked for.

    Examples
    --------
    >>> tail_or_reason(np.arange(100.0))
    (None, 'a tail law needs 50 scores above its level, the top tenth, and of 100 there are 10')
    """
    from scipy import stats

    scores = np.sort(np.asarray(scores, dtype=np.float64))
    exceedances = int(TAIL_SHARE * len(scores))
    few = f"a tail law needs {MIN_EXCEEDANCES} scores above its level, the top tenth, and of {len(scores):,} there are "
    if exceedances < MIN_EXCEEDANCES:
        return None, f"{few}{exceedances}"
    level = scores[-exceedances - 1]
    excesses = scores[scores > level] - level
    if len(excesses) < MIN_EXCEEDANCES:
        return None, f"{few}{len(excesses)}, the others being ties"
    # The optimiser starts from absolute guesses: excesses of mean 1 keep it where they are good.
    mean = excesses.mean()
    shape, _, scale = stats.genpareto.fit(excesses / mean, floc=0)
    if shape < 0:
        shape, scale = 0.0, 1.0
    if not shape < MAX_SHAPE:
        return (
            None,
            f"the law that fits the largest scores has the shape {shape:.2f}, and with 1 or more it has no mean",
        )
    test = stats.kstest(excesses / mean, stats.genpareto(shape, scale=scale).cdf)
    if not test.pvalue >= MIN_FIT_P_VALUE:
        return None, (
            "the largest scores do not follow a generalised Pareto law (Kolmogorov-Smirnov test, p-value "
            f"{test.pvalue:.2g} and {MIN_FIT_P_VALUE:g} is the least)"
        )
    return TailLaw(level=float(level), exceedances=len(excesses), shape=float(shape), scale=float(scale * mean)), ""
