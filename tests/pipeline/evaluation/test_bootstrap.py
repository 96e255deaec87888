"""Bootstrap draws and intervals: whole groups, plain NumPy's own quantiles, and coverage by simulation."""

import math

import numpy as np
import pytest
from scipy.stats import norm, t

from pipeline.evaluation.bootstrap import Interval, bootstrap, bootstrap_all, weights
from pipeline.evaluation.ranking import Ranking


def mean_of(values):
    return lambda drawn: np.average(values, weights=drawn)


def test_draws_hold_whole_groups_and_as_many_as_there_are():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 30, 400)
    sums = np.zeros(400)
    for drawn in weights(groups, draws=200):
        assert (drawn.shape, drawn.dtype) == ((400,), np.int64)
        per_group = {group: set(drawn[groups == group]) for group in np.unique(groups)}
        assert all(len(counts) == 1 for counts in per_group.values())
        assert sum(next(iter(counts)) for counts in per_group.values()) == len(per_group)
        sums += drawn
    # A group is drawn once on average: 200 draws, standard deviation about sqrt(200).
    assert np.abs(sums - 200).max() < 5 * math.sqrt(200)


@pytest.mark.parametrize("groups", [["a", "b", None, "c", None, "a"], [3.0, math.nan, 1.0, math.nan, 3.0, 2.0]])
def test_draws_do_not_depend_on_the_order_of_rows_and_missing_is_a_group(groups):
    order = np.array([3, 0, 5, 1, 4, 2])
    groups = np.array(groups, dtype=object)
    for drawn, other in zip(weights(groups, 20, seed=4), weights(groups[order], 20, seed=4), strict=True):
        np.testing.assert_array_equal(drawn[order], other)
    assert any(not np.array_equal(*pair) for pair in zip(weights(groups, 20, 4), weights(groups, 20, 5), strict=True))


def test_the_interval_is_that_of_rows_drawn_by_hand():
    rng = np.random.default_rng(1)
    groups, values = rng.integers(0, 12, 100), rng.normal(size=100)
    drawn_means = [values[np.repeat(np.arange(100), drawn)].mean() for drawn in weights(groups, 300, seed=7)]
    found = bootstrap(mean_of(values), groups, draws=300, seed=7, level=0.8)
    assert found.value == pytest.approx(values.mean())
    ordered = np.sort(drawn_means)
    # Of 12 groups, quantiles further out than 0.1 and 0.9: Student's t with 11 degrees of freedom, and sqrt(12 / 11).
    tail = norm.cdf(np.sqrt(12 / 11) * t.ppf(0.1, 11))
    assert 0.05 < tail < 0.09
    places = math.floor(tail * 299), math.ceil((1 - tail) * 299)
    assert (found.low, found.high) == pytest.approx(tuple(ordered[list(places)]))


def coverage(draw_groups, level, truth, repeats):
    inside = 0
    for seed in range(repeats):
        groups, values = draw_groups(np.random.default_rng(seed))
        found = bootstrap(mean_of(values), groups, draws=200, seed=seed, level=level)
        inside += found.low <= truth <= found.high
    return inside / repeats


def clustered(rng):
    groups = np.repeat(np.arange(60), 5)
    return groups, rng.normal(size=60)[groups] + 0.2 * rng.normal(size=300)


def test_intervals_of_clustered_rows_hold_the_truth_as_often_as_they_say():
    # 400 repeats at 0.9: standard deviation 0.015.
    assert 0.84 <= coverage(clustered, 0.9, 0.0, 400) <= 0.95


def test_means_over_seven_days_hold_the_truth_as_often_as_they_say():
    def week(rng):
        return np.arange(7), rng.binomial(100, 0.3, 7) / 100

    # Plain percentiles of seven days hold it four times in five; 600 repeats have a standard deviation of 0.012.
    assert 0.87 <= coverage(week, 0.9, 0.3, 600) <= 0.96


def test_rows_drawn_one_by_one_would_say_too_much():
    def rows(rng):
        return np.arange(300), clustered(rng)[1]

    assert coverage(rows, 0.9, 0.0, 200) < 0.7


def test_a_difference_is_paired():
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(50), 4)
    noise = rng.normal(size=200)
    less = mean_of(noise)
    found = bootstrap(lambda drawn: mean_of(noise + 0.1)(drawn) - less(drawn), groups)
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1, 0.1))
    better = noise + 0.1 + 0.05 * rng.normal(size=200)
    apart = bootstrap(mean_of(better), groups)
    paired = bootstrap(lambda drawn: mean_of(better)(drawn) - less(drawn), groups)
    assert paired.high - paired.low < (apart.high - apart.low) / 5
    assert paired.low <= 0.1 <= paired.high


def test_an_undefined_metric_has_no_interval():
    nothing = bootstrap(lambda _: math.nan, [1, 2, 3])
    assert all(math.isnan(end) for end in (nothing.value, nothing.low, nothing.high))
    few_groups = bootstrap(mean_of(np.arange(5.0)), [1, 2, 3, 4, 4])
    assert str(few_groups) == "2.000"
    # One customer with all frauds: it is missing from a third of the draws, where AUROC is undefined.
    frauds = np.array([1, 1, 0, 0, 0, 0, 0])
    found = bootstrap(lambda drawn: Ranking(np.arange(7.0), frauds).auroc(drawn), [1, 1, 2, 3, 4, 5, 6])
    assert str(found) == ".000"
    empty = bootstrap(lambda drawn: math.nan, [])
    assert math.isnan(empty.value)


def test_few_undefined_draws_widen_the_interval_at_both_ends():
    values = np.random.default_rng(3).normal(size=40)
    calls = iter(range(10_000))

    def now_and_then(drawn):
        # Every 50th draw is undefined: 2 % count as below the low end and as above the high one.
        return math.nan if next(calls) % 50 == 49 else np.average(values, weights=drawn)

    found = bootstrap(now_and_then, np.arange(40), draws=1000)
    whole = bootstrap(mean_of(values), np.arange(40), draws=1000)
    assert found.low < whole.low < whole.high < found.high


def test_several_metrics_share_their_draws():
    values = np.random.default_rng(5).normal(size=30)
    value, low, high = bootstrap_all(lambda drawn: mean_of(values)(drawn) * np.array([1, 2]), np.arange(30))
    assert Interval(value[0], low[0], high[0]) == bootstrap(mean_of(values), np.arange(30))
    np.testing.assert_allclose([value[1], low[1], high[1]], 2 * np.array([value[0], low[0], high[0]]))


def test_refuses_a_level_that_is_none():
    with pytest.raises(ValueError, match="level is 1"):
        bootstrap(mean_of(np.arange(3.0)), [1, 2, 3], level=1)


def test_reads_well():
    assert str(Interval(-0.01234, -0.2, 0.1)) == "-.012 (-.200 to .100)"
    assert str(Interval(1.0, 0.5, 1.0)) == "1.000 (.500 to 1.000)"
    assert f"{Interval(1234.5, 900, 2000):,.0f}" == "1,234 (900 to 2,000)"
