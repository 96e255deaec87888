"""The best balance of precision and recall, from labels."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.strategy import Strategy, labelled_rows, steps, thinned
from pipeline.calibration.threshold import CutCurve, Fulfilment, Threshold
from pipeline.numbers import per_day, percent


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
        scores, fraud, _ = labelled_rows(rows, self.name)
        cuts, alerts = steps(scores)
        hits = np.cumsum(fraud)[alerts - 1]
        f = f_beta(hits, alerts, int(fraud.sum()), self.beta)
        place = int(np.argmax(f))
        precision, recall = float(hits[place] / alerts[place]), float(hits[place] / fraud.sum())
        facts = {"f_beta": float(f[place]), "precision": precision, "recall": recall}
        threshold = self._threshold(float(cuts[place]), rows, "", **facts)
        promise = (
            f"F-{self.beta:g} of about {f[place]:.3f}: {percent(precision)} of alerts are fraud and {percent(recall)} "
            f"of frauds are alerts, about {per_day(threshold.alerts_per_day)}: the most of any cut on the "
            f"{len(fraud):,} rows with a known label ({int(fraud.sum()):,} frauds) that it was chosen on, so expect "
            "somewhat less of others."
        )
        return replace(threshold, promise=promise)

    def fulfilment(self, threshold: Threshold, realised: Realised) -> Fulfilment:
        """Say what F-beta, precision and recall are among the rows with a known label."""
        labels, frauds = realised.alerts.labels, realised.frauds
        alerts, hits = int((~np.isnan(labels)).sum()), int((labels == 1).sum())
        if not frauds:
            return Fulfilment("No fraud among these rows is known yet, so that F-beta is not known either.")
        f = float(f_beta(np.array(hits), np.array(alerts), frauds, self.beta))
        return Fulfilment(
            f"F-{self.beta:g} is {f:.3f} on the {realised.labelled:,} rows with a known label, where about "
            f"{threshold.facts['f_beta']:.3f} was expected: {hits:,} of {alerts:,} alerts are fraud, of "
            f"{frauds:,} frauds."
        )

    def curve(self, threshold: Threshold, rows: ScoredRows) -> CutCurve:
        """Return F-beta over the number of alerts."""
        scores, fraud, labelled = labelled_rows(rows, self.name)
        _, alerts = steps(scores)
        hits = np.cumsum(fraud)[alerts - 1]
        f = f_beta(hits, alerts, int(fraud.sum()), self.beta)
        place = int(np.argmax(f))
        return CutCurve(
            title=f"F-{self.beta:g} by the number of alerts",
            text=f"On the {len(labelled):,} rows with a known label. The dot is the threshold.",
            x_label="alerts among these rows (log scale)",
            lines=[("curve", "", thinned(alerts.astype(float), f, 400))],
            at=(float(alerts[place]), float(f[place])),
            is_log=(True, False),
        )


def f_beta(hits: np.ndarray, alerts: np.ndarray, frauds: int, beta: float) -> np.ndarray:
    """Return F-beta of so many alerts with so many frauds among them, of all frauds: in [0, 1], of the arrays' shape.

    Examples
    --------
    >>> round(float(f_beta(np.array(3), np.array(4), 6, 1.0)), 3)
    0.6
    """
    square = beta**2
    # (1 + b²) tp + b² fn + fp = b² frauds + alerts
    return (1 + square) * hits / (square * frauds + alerts)
