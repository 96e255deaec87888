"""The share of a queue that explores: rows that the one-class score finds unusual, and known frauds keep out of it."""

from dataclasses import replace

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.strategies.choice import solve
from pipeline.calibration.threshold import Threshold
from pipeline.errors import TrainingError
from pipeline.numbers import per_day
from pipeline.settings.alerts import ThresholdConfig

BUDGETS = {"capacity": "alerts_per_day", "false_alert_rate": "false_alert_rate"}
"""Strategies that name how much may be looked at, so that a share of it can explore, with the setting that does."""


def solve_queue(rows: ScoredRows, settings: ThresholdConfig, share: float) -> Threshold:
    """Return the threshold that the settings ask for, a share of which explores where known frauds count.

    The strategy's budget, alerts a day or a share of normal rows, is divided: the line is drawn for the rest of it, and
    `Threshold.explore` is the one-class score above which as many of the other rows lie as the share comes to. By
    capacity all rows count, and by a false-alert rate the normal ones.

    Parameters
    ----------
    rows : ScoredRows
        Rows that took no part in fitting.
    settings : ThresholdConfig
    share : float
        In [0, 1). Nothing explores by other strategies than `BUDGETS`, and where a budget is too small to be divided.

    Raises
    ------
    TrainingError, ConfigError
        As `solve`.
    """
    if rows.alone is None or not share or settings.strategy not in BUDGETS:
        return solve(rows, settings)
    budget = BUDGETS[settings.strategy]
    try:
        rest = solve(rows, settings.model_copy(update={budget: (1 - share) * getattr(settings, budget)}))
    except TrainingError:
        return solve(rows, settings)
    unit = settings.unit if settings.strategy == "capacity" else "alerts"
    flags = rows.scores > rest.fixed_cuts(rows.segments.get(rest.segment))
    counts = np.ones(len(rows), bool) if settings.strategy == "capacity" else rows.normal
    number = round(share / (1 - share) * int(rows.daily(flags & counts, unit).sum()))
    others = rows.take(counts & ~flags)
    scores = np.sort(replace(others, scores=others.one_class).queue(unit).scores)
    if not 0 < number < len(scores):
        return solve(rows, settings)
    cut = float(scores[-number - 1])
    picks = rows.daily((rows.one_class > cut) & ~flags, unit).sum() / rows.days
    text = f" Beside them about {per_day(picks, unit)} explore: rows that only the one-class score finds unusual."
    return replace(rest, explore=cut, promise=rest.promise + text)
