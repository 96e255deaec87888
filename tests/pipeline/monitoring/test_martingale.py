"""The bets against the distribution of scores: their values in plain Python, what they promise, what they notice."""

import math
from math import comb

import numpy as np
import pytest

from pipeline.monitoring.martingale import BLOCKS, LEVELS, Bounds, bounds, course, evidence

WIDE = Bounds((0.01, 0.05, 0.25, 0.5), (0.0, 0.0, 0.1, 0.3), (0.02, 0.1, 0.4, 0.7))


def day(shares, rows=3000, seed=0):
    """Counts of a day whose shares up to each level are these."""
    generator = np.random.default_rng(seed)
    chances = np.diff(np.concatenate([[0], shares, [1]]))
    by_block = generator.multinomial(rows, np.full(BLOCKS, 1 / BLOCKS))
    counts = np.array([generator.multinomial(number, chances) for number in by_block])
    return by_block, counts.cumsum(axis=1)[:, :-1].T


def test_evidence_is_the_mean_capital_of_careful_and_bold_bets():
    rows, up_to = np.array([10, 0, 5]), np.array([[1, 0, 1], [3, 0, 0], [4, 0, 1], [6, 0, 1]])
    expected = []
    for counts, high in zip(up_to.tolist(), WIDE.high, strict=True):
        shares = counts[0] / 10, counts[2] / 5
        bets = [math.prod(1 + part / high * (share - high) for share in shares) for part in (0.1, 0.3, 0.8)]
        expected.append(sum(bets) / 3)
    for counts, low in zip(up_to.tolist(), WIDE.low, strict=True):
        shares = counts[0] / 10, counts[2] / 5
        bets = [math.prod(1 + part / (1 - low) * (low - share) for share in shares) for part in (0.1, 0.3, 0.8)]
        expected.append(sum(bets) / 3 if low else 0.0)
    np.testing.assert_allclose(evidence(rows, up_to, WIDE), expected)


@pytest.mark.parametrize("place", range(len(LEVELS)))
def test_no_bet_is_expected_to_win_on_a_day_at_its_bound(place):
    high, low, rows = WIDE.high[place], WIDE.low[place], 12
    for share, side in ((high, 0), (low, len(LEVELS))):
        if not share:
            continue  # nothing is bet
        total = 0.0
        for count in range(rows + 1):
            up_to = np.zeros((len(LEVELS), 1), int)
            up_to[place] = count
            chance = comb(rows, count) * share**count * (1 - share) ** (rows - count)
            total += chance * evidence(np.array([rows]), up_to, WIDE)[place + side]
        assert total == pytest.approx(1)


def test_bounds_hold_what_the_days_varied_and_a_tolerance():
    generator = np.random.default_rng(3)
    number = 8
    p_values = [generator.uniform(0, 1, 500) ** power for power in np.linspace(0.8, 1.2, number)]
    values, days = np.concatenate(p_values), np.repeat(np.arange(number), 500)
    limits = bounds(values, days, 0.5)
    for place, level in enumerate(LEVELS):
        daily = [float((part <= level).mean()) for part in p_values]
        share = sum(daily) / number
        variance = sum((each - share) ** 2 for each in daily) / (number - 1) - share * (1 - share) / 500
        assert variance > 0 or level == 0.01
        spread = math.sqrt(max(variance, 0))
        assert limits.usual[place] == pytest.approx(share)
        assert limits.high[place] == pytest.approx(min(1.5 * share + 4 * spread, 1))
        assert limits.low[place] == pytest.approx(max(share / 1.5 - 4 * spread, 0))


def test_few_days_vary_as_chance_has_it():
    values = np.arange(1, 1001) / 1000
    limits = bounds(np.tile(values, 2), np.repeat([0, 1], 1000), 0.5)
    np.testing.assert_allclose(limits.high[1], 0.075 + 4 * math.sqrt(0.05 * 0.95 / 1000))


def test_evidence_adds_up_from_every_day_on():
    evidences = [np.array([0.5, 2.0]), np.array([3.0, 0.1]), np.array([1.0, 1.0])]
    result = course(evidences, 0.05)
    by_hand = []
    for place in range(2):
        values = [float(each[place]) for each in evidences]
        by_hand.append([sum(math.prod(values[start : end + 1]) for start in range(end + 1)) for end in range(3)])
    np.testing.assert_allclose(result.values, np.mean(by_hand, axis=0))
    assert result.limit == 7300
    assert not result.calls.any()


def test_one_day_never_calls_two_may_and_the_alarm_ends_with_its_cause():
    odd, quiet = np.array([1e300] + [1e-6] * 7), np.full(8, 1e-6)
    assert course([quiet, odd, quiet, odd, quiet], 0.05).calls.tolist() == [False] * 5
    assert course([quiet, odd, odd, odd, quiet, quiet], 0.05).calls.tolist() == [
        False, False, True, True, False, False
    ]  # fmt: skip
    lingering = np.array([1e-3] + [1e-6] * 7)
    calls = course([odd, odd, lingering, lingering, quiet], 0.05).calls
    assert calls.tolist() == [False, True, True, False, False]  # on between the limit and 1


def test_nothing_was_bet_before_the_first_day():
    result = course([], 0.05)
    assert (len(result.values), len(result.calls)) == (0, 0)


def test_a_year_of_days_at_the_bounds_calls_no_more_often_than_promised():
    """Days that are as odd as the bounds allow, each of them."""
    evidences = [evidence(*day(WIDE.high, rows=200, seed=seed), WIDE) for seed in range(365)]
    assert course(evidences, 1.0).calls.sum() <= 4


@pytest.mark.parametrize("shares", [(0.06, 0.2, 0.5, 0.8), (0.001, 0.004, 0.02, 0.05)])
def test_days_beyond_the_bounds_are_named_within_three_days(shares):
    quiet = [evidence(*day((0.01, 0.05, 0.25, 0.5), seed=seed), WIDE) for seed in range(60)]
    other = [evidence(*day(shares, seed=seed), WIDE) for seed in range(100, 103)]
    calls = course([*quiet, *other], 0.05).calls
    assert not calls[:60].any()
    assert calls[62]
