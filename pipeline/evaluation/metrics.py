"""Metrics of anomaly scores against labels: over all thresholds, and for a team reviewing k cards a day."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.cards import as_arrays, card_precision_at_k, card_precision_by_day
from pipeline.evaluation.curves import Curve, found_over_alerts
from pipeline.evaluation.measures import K, Outcomes, measure

__all__ = [
    "Evaluation",
    "PrecisionRecall",
    "auroc",
    "average_precision",
    "card_precision_at_k",
    "card_precision_by_day",
    "evaluate",
    "precision_recall_points",
]


@dataclass(frozen=True)
class PrecisionRecall:
    """A precision-recall curve, thinned for drawing.

    Attributes
    ----------
    recall, precision : ndarray of float64, shape (n_points,)
        Each in 0..1, in order of rising recall. Point i is what flagging scores >= ``thresholds[i]`` gives.
    thresholds : ndarray of float64, shape (n_points,)
        Falling.
    base_rate : float
        Share of frauds: the precision of flagging everything.
    """

    recall: np.ndarray
    precision: np.ndarray
    thresholds: np.ndarray
    base_rate: float


@dataclass(frozen=True)
class Evaluation:
    """An evaluation: what :func:`evaluate` measured.

    Attributes
    ----------
    rows, frauds, unknown : int
        Labelled rows, the frauds among them, and rows left out because their label is not known.
    flagged, flagged_frauds : int
        Labelled rows that were flagged, and the frauds among these.
    auroc, average_precision, card_precision : float
        In 0..1; nan where undefined.
    k : int
        Cards a day of the card precision.
    curve : PrecisionRecall or None
    intervals : mapping of str to Interval
        Every measure of `pipeline.evaluation.measures.measure`, by name.
    found, money : Curve or None
        Share of the frauds, and of their amount, over alerts a day.
    left_out : str
        What the intervals hold, and what they leave out.
    """

    rows: int
    frauds: int
    unknown: int
    flagged: int
    flagged_frauds: int
    auroc: float
    average_precision: float
    card_precision: float
    k: int
    curve: PrecisionRecall | None
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    found: Curve | None = None
    money: Curve | None = None
    left_out: str = ""

    @property
    def precision(self) -> float:
        """Share of the flagged rows that are fraud; nan where none is flagged."""
        return self.flagged_frauds / self.flagged if self.flagged else math.nan

    @property
    def recall(self) -> float:
        """Share of the frauds that are flagged; nan where there is no fraud."""
        return self.flagged_frauds / self.frauds if self.frauds else math.nan

    @property
    def figures(self) -> dict[str, float]:
        """The measures that are defined, by the name they are logged under."""
        return {name: interval.value for name, interval in self.intervals.items() if not math.isnan(interval.value)}

    @property
    def bounds(self) -> dict[str, float]:
        """The ends of the intervals that are defined, by the measure's name with ``_low`` or ``_high`` behind it."""
        ends = {
            f"{name}_{end}": getattr(interval, end)
            for name, interval in self.intervals.items()
            for end in ("low", "high")
        }
        return {name: value for name, value in ends.items() if not math.isnan(value)}

    @property
    def texts(self) -> dict[str, str]:
        """The measures that people read, with their intervals, in words."""
        k = self.k
        names = {
            "auroc": "auroc",
            "average_precision": "average precision",
            f"card_precision_at_{k}": f"card precision@{k} a day",
            "precision": "precision",
            "recall": "recall",
            "money_recall": "share of the fraudulent money flagged",
        }
        return {text: str(self.intervals[name]) for name, text in names.items() if name in self.figures}


