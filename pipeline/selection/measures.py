"""Versions measured on the same rows: metrics with intervals, and paired differences to one of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.intervals import Interval, bootstrap_many
from pipeline.evaluation.metrics import auroc, average_precision, card_precision_by_day
from pipeline.selection.settings import PromotionConfig

CARDS = 100
"""Cards a day of the card precision."""
Metric = Callable[[np.ndarray], float]


@dataclass(frozen=True)
class Rows:
    """What is known of the rows that versions are compared on; arrays of shape (n_rows,).

    Parameters
    ----------
    days : array of datetime64[D]
        Calendar day in the table's zone.
    cards : array or None
        Customer or card; None where the table has neither.
    labels : array of float64
        1 fraud, 0 normal, nan not known.
    """

    days: np.ndarray
    cards: np.ndarray | None
    labels: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Whether each row's label is known."""
        return ~np.isnan(self.labels)


@dataclass(frozen=True)
class Figure:
    """One metric of every version.

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
        Whether it lies in 0..1.
    """

    name: str
    title: str
    note: str
    values: Sequence[Interval]
    differences: Sequence[Interval]
    is_share: bool = True


def measure_versions(
    rows: Rows, scores: Sequence[np.ndarray], flags: Sequence[np.ndarray], settings: PromotionConfig
) -> list[Figure]:
    """Return every metric of every version, with intervals and differences to the first version.

    AUROC, average precision, precision and recall are of the rows whose label is known, in draws of whole customers (of
    days where the table names no customer); card precision and alerts a day are means over days, in draws of days.

    Parameters
    ----------
    rows : Rows
    scores : sequence of arrays of shape (n_rows,)
        One a version; higher = more anomalous.
    flags : sequence of bool arrays of shape (n_rows,)
    settings : PromotionConfig
        Draws and confidence.

    Returns
    -------
    list of Figure
        Without those that need labels where none is known, and without card precision where there is no card.
    """
    figures = [_alerts_a_day(rows, flags, settings)]
    known = rows.known
    if not known.any():
        return figures
    fraud = rows.labels[known] == 1
    scores = [part[known] for part in scores]
    flags = [part[known] for part in flags]
    groups = (rows.days if rows.cards is None else rows.cards)[known]
    of_rows = {
        "average_precision": ("Average precision", "", [_of(average_precision, part, fraud) for part in scores]),
        "auroc": ("AUROC", "0.5 is chance", [_of(auroc, part, fraud) for part in scores]),
        "precision": ("Precision", "flagged rows that are fraud", [_share(part & fraud, part) for part in flags]),
        "recall": ("Recall", "frauds that are flagged", [_share(part & fraud, fraud) for part in flags]),
    }
    figures = [*_paired(of_rows, groups, settings), *figures]
    if rows.cards is not None:
        daily = [card_precision_by_day(rows.days[known], rows.cards[known], part, fraud, CARDS) for part in scores]
        note = f"share of the {CARDS} most suspicious cards a day with a fraud"
        of_days = {f"card_precision_at_{CARDS}": (f"Card precision@{CARDS}", note, [part.mean for part in daily])}
        figures[1:1] = _paired(of_days, daily[0].days, settings)
    return figures


def _alerts_a_day(rows: Rows, flags: Sequence[np.ndarray], settings: PromotionConfig) -> Figure:
    days, places = np.unique(rows.days, return_inverse=True)
    counts = [np.bincount(places, weights=part, minlength=len(days)) for part in flags]

    def mean(part: np.ndarray) -> Metric:
        return lambda drawn: float(np.average(part, weights=drawn))

    metrics = {"alerts_per_day": ("Alerts a day", "", [mean(part) for part in counts])}
    (found,) = _paired(metrics, days, settings)
    return Figure(found.name, found.title, found.note, found.values, found.differences, is_share=False)


def _paired(
    metrics: Mapping[str, tuple[str, str, Sequence[Metric]]], groups: np.ndarray, settings: PromotionConfig
) -> list[Figure]:
    """Return figures whose values and differences all come from the same draws."""
    asked: dict[str, Metric] = {}
    for name, (_, _, versions) in metrics.items():
        once = [_once(metric) for metric in versions]
        for place, metric in enumerate(once):
            asked[f"{name} {place}"] = metric
            asked[f"{name} {place} less the first"] = _less(metric, once[0])
    found = bootstrap_many(asked, groups, settings.draws, level=settings.confidence)
    return [
        Figure(
            name,
            title,
            note,
            [found[f"{name} {place}"] for place in range(len(versions))],
            [found[f"{name} {place} less the first"] for place in range(len(versions))],
        )
        for name, (title, note, versions) in metrics.items()
    ]


def _of(metric: Callable[..., float], scores: np.ndarray, fraud: np.ndarray) -> Metric:
    return lambda drawn: metric(scores, fraud, drawn)


def _share(part: np.ndarray, whole: np.ndarray) -> Metric:
    def share(drawn: np.ndarray) -> float:
        total = drawn[whole].sum()
        return float(drawn[part].sum() / total) if total else np.nan

    return share


def _less(one: Metric, other: Metric) -> Metric:
    return lambda drawn: one(drawn) - other(drawn)


def _once(metric: Metric) -> Metric:
    """Remember a metric's latest value: a draw is asked for it by the value and by every difference."""
    latest: tuple[np.ndarray | None, float] = (None, np.nan)

    def value(drawn: np.ndarray) -> float:
        nonlocal latest
        if latest[0] is not drawn:
            latest = (drawn, metric(drawn))
        return latest[1]

    return value
