"""The share of a queue that explores: rows that the one-class score finds unusual, and known frauds keep out of it."""

from dataclasses import replace

import numpy as np

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.intervals import share_interval
from pipeline.calibration.strategies.choice import solve
from pipeline.calibration.threshold import Threshold
from pipeline.errors import TrainingError
from pipeline.numbers import per_day
from pipeline.settings.alerts import ThresholdConfig

BUDGETS = {"capacity": "alerts_per_day", "false_alert_rate": "false_alert_rate"}
"""Strategies that name how much may be looked at, so that a share of it can explore, with the setting that does."""


MORE, MOST = 2, 0.5
"""How many times as much explores where the precision of the queue fell, and the most of it that ever does."""


def solve_queue(rows: ScoredRows, settings: ThresholdConfig, share: float) -> Threshold:
    """Return the threshold that the settings ask for, a share of which explores where known frauds count.

    The strategy's budget, alerts a day or a share of normal rows, is divided: the line is drawn for the rest of it, and
    `Threshold.explore` is the one-class score above which as many of the other rows lie as the share comes to. By
    capacity all rows count, and by a false-alert rate the normal ones. Twice the share explores where `has_fallen`.

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
    budget, whole = BUDGETS[settings.strategy], solve(rows, settings)
    fell = has_fallen(rows, rows.scores > whole.fixed_cuts(rows.segments.get(whole.segment)))
    share = min(MORE * share, max(share, MOST)) if fell else share
    try:
        rest = solve(rows, settings.model_copy(update={budget: (1 - share) * getattr(settings, budget)}))
    except TrainingError:
        return whole
    unit = settings.unit if settings.strategy == "capacity" else "alerts"
    flags = rows.scores > rest.fixed_cuts(rows.segments.get(rest.segment))
    counts = np.ones(len(rows), bool) if settings.strategy == "capacity" else rows.normal
    number = round(share / (1 - share) * int(rows.daily(flags & counts, unit).sum()))
    others = rows.take(counts & ~flags)
    scores = np.sort(replace(others, scores=others.one_class).queue(unit).scores)
    if not 0 < number < len(scores):
        return whole
    cut = float(scores[-number - 1])
    picks = rows.daily((rows.one_class > cut) & ~flags, unit).sum() / rows.days
    text = f" Beside them about {per_day(picks, unit)} explore: rows that only the one-class score finds unusual."
    text += (
        " They are more than usual, because the precision of the queue fell in the last of these days." if fell else ""
    )
    return replace(rest, explore=cut, promise=rest.promise + text)


def has_fallen(rows: ScoredRows, flags: np.ndarray) -> bool:
    """Return whether far fewer alerts of the later half of the days are fraud than chance explains.

    Of the flagged rows whose label is known, the share of fraud is taken before and from the middle day on; it fell
    where the interval of the later one lies below that of the earlier one, so that a few alerts decide nothing, and it
    is less than half, for frauds come in bursts that the interval knows nothing of.

    Parameters
    ----------
    rows : ScoredRows
    flags : array of bool, shape (n_rows,)

    Examples
    --------
    >>> from datetime import datetime
    >>> import pyarrow as pa
    >>> from pipeline.settings.config import Config
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> moments = pa.array([datetime(2025, 3, day) for day in range(1, 5) for _ in range(20)], pa.timestamp("us"))
    >>> labels = np.repeat([1.0, 1.0, 0.0, 0.0], 20)
    >>> table = pa.table({"at": moments, "eur": np.ones(80)})
    >>> rows = ScoredRows.of(table, config, scores=labels, labels=labels, normal=labels == 0)
    >>> has_fallen(rows, np.ones(80, bool)), has_fallen(rows, np.arange(80) % 20 == 0)
    (True, False)
    """
    known = flags & np.isfinite(rows.labels)
    is_late = 2 * rows.day > rows.day.max(initial=0)
    parts = [known & ~is_late, known & is_late]
    if not all(part.any() for part in parts):
        return False
    before, after = ((int((rows.labels[part] == 1).sum()), int(part.sum())) for part in parts)
    is_less_than_half = 2 * after[0] * before[1] < before[0] * after[1]
    return is_less_than_half and share_interval(*after)[1] < share_interval(*before)[0]
