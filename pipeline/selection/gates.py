"""What a version has to pass to become the champion; MLflow's validation thresholds decide each gate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.calibration.intervals import queue_interval
from pipeline.calibration.strategies.capacity import predicted_queue
from pipeline.evaluation.bootstrap import Interval
from pipeline.numbers import metric, number, percent
from pipeline.selection.comparison import Comparison, Contender
from pipeline.selection.figures import CARD_PRECISION, Figure, difference_of_shares, measure_versions
from pipeline.settings.selection import PromotionConfig
from pipeline.tracking.aliases import passes


@dataclass(frozen=True)
class Gate:
    """A gate: one condition, and whether a version meets it.

    Parameters
    ----------
    name : str
        As it is logged.
    title : str
        For people, in a few words.
    text : str
        What is asked and what was found, in a sentence.
    value, limit : float
    at_least : bool
        Whether the value has to be at least the limit, or at most.
    """

    name: str
    title: str
    text: str
    value: float
    limit: float
    at_least: bool

    @property
    def is_passed(self) -> bool:
        """What MLflow's validation says."""
        return passes(self.name, self.value, self.limit, at_least=self.at_least)


def gates(comparison: Comparison, place: int = 1) -> list[Gate]:
    """Return the gates of ``[promotion]`` for a version, as far as the compared rows can tell.

    A metric is held against the champion's and, where an earlier champion is better on these rows, against the best
    one's, so that small losses do not add up. Without known frauds, the recall of injected anomalies stands in for the
    metrics against labels; it is held against that of champions that see the same features.

    Parameters
    ----------
    comparison : Comparison
        Its first version is the champion; where there is only the version itself, nothing is asked beside a champion.
    place : int
        Which version is to be promoted. Those between the first and this one are earlier champions.
    """
    settings = comparison.config.promotion
    conditions: list[Gate] = []
    injected = comparison.figure("injected_recall")
    if place and comparison.has_labels:
        for name, loss in (
            ("average_precision", settings.max_loss_average_precision),
            (CARD_PRECISION, settings.max_loss_card_precision),
        ):
            figure = comparison.figure(name)
            if figure is not None and loss < 1:
                conditions += _no_loss(comparison, figure, place, loss)
    elif not comparison.has_labels and injected is not None:
        if place and settings.max_loss_injected_recall < 1:
            conditions += _no_loss(comparison, injected, place, settings.max_loss_injected_recall)
        if settings.min_injected_recall > 0:
            conditions.append(_enough(injected, place, settings.min_injected_recall))
    conditions += _volume(comparison, place)
    degenerate = comparison.degenerate[place]
    text = degenerate or "Scores tell rows apart."
    conditions.append(Gate("degenerate", "scores", text, float(bool(degenerate)), 0.0, at_least=False))
    reasons = comparison.figure("top_reason")
    if reasons is not None and settings.min_top_reason > 0:
        value = reasons.values[place].value
        text = (
            f"The top reason is the column that was changed in {percent(value)} of the injected anomalies; at least "
            f"{percent(settings.min_top_reason)} are asked for."
        )
        conditions.append(Gate("top_reason", "reasons", text, value, settings.min_top_reason, at_least=True))
    return conditions


def failed(conditions: Sequence[Gate]) -> list[Gate]:
    """Return the gates that a version does not pass."""
    return [gate for gate in conditions if not gate.is_passed]


def _no_loss(comparison: Comparison, figure: Figure, place: int, loss: float) -> list[Gate]:
    """Ask that a metric is no worse than the champion's, nor than that of the best champion so far."""
    is_injected = figure.name == "injected_recall"
    seen = [[feature.name for feature in contender.detector.features] for contender in comparison.contenders]
    # Anomalies are injected into a version's own columns: among other columns another share is found.
    rivals = [rival for rival in range(place) if not is_injected or seen[rival] == seen[place]]
    conditions = [_no_worse(figure, place, loss, comparison.config.promotion)] if 0 in rivals else []
    values = [interval.value for interval in figure.values]
    best = max((rival for rival in rivals if not math.isnan(values[rival])), key=values.__getitem__, default=0)
    if best:
        pair, contender = _pair(comparison, figure, best, place), comparison.contenders[best]
        conditions.append(_no_worse(pair, 1, loss, comparison.config.promotion, best=contender))
    return conditions


