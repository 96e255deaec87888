"""A share of the frauds among the alerts, from labels."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.intervals import realised_count, realised_rate
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.strategy import Strategy, labelled_rows
from pipeline.calibration.threshold import Fulfilment, Threshold, at_most, between
from pipeline.errors import TrainingError
from pipeline.numbers import per_day, percent


@dataclass(frozen=True, kw_only=True)
class RecallAtLeast(Strategy):
    """Take the highest cut that flags at least this share of frauds, on average over draws of the frauds known.

    With F known frauds the cut lies right below the j-th highest of their scores, j = ceil(recall (F + 1)): a
    further fraud exchangeable with them is flagged with a chance of at least j / (F + 1).

    Parameters
    ----------
    recall : float
        In (0, 1).
    """

    recall: float
    name: ClassVar[str] = "recall_at_least"

    def solve(self, rows: ScoredRows) -> Threshold:
        """Return the cut; `facts` has F (``frauds``) and j (``rank``)."""
        scores, fraud, _ = labelled_rows(rows, self.name)
        frauds = int(fraud.sum())
        j = math.ceil(self.recall * (frauds + 1) - 1e-9)
        if j > frauds:
            least = math.ceil(self.recall / (1 - self.recall) - 1e-9)
            raise TrainingError(
                f"a recall of threshold.min_recall = {self.recall:g} needs at least {least:,} known frauds among the "
                f"rows held out for calibration and there are {frauds:,}; train on a longer period, or lower it to at "
                f"most {at_most(frauds / (frauds + 1))}"
            )
        value = float(np.nextafter(scores[fraud][j - 1], -np.inf))
        low, high = realised_rate(frauds, j)
        flags = scores > value
        threshold = self._threshold(value, rows, "", frauds=frauds, rank=j)
        promise = (
            f"At least {percent(self.recall)} of frauds are flagged on average (nine times in ten between "
            f"{percent(low)} and {percent(high)} in the long run), as long as they are exchangeable with the "
            f"{frauds:,} known ones that it was chosen on, by about {per_day(threshold.alerts_per_day)}, of which "
            f"{percent(float(fraud[flags].mean()))} were fraud."
        )
        return replace(threshold, promise=promise)

    def fulfilment(self, threshold: Threshold, realised: Realised) -> Fulfilment:
        """Say how many of the known frauds were flagged, and whether that is inside the interval."""
        frauds, hits = realised.frauds, int((realised.alerts.labels == 1).sum())
        if not frauds:
            return Fulfilment("No fraud among these rows is known yet, so the realised recall is not known either.")
        low, high = realised_count(int(threshold.facts["frauds"]), int(threshold.facts["rank"]), frauds)
        return Fulfilment(
            f"Of {frauds:,} known frauds {hits:,} were flagged ({percent(hits / frauds)}), "
            f"{between(low, high, hits)}: between {low:,} and {high:,} were predicted.",
            low <= hits <= high,
        )
