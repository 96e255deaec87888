"""A share of false alerts among the alerts of each batch, by Benjamini and Hochberg's procedure."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pipeline.calibration.held_out import ScoredRows, segment
from pipeline.calibration.intervals import rank_for_rate, rows_for_rate
from pipeline.calibration.p_values import Calibration
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

    def cuts(
        self,
        threshold: Threshold,
        scores: np.ndarray,
        segments: pa.Array | pa.ChunkedArray | None,
        held_out: ScoredRows,
    ) -> float | np.ndarray:
        """Return the line of this batch: rows above it have the p-values that the procedure accepts.

        Where a column has groups of its own, each row's p-value is that among the calibration rows of its group.
        """
        normal = held_out.take(held_out.normal)
        groups = [(np.ones(len(scores), bool), np.sort(normal.scores))]
        if threshold.parts:
            values = np.asarray(segment(pa.chunked_array([]) if segments is None else segments).cast(pa.string()))
            for value in threshold.parts:
                mask = values == value
                groups[0][0][mask] = False
                groups.append((mask, np.sort(normal.scores[normal.where(threshold.segment, value)])))
        p_values = np.ones(len(scores))
        for mask, calibration in groups:
            p_values[mask] = Calibration(calibration).p_value(scores[mask])
        last, cuts = last_p_value(p_values, self.share), np.full(len(scores), np.inf)
        for mask, calibration in groups:
            k = rank_for_rate(len(calibration), last) if last > 0 else 0
            cuts[mask] = calibration[len(calibration) - k] if k else np.inf
        return cuts if threshold.parts else float(cuts[0]) if len(cuts) else threshold.value

    def fulfilment(self, threshold: Threshold, rows: ScoredRows, flags: np.ndarray) -> Fulfilment:
        """Say which share of the alerts is known to be false, and how few could be flagged."""
        n = int(threshold.facts["normal_rows"])
        text = (
            f"No group of fewer than {self.least(n, len(rows)):,} alerts could be flagged among these {len(rows):,} "
            f"rows (m / (q (n + 1)), n = {n:,})."
        )
        with_label = flags & ~np.isnan(rows.labels)
        alerts = int(with_label.sum())
        if not alerts:
            return Fulfilment(text + (" The label of no alert is known yet." if flags.any() else ""))
        false = int((with_label & (rows.labels == 0)).sum())
        return Fulfilment(
            f"{text} Of {alerts:,} alerts with a known label {false:,} are false ({percent(false / alerts)}), where "
            f"{percent(self.share)} or less is promised on average over batches."
        )


def last_p_value(p_values: np.ndarray, share: float) -> float:
    """Return the largest p-value that Benjamini and Hochberg's procedure accepts at a share; 0 where there is none.

    Examples
    --------
    >>> last_p_value(np.array([0.9, 0.01, 0.02, 0.04]), 0.05)
    0.02
    """
    from scipy import stats

    if not len(p_values):
        return 0.0
    is_accepted = stats.false_discovery_control(p_values, method="bh") <= share
    return float(p_values[is_accepted].max(initial=0.0))
