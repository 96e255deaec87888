"""A cut that follows scores as they drift: solved again on the days before a batch, by a bounded step a night."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.intervals import rank_for_rate
from pipeline.calibration.strategies.capacity import Capacity
from pipeline.calibration.strategies.choice import STRATEGIES
from pipeline.calibration.strategies.false_alert_rate import FalseAlertRate
from pipeline.calibration.threshold import Threshold
from pipeline.numbers import per_day, percent

GAMMA = 0.1
"""How much of a day's error the level of the next one makes up for."""


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """A cut after one move.

    Attributes
    ----------
    threshold : Threshold
        With the promise that the trailing days lead one to expect of it.
    asked : float
        The cut that these days ask for; the threshold's where the step reaches that far.
    before, after : float
        What the old and the new cut flag on these days: alerts, or customers, a day, or a share of the normal rows.
    """

    threshold: Threshold
    asked: float
    before: float
    after: float


def next_level(level: float, target: float, errors: Sequence[float]) -> float:
    """Return the level of the next day's conformal cut, by adaptive conformal inference.

    After each day ``level += GAMMA (target - error)``, where the error is the share of the day's normal rows that were
    flagged (Gibbs and Candes, Adaptive conformal inference under distribution shift, NeurIPS 2021, equation 2). It
    departs from the paper in that a step is a day and not a row, and in that the level is kept in [0, 1], so that it
    comes back at once from a time when no level was enough; with that, and with a bounded step of the cut, the paper's
    bound on the mean error (its proposition 4.1) is what one aims at and no theorem.

    Parameters
    ----------
    level : float
        Of the first of these days, in [0, 1].
    target : float
        The share that is promised.
    errors : sequence of float
        By day, in their order.

    Examples
    --------
    >>> round(next_level(0.01, 0.01, [0.03, 0.02]), 4), next_level(0.01, 0.01, [0.5])
    (0.007, 0.0)
    """
    for error in errors:
        level = min(max(level + GAMMA * (target - error), 0.0), 1.0)
    return level


def adapt(
    threshold: Threshold, rows: ScoredRows, *, step: float, nights: int, level: float | None = None
) -> Adapted | None:
    """Move a cut towards the one that trailing rows ask for.

    By capacity all rows count, by a false-alert rate the normal ones. On these rows, what is flagged changes in a night
    by at most `step` of what is asked for or, where that is more, of what the old cut flags: so that the step means the
    same whatever unit the scores have.

    Parameters
    ----------
    threshold : Threshold
        The one before, of `pipeline.settings.alerts.ADAPTING`, with one cut for all rows.
    rows : ScoredRows
        Of the trailing days, scored by the same weights; none of those that are about to be flagged.
    step : float
        In (0, 1).
    nights : int
        Since the cut before was set, at least 1.
    level : float, optional
        From `next_level`, for a rate; the rate itself when left out.

    Returns
    -------
    Adapted or None
        None where the rows are too few for what is asked.

    Examples
    --------
    >>> from datetime import datetime
    >>> import pyarrow as pa
    >>> from pipeline.settings.config import Config
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> moments = pa.array([datetime(2025, 3, day) for day in (1, 2) for _ in range(50)], pa.timestamp("us"))
    >>> table = pa.table({"at": moments, "eur": np.ones(100)})
    >>> rows = ScoredRows.of(table, config, scores=np.arange(100.0), labels=np.zeros(100), normal=np.ones(100, bool))
    >>> cut = Capacity(alerts_per_day=10).at(59.0, rows)
    >>> moved = adapt(cut, rows, step=0.25, nights=1)
    >>> moved.before, moved.after, moved.threshold.value, moved.asked
    (20.0, 15.0, 69.0, 79.0)
    """
    strategy = STRATEGIES[threshold.strategy](**threshold.settings)
    if not isinstance(strategy, Capacity | FalseAlertRate):
        raise TypeError(f"a threshold by {threshold.strategy!r} does not adapt")
    scores, size = strategy.counted(rows)
    scores = np.sort(scores)[::-1]
    if isinstance(strategy, Capacity):
        wanted = target = int(strategy.alerts_per_day * size + 1e-9)
        is_enough = 0 < target < len(scores)
    else:
        target = rank_for_rate(len(scores), strategy.rate)
        wanted = max(rank_for_rate(len(scores), strategy.rate if level is None else level) - 1, 0)
        is_enough = target > 0
    if not is_enough:
        return None
    wanted = min(wanted, len(scores) - 1)
    before = int(np.count_nonzero(scores > threshold.value))
    room = max(int(step * nights * max(target, before)), 1)
    number = min(max(wanted, before - room), before + room)
    value = threshold.value if number == before else float(scores[number])
    settled = strategy.at(value, rows)
    return Adapted(
        threshold=replace(settled, explore=threshold.explore, promise=_promise(settled, strategy, rows)),
        asked=value if number == wanted else float(scores[wanted]),
        before=before / size,
        after=int(np.count_nonzero(scores > value)) / size,
    )


def _promise(settled: Threshold, strategy: Capacity | FalseAlertRate, rows: ScoredRows) -> str:
    again = "The cut is solved again before each batch, on the days before it."
    if isinstance(strategy, Capacity):
        return f"{settled.promise} {again}"
    return (
        f"Over many days at most about {percent(strategy.rate)} of normal rows are flagged, also where scores drift, "
        f"by adaptive conformal inference on the {int(settled.facts['normal_rows']):,} normal rows of "
        f"{len(np.unique(rows.day)):,} days before; all rows together give about {per_day(settled.alerts_per_day)} "
        f"({percent(settled.alert_share)} of rows). {again}"
    )
