"""As many alerts as there can be while a share of them is fraud, from labels."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.intervals import predicted_count, share_interval
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.strategy import Strategy, labelled_rows, steps
from pipeline.calibration.threshold import Fulfilment, Threshold, at_most, between
from pipeline.errors import TrainingError
from pipeline.numbers import per_day, percent


@dataclass(frozen=True, kw_only=True)
class PrecisionAtLeast(Strategy):
    """Take the lowest cut at which at least this share of the alerts with a known label is fraud.

    Parameters
    ----------
    precision : float
        In (0, 1).
    """

    precision: float
    name: ClassVar[str] = "precision_at_least"

    def solve(self, rows: ScoredRows) -> Threshold:
        """Return the cut; `facts` has the alerts with a known label there, and the frauds among them."""
        scores, fraud, _ = labelled_rows(rows, self.name)
        cuts, alerts = steps(scores)
        hits = np.cumsum(fraud)[alerts - 1]
        places = np.flatnonzero(hits >= self.precision * alerts - 1e-9)
        if not len(places):
            place = int(np.argmax(hits / alerts))
            raise TrainingError(
                f"no cut has a precision of threshold.min_precision = {self.precision:g} on the {len(fraud):,} rows "
                f"with a known label; the most is {percent(hits[place] / alerts[place])}, with {alerts[place]:,} "
                f"alerts, so lower it to at most {at_most(hits[place] / alerts[place])}"
            )
        place = int(places[-1])
        number, frauds = int(alerts[place]), int(hits[place])
        low, high = share_interval(frauds, number)
        threshold = self._threshold(float(cuts[place]), rows, "", alerts=number, frauds=frauds)
        promise = (
            f"{percent(frauds / number)} of alerts are fraud (nine times in ten between {percent(low)} and "
            f"{percent(high)} in the long run), with {percent(frauds / fraud.sum())} of the frauds among them, about "
            f"{per_day(threshold.alerts_per_day)}: the most alerts of any cut with at least {percent(self.precision)} "
            f"on the {len(fraud):,} rows with a known label ({int(fraud.sum()):,} frauds) that it was chosen on, so "
            "expect somewhat less of others."
        )
        return replace(threshold, promise=promise)

    def fulfilment(self, threshold: Threshold, realised: Realised) -> Fulfilment:
        """Say how many of the alerts with a known label are fraud, and whether that is inside the interval."""
        labels = realised.alerts.labels
        alerts, frauds = int((~np.isnan(labels)).sum()), int((labels == 1).sum())
        if not alerts:
            return Fulfilment("No label of an alert is known yet, so the realised precision is not known either.")
        low, high = predicted_count(int(threshold.facts["frauds"]), int(threshold.facts["alerts"]), alerts)
        return Fulfilment(
            f"Of {alerts:,} alerts with a known label {frauds:,} are fraud ({percent(frauds / alerts)}), "
            f"{between(low, high, frauds)}: between {low:,} and {high:,} were predicted.",
            low <= frauds <= high,
        )
