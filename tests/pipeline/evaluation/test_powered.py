"""Prediction-powered estimates of a number of frauds: the formula, and how often the interval holds."""

import numpy as np
import pytest
from scipy.stats import gamma

from pipeline.evaluation.powered import LEAST_FRAUDS, Powered, Sample, corrected, powered, total, tuned_power

ROWS = 4000
SHARE = 0.1


def population(*, informative, seed=0):
    """Return p-values of rows that were not flagged and which are fraud: the lowest ones mostly, or any."""
    generator = np.random.default_rng(seed)
    p_values = generator.uniform(0.001, 1, ROWS)
    chances = 0.6 * (p_values < 0.05) + 0.002 if informative else np.full(ROWS, 0.03)
    return p_values, generator.random(ROWS) < chances


def drawn(frauds, seed, share=SHARE):
    """Return a sample of rows, each drawn with the same chance whatever the others."""
    places = np.flatnonzero(np.random.default_rng(seed).random(len(frauds)) < share)
    return Sample(places, np.full(len(places), 1 / share), frauds[places])


def test_with_equal_weights_it_is_the_formula_of_the_paper():
    generator = np.random.default_rng(1)
    predictions, frauds = generator.random(500), generator.random(500) < 0.2
    places = generator.choice(500, 50, replace=False)
    sample = Sample(places, np.full(50, 10.0), frauds[places])
    for power in (0.0, 0.4, 1.0):
        errors = frauds[places] - power * predictions[places]
        estimate = corrected(power * predictions.sum(), errors, sample, 0.95)
        value = 500 * (power * predictions.mean() + np.mean(frauds[places] - power * predictions[places]))
        assert estimate.value == pytest.approx(value)
        variance = 500**2 * np.mean(errors**2) / 50
        assert estimate.low == pytest.approx(gamma.ppf(0.025, value**2 / variance, scale=variance / value))
        value, variance = value + 10, variance + 100
        assert estimate.high == pytest.approx(gamma.ppf(0.975, value**2 / variance, scale=variance / value))


def test_the_power_is_where_the_variance_is_smallest_and_within_its_bounds():
    generator = np.random.default_rng(2)
    predictions = generator.random(300)
    frauds = generator.random(300) < predictions**2
    sample = Sample(np.arange(300), generator.uniform(5, 20, 300), frauds)
    grid = np.linspace(0, 1, 10_001)
    variances = [((sample.weights * (frauds - power * predictions)) ** 2).sum() for power in grid]
    assert tuned_power(predictions, sample) == pytest.approx(grid[np.argmin(variances)], abs=1e-4)
    assert tuned_power(predictions / 100, sample) == 1
    assert tuned_power(-predictions, sample) == 0
    assert tuned_power(np.zeros(300), sample) == 0


def test_without_power_it_is_the_sample_alone():
    _, frauds = population(informative=False)
    sample = drawn(frauds, 3)
    plain = total(sample.weights, sample.frauds)
    same = corrected(0.0, sample.frauds.astype(float), sample)
    assert (same.value, same.low, same.high) == pytest.approx((plain.value, plain.low, plain.high))
    few = Sample(sample.places, sample.weights, np.arange(len(sample.places)) < LEAST_FRAUDS - 1)
    assert powered(np.full(ROWS, 0.5), few) == Powered(total(few.weights, few.frauds), 0.0)


def test_over_many_draws_scores_that_tell_make_it_narrower_unbiased_and_as_safe():
    p_values, frauds = population(informative=True)
    estimates, plain = [], []
    for seed in range(500):
        sample = drawn(frauds, 100 + seed)
        estimates.append(powered(p_values, sample, 0.95).frauds)
        plain.append(total(sample.weights, sample.frauds, 0.95))
    missed = frauds.sum()
    values = np.array([each.value for each in estimates])
    assert values.mean() == pytest.approx(missed, abs=4 * values.std() / np.sqrt(500))
    assert np.mean([each.low <= missed <= each.high for each in estimates]) >= 0.92
    widths = [np.mean([each.high - each.low for each in of]) for of in (estimates, plain)]
    assert widths[0] < 0.85 * widths[1]
    assert values.std() < 0.85 * np.std([each.value for each in plain])


def test_scores_that_say_nothing_cost_next_to_nothing_and_the_interval_holds():
    p_values, frauds = population(informative=False)
    inside, widths = [], []
    for seed in range(100):
        sample = drawn(frauds, 700 + seed)
        estimate, plain = powered(p_values, sample, 0.95).frauds, total(sample.weights, sample.frauds, 0.95)
        inside.append(estimate.low <= frauds.sum() <= estimate.high)
        widths.append((estimate.high - estimate.low) / (plain.high - plain.low))
    assert np.mean(inside) >= 0.92
    assert np.mean(widths) < 1.03


def test_rows_with_differing_chances_to_be_drawn_are_weighed_by_them():
    p_values, frauds = population(informative=True)
    chances = np.where(np.arange(ROWS) < ROWS / 2, 0.05, 0.2)
    values, inside = [], []
    for seed in range(100):
        places = np.flatnonzero(np.random.default_rng(seed).random(ROWS) < chances)
        estimate = powered(p_values, Sample(places, 1 / chances[places], frauds[places]), 0.95).frauds
        values.append(estimate.value)
        inside.append(estimate.low <= frauds.sum() <= estimate.high)
    assert np.mean(values) == pytest.approx(frauds.sum(), abs=4 * np.std(values) / np.sqrt(100))
    assert np.mean(inside) >= 0.92
