"""A share of false alerts among the alerts of each batch, by Benjamini and Hochberg's procedure."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipeline.calibration.held_out import ScoredRows, segment
from pipeline.calibration.intervals import rank_for_rate, rows_for_rate
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.strategy import Strategy
from pipeline.calibration.threshold import Fulfilment, Threshold
from pipeline.errors import TrainingError
from pipeline.numbers import per_day, percent


@dataclass(frozen=True, kw_only=True)
class Fdr(Strategy):
    """Draw the line for each batch so that at most a share q of its alerts are false, on average.

    Benjamini and Hochberg's procedure on the conformal p-values of the batch. These depend on each other through the
    calibration rows they share, in the way that the procedure allows (Bates, Candes, Lei, Romano and Sesia, Annals of
    Statistics 51(1), 2023, theorem 2), so that the expected share is at most q times that of normal rows, as long as
    the normal rows of a batch are exchangeable with those calibrated on. With n of these no p-value is below
    1 / (n + 1), so in a batch of m rows no group of fewer than m / (q (n + 1)) alerts can be flagged at all.

    Parameters
    ----------
    share : float
        q, in (0, 1).
    """

    share: float
    name: ClassVar[str] = "fdr"
    is_of_all_rows: ClassVar[bool] = True

    def solve(self, rows: ScoredRows) -> Threshold:
        """Return the score that no row at or below is ever flagged with; `facts` has n (``normal_rows``)."""
        normal = np.sort(rows.scores[rows.normal])
        n = len(normal)
        k = rank_for_rate(n, self.share)
        if k == 0:
            raise TrainingError(
                f"a share of {self.share:g} false alerts needs at least {rows_for_rate(self.share):,} normal rows to "
                f"calibrate on and there are {n:,}; train on a longer period, or raise threshold.false_discovery_rate"
            )
        # Normal rows of the block leave themselves out, as a row of a batch is not among the calibration rows.
        at_least = n - np.searchsorted(normal, rows.scores, side="left")
        p_values = np.where(rows.normal, at_least / n, (1 + at_least) / (n + 1))
        days = rows.days
        alerts_per_day = int((p_values <= last_p_value(p_values, self.share)).sum()) / days
        rows_per_day = len(rows) / days
        promise = (
            f"In each batch at most {percent(self.share)} of the alerts are false on average, as long as its normal "
            f"rows are exchangeable with the {n:,} calibrated on. Of m rows no fewer than m / "
            f"{self.share * (n + 1):,.1f} can be flagged, which is {self.least(n, round(rows_per_day)):,} of the "
            f"{rows_per_day:,.0f} of a usual day. The block itself had {per_day(alerts_per_day)}."
        )
        threshold = self._threshold(float(normal[n - k]), rows, promise, normal_rows=n)
        return replace(threshold, alerts_per_day=alerts_per_day, alert_share=alerts_per_day / rows_per_day)

    def least(self, normal_rows: int, rows: int) -> int:
        """Return the least group of alerts that can be flagged: m / (q (n + 1)), rounded up.

        Examples
        --------
        >>> Fdr(share=0.1).least(normal_rows=99, rows=1000)
        100
        """
        return max(1, math.ceil(rows / (self.share * (normal_rows + 1)) - 1e-9))

    def join(self, common: Threshold, rows: ScoredRows, flags: np.ndarray) -> Threshold:
        """Return the threshold as it is: rows above its cuts are flagged in some batches only."""
        return common

    def line(self, threshold: Threshold, held_out: ScoredRows) -> "FdrLine":
        """Return what draws the line of a batch: rows above it have the p-values that the procedure accepts."""
        return FdrLine(threshold, held_out, self.share)

    def fulfilment(self, threshold: Threshold, realised: Realised) -> Fulfilment:
        """Say which share of the alerts is known to be false, and how few could be flagged."""
        n = int(threshold.facts["normal_rows"])
        text = (
            f"No group of fewer than {self.least(n, realised.rows):,} alerts could be flagged among these "
            f"{realised.rows:,} rows (m / (q (n + 1)), n = {n:,})."
        )
        labels = realised.alerts.labels
        alerts, false = int((~np.isnan(labels)).sum()), int((labels == 0).sum())
        if not alerts:
            return Fulfilment(text + (" The label of no alert is known yet." if len(labels) else ""))
        return Fulfilment(
            f"{text} Of {alerts:,} alerts with a known label {false:,} are false ({percent(false / alerts)}), where "
            f"{percent(self.share)} or less is promised on average over batches."
        )


class FdrLine:
    """Draws the line of a batch from how many of its rows have each p-value: there are no more than calibration rows.

    Where a column has groups of its own, each row's p-value is that among the calibration rows of its group.

    Parameters
    ----------
    threshold : Threshold
        From `Fdr.solve`, with its parts.
    held_out : ScoredRows
        The rows that it was solved on.
    share : float
        q, in (0, 1).
    """

    def __init__(self, threshold: Threshold, held_out: ScoredRows, share: float) -> None:
        self._threshold, self._share = threshold, share
        normal = held_out.take(held_out.normal)
        self._scores = [np.sort(normal.scores)]  # of all normal rows, then of each part's
        self._scores += [np.sort(normal.scores[normal.where(threshold.segment, value)]) for value in threshold.parts]
        self._rows = [np.zeros(len(scores) + 1, np.int64) for scores in self._scores]

    def add(self, scores: np.ndarray, segments: pa.Array | pa.ChunkedArray | None) -> None:
        """Count the p-values of the next rows of the batch."""
        rest = np.ones(len(scores), bool)
        if self._threshold.parts and len(scores):
            if segments is None:
                raise ValueError(f"the threshold goes by {self._threshold.segment!r}; give that column's values")
            values = np.asarray(segment(segments).cast(pa.string()))
            for place, value in enumerate(self._threshold.parts, 1):
                mask = values == value
                self._count(place, scores[mask])
                rest[mask] = False
        self._count(0, scores[rest])

    def _count(self, place: int, scores: np.ndarray) -> None:
        normal = self._scores[place]
        at_least = len(normal) - np.searchsorted(normal, scores, side="left")
        self._rows[place] += np.bincount(at_least, minlength=len(normal) + 1)

    def drawn(self) -> Threshold:
        """Return the threshold with the cuts of the batch; that of `Fdr.solve` where it has no row."""
        if not sum(int(rows.sum()) for rows in self._rows):
            return self._threshold
        p_values = [(1 + np.arange(len(scores) + 1)) / (1 + len(scores)) for scores in self._scores]
        last = last_p_value(np.concatenate(p_values), self._share, np.concatenate(self._rows))
        cuts = []
        for scores in self._scores:
            k = rank_for_rate(len(scores), last) if last > 0 else 0
            cuts.append(float(scores[len(scores) - k]) if k else math.inf)
        parts = zip(self._threshold.parts.items(), cuts[1:], strict=True)
        parts_of_batch = {name: replace(part, value=cut) for (name, part), cut in parts}
        return replace(self._threshold, value=cuts[0], parts=parts_of_batch)


def last_p_value(p_values: np.ndarray, share: float, rows: np.ndarray | None = None) -> float:
    """Return the largest p-value that Benjamini and Hochberg's procedure accepts at a share; 0 where there is none.

    Parameters
    ----------
    p_values : array of shape (n,)
    share : float
    rows : array of int, shape (n,), optional
        How many rows have each of them; one each when left out.

    Examples
    --------
    >>> last_p_value(np.array([0.9, 0.01, 0.02, 0.04]), 0.05)
    0.02
    >>> last_p_value(np.array([0.01, 0.02, 0.9]), 0.05, np.array([2, 1, 97]))
    0.0
    """
    if rows is None:
        p_values, rows = np.unique(p_values, return_counts=True)
    p_values, rows = p_values[rows > 0], rows[rows > 0]
    order = np.argsort(p_values)
    p_values, up_to = p_values[order], np.cumsum(rows[order])
    # The least of m p / i from here on: a p-value is accepted where a later one is.
    adjusted = p_values * (up_to[-1:] / up_to)
    is_accepted = np.minimum.accumulate(adjusted[::-1])[::-1] <= share
    return float(p_values[is_accepted].max(initial=0.0))
