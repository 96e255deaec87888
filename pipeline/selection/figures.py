"""Versions measured on the same rows: metrics with intervals, and paired differences to the first of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.bootstrap import Interval, bootstrap_all
from pipeline.evaluation.cards import card_precision_by_day
from pipeline.evaluation.injection import Injected, share
from pipeline.evaluation.measures import Caught, K, Outcomes
from pipeline.evaluation.ranking import Ranking
from pipeline.settings.selection import PromotionConfig

CARD_PRECISION = f"card_precision_at_{K}"
NOTE = "normal rows, one of the version's own numbers 6 standard deviations beyond all others"
FAR_OUT = ("plus", "minus")
"""The kinds of injected anomalies whose recall and top reasons are compared: one number beyond all others."""


@dataclass(frozen=True)
class Figure:
    """A figure: one metric of every version.

    Parameters
    ----------
    name : str
        As it is logged.
    title, note : str
        For people.
    values : sequence of Interval
        One a version.
    differences : sequence of Interval
        To the first version, from the same draws; that of the first is zero.
    is_share : bool
        Whether it lies in 0..1, more being better.
    """

    name: str
    title: str
    note: str
    values: Sequence[Interval]
    differences: Sequence[Interval]
    is_share: bool = True


def measure_versions(versions: Sequence[Outcomes], settings: PromotionConfig) -> list[Figure]:
    """Return every metric of every version, with intervals and differences to the first version.

    All but the alerts a day are of rows whose label is known. Measures of rows are drawn by whole customers (by single
    rows where the table names no customer), measures of days by day.

    Parameters
    ----------
    versions : sequence of Outcomes
        The same rows, as each version scores and flags them.
    settings : PromotionConfig
        Draws and confidence.

    Returns
    -------
    list of Figure
        Without those that need labels where none is known, and without card precision where there is no card.
    """
    figures: list[Figure] = []
    with_labels = [version.where(version.is_labelled) for version in versions]
    if len(with_labels[0].labels):
        figures = _of_rows(with_labels, settings)
        if with_labels[0].cards is not None:
            figures.insert(1, _of_cards(with_labels, settings))
    return [*figures, _alerts_a_day(versions, settings)]


def measure_injected(versions: Sequence[Sequence[Injected]], settings: PromotionConfig) -> list[Figure]:
    """Return the recall of injected anomalies, and how often the first reason names the column that was changed.

    Intervals are Wilson's; those of differences, of rows drawn anew for each version, are Newcombe's (Interval
    estimation for the difference between independent proportions, Statistics in Medicine 17, 1998, method 10).

    Parameters
    ----------
    versions : sequence of sequences of Injected
        Empty for a version into which nothing could be injected, whose values are nan.
    settings : PromotionConfig
        Confidence.
    """
    far_out = [[item for item in items if item.kind in FAR_OUT] for items in versions]
    if not any(far_out):
        return []
    rows = [sum(item.rows for item in items) for items in far_out]
    counts = {
        "injected_recall": ("Injected anomalies flagged", [sum(item.flagged for item in items) for items in far_out]),
        "top_reason": ("Top reason is the column changed", [sum(item.named for item in items) for items in far_out]),
    }
    figures = []
    for name, (title, parts) in counts.items():
        values = [share(part, whole, settings.confidence) for part, whole in zip(parts, rows, strict=True)]
        differences = [Interval(0.0, 0.0, 0.0), *(difference_of_shares(value, values[0]) for value in values[1:])]
        figures.append(Figure(name, title, NOTE, values, differences))
    return figures


def _of_rows(versions: Sequence[Outcomes], settings: PromotionConfig) -> list[Figure]:
    first, fraud = versions[0], versions[0].labels == 1
    rankings = [Ranking(version.scores, fraud) for version in versions]
    caught = [Caught(version.flagged, fraud, version.amounts) for version in versions]

    def metrics(draw: np.ndarray) -> np.ndarray:
        pairs = zip(rankings, caught, strict=True)
        return np.array([[*ranking.auroc_and_ap(draw), *part.measures(draw)] for ranking, part in pairs]).T

    named = [
        ("auroc", "AUROC", "0.5 is chance"),
        ("average_precision", "Average precision", ""),
        ("precision", "Precision", "flagged rows that are fraud"),
        ("recall", "Recall", "frauds that are flagged"),
        ("money_recall", "Recall by amount", "share of the fraudulent amount that is flagged"),
    ]
    groups = np.arange(len(fraud)) if first.cards is None else first.cards
    auroc, precision, *others = _paired(named, metrics, groups, settings)
    return [precision, auroc, *others]


def _of_cards(versions: Sequence[Outcomes], settings: PromotionConfig) -> Figure:
    fraud = versions[0].labels == 1
    daily = [card_precision_by_day(item.days, item.cards, item.scores, fraud, k=K) for item in versions]  # type: ignore[arg-type]
    note = f"share of the {K} most suspicious cards a day with a fraud"
    named = [(CARD_PRECISION, f"Card precision@{K}", note)]

    def metrics(draw: np.ndarray) -> np.ndarray:
        return np.array([[version.mean(draw) for version in daily]])

    return _paired(named, metrics, daily[0].days, settings)[0]


def _alerts_a_day(versions: Sequence[Outcomes], settings: PromotionConfig) -> Figure:
    days, places = np.unique(versions[0].days, return_inverse=True)
    counts = np.stack([np.bincount(places, weights=item.flagged, minlength=len(days)) for item in versions])

    def metrics(draw: np.ndarray) -> np.ndarray:
        return (counts @ draw / draw.sum())[None]

    figure = _paired([("alerts_per_day", "Alerts a day", "")], metrics, days, settings)[0]
    return Figure(figure.name, figure.title, figure.note, figure.values, figure.differences, is_share=False)


def _paired(
    named: Sequence[tuple[str, str, str]],
    metrics: Callable[[np.ndarray], np.ndarray],
    groups: np.ndarray,
    settings: PromotionConfig,
) -> list[Figure]:
    """Return figures whose values and differences all come from the same draws.

    Parameters
    ----------
    named : sequence of (name, title, note)
    metrics : callable
        Takes weights and returns an array of shape (len(named), n_versions).
    groups : array of shape (n_weights,)
    settings : PromotionConfig
    """

    def with_differences(draw: np.ndarray) -> np.ndarray:
        values = metrics(draw)
        return np.stack([values, values - values[:, :1]], axis=1).ravel()

    parts = bootstrap_all(with_differences, groups, draws=settings.draws, level=settings.confidence)
    shape = (len(named), 2, len(parts[0]) // (2 * len(named)))
    value, low, high = (part.reshape(shape) for part in parts)
    figures = []
    for row, (name, title, note) in enumerate(named):
        intervals, less = (
            [Interval(*map(float, ends)) for ends in zip(value[row, i], low[row, i], high[row, i], strict=True)]
            for i in (0, 1)
        )
        figures.append(Figure(name, title, note, intervals, less))
    return figures


def difference_of_shares(one: Interval, other: Interval) -> Interval:
    """Return the difference of two shares of rows that were drawn independently, by Newcombe's method 10."""
    below = math.hypot(one.value - one.low, other.high - other.value)
    above = math.hypot(one.high - one.value, other.value - other.low)
    less = one.value - other.value
    return Interval(less, less - below, less + above)
