import dataclasses

import numpy as np
import pytest

from pipeline.calibration.exploring import has_fallen, solve_queue
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.choice import fulfilment, solve
from pipeline.settings.config import ThresholdConfig
from tests.pipeline.calibration.held_out_rows import made


def rows_of(seed=0, number=4000, frauds=40):
    """Rows of four days whose scores by known frauds and by the model alone have little to do with each other."""
    generator = np.random.default_rng(seed)
    labels = np.zeros(number)
    labels[generator.choice(number, frauds, replace=False)] = 1
    alone = generator.exponential(size=number)
    blended = generator.exponential(size=number) + 0.5 * alone + 9 * labels
    day = np.repeat(np.arange(4), number // 4)
    customers = generator.integers(0, 300, number)
    return made(alone, labels=labels, day=day, customers=customers, channel=["web", "shop"] * (number // 2)).blended(
        blended
    )


def queue(rows, threshold):
    flags = rows.scores > threshold.fixed_cuts(rows.segments.get(threshold.segment))
    return flags, (rows.one_class > threshold.explore) & ~flags


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_by_capacity_a_share_of_the_alerts_explores(share):
    rows, settings = rows_of(), ThresholdConfig(strategy="capacity", alerts_per_day=50)
    threshold = solve_queue(rows, settings, share)
    flags, picks = queue(rows, threshold)
    assert (flags.sum(), picks.sum()) == (round(200 * (1 - share)), round(200 * share))
    assert rows.one_class[picks].min() > rows.one_class[~flags & ~picks].max()
    assert threshold.alerts_per_day == 50 * (1 - share)
    assert f"about {50 * share:.3g} alerts a day explore" in threshold.promise
    # What came is held against the rest of the capacity.
    assert fulfilment(threshold, Realised.of(rows, flags)).is_inside
    assert type(threshold).from_dict(threshold.to_dict()) == threshold


@pytest.mark.parametrize(("share", "expected"), [(0.1, 0.2), (0.3, 0.5)])
def test_twice_as_much_explores_where_the_precision_of_the_queue_fell_but_no_more_than_half(share, expected):
    rows, settings = rows_of(frauds=160), ThresholdConfig(strategy="capacity", alerts_per_day=50)
    steady = solve_queue(rows, settings, share)
    assert "more than usual" not in steady.promise
    # The frauds of the last two days turn out to be none: what scores high there is a pattern that is gone.
    broken = dataclasses.replace(rows, labels=np.where(rows.day >= 2, 0.0, rows.labels))
    threshold = solve_queue(broken, settings, share)
    flags, picks = queue(broken, threshold)
    assert (flags.sum(), picks.sum()) == (round(200 * (1 - expected)), round(200 * expected))
    assert "more than usual, because the precision of the queue fell" in threshold.promise


def test_a_precision_falls_by_chance_no_more_often_than_its_intervals_say():
    generator, flags = np.random.default_rng(0), np.ones(400, bool)
    day = np.repeat(np.arange(4), 100)
    steady = [has_fallen(made(flags, labels=(generator.random(400) < 0.3) * 1.0, day=day), flags) for _ in range(300)]
    assert sum(steady) < 15
    rates = np.repeat([0.3, 0.1], 200)
    fallen = [has_fallen(made(flags, labels=(generator.random(400) < rates) * 1.0, day=day), flags) for _ in range(20)]
    assert sum(fallen) > 17
    unknown = np.where(day >= 2, np.nan, 1.0)
    assert not has_fallen(made(flags, labels=unknown, day=day), flags)


def test_by_customers_the_share_is_of_customers_too():
    rows, settings = rows_of(), ThresholdConfig(strategy="capacity", alerts_per_day=20, unit="customers")
    flags, picks = queue(rows, solve_queue(rows, settings, 0.25))
    assert rows.daily(flags, "customers").sum() == 60
    assert rows.daily(picks, "customers").sum() == 20


def test_by_a_rate_no_more_normal_rows_are_looked_at_than_promised_without_exploring():
    rows, settings = rows_of(), ThresholdConfig(false_alert_rate=0.05)
    flags, picks = queue(rows, solve_queue(rows, settings, 0.2))
    whole = (rows.scores > solve(rows, settings).value) & rows.normal
    assert (flags & rows.normal).sum() + (picks & rows.normal).sum() == pytest.approx(whole.sum(), abs=1)
    assert (picks & rows.normal).sum() == pytest.approx(0.2 * whole.sum(), abs=1)


def test_segments_have_lines_of_their_own_and_one_to_explore():
    rows = rows_of()
    settings = ThresholdConfig(strategy="capacity", alerts_per_day=50, segment="channel", min_segment_rows=500)
    threshold = solve_queue(rows, settings, 0.1)
    flags, picks = queue(rows, threshold)
    assert set(threshold.parts) == {"web", "shop"}
    assert picks.sum() == round(flags.sum() / 9)


@pytest.mark.parametrize(
    ("rows", "settings", "share"),
    [
        (rows_of(), ThresholdConfig(), 0.0),
        (dataclasses.replace(rows_of(), alone=None), ThresholdConfig(), 0.1),
        (rows_of(), ThresholdConfig(strategy="fdr"), 0.1),
        (rows_of(), ThresholdConfig(strategy="f_beta"), 0.1),
        (rows_of(number=400, frauds=1), ThresholdConfig(strategy="capacity", alerts_per_day=0.3), 0.1),
        (rows_of(), ThresholdConfig(false_alert_rate=1 / 3900), 0.1),
    ],
    ids=["no share", "no known frauds", "by batch", "by labels", "too few to divide", "too low a rate to divide"],
)
def test_nothing_explores_where_there_is_nothing_to_divide(rows, settings, share):
    threshold = solve_queue(rows, settings, share)
    assert threshold.explore is None
    assert threshold == solve(rows, settings)
