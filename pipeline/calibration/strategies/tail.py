"""A rate so low that no calibration row is above its cut, by the law of the largest scores."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.intervals import HIGH, LOW
from pipeline.calibration.p_values import Calibration, TailLaw, tail_or_reason
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.false_alert_rate import false_alerts
from pipeline.calibration.strategies.strategy import Strategy, thinned
from pipeline.calibration.threshold import CutCurve, Fulfilment, Threshold
from pipeline.errors import TrainingError
from pipeline.numbers import per_day, percent

LAW_DRAWS = 4000
"""Draws of a law's parameters, as uncertain as its fit is."""


@dataclass(frozen=True, kw_only=True)
class PeaksOverThreshold(Strategy):
    """Flag about this share of normal rows, extrapolated beyond the largest calibration scores.

    The generalised Pareto law of `pipeline.calibration.p_values.fit_tail` gives the cut; a bad fit is refused. Unlike
    the conformal rate this rests on the law and holds no guarantee: the interval counts how uncertain the law's two
    parameters are (Smith, Biometrika 72(1), 1985) and how many scores lie above its level, not whether it is the
    right law.

    Parameters
    ----------
    rate : float
        In (0, 1), below the tenth of the scores that the law is fitted to.
    """

    rate: float
    name: ClassVar[str] = "tail"

    def solve(self, rows: ScoredRows) -> Threshold:
        """Return the cut; `facts` has the law and the number of normal rows."""
        normal = rows.scores[rows.normal]
        tail, reason = tail_or_reason(normal)
        if tail is None:
            raise TrainingError(
                f'threshold.strategy = "tail" cannot be used, for {reason}; train on a longer period, or take '
                "false_alert_rate"
            )
        share = level_share(tail, len(normal))
        if self.rate >= share:
            raise TrainingError(
                f"threshold.false_alert_rate is {self.rate:g} and the tail law holds below {share:.3g}; take "
                'threshold.strategy = "false_alert_rate", which needs no law there, or a lower rate'
            )
        value = cut_for(tail, self.rate / share)
        low, high = np.quantile(rates(tail, len(normal), value), [LOW, HIGH])
        facts = {"normal_rows": len(normal), **vars(tail), "low": float(low), "high": float(high)}
        threshold = self._threshold(value, rows, "", **facts)
        promise = (
            f"About {percent(self.rate)} of normal rows, one in {1 / self.rate:,.0f}, are flagged (nine times in ten "
            f"between {percent(low)} and {percent(high)}, if the law is right), and all rows together give about "
            f"{per_day(threshold.alerts_per_day)}: extrapolated from the {tail.exceedances:,} largest of "
            f"{len(normal):,} normal scores by a generalised Pareto law (shape {tail.shape:.2f}), which guarantees "
            "nothing, and for rows exchangeable with these."
        )
        return replace(threshold, promise=promise)

    def fulfilment(self, threshold: Threshold, realised: Realised) -> Fulfilment:
        """Say how many of the rows known to be normal were flagged, and whether that is inside the interval."""
        tail, n = _tail(threshold), int(threshold.facts["normal_rows"])

        def interval(normal: int) -> tuple[int, int]:
            counts = np.random.default_rng(0).binomial(normal, rates(tail, n, threshold.value))
            low, high = np.quantile(counts, [LOW, HIGH], method="inverted_cdf")
            return int(low), int(high)

        return false_alerts(realised, interval)

    def curve(self, threshold: Threshold, rows: ScoredRows) -> CutCurve:
        """Return the share of normal rows above each score: as it is, and by the law."""
        tail = _tail(threshold)
        scores = np.sort(rows.scores[rows.normal])
        exceedances = scores[scores > tail.level]
        shares = np.arange(len(exceedances), 0, -1) / (1 + len(scores))
        x = np.linspace(tail.level, max(threshold.value, float(exceedances[-1])) * 1.02, 200)
        law = Calibration(scores, tail).tail_p_value(x)
        assert law is not None
        return CutCurve(
            title="The tail that the threshold is extrapolated from",
            text="Share of normal rows above each score, on a log scale. The dot is the threshold; where the two lines "
            "part, do not trust it.",
            x_label="anomaly score",
            lines=[
                ("curve", "the law", thinned(x, law)),
                ("train", f"the {len(exceedances):,} scores that it was fitted to", thinned(exceedances, shares)),
            ],
            at=(threshold.value, self.rate),
            is_log=(False, True),
        )


def level_share(tail: TailLaw, rows: int) -> float:
    """Return the p-value at the level of a law that was fitted to the largest of so many scores.

    Examples
    --------
    >>> level_share(TailLaw(level=5.0, exceedances=99, shape=0.2, scale=2.0), 999)
    0.1
    """
    return (1 + tail.exceedances) / (1 + rows)


def cut_for(tail: TailLaw, survival: float) -> float:
    """Return the score that the law has this share of its scores above.

    Examples
    --------
    >>> from scipy import stats
    >>> cut = cut_for(TailLaw(level=5.0, exceedances=100, shape=0.2, scale=2.0), 0.001)
    >>> round(cut, 6), round(float(5 + stats.genpareto(0.2, scale=2).isf(0.001)), 6)
    (34.810717, 34.810717)
    """
    if tail.shape == 0:
        return tail.level - tail.scale * math.log(survival)
    return tail.level + tail.scale / tail.shape * (survival**-tail.shape - 1)


def rates(tail: TailLaw, rows: int, cut: float) -> np.ndarray:
    """Return draws of the share of normal rows above a cut, as uncertain as the law's fit is.

    With k scores above it, the level is the (k + 1)-th largest, and the share above it is drawn from its beta law,
    Beta(k + 1, rows - k) (see `pipeline.calibration.intervals.realised_rate`); shape and scale from the normal law of
    their maximum likelihood estimates, with n cov = (1 + shape) [[1 + shape, -scale], [-scale, 2 scale²]].

    Returns
    -------
    array of shape (4000,), in [0, 1]
    """
    generator = np.random.default_rng(0)
    level = generator.beta(tail.exceedances + 1, rows - tail.exceedances, LAW_DRAWS)
    one = 1 + tail.shape
    covariance = one / tail.exceedances * np.array([[one, -1.0], [-1.0, 2.0]])
    shape, log_scale = generator.multivariate_normal([tail.shape, math.log(tail.scale)], covariance, LAW_DRAWS).T
    excess = (cut - tail.level) / np.exp(log_scale)
    is_exponential = np.abs(shape) < 1e-9
    base = np.maximum(1 + np.where(is_exponential, 0.0, shape) * excess, 0.0)
    with np.errstate(divide="ignore"):
        survival = np.where(
            is_exponential, np.exp(-excess), np.exp(-np.log(base) / np.where(is_exponential, 1.0, shape))
        )
    return level * np.where(base > 0, survival, 0.0)


def _tail(threshold: Threshold) -> TailLaw:
    facts = threshold.facts
    return TailLaw(
        level=facts["level"], exceedances=int(facts["exceedances"]), shape=facts["shape"], scale=facts["scale"]
    )
