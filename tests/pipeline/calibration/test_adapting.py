"""A cut that follows drifting scores, in plain NumPy, and its bounded step."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pipeline.calibration.adapting import GAMMA, adapt, next_level
from pipeline.calibration.strategies.capacity import Capacity
from pipeline.calibration.strategies.cost import Cost
from pipeline.calibration.strategies.false_alert_rate import FalseAlertRate
from pipeline.calibration.threshold import Threshold
from tests.pipeline.calibration.held_out_rows import made, partly_labelled

WINDOW, DAYS, ROWS = 7, 28, 600
SEEDS = range(20)
STRATEGIES = {"capacity": Capacity(alerts_per_day=30), "rate": FalseAlertRate(rate=0.05)}
"""Both promise that one row in 20 is flagged."""


def last_days(strategy: Capacity | FalseAlertRate, drift: float, seed: int) -> tuple[float, float]:
    """Return the share of rows that the fixed and the adapting cut flag over the last 14 days."""
    generator = np.random.default_rng(seed)
    centre = drift * np.arange(WINDOW + DAYS)
    scores = generator.normal(size=(WINDOW + DAYS, ROWS)) + np.maximum(centre - drift * WINDOW, 0)[:, None]

    def before(day: int):
        return made(scores[day - WINDOW : day].ravel(), day=np.repeat(np.arange(WINDOW), ROWS))

    fixed = threshold = strategy.solve(before(WINDOW))
    level, shares = 0.05, []
    for day in range(WINDOW, WINDOW + DAYS):
        if day > WINDOW:
            level = next_level(level, 0.05, shares[-1:])
            moved = adapt(threshold, before(day), step=0.2, nights=1, level=level)
            assert moved is not None
            threshold = moved.threshold
        shares.append(float((scores[day] > threshold.value).mean()))
    return float((scores[-14:] > fixed.value).mean()), float(np.mean(shares[-14:]))


@pytest.mark.parametrize("name", STRATEGIES)
def test_under_slow_drift_the_promise_is_kept_where_the_fixed_cut_breaks_it(name: str) -> None:
    fixed, adapted = np.array([last_days(STRATEGIES[name], 0.02, seed) for seed in SEEDS]).T
    assert fixed.min() > 0.08  # more than half too many, on every seed
    assert abs(adapted - 0.05).max() < 0.013
    # The middle of the window is four days back: by capacity that lag stays, and a rate makes up for it by its level.
    lag = stats.norm.sf(stats.norm.isf(0.05) - 4 * 0.02) if name == "capacity" else 0.05
    assert adapted.mean() == pytest.approx(lag, abs=0.002)


@pytest.mark.parametrize("name", STRATEGIES)
def test_without_drift_following_costs_little(name: str) -> None:
    fixed, adapted = np.array([last_days(STRATEGIES[name], 0.0, seed) for seed in SEEDS]).T
    errors = [float(np.sqrt(np.mean((shares - 0.05) ** 2))) for shares in (fixed, adapted)]
    assert errors[1] < errors[0] + 0.001  # a fiftieth of what is promised
    assert abs(adapted - 0.05).max() < 0.008


def test_the_level_makes_up_for_each_days_error() -> None:
    errors = [0.0, 0.02, 0.011]
    assert next_level(0.01, 0.01, errors) == pytest.approx(0.01 + GAMMA * (0.03 - sum(errors)))
    assert next_level(0.01, 0.01, []) == 0.01
    assert next_level(0.001, 0.01, [0.9, 0.01]) == 0.0  # and back from there at once
    assert next_level(0.0, 0.01, [0.0]) == pytest.approx(GAMMA * 0.01)


def test_a_night_moves_what_is_flagged_by_the_step_and_no_further() -> None:
    scores = np.arange(1000.0)
    rows = made(scores, day=np.repeat(np.arange(10), 100))
    strategy = Capacity(alerts_per_day=10)  # 100 of these rows: the cut 899
    for nights, below, above in [(1, 75, 320), (2, 95, 240), (7, 100, 100)]:
        few, many = (
            adapt(strategy.at(value, rows), rows, step=0.2, nights=nights) for value in (999 - 55.0, 999 - 400.0)
        )
        assert few is not None
        assert many is not None
        assert (scores > few.threshold.value).sum() == below
        assert (scores > many.threshold.value).sum() == above
        assert few.asked == many.asked == 899
        assert (many.before, many.after) == (40, above / 10)
        assert many.threshold.facts["mean"] == many.after
    there = adapt(strategy.solve(rows), rows, step=0.2, nights=1)
    assert there is not None
    assert there.threshold.value == there.asked == 899


def test_customers_are_counted_once_a_day() -> None:
    # Two rows of the same customer at the top: three customers with an alert are four alerts.
    rows = made([9, 8, 7, 6, 5, 4, 3, 2], customers=[1, 1, 2, 3, 4, 5, 6, 7])
    cut = Threshold(8.5, "capacity", 1, 0.1, "", settings={"alerts_per_day": 3, "unit": "customers"})
    moved = adapt(cut, rows, step=0.9, nights=1)
    assert moved is not None
    assert (moved.threshold.value, moved.before, moved.after) == (5, 1, 3)


def test_a_rate_looks_at_normal_rows_at_its_level() -> None:
    rows = partly_labelled(3, ties=False)
    normal = np.sort(rows.scores[rows.normal])[::-1]
    cut = FalseAlertRate(rate=0.02).solve(rows)
    moved = adapt(replace(cut, explore=1.5), rows, step=0.9, nights=1, level=0.03)
    assert moved is not None
    assert (normal > moved.threshold.value).sum() == int(0.03 * (len(normal) + 1)) - 1
    assert moved.threshold.facts == {"normal_rows": len(normal), "k": int(0.02 * (len(normal) + 1))}
    assert moved.threshold.explore == 1.5
    nothing = adapt(cut, rows, step=0.9, nights=9, level=0.0)
    assert nothing is not None
    assert nothing.threshold.value == normal[0]


def test_too_few_rows_move_nothing_and_other_strategies_do_not_adapt() -> None:
    rows = made(np.arange(50.0))
    assert (
        adapt(Threshold(1, "capacity", 1, 0, "", {"alerts_per_day": 50, "unit": "alerts"}), rows, step=0.2, nights=1)
        is None
    )
    assert adapt(Threshold(1, "false_alert_rate", 1, 0, "", {"rate": 0.01}), rows, step=0.2, nights=1) is None
    cost = Cost(review_cost=1.0, recovered_share=1.0)
    with pytest.raises(TypeError, match="a threshold by 'cost' does not adapt"):
        adapt(Threshold(1, cost.name, 1, 0, "", vars(cost)), rows, step=0.2, nights=1)
