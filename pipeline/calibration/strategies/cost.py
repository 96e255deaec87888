"""The cut that saves the most money, from labels."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.strategies.base import Strategy, known_rows, steps, thinned
from pipeline.calibration.threshold import CutCurve, Fulfilment, Threshold, per_day
from pipeline.errors import TrainingError
from pipeline.numbers import percent


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
        known, cuts, _, saved = self._savings(rows)
        best, frauds = int(np.argmax(saved)), known.labels == 1
        assert known.amounts is not None
        if not known.amounts[frauds].sum():
            raise TrainingError(
                f'threshold.strategy = "cost" weighs frauds by their amounts, and those of the {int(frauds.sum()):,} '
                "known frauds held out for calibration are all 0, so that no review recovers anything; take another "
                "strategy, or train on a period with amounts"
            )
        if saved[best] <= 0:
            raise TrainingError(
                f"no cut saves money: with threshold.review_cost = {self.review_cost:g} and "
                f"threshold.recovered_share = {self.recovered_share:g}, every number of alerts among the "
                f"{len(known):,} rows with a known label costs more than it recovers; lower the cost, or take another "
                "strategy"
            )
        most = float(self._saved(known, frauds).sum())
        days = _days(known, rows)
        a_day = float(saved[best]) / days
        threshold = self._threshold(float(cuts[best]), rows, "", saved_per_day=a_day, most_per_day=most / days)
        promise = (
            f"About {a_day:,.2f} a day saved, {percent(saved[best] / most)} of what a review of every fraud and "
            f"of nothing else would save, by {per_day(threshold.alerts_per_day)} at {self.review_cost:g} a review "
            f"and {percent(self.recovered_share)} of a flagged fraud's amount recovered: the most of any cut on the "
            f"{len(known):,} rows with a known label ({int(frauds.sum()):,} frauds) that it was chosen on, so expect "
            "somewhat less of others."
        )
        return replace(threshold, promise=promise)

    def fulfilment(self, threshold: Threshold, rows: ScoredRows, flags: np.ndarray) -> Fulfilment:
        """Say what the alerts with a known label saved."""
        known = rows.take(~np.isnan(rows.labels))
        if not len(known) or known.amounts is None:
            return Fulfilment("No label of these rows is known yet, so what was saved is not known either.")
        flagged = flags[~np.isnan(rows.labels)]
        saved = float(self._saved(known, flagged).sum())
        days = len(np.unique(known.day))
        return Fulfilment(
            f"The {int(flagged.sum()):,} alerts among {len(known):,} rows with a known label saved {saved:,.2f}, "
            f"{saved / days:,.2f} a day, where about {threshold.facts['saved_per_day']:,.2f} was expected."
        )

    def curve(self, threshold: Threshold, rows: ScoredRows) -> CutCurve:
        """Return the money saved a day over the alerts a day."""
        known, _, flagged, saved = self._savings(rows)
        days = _days(known, rows)
        best = int(np.argmax(saved))
        shown = slice(0, max(min(len(saved), 8 * (best + 1)), best + 1))
        return CutCurve(
            title="Money saved by the number of alerts",
            text=f"A day, on the {len(known):,} rows with a known label: {percent(self.recovered_share)} of the "
            f"flagged frauds' amounts less {self.review_cost:g} an alert. The dot is the threshold.",
            x_label="alerts a day",
            lines=[("curve", "", thinned(flagged[shown] / days, saved[shown] / days))],
            at=(float(flagged[best] / days), float(saved[best] / days)),
        )

    def _saved(self, known: ScoredRows, flagged: np.ndarray) -> np.ndarray:
        assert known.amounts is not None
        return np.where(flagged, self.recovered_share * known.amounts * (known.labels == 1) - self.review_cost, 0.0)

    def _savings(self, rows: ScoredRows) -> tuple[ScoredRows, np.ndarray, np.ndarray, np.ndarray]:
        """Return the known rows, every cut, the alerts that it makes among them, and what it saves."""
        if rows.amounts is None:
            raise TrainingError(
                'threshold.strategy = "cost" needs the amounts, and the contract says that they are sensitive, so that '
                "they are not kept with the model; take another strategy"
            )
        scores, _, known = known_rows(rows, self.name)
        cuts, flagged = steps(scores)
        saved = np.cumsum(self._saved(known, np.ones(len(known), bool)))[flagged - 1]
        return known, cuts, flagged, saved


def _days(known: ScoredRows, rows: ScoredRows) -> float:
    """Return the days that the rows with a known label make up, as a share of those of all rows."""
    return rows.days * len(np.unique(known.day)) / len(np.unique(rows.day))