def _pair(comparison: Comparison, figure: Figure, baseline: int, place: int) -> Figure:
    """Return a metric of two versions, with their difference."""
    if figure.name == "injected_recall":
        values = [figure.values[baseline], figure.values[place]]
        nothing = Interval(0.0, 0.0, 0.0)
        return replace(figure, values=values, differences=[nothing, difference_of_shares(values[1], values[0])])
    outcomes = [comparison.outcomes[baseline], comparison.outcomes[place]]
    pair = measure_versions(outcomes, comparison.config.promotion)
    return next(each for each in pair if each.name == figure.name)


def _no_worse(
    figure: Figure, place: int, loss: float, settings: PromotionConfig, *, best: Contender | None = None
) -> Gate:
    """Ask that a metric is not below the champion's with confidence, nor perhaps below it by more than some loss."""
    interval, champion, less = figure.values[place], figure.values[0], figure.differences[place]
    is_worse = less.high < 0
    whose = f"that of {best.title}, the best champion so far," if best else "the champion's"
    if math.isnan(less.low):
        text = f"{figure.title} has no interval on so few days, customers or frauds: nothing is certain about it."
    else:
        difference, low, high = (metric(end, sign=True) for end in (less.value, less.low, less.high))
        text = (
            f"{figure.title} is {metric(interval.value)} and {whose} {metric(champion.value)}: a difference of "
            f"{difference}, between {low} and {high} with {percent(settings.confidence)} confidence; "
        ) + ("it is worse." if is_worse else f"the lower end may be down to {metric(-loss, sign=True)}.")
    name = f"{figure.name}_less_{'best' if best else 'baseline'}"
    title = figure.title[0].lower() + figure.title[1:] + (", beside the best champion" if best else "")
    if is_worse:
        # The margin is for what is not known; a loss that is certain adds up with the next one.
        return Gate(f"{name}_high", title, text, less.high, 0.0, at_least=True)
    return Gate(f"{name}_low", title, text, less.low, -loss, at_least=True)


def _enough(figure: Figure, place: int, least: float) -> Gate:
    value = figure.values[place].value
    text = f"{percent(value)} of the injected anomalies are flagged; at least {percent(least)} are asked for."
    return Gate("injected_recall", "injected anomalies", text, value, least, at_least=True)


def _volume(comparison: Comparison, place: int) -> list[Gate]:
    settings, detector = comparison.config.promotion, comparison.contenders[place].detector
    cut, days = detector.cut, (comparison.days[1] - comparison.days[0]).days + 1
    figure = comparison.figure("alerts_per_day")
    value = math.nan if figure is None else figure.values[place].value
    if settings.alerts_per_day:
        low, high = settings.alerts_per_day
        why = "promotion.alerts_per_day says so"
    elif cut.strategy == "capacity" and cut.settings["unit"] == "alerts":
        low, high = (end / days for end in predicted_queue(cut, days))
        why = f"its capacity of {number(cut.settings['alerts_per_day'], 1)} a day predicts that for {days} days"
    elif cut.alerts_per_day == 0:
        # A share of nothing is nothing, and no rate is zero because a block of some days had no alert.
        low, high = (end / days for end in queue_interval(0, math.nan, detector.held_out.days, days))
        why = f"its calibration rows had none, which predicts that for {days} days"
    else:
        low, high = (cut.alerts_per_day * (1 + sign * settings.volume_tolerance) for sign in (-1, 1))
        why = (
            f"its threshold expects {number(cut.alerts_per_day, 1)}, give or take {percent(settings.volume_tolerance)}"
        )
    text = f"{number(value, 1)} alerts a day;"
    least = f"{text} at least {number(low, 1)} are asked for: {why}."
    most = f"{text} at most {number(high, 1)} are let through: {why}."
    conditions = [
        Gate("alerts_per_day_least", "too few alerts", least, value, low, at_least=True),
        Gate("alerts_per_day_most", "too many alerts", most, value, high, at_least=False),
    ]
    if figure is not None and place and value == 0 < figure.values[0].value:
        # An fdr threshold may expect none; these rows cannot tell such a version from one that sees nothing.
        text = f"It flags none of these rows, and the champion {number(figure.values[0].value, 1)} a day."
        conditions.append(Gate("is_silent", "no alerts", text, 1.0, 0.0, at_least=False))
    return conditions
