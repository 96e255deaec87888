"""A number of frauds from the labels of a random sample and the scores of all rows: prediction-powered inference.

An audit knows the labels of few rows; the model has an opinion of each. Where its opinion says something of the rows
that were not flagged, the estimate is the sum of the chances that it gives all rows, put right by how far these lie
from the labels of the rows that were drawn (Angelopoulos, Bates, Fannjiang, Jordan and Zrnic: Prediction-powered
inference, Science 382, 2023). How much the scores count is tuned, so that scores which say nothing cost nothing
(Angelopoulos, Duchi and Zrnic: PPI++, 2023). The chances are learned from other labels than those that put them right
(Zrnic and Candès: Cross-prediction-powered inference, PNAS 121, 2024).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.bootstrap import LEVEL, Interval

FOLDS = 5
LEAST_FRAUDS = 5
"""Of fewer frauds in the sample nothing is learned, and the sample alone counts."""

Chance = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sample:
    """Rows that were drawn at random and have a label.

    Attributes
    ----------
    places : array of shape (n_labelled,), int64
        Where they stand among all rows.
    weights : array of shape (n_labelled,), float64
        One over the chance that each had to be drawn and labelled.
    frauds : array of shape (n_labelled,), bool
    """

    places: np.ndarray
    weights: np.ndarray
    frauds: np.ndarray


@dataclass(frozen=True)
class Powered:
    """An estimate of a number of frauds. Made by `powered`.

    Attributes
    ----------
    frauds : Interval
    power : float
        How much the scores count, from 0 (the sample alone) to 1.
    """

    frauds: Interval
    power: float


def powered(p_values: np.ndarray, sample: Sample, level: float = LEVEL) -> Powered:
    """Estimate how many of some rows are fraud, by a random sample of them and the scores of all.

    Rows are parted into folds by chance, for a sample may be every tenth row. Of each, the chances come from a logistic
    regression on the p-value's logarithm over the sample's other folds, and so does the power, so that the estimate is
    unbiased whatever the scores are worth. The paper's predictions are of another sample; here all rows are scored, so
    that the sum of their chances is known and adds nothing to the variance. The interval is that of `total`, of this
    variance.

    Parameters
    ----------
    p_values : array of shape (n_rows,), float64
        Of the scores of all rows, those of the sample among them; above 0.
    sample : Sample
        At least one row.
    level : float

    Examples
    --------
    >>> p_values = np.geomspace(1e-4, 1, 4000)
    >>> places = np.arange(0, 4000, 10)
    >>> sample = Sample(places, np.full(400, 10.0), p_values[places] < 2e-4)
    >>> plain = total(sample.weights, sample.frauds)
    >>> with_scores = powered(p_values, sample).frauds
    >>> with_scores.high - with_scores.low < plain.high - plain.low
    True
    """
    evidence, fold_of_row = -np.log(p_values), np.random.default_rng(0).integers(FOLDS, size=len(p_values))
    fold = fold_of_row[sample.places]
    amounts, parts, powers = 0.0, np.zeros(len(sample.frauds)), []
    for number in range(FOLDS):
        inside, others = fold == number, fold != number
        power, chance = _learned(evidence[sample.places][others], sample.frauds[others], sample.weights[others])
        powers.append(power)
        if power:
            amounts += power * float(chance(evidence[fold_of_row == number]).sum())
        is_told = power and inside.any()
        parts[inside] = sample.frauds[inside] - (power * chance(evidence[sample.places][inside]) if is_told else 0.0)
    if not any(powers):
        return Powered(total(sample.weights, sample.frauds, level), 0.0)
    return Powered(corrected(amounts, parts, sample, level), float(np.mean(powers)))


def corrected(amount: float, errors: np.ndarray, sample: Sample, level: float = LEVEL) -> Interval:
    """Return what predictions of all rows add up to, put right by their errors on a sample.

    With equal weights this is N (power * mean(f) + mean(y - power * f)), the estimate of prediction-powered inference.

    Parameters
    ----------
    amount : float
        Sum of the predictions of all rows, times the power.
    errors : array of shape (n_labelled,), float64
        Label less prediction times the power, of each row of the sample.
    sample : Sample
    level : float
    """
    value = amount + float((sample.weights * errors).sum())
    variance, most = float(((sample.weights * errors) ** 2).sum()), float(sample.weights.max())
    return _of_rare(value, variance, most=most, least=float(sample.frauds.sum()), level=level)


def tuned_power(predictions: np.ndarray, sample: Sample) -> float:
    """Return the power by which predictions make the variance smallest, between 0 and 1.

    The variance is the sum of (w (y - power * f))^2, as of rows that are drawn one by one (PPI++, section 6, without
    the part of predictions of rows that are not known).

    Parameters
    ----------
    predictions : array of shape (n_labelled,), float64
        Of the rows of the sample.
    sample : Sample
    """
    squares = sample.weights**2
    below = float((squares * predictions**2).sum())
    return min(max(float((squares * sample.frauds * predictions).sum()) / below, 0.0), 1.0) if below else 0.0


def total(weights: np.ndarray, frauds: np.ndarray, level: float = LEVEL) -> Interval:
    """Return the Horvitz-Thompson estimate of a number of frauds, with an interval that holds for few of them.

    The estimate is the sum of the weights of the frauds found, unbiased. The interval is that of Fay and Feuer for
    weighted sums of rare events (Confidence intervals for directly standardized rates, Statistics in Medicine 16,
    1997, equations 2 and 3): exact for Poisson counts of one weight, and on the safe side else and for large shares.

    Parameters
    ----------
    weights : ndarray of float, shape (n_labelled,)
        One over the chance that each row had to be drawn and labelled.
    frauds : ndarray of bool, shape (n_labelled,)
    level : float

    Examples
    --------
    No fraud among 300 rows drawn one in 100: up to three, for each of which there would be 100.

    >>> print(f"{total(np.full(300, 100.0), np.zeros(300, bool)):.0f}")
    0 (0 to 300)
    """
    value, variance = float(weights[frauds].sum()), float((weights[frauds] ** 2).sum())
    return _of_rare(value, variance, most=float(weights.max()), least=float(frauds.sum()), level=level)


def _of_rare(value: float, variance: float, *, most: float, least: float, level: float) -> Interval:
    """Return the interval of Fay and Feuer around an estimate; at least ``least`` were found.

    One further event would add the weight ``most`` at the most.
    """
    from scipy.stats import chi2

    alpha, value = 1 - level, max(value, least)
    low = variance / (2 * value) * chi2.ppf(alpha / 2, 2 * value**2 / variance) if value and variance else value
    above, spread = value + most, variance + most**2
    high = spread / (2 * above) * chi2.ppf(1 - alpha / 2, 2 * above**2 / spread)
    return Interval(value, max(float(low), least), float(high))


def _learned(evidence: np.ndarray, frauds: np.ndarray, weights: np.ndarray) -> tuple[float, Chance]:
    """Return how much the chances that a sample teaches count, and the function that gives them."""
    from sklearn.linear_model import LogisticRegression

    if frauds.sum() < LEAST_FRAUDS or frauds.all():
        return 0.0, np.zeros_like
    regression = LogisticRegression().fit(evidence[:, None], frauds, sample_weight=weights / weights.mean())

    def chance(of: np.ndarray) -> np.ndarray:
        return np.asarray(regression.predict_proba(of[:, None])[:, 1])

    return tuned_power(chance(evidence), Sample(np.arange(len(frauds)), weights, frauds)), chance
