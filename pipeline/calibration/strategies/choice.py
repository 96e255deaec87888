"""The strategy that ``[threshold]`` names, for all rows and by segment: its cut, its promise, what came of it.

A row is flagged when its anomaly score is strictly above its cut.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.calibration.held_out import ScoredRows
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.capacity import Capacity
from pipeline.calibration.strategies.cost import Cost
from pipeline.calibration.strategies.f_beta import FBeta
from pipeline.calibration.strategies.false_alert_rate import FalseAlertRate
from pipeline.calibration.strategies.fdr import Fdr
from pipeline.calibration.strategies.precision_at_least import PrecisionAtLeast
from pipeline.calibration.strategies.recall_at_least import RecallAtLeast
from pipeline.calibration.strategies.strategy import BatchLine, Strategy
from pipeline.calibration.strategies.tail import PeaksOverThreshold
from pipeline.calibration.threshold import CutCurve, Fulfilment, Threshold
from pipeline.errors import ConfigError
from pipeline.numbers import per_day

if TYPE_CHECKING:
    from pipeline.settings.config import ThresholdConfig

_SETTINGS: Mapping[type[Strategy], Callable[["ThresholdConfig"], dict[str, object]]] = {
    FalseAlertRate: lambda settings: {"rate": settings.false_alert_rate},
    Capacity: lambda settings: {"alerts_per_day": settings.alerts_per_day, "unit": settings.unit},
    Fdr: lambda settings: {"share": settings.false_discovery_rate},
    PeaksOverThreshold: lambda settings: {"rate": settings.false_alert_rate},
    Cost: lambda settings: {"review_cost": settings.review_cost, "recovered_share": settings.recovered_share},
    FBeta: lambda settings: {"beta": settings.beta},
    PrecisionAtLeast: lambda settings: {"precision": settings.min_precision},
    RecallAtLeast: lambda settings: {"recall": settings.min_recall},
}
STRATEGIES: dict[str, type[Strategy]] = {strategy.name: strategy for strategy in _SETTINGS}
"""Every strategy by the name that ``threshold.strategy`` has for it."""


def strategy_of(settings: "ThresholdConfig") -> Strategy:
    """Return the strategy that the settings name.

    Raises
    ------
    ConfigError
        For a name that is not there.

    Examples
    --------
    >>> from pipeline.settings.config import ThresholdConfig
    >>> strategy_of(ThresholdConfig(strategy="capacity", alerts_per_day=80))
    Capacity(alerts_per_day=80.0, unit='alerts')
    """
    if settings.strategy not in STRATEGIES:
        raise ConfigError(
            f"threshold.strategy = {settings.strategy!r} is no strategy; accepted are {', '.join(STRATEGIES)}"
        )
    strategy = STRATEGIES[settings.strategy]
    return strategy(**_SETTINGS[strategy](settings))


def solve(rows: ScoredRows, settings: "ThresholdConfig") -> Threshold:
    """Return the threshold that the settings ask for, with cuts of their own for the segments that are large enough.

    Parameters
    ----------
    rows : ScoredRows
        Rows that took no part in fitting.
    settings : ThresholdConfig

    Raises
    ------
    TrainingError
        When the strategy cannot keep its promise with these rows.
    ConfigError
        For a strategy that is not there.
    """
    strategy = strategy_of(settings)
    common = strategy.solve(rows)
    if not settings.segment:
        return common
    common = replace(common, segment=settings.segment)
    counts = rows.counts(settings.segment)
    large = [value for value, number in counts.items() if number >= settings.min_segment_rows]
    masks = {value: rows.where(settings.segment, value) for value in large}
    threshold = replace(common, parts=strategy.split(rows, masks, common))
    flags = rows.scores > threshold.fixed_cuts(rows.segments[settings.segment])
    threshold = strategy.join(threshold, rows, flags)
    return replace(threshold, promise=f"{threshold.promise} {_segments_in_words(threshold, len(counts), settings)}")


def row_cuts(
    threshold: Threshold, scores: np.ndarray, segments: pa.Array | pa.ChunkedArray | None, held_out: ScoredRows
) -> float | np.ndarray:
    """Return the cut of each row of a batch (n_rows,), or the one of all its rows.

    Parameters
    ----------
    threshold : Threshold
    scores : array of shape (n_rows,)
        Of the whole batch.
    segments : pa.Array of shape (n_rows,), or None
        Values of the column ``threshold.segment``.
    held_out : ScoredRows
        The rows that the threshold was solved on.
    """
    line = batch_line(threshold, held_out)
    if line is not None:
        line.add(scores, segments)
        threshold = line.drawn()
    return threshold.fixed_cuts(segments)


def batch_line(threshold: Threshold, held_out: ScoredRows) -> BatchLine | None:
    """Return what draws the line of a batch from all its scores, part by part; None where the cuts are fixed.

    Parameters
    ----------
    threshold : Threshold
    held_out : ScoredRows
        The rows that the threshold was solved on.
    """
    return _strategy(threshold).line(threshold, held_out)


def fulfilment(threshold: Threshold, realised: Realised) -> Fulfilment:
    """Return what a scored batch came to, held against the promise; where segments have cuts of their own, by each.

    Parameters
    ----------
    threshold : Threshold
    realised : Realised
        What came of the batch, with the labels known by now, and a part for each segment with a cut of its own.
    """
    strategy = _strategy(threshold)
    whole = strategy.fulfilment(threshold, realised)
    if not threshold.parts or strategy.is_of_all_rows:
        return whole
    by_value = {value: strategy.fulfilment(part, realised.parts[value]) for value, part in threshold.parts.items()}
    verdicts = {value: part.is_inside for value, part in by_value.items() if part.is_inside is not None}
    misses = [value for value, is_inside in verdicts.items() if not is_inside]
    if not verdicts:
        return Fulfilment(whole.text)
    text = f"By {threshold.segment}, {len(verdicts) - len(misses)} of {len(verdicts)} lie inside their interval"
    text += "".join(f"; {value}: {by_value[value].text.rstrip('.')}" for value in misses) + "."
    return Fulfilment(text, not misses)


def cut_curve(threshold: Threshold, held_out: ScoredRows) -> CutCurve | None:
    """Return the chart of how the common cut came about; None where the strategy has none."""
    return _strategy(threshold).curve(threshold, held_out)


def _strategy(threshold: Threshold) -> Strategy:
    return STRATEGIES[threshold.strategy](**threshold.settings)


def _segments_in_words(threshold: Threshold, values: int, settings: "ThresholdConfig") -> str:
    parts = len(threshold.parts)
    if not parts:
        return (
            f"None of the {values} values of {settings.segment} has the {settings.min_segment_rows:,} rows, or enough "
            "for what is asked, to have a cut of its own: all share this one."
        )
    promise = "" if _strategy(threshold).is_of_all_rows else ", each promising the same of its rows"
    if parts == values:
        text = f"Each of the {values} values of {settings.segment} has a cut of its own{promise}"
    else:
        text = (
            f"Of the {values} values of {settings.segment}, {parts} have a cut of their own{promise}; "
            f"the others, with fewer than {settings.min_segment_rows:,} rows or too few for what is asked, share "
            "the common one"
        )
    return f"{text}: with these cuts about {per_day(threshold.alerts_per_day)} in all."
