"""The best balance of precision and recall, from labels."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.strategies.base import Strategy, known_rows, steps, thinned
from pipeline.calibration.threshold import CutCurve, Fulfilment, Threshold, per_day
from pipeline.numbers import percent


@dataclass(frozen=True, kw_only=True)
class FBeta(Strategy):
    """Take the cut with the highest F-beta among the rows whose label is known.

    F-beta is (1 + b²) tp / ((1 + b²) tp + b² fn + fp) (van Rijsbergen, Information Retrieval, 1979): recall counts b
    times as much as precision. It is the highest for the rows that it was chosen on, so that others have somewhat less.

    Parameters
    ----------
    beta : float
        Above 0.
    """

    beta: float
    name: ClassVar[str] = "f_beta"

    def solve(self, rows: ScoredRows) -> Threshold:
        """Return the cut; `facts` has F-beta, precision and recall there."""
        scores, fraud, _ = known_rows(rows, self.name)
        cuts, flagged = steps(scores)
        hits = np.cumsum(fraud)[flagged - 1]
        f = f_beta(hits, flagged, int(fraud.sum()), self.beta)
        best = int(np.argmax(f))
        precision, recall = float(hits[best] / flagged[best]), float(hits[best] / fraud.sum())
        facts = {"f_beta": float(f[best]), "precision": precision, "recall": recall}
        threshold = self._threshold(float(cuts[best]), rows, "", **facts)
        promise = (
            f"F-{self.beta:g} of about {f[best]:.3f}: {percent(precision)} of alerts are fraud and {percent(recall)} "
            f"of frauds are alerts, about {per_day(threshold.alerts_per_day)}: the most of any cut on the "
            f"{len(fraud):,} rows with a known label ({int(fraud.sum()):,} frauds) that it was chosen on, so expect "
            "somewhat less of others."
        )
        return replace(threshold, promise=promise)

    def fulfilment(self, threshold: Threshold, rows: ScoredRows, flags: np.ndarray) -> Fulfilment:
        """Say what F-beta, precision and recall are among the rows with a known label."""
        known = ~np.isnan(rows.labels)
        fraud = rows.labels[known] == 1
        flagged, hits, frauds = int(flags[known].sum()), int((flags[known] & fraud).sum()), int(fraud.sum())
        if not frauds:
            return Fulfilment("No fraud among these rows is known yet, so that F-beta is not known either.")
        f = float(f_beta(np.array(hits), np.array(flagged), frauds, self.beta))
        return Fulfilment(
            f"F-{self.beta:g} is {f:.3f} on the {len(fraud):,} rows with a known label, where about "
            f"{threshold.facts['f_beta']:.3f} was expected: {hits:,} of {flagged:,} alerts are fraud, of {frauds:,} "
            "frauds."
        )

    def curve(self, threshold: Threshold, rows: ScoredRows) -> CutCurve:
        """Return F-beta over the number of alerts."""
        scores, fraud, known = known_rows(rows, self.name)
        _, flagged = steps(scores)
        hits = np.cumsum(fraud)[flagged - 1]
        f = f_beta(hits, flagged, int(fraud.sum()), self.beta)
        best = int(np.argmax(f))
        return CutCurve(
            title=f"F-{self.beta:g} by the number of alerts",
            text=f"On the {len(known):,} rows with a known label. The dot is the threshold.",
            x_label="alerts among these rows (log scale)",
            lines=[("curve", "", thinned(flagged.astype(float), f, 400))],
            at=(float(flagged[best]), float(f[best])),
            is_log=(True, False),
        )


def f_beta(hits: np.ndarray, flagged: np.ndarray, frauds: int, beta: float) -> np.ndarray:
    """Return F-beta of so many flagged rows with so many frauds among them, of all frauds.

    Examples
    --------
    >>> round(float(f_beta(np.array(3), np.array(4), 6, 1.0)), 3)
    0.6
    """
    square = beta**2
    # (1 + b²) tp + b² fn + fp = b² frauds + flagged
    return (1 + square) * hits / (square * frauds + flagged)
