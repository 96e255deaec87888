"""What alerts a day are expected, by plain formulas and over many seeds of quiet days."""

import numpy as np
import pytest

from pipeline.monitoring.volume import BEYOND, DAYS_OF_ROWS, Block, Expected, lasting, rates


def block(seed: int = 0, days: int = 10, rate: float = 0.02) -> Block:
    generator = np.random.default_rng(seed)
    rows = generator.integers(300, 700, days)
    return Block(generator.binomial(rows, rate), rows)


def test_the_excess_is_told_in_what_still_counts_for_chance():
    expected = Expected(10.0, 4.0, 17.0)
    most, least = 10 + BEYOND * 7, 10 - BEYOND * 6
    assert [expected.excess(alerts) for alerts in (0, 10, most)] == [0, 0, 0]
    assert expected.excess(3 * most) == pytest.approx(3)
    assert least < 0  # so that no number of alerts is too few
    many = Expected(100.0, 80.0, 120.0)
    assert many.excess(30) == pytest.approx(-2)
    assert many.excess(0) < -1e6


def test_a_day_of_few_rows_is_held_against_as_many():
    of_block = block()
    (quiet, usual), (odd, of_few) = (
        rates(of_block, [(500, 10)])[0],
        rates(of_block, [(100, 12)])[0],
    )
    assert quiet == 0
    assert usual.mean == pytest.approx(500 * (of_block.alerts / of_block.rows).mean(), rel=1e-9)
    assert of_few.mean == pytest.approx(usual.mean / 5)
    assert odd > 1
    assert rates(of_block, [(500, 12)])[0][0] == 0  # as many alerts in as many rows as usual are not odd


def test_a_block_without_alerts_or_rows_expects_few():
    for of_block in (Block(np.zeros(5), np.full(5, 300)), Block(np.zeros(1), np.zeros(1))):
        ((quiet, expected),) = rates(of_block, [(300, 0)])
        assert (quiet, expected.mean) == (0, 0)
    assert rates(Block(np.zeros(5), np.full(5, 300)), [(300, 40)])[0][0] > 1


def test_quiet_days_make_the_interval_narrower_and_odd_ones_do_not_widen_it():
    of_block = block(days=4)
    generator = np.random.default_rng(1)
    quiet = [(500, int(alerts)) for alerts in generator.binomial(500, 0.02, 30)]
    found = rates(of_block, quiet)
    first, last = found[0][1], found[-1][1]
    assert last.high - last.low < first.high - first.low
    wave = rates(of_block, [*quiet, *[(500, 60)] * 20])
    assert all(excess > 1 for excess, _ in wave[30:])
    assert wave[-1][1] == wave[31][1]  # what lasts goes on being odd


def test_a_day_is_not_expected_by_itself_nor_by_the_day_before():
    of_block = block()
    days = [(500, 10), (500, 14), (500, 9)]
    for number in range(3):
        other = [*days[: max(number - 1, 0)], *[(500, 1)] * (number > 0), days[number]]
        assert rates(of_block, days)[number][1] == rates(of_block, other)[number][1]


def test_quiet_days_in_a_row_are_hardly_ever_odd():
    odd = 0
    for seed in range(40):
        generator = np.random.default_rng([seed, 5])
        rows = generator.integers(250, 700, 60)
        each = 0.02 * generator.lognormal(0, 0.2, 60)
        found = [excess for excess, _ in rates(block(seed), zip(rows, generator.binomial(rows, each), strict=True))]
        odd += sum(lasting(found[: last + 1], DAYS_OF_ROWS) > 0 for last in range(60))
    assert odd <= 1  # of 2,400 days
