"""The cut that saves the most money, from labels."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.strategy import Strategy, labelled_rows, steps, thinned
from pipeline.calibration.threshold import CutCurve, Fulfilment, Threshold
from pipeline.errors import TrainingError
from pipeline.numbers import per_day, percent


@dataclass(frozen=True, kw_only=True)
class Cost(Strategy):
    """Flag the rows whose review saves the most money in all, among those whose label is known.

    A cut saves ``recovered_share`` of the amount of every fraud that it flags, less ``review_cost`` for every alert.
    It is the best one for the rows that it was chosen on, so that others save somewhat less.

    Parameters
    ----------
    review_cost : float
        Of one alert, in the unit of the amounts.
    recovered_share : float
        In (0, 1].
    """

    review_cost: float
    recovered_share: float
    name: ClassVar[str] = "cost"

    def solve(self, rows: ScoredRows) -> Threshold:
        """Return the cut; `facts` has what it saves a day, and what flagging every fraud and nothing else would."""
        labelled, cuts, _, savings = self._savings(rows)
        place, frauds = int(np.argmax(savings)), labelled.labels == 1
        assert labelled.amounts is not None
        if not labelled.amounts[frauds].sum():
            raise TrainingError(
                f'threshold.strategy = "cost" weighs frauds by their amounts, and those of the {int(frauds.sum()):,} '
                "known frauds held out for calibration are all 0, so that no review recovers anything; take another "
                "strategy, or train on a period with amounts"
            )
        if savings[place] <= 0:
            raise TrainingError(
                f"no cut saves money: with threshold.review_cost = {self.review_cost:g} and "
                f"threshold.recovered_share = {self.recovered_share:g}, every number of alerts among the "
                f"{len(labelled):,} rows with a known label costs more than it recovers; lower the cost, or take "
                "another strategy"
            )
        ceiling = float(self._saved(labelled, frauds).sum())
        days = _days(labelled, rows)
        a_day = float(savings[place]) / days
        threshold = self._threshold(float(cuts[place]), rows, "", saved_per_day=a_day, most_per_day=ceiling / days)
        promise = (
            f"About {a_day:,.2f} a day saved, {percent(savings[place] / ceiling)} of what a review of every fraud and "
            f"of nothing else would save, by {per_day(threshold.alerts_per_day)} at {self.review_cost:g} a review "
            f"and {percent(self.recovered_share)} of a flagged fraud's amount recovered: the most of any cut on the "
            f"{len(labelled):,} rows with a known label ({int(frauds.sum()):,} frauds) that it was chosen on, so "
            "expect somewhat less of others."
        )
        return replace(threshold, promise=promise)

    def fulfilment(self, threshold: Threshold, realised: Realised) -> Fulfilment:
        """Say what the alerts with a known label saved."""
        if not realised.labelled or realised.alerts.amounts is None:
            return Fulfilment("No label of these rows is known yet, so what was saved is not known either.")
        alerts = realised.alerts.take(~np.isnan(realised.alerts.labels))
        savings = math.fsum(self._saved(alerts, np.ones(len(alerts), bool)))  # the same in whatever order they come
        return Fulfilment(
            f"The {len(alerts):,} alerts among {realised.labelled:,} rows with a known label saved {savings:,.2f}, "
            f"{savings / realised.labelled_days:,.2f} a day, where about {threshold.facts['saved_per_day']:,.2f} was "
            "expected."
        )

    def curve(self, threshold: Threshold, rows: ScoredRows) -> CutCurve:
        """Return the money saved a day over the alerts a day."""
        labelled, _, alerts, savings = self._savings(rows)
        days = _days(labelled, rows)
        place = int(np.argmax(savings))
        span = slice(8 * (place + 1))
        return CutCurve(
            title="Money saved by the number of alerts",
            text=f"A day, on the {len(labelled):,} rows with a known label: {percent(self.recovered_share)} of the "
            f"flagged frauds' amounts less {self.review_cost:g} an alert. The dot is the threshold.",
            x_label="alerts a day",
            lines=[("curve", "", thinned(alerts[span] / days, savings[span] / days))],
            at=(float(alerts[place] / days), float(savings[place] / days)),
        )

    def _saved(self, rows: ScoredRows, flags: np.ndarray) -> np.ndarray:
        assert rows.amounts is not None
        return np.where(flags, self.recovered_share * rows.amounts * (rows.labels == 1) - self.review_cost, 0.0)

    def _savings(self, rows: ScoredRows) -> tuple[ScoredRows, np.ndarray, np.ndarray, np.ndarray]:
        """Return the labelled rows, every cut, the alerts that it makes among them, and what it saves."""
        if rows.amounts is None:
            raise TrainingError(
                'threshold.strategy = "cost" needs the amounts, and the contract says that they are sensitive, so that '
                "they are not kept with the model; take another strategy"
            )
        scores, _, labelled = labelled_rows(rows, self.name)
        cuts, alerts = steps(scores)
        savings = np.cumsum(self._saved(labelled, np.ones(len(labelled), bool)))[alerts - 1]
        return labelled, cuts, alerts, savings


def _days(labelled: ScoredRows, rows: ScoredRows) -> float:
    """Return the days that the rows with a known label make up, as a share of those of all rows."""
    return rows.days * len(np.unique(labelled.day)) / len(np.unique(rows.day))
