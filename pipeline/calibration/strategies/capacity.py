"""As many alerts, or customers, a calendar day as the team can review."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.intervals import day_variance, queue_interval
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.strategy import Strategy
from pipeline.calibration.threshold import Fulfilment, Threshold, at_least, between
from pipeline.errors import TrainingError
from pipeline.numbers import per_day, percent


@dataclass(frozen=True, kw_only=True)
class Capacity(Strategy):
    """A fixed cut that flags k alerts, or alerts of k customers, a calendar day, whatever the files.

    It is solved on all rows that took no part in fitting, labelled or not, of whole days where there are two or more.
    A day's queue is predicted with an interval, see `pipeline.calibration.intervals.queue_interval`.

    Parameters
    ----------
    alerts_per_day : float
        How many the team can review a day, above 0.
    unit : {"alerts", "customers"}
        Whether a customer with several alerts on a day counts once.
    """

    alerts_per_day: float
    unit: str = "alerts"
    name: ClassVar[str] = "capacity"
    is_of_all_rows: ClassVar[bool] = True

    def solve(self, rows: ScoredRows) -> Threshold:
        """Return the cut; `facts` has the mean and variance of the days' queues, and how many days."""
        if self.unit == "customers" and rows.customers is None:
            raise TrainingError(
                'threshold.unit is "customers" and the contract names no entity; name the customer as its first '
                'entity, or set threshold.unit = "alerts"'
            )
        scores, days = self.counted(rows)
        k = math.floor(self.alerts_per_day * days + 1e-9)
        self._check(k, scores, days)
        value = float(np.partition(scores, len(scores) - k - 1)[len(scores) - k - 1])
        threshold = self.at(value, rows)
        alerts, ties = np.count_nonzero(scores > value), np.count_nonzero(scores == value)
        if alerts == k:
            return threshold
        shortfall = (
            f" Of the {k:,} {self.unit} asked for in that time only {alerts:,} lie above the cut: the next {ties:,} "
            f"score all alike, and flagging them would make {alerts + ties:,}."
        )
        return replace(threshold, promise=threshold.promise + shortfall)

    def counted(self, rows: ScoredRows) -> tuple[np.ndarray, float]:
        """Return the score of each thing that a queue counts, on whole days, and how many days these are."""
        block, days = _whole_days(rows)
        return block.queue(self.unit).scores, days

    def at(self, value: float, rows: ScoredRows) -> Threshold:
        """Return the threshold at a cut that is given, and what it promises on rows like these."""
        return self.join(self._threshold(value, rows, ""), rows, rows.scores > value)

    def split(self, rows: ScoredRows, masks: Mapping[str, np.ndarray], common: Threshold) -> dict[str, Threshold]:
        """Share what the other rows leave of the capacity among the groups, in proportion to their rows."""
        in_a_group = np.logical_or.reduce([np.zeros(len(rows), bool), *masks.values()])
        block, days = _whole_days(rows)
        rest, _ = _whole_days(rows.take(~in_a_group))
        room = float(self.alerts_per_day - np.count_nonzero(rest.scores > common.value) / days)
        parts = {}
        for value, mask in masks.items():
            share = max(room, 0.0) * float(mask.sum()) / float(in_a_group.sum())
            part = block.take(block.where(common.segment, value))
            k = math.floor(share * days + 1e-9)
            if 0 < k < len(part):
                cut = float(np.partition(part.scores, len(part) - k - 1)[len(part) - k - 1])
                strategy = replace(self, alerts_per_day=share)
                group = rows.take(mask)
                parts[value] = strategy.join(strategy._threshold(cut, group, ""), group, group.scores > cut)
        return parts

    def join(self, common: Threshold, rows: ScoredRows, flags: np.ndarray) -> Threshold:
        """Return the threshold with the queue that the flags lead one to expect."""
        common = super().join(common, rows, flags)
        block, days = _whole_days(rows)
        whole = rows.whole if len(block) < len(rows) else np.ones(len(rows), bool)
        counts = block.daily(flags[whole], self.unit)
        total = int(counts.sum())
        facts, sources = {"mean": total / days, "days": days}, "chance alone, for there are no two whole days"
        if len(np.unique(rows.day[rows.whole])) > 1:
            facts["variance"], sources = day_variance(counts), "chance and what these days varied"
        low, high = queue_interval(facts["mean"], facts.get("variance", math.nan), days)
        promise = (
            f"About {per_day(facts['mean'], self.unit)} ({percent(common.alert_share)} of rows; nine days in ten "
            f"between {low:,} and {high:,}, from {sources}), as long as days are like the {days:,.3g} that the cut was "
            f"solved on: a fixed cut, and rows exchangeable with the {len(block):,} of them."
        )
        alerts = block.daily(flags[whole], "alerts").sum() / days  # of the days that the promise is of
        return replace(common, promise=promise, facts=facts, alerts_per_day=float(alerts))

    def fulfilment(self, threshold: Threshold, realised: Realised) -> Fulfilment:
        """Say whether the queue was inside its interval, by day and over the batch."""
        if not realised.days:
            return Fulfilment("No row was scored, so there is no queue.")
        with_alerts = realised.alerts.daily(np.ones(len(realised.alerts), bool), self.unit)
        counts = np.append(with_alerts, np.zeros(realised.days - len(with_alerts), np.int64))
        low, high = predicted_queue(threshold, len(counts))
        total = int(counts.sum())
        text = f"The queue of {total:,} {self.unit} lies {between(low, high, total)}"
        if len(counts) == 1:
            text += f": between {low:,} and {high:,} were predicted for the day."
        else:
            first, last = predicted_queue(threshold)
            hits = int(((counts >= first) & (counts <= last)).sum())
            text += (
                f": between {low:,} and {high:,} were predicted for the {len(counts)} days together, and {first:,} to "
                f"{last:,} for a day, which {hits} of {len(counts)} days kept."
            )
        return Fulfilment(text, low <= total <= high)

    def _check(self, k: int, queue: np.ndarray, days: float) -> None:
        if k >= len(queue):
            things = "rows" if self.unit == "alerts" else "customers"
            raise TrainingError(
                f"threshold.alerts_per_day is {self.alerts_per_day:g} and there are only {len(queue) / days:,.1f} "
                f"{things} a day, so that every row would be flagged; lower threshold.alerts_per_day"
            )
        if k == 0:
            raise TrainingError(
                f"threshold.alerts_per_day is {self.alerts_per_day:g} and the calibration block is {days:.2g} days "
                "long, which makes less than one alert; train on a longer period, or raise "
                f"threshold.alerts_per_day to at least {at_least(1 / days)}"
            )


def _whole_days(rows: ScoredRows) -> tuple[ScoredRows, float]:
    """Return the rows of whole days and their number or, where there are fewer than two, all rows and their time.

    Beside one whole day, a part of another counts by its rows: a quarter of the rows of a day is rarely six hours.
    """
    days = len(np.unique(rows.day[rows.whole]))
    if days > 1:
        return rows.take(rows.whole), float(days)
    return rows, len(rows) / int(rows.whole.sum()) if days else rows.days


def predicted_queue(threshold: Threshold, days: int = 1) -> tuple[int, int]:
    """Return what a threshold of `Capacity` predicts for the queue of so many days: at least and at most, nine in ten.

    Parameters
    ----------
    threshold : Threshold
    days : int
        Calendar days to come, together.

    Examples
    --------
    >>> facts = {"mean": 100.0, "variance": 900.0, "days": 8.0}
    >>> predicted_queue(Threshold(3.2, "capacity", 100.0, 0.01, "", facts=facts), 7)
    (510, 914)
    """
    facts = threshold.facts
    return queue_interval(facts["mean"], facts.get("variance", math.nan), facts["days"], days)
