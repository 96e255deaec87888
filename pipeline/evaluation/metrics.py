"""Metrics of anomaly scores against labels: over all thresholds, and for a team reviewing k cards a day."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


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
    """What :func:`evaluate` measured.

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
        """The metrics that are defined, by the name they are logged under."""
        values = {
            "auroc": self.auroc,
            "average_precision": self.average_precision,
            f"card_precision_at_{self.k}": self.card_precision,
            "precision": self.precision,
            "recall": self.recall,
        }
        return {name: value for name, value in values.items() if not math.isnan(value)}


def auroc(scores: ArrayLike, is_fraud: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve: the chance that a fraud scores above a normal row, ties counted half.

    Parameters
    ----------
    scores : array-like of float, shape (n_rows,)
        Higher = more anomalous; finite.
    is_fraud : array-like of bool or 0/1, shape (n_rows,)
    weights : array-like of float, shape (n_rows,), optional
        How often each row counts, 0 or more (bootstrap draws); once each when left out.

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

    scores, is_fraud, counts = _counted(scores, is_fraud, weights)
    if not _has_both(is_fraud):
        return math.nan
    return float(roc_auc_score(is_fraud, scores, sample_weight=counts))


def average_precision(scores: ArrayLike, is_fraud: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Average precision: the mean of the precisions at each fraud's rank, without interpolation.

    Parameters
    ----------
    scores : array-like of float, shape (n_rows,)
        Higher = more anomalous; finite.
    is_fraud : array-like of bool or 0/1, shape (n_rows,)
    weights : array-like of float, shape (n_rows,), optional
        How often each row counts, 0 or more (bootstrap draws); once each when left out.

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

    scores, is_fraud, counts = _counted(scores, is_fraud, weights)
    if not _has_both(is_fraud):
        return math.nan
    return float(average_precision_score(is_fraud, scores, sample_weight=counts))


def precision_recall(
    scores: ArrayLike, is_fraud: ArrayLike, weights: ArrayLike | None = None, *, max_points: int = 400
) -> PrecisionRecall | None:
    """Compute the precision-recall curve at every threshold, then thin it for drawing.

    Parameters
    ----------
    scores : array-like of float, shape (n_rows,)
        Higher = more anomalous; finite.
    is_fraud : array-like of bool or 0/1, shape (n_rows,)
    weights : array-like of float, shape (n_rows,), optional
        How often each row counts, 0 or more (bootstrap draws); once each when left out.
    max_points : int
        At least 2. The highest and the lowest threshold are kept; the others are spread evenly over recall.

    Returns
    -------
    PrecisionRecall or None
        None where all rows are of one class.
    """
    from sklearn.metrics import precision_recall_curve

    scores, is_fraud, counts = _counted(scores, is_fraud, weights)
    if max_points < 2:
        raise ValueError(f"max_points is {max_points}; a curve needs at least 2")
    if not _has_both(is_fraud):
        return None
    precision, recall, thresholds = precision_recall_curve(
        is_fraud, scores, sample_weight=counts, drop_intermediate=True
    )
    # scikit-learn goes from the lowest threshold up and adds the point (0, 1), which no threshold gives.
    precision, recall, thresholds = precision[-2::-1], recall[-2::-1], thresholds[::-1]
    keep = np.arange(len(recall))
    if len(keep) > max_points:
        keep = np.unique(np.searchsorted(recall, np.linspace(recall[0], 1.0, max_points - 1)))
        keep = np.union1d(keep, [0, len(recall) - 1])
    return PrecisionRecall(recall[keep], precision[keep], thresholds[keep], float(np.average(is_fraud, weights=counts)))


@dataclass(frozen=True)
class DailyPrecision:
    """The card precision of each day, so that days can be drawn.

    Attributes
    ----------
    days : ndarray, shape (n_days,)
        In order.
    precision : ndarray of float64, shape (n_days,)
        In 0..1; all nan where no day has a fraud.
    """

    days: np.ndarray
    precision: np.ndarray

    def mean(self, weights: ArrayLike | None = None) -> float:
        """Return the mean over the days, each counted as often as its weight says; nan without days."""
        counts = np.ones(len(self.days)) if weights is None else np.asarray(weights, dtype=np.float64)
        return float(np.average(self.precision, weights=counts)) if counts.sum() else math.nan


def card_precision_at_k(
    days: ArrayLike, cards: ArrayLike, scores: ArrayLike, is_fraud: ArrayLike, k: int = 100
) -> float:
    """Card precision@k: how many of the k cards that a team reviews a day have a fraud that day, on average.

    The mean over the days with rows of :func:`card_precision_by_day`, which says what is counted.

    Examples
    --------
    Card 7 is found on the first day and left out on the second:

    >>> card_precision_at_k([1, 1, 2, 2], [7, 8, 7, 8], [9.0, 1.0, 9.0, 1.0], [1, 0, 1, 1], k=1)
    1.0
    """
    return card_precision_by_day(days, cards, scores, is_fraud, k).mean()


def card_precision_by_day(
    days: ArrayLike, cards: ArrayLike, scores: ArrayLike, is_fraud: ArrayLike, k: int = 100
) -> DailyPrecision:
    """Card precision@k of each day: how many of the k cards that a team reviews have a fraud that day.

    Each day the cards are ranked by the highest score of their transactions that day. Cards found on an
    earlier day (in its top k, with a fraud) are left out: they are blocked by then. The day's precision is
    the number of cards with a fraud among the top k, divided by k, even on a day with fewer cards. [1]_,
    chapter 4, "Precision top-k metrics". Cards that tie are ranked in order of the card.

    Parameters
    ----------
    days : array-like, shape (n_rows,)
        Day of each row: dates, or numbers that rise with time.
    cards : array-like, shape (n_rows,)
        Card or customer of each row.
    scores : array-like of float, shape (n_rows,)
        Higher = more anomalous; finite.
    is_fraud : array-like of bool or 0/1, shape (n_rows,)
    k : int
        At least 1.

    Returns
    -------
    DailyPrecision
        A value in 0..1 for each day with rows; nan where there is no fraud at all. It stays below 1 when a day has
        fewer than k frauds.

    References
    ----------
    .. [1] Le Borgne, Siblini, Lebichot, Bontempi: Reproducible Machine Learning for Credit Card Fraud
       Detection, Université Libre de Bruxelles, 2022.

    Examples
    --------
    >>> card_precision_by_day([1, 1, 2, 2], [7, 8, 7, 8], [9.0, 1.0, 9.0, 1.0], [1, 0, 0, 0], k=1).precision
    array([1., 0.])
    """
    import pandas as pd

    scores, is_fraud = _arrays(scores, is_fraud)
    if k < 1:
        raise ValueError(f"k is {k}; at least one card a day has to be reviewed")
    frame = pd.DataFrame({"day": np.asarray(days), "card": np.asarray(cards), "score": scores, "fraud": is_fraud})
    frame = frame.groupby(["day", "card"], as_index=False).max()  # sorted by day and card
    found: set[Any] = set()
    shares = []
    for _, day in frame.groupby("day"):
        open_cards = day[~day["card"].isin(found)]
        top = open_cards.sort_values("score", ascending=False, kind="stable").head(k)
        hits = top.loc[top["fraud"], "card"]
        shares.append(len(hits) / k)
        found.update(hits)
    names = np.sort(frame["day"].unique())
    return DailyPrecision(names, np.array(shares) if is_fraud.any() else np.full(len(names), math.nan))


def evaluate(
    days: ArrayLike,
    cards: ArrayLike | None,
    scores: ArrayLike,
    labels: ArrayLike,
    is_flagged: ArrayLike,
    k: int = 100,
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

    Returns
    -------
    Evaluation or None
        None where no label is known.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    known = ~np.isnan(labels)
    if not known.any():
        return None
    fraud, scores, flagged = labels[known] == 1, scores[known], np.asarray(is_flagged, dtype=bool)[known]
    at_k = math.nan
    if cards is not None:
        at_k = card_precision_at_k(np.asarray(days)[known], np.asarray(cards)[known], scores, fraud, k)
    return Evaluation(
        rows=int(known.sum()),
        frauds=int(fraud.sum()),
        unknown=int((~known).sum()),
        flagged=int(flagged.sum()),
        flagged_frauds=int((flagged & fraud).sum()),
        auroc=auroc(scores, fraud),
        average_precision=average_precision(scores, fraud),
        card_precision=at_k,
        k=k,
        curve=precision_recall(scores, fraud),
    )


def _arrays(scores: ArrayLike, is_fraud: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    values, fraud = np.asarray(scores, dtype=np.float64), np.asarray(is_fraud).astype(bool)
    if values.ndim != 1 or values.shape != fraud.shape:
        raise ValueError(f"scores have shape {values.shape} and labels {fraud.shape}; both must be one number a row")
    if not np.isfinite(values).all():
        raise ValueError("a score is nan or infinite; a metric would silently depend on where it is ranked")
    return values, fraud


def _counted(
    scores: ArrayLike, is_fraud: ArrayLike, weights: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return the rows that count, with how often they do."""
    values, fraud = _arrays(scores, is_fraud)
    if weights is None:
        return values, fraud, None
    counts = np.asarray(weights, dtype=np.float64)
    if counts.shape != values.shape or not (counts >= 0).all():
        raise ValueError(f"weights have shape {counts.shape}; they must be one number a row, 0 or more")
    return values[counts > 0], fraud[counts > 0], counts[counts > 0]


def _has_both(is_fraud: np.ndarray) -> bool:
    return bool(is_fraud.any() and not is_fraud.all())
