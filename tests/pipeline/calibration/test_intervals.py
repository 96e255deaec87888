"""Intervals against laws with a closed form: one score, no trial yet, and what is counted by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.calibration import intervals
from pipeline.calibration.intervals import (
    day_variance,
    predicted_count,
    queue_interval,
    rank_for_rate,
    realised_count,
    realised_rate,
    rows_for_rate,
    share_interval,
)


def inside(chances):
    """The least and the most of a count, given the chance of each, that cut off at most a twentieth at each end."""
    below = np.cumsum(chances)
    return int(np.argmax(below >= 0.05 - 1e-12)), int(np.argmax(below >= 0.95 - 1e-12))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.29, 1 / 3, 0.5, 0.57])
def test_the_rank_is_the_largest_whose_share_is_within_the_rate(rate):
    for rows in range(1, 300):
        assert rank_for_rate(rows, rate) == sum(k / (rows + 1) <= rate for k in range(1, rows + 1))
    least = rows_for_rate(rate)
    assert rank_for_rate(least, rate) == 1 or least == 1
    assert least == 1 or rank_for_rate(least - 1, rate) == 0


def test_beyond_one_of_one_scores_every_rate_is_equally_likely():
    assert realised_rate(1, 1) == pytest.approx((0.05, 0.95))
    assert realised_count(1, 1, 98) == inside(np.full(99, 1 / 99)) == (4, 94)


def test_beyond_the_highest_of_many_scores_the_rate_is_a_power():
    # P(rate > r) = (1 - r)^n, as all n scores lie below the cut of the true share r.
    low, high = realised_rate(50, 1)
    assert (1 - low) ** 50 == pytest.approx(0.95)
    assert (1 - high) ** 50 == pytest.approx(0.05)


def test_before_any_trial_a_share_follows_the_arcsine_law():
    assert share_interval(0, 0) == pytest.approx([math.sin(math.pi / 2 * share) ** 2 for share in (0.05, 0.95)])
    # ... and a count the discrete one, of the time that a symmetric walk spends above zero.
    for trials in (1, 2, 9, 60):
        chances = [math.comb(2 * n, n) * math.comb(2 * (trials - n), trials - n) / 4**trials for n in range(trials + 1)]
        assert predicted_count(0, 0, trials) == inside(np.array(chances))


def test_a_share_and_the_count_to_come_lie_where_they_were_seen():
    shares = np.linspace(0, 1, 200_001)[1:-1]
    density = shares ** (7 - 0.5) * (1 - shares) ** (13 - 0.5)  # 7 of 20 after Jeffreys' prior
    below = np.cumsum(density) / density.sum()
    ends = shares[np.searchsorted(below, [0.05, 0.95])]
    assert share_interval(7, 20) == pytest.approx(ends, abs=1e-4)
    chances = [(stats.binom.pmf(n, 8, shares) * density).sum() / density.sum() for n in range(9)]
    assert predicted_count(7, 20, 8) == inside(np.array(chances))


def test_what_days_vary_beyond_chance_weighs_as_few_of_them_can_tell():
    mean, variance, days, future = 50.0, 300.0, 6, 4
    wider = (stats.t(days - 1).ppf(0.95) / stats.norm.ppf(0.95)) ** 2
    spread = future * (1 + future / days) * (mean + (variance - mean) * wider)
    law = stats.nbinom((4 * mean) ** 2 / (spread - 4 * mean), 4 * mean / spread)
    assert queue_interval(mean, variance, days, future) == (int(law.ppf(0.05)), int(law.ppf(0.95)))
    assert queue_interval(mean, mean / 2, days) == queue_interval(mean, mean, days)  # chance varies no less


def test_the_variance_of_the_days_is_that_of_a_sample():
    assert day_variance(np.array([1, 3])) == 2
    assert math.isnan(day_variance(np.array([3])))


@pytest.mark.parametrize("at_a_time", [3, 2**16])
def test_intervals_of_counts_are_those_of_the_beta_binomial_law(monkeypatch, at_a_time):
    monkeypatch.setattr(intervals, "COUNTS_AT_A_TIME", at_a_time)
    for seed in range(60):
        generator = np.random.default_rng(seed)
        rows, future = (int(each) for each in np.exp(generator.uniform(0.7, 7, 2)))
        k = int(generator.integers(1, rows + 1))
        low, high = stats.betabinom(future, k, rows + 1 - k).interval(0.9)
        assert realised_count(rows, k, future) == (low, high)
        low, high = stats.betabinom(future, k + 0.5, rows - k + 0.5).interval(0.9)
        assert predicted_count(k, rows, future) == (low, high)