def auroc(scores: ArrayLike, is_fraud: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a fraud scores above a normal row, ties counted half.

    Parameters
    ----------
    scores : array-like of float, shape (n_rows,)
        Higher = more anomalous; finite.
    is_fraud : array-like of bool or 0/1, shape (n_rows,)

    Returns
    -------
    float
        In 0..1; nan where all rows are of one class.

    Examples
    --------
    >>> auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    from sklearn.metrics import roc_auc_score

    scores, is_fraud = as_arrays(scores, is_fraud)
    if not _has_both(is_fraud):
        return math.nan
    return float(roc_auc_score(is_fraud, scores))


def average_precision(scores: ArrayLike, is_fraud: ArrayLike) -> float:
    """Average precision: the mean of the precisions at each fraud's rank, without interpolation.

    Parameters
    ----------
    scores : array-like of float, shape (n_rows,)
        Higher = more anomalous; finite.
    is_fraud : array-like of bool or 0/1, shape (n_rows,)

    Returns
    -------
    float
        In 0..1; nan where all rows are of one class (without a normal row it would be 1 whatever the scores).

    Examples
    --------
    >>> round(average_precision([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]), 4)
    0.8333
    """
    from sklearn.metrics import average_precision_score

    scores, is_fraud = as_arrays(scores, is_fraud)
    if not _has_both(is_fraud):
        return math.nan
    return float(average_precision_score(is_fraud, scores))


def precision_recall_points(scores: ArrayLike, is_fraud: ArrayLike, *, max_points: int = 400) -> PrecisionRecall | None:
    """Compute the precision-recall curve at every threshold, then thin it for drawing.

    Parameters
    ----------
    scores : array-like of float, shape (n_rows,)
        Higher = more anomalous; finite.
    is_fraud : array-like of bool or 0/1, shape (n_rows,)
    max_points : int
        At least 2. The highest and the lowest threshold are kept; the others are spread evenly over recall.

    Returns
    -------
    PrecisionRecall or None
        None where all rows are of one class.

    Examples
    --------
    >>> curve = precision_recall_points([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    >>> curve.thresholds, curve.recall, curve.base_rate
    (array([0.8 , 0.4 , 0.35, 0.1 ]), array([0.5, 0.5, 1. , 1. ]), 0.5)
    """
    from sklearn.metrics import precision_recall_curve

    scores, is_fraud = as_arrays(scores, is_fraud)
    if max_points < 2:
        raise ValueError(f"max_points is {max_points}; a curve needs at least 2")
    if not _has_both(is_fraud):
        return None
    precision, recall, thresholds = precision_recall_curve(is_fraud, scores, drop_intermediate=True)
    # scikit-learn goes from the lowest threshold up and adds the point (0, 1), which no threshold gives.
    precision, recall, thresholds = precision[-2::-1], recall[-2::-1], thresholds[::-1]
    keep = np.arange(len(recall))
    if len(keep) > max_points:
        keep = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1.0, max_points - 1)))
        keep = np.union1d(keep, [0, len(recall) - 1])
    return PrecisionRecall(recall[keep], precision[keep], thresholds[keep], float(np.mean(is_fraud)))


def evaluate(
    days: ArrayLike,
    cards: ArrayLike | None,
    scores: ArrayLike,
    labels: ArrayLike,
    *,
    is_flagged: ArrayLike,
    k: int = K,
    amounts: ArrayLike | None = None,
) -> Evaluation | None:
    """Measure everything on the rows whose label is known.

    Parameters
    ----------
    days : array-like, shape (n_rows,)
    cards : array-like, shape (n_rows,), or None
        Card or customer; None where the table has neither, and card precision is nan then.
    scores : array-like of float, shape (n_rows,)
    labels : array-like of float, shape (n_rows,)
        1 fraud, 0 normal, nan not known.
    is_flagged : array-like of bool, shape (n_rows,)
    k : int
    amounts : array-like of float, shape (n_rows,), optional
        For the money-weighted recall.

    Returns
    -------
    Evaluation or None
        None where no label is known.
    """
    outcomes = Outcomes.of(days, cards, scores, labels, flagged=is_flagged, amounts=amounts)
    with_labels = outcomes.where(outcomes.is_labelled)
    if not len(with_labels.scores):
        return None
    fraud, undefined = with_labels.labels == 1, Interval(math.nan, math.nan, math.nan)
    intervals = measure(outcomes, k)
    return Evaluation(
        rows=len(with_labels.scores),
        frauds=int(fraud.sum()),
        unknown=len(outcomes.scores) - len(with_labels.scores),
        flagged=int(with_labels.flagged.sum()),
        flagged_frauds=int((with_labels.flagged & fraud).sum()),
        auroc=intervals["auroc"].value,
        average_precision=intervals["average_precision"].value,
        card_precision=intervals.get(f"card_precision_at_{k}", undefined).value,
        k=k,
        curve=precision_recall_points(with_labels.scores, fraud),
        intervals=intervals,
        found=found_over_alerts(outcomes),
        money=None if amounts is None else found_over_alerts(outcomes, by_amount=True),
        left_out=outcomes.left_out,
    )


def _has_both(is_fraud: np.ndarray) -> bool:
    return bool(is_fraud.any() and not is_fraud.all())
