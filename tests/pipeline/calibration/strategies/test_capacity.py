import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pipeline.calibration.intervals import day_variance, queue_interval
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.capacity import Capacity, predicted_queue
from pipeline.errors import TrainingError
from tests.pipeline.calibration.held_out_rows import made


def simulate(generator, days, effect, rows_a_day=400):
    """Scores of some days whose numbers of high scores differ by more than chance."""
    shift = effect * generator.normal(size=days)
    day = np.repeat(np.arange(days), rows_a_day)
    return generator.normal(size=len(day)) + shift[day], day


def test_the_cut_flags_k_alerts_a_day_of_all_rows_labelled_or_not():
    generator = np.random.default_rng(0)
    for days, per_day in [(2, 10), (7, 3.3), (5, 40)]:
        scores, day = simulate(generator, days, 0.2)
        labels = generator.choice([0, 1, np.nan], len(scores))
        threshold = Capacity(alerts_per_day=per_day).solve(made(scores, day=day, labels=labels))
        assert (scores > threshold.value).sum() == int(days * per_day)
        assert threshold.alerts_per_day == pytest.approx(int(days * per_day) / days)


def test_days_that_are_not_whole_are_left_out_where_two_others_are():
    generator = np.random.default_rng(1)
    scores, day = simulate(generator, 4, 0.0)
    whole = day != 0
    threshold = Capacity(alerts_per_day=20).solve(made(scores, day=day, whole=whole, days=3.4))
    assert (scores[whole] > threshold.value).sum() == 60
    assert "the 3 that the cut was solved on" in threshold.promise
    # Beside a single whole day, three quarters of the rows of a day are three quarters of a day.
    short = made(scores[100:800], day=day[100:800], whole=day[100:800] == 1, days=1.9)
    threshold = Capacity(alerts_per_day=20).solve(short)
    assert (short.scores > threshold.value).sum() == 35
    assert threshold.facts["mean"] == 20
    assert "from chance alone" in threshold.promise
    piece = made(scores[:200], days=0.5, whole=np.zeros(200, bool))
    assert (piece.scores > Capacity(alerts_per_day=20).solve(piece).value).sum() == 10


def test_no_more_are_flagged_than_asked_when_scores_tie():
    rows = made(np.repeat([1.0, 2.0, 3.0], [80, 15, 5]))
    tied, whole = (Capacity(alerts_per_day=each).solve(rows) for each in (10, 20))
    assert [(rows.scores > each.value).sum() for each in (tied, whole)] == [5, 20]
    assert tied.promise.endswith(
        "Of the 10 alerts asked for in that time only 5 lie above the cut: the next 15 score all alike, and flagging "
        "them would make 20."
    )
    assert "asked for" not in whole.promise


def test_customers_count_once_a_day_however_many_alerts_they_have():
    generator = np.random.default_rng(2)
    scores, day = simulate(generator, 5, 0.3)
    customers = generator.integers(0, 60, len(scores))
    rows = made(scores, day=day, customers=customers)
    threshold = Capacity(alerts_per_day=8, unit="customers").solve(rows)
    flagged = {(a, b) for a, b in zip(day[scores > threshold.value], customers[scores > threshold.value], strict=True)}
    assert len(flagged) == 40
    assert (scores > threshold.value).sum() > 40
    assert "About 8 customers a day" in threshold.promise
    counts = rows.daily(scores > threshold.value, "customers")
    assert counts.tolist() == [sum(a == number for a, _ in flagged) for number in range(5)]
    fulfilment = Capacity(alerts_per_day=8, unit="customers").fulfilment(
        threshold, Realised.of(rows, scores > threshold.value)
    )
    assert "The queue of 40 customers lies inside" in fulfilment.text
    with pytest.raises(TrainingError, match="the contract names no entity"):
        Capacity(alerts_per_day=8, unit="customers").solve(made(scores, day=day))


@pytest.mark.parametrize("future", [1, 7])
@pytest.mark.parametrize(("days", "effect"), [(8, 0.0), (8, 0.1), (8, 0.25), (15, 0.25), (4, 0.15)])
def test_queues_lie_in_their_interval_as_often_as_said_also_where_days_differ(days, effect, future):
    """Alerts above the cut of the block; days differ by a log-normal effect on how many high scores they have."""
    generator = np.random.default_rng(3)
    draws, per_day, reach = 2000, 40, 3.0
    rates = np.exp(effect * generator.normal(size=(draws, days + future)))
    # Scores are exponential above some level: a day's number above it is Poisson, and so is that above any cut.
    numbers = generator.poisson(reach * per_day * rates)
    seen = numbers[:, :days].sum(axis=1)
    # The cut with per_day * days above it: a uniform quantile of the block, of which it takes the beta-th share.
    k = np.minimum(per_day * days, seen - 1)
    share = generator.beta(k + 1, seen - k)
    first = generator.binomial(numbers[:, days:], share[:, None]).sum(axis=1)
    inside = 0
    for draw in range(draws):
        counts = generator.multivariate_hypergeometric(numbers[draw, :days], k[draw])
        low, high = queue_interval(counts.mean(), day_variance(counts), days, future)
        inside += low <= first[draw] <= high
    # With few days the log-normal law is more skewed than the negative binomial one; chance alone is discrete.
    assert 0.86 <= inside / draws <= 0.94


def test_without_differences_the_interval_is_the_predictive_law_of_a_poisson_rate():
    for mean, days, future in [(5, 4, 1), (80, 7, 1), (80, 7, 7), (0.5, 10, 3)]:
        # A gamma law of shape mean * days for the rate, and a Poisson law for the count.
        law = stats.nbinom(mean * days, days / (days + future))
        expected = int(law.ppf(0.05)), int(law.ppf(0.95))
        assert queue_interval(mean, mean, days, future) == queue_interval(mean, np.nan, days, future) == expected
    assert queue_interval(0.0, 0.0, 5) == (0, 1)  # none seen in five days is no proof that there are none


def test_the_whole_way_from_scores_to_what_came_keeps_the_promise():
    generator = np.random.default_rng(4)
    strategy, inside = Capacity(alerts_per_day=12), []
    for _ in range(1000):
        scores, day = simulate(generator, 9, 0.05)
        past, future = day < 8, day == 8
        threshold = strategy.solve(made(scores[past], day=day[past]))
        fulfilment = strategy.fulfilment(threshold, Realised.of(made(scores[future]), scores[future] > threshold.value))
        inside.append(fulfilment.is_inside)
    assert 0.87 <= np.mean(inside) <= 0.96


def test_what_came_is_said_by_day_and_in_all():
    generator = np.random.default_rng(5)
    scores, day = simulate(generator, 8, 0.1)
    strategy = Capacity(alerts_per_day=20)
    threshold = strategy.solve(made(scores, day=day))
    low, high = queue_interval(20, threshold.facts["variance"], 8, 3)
    first, last = queue_interval(20, threshold.facts["variance"], 8)
    assert (predicted_queue(threshold), predicted_queue(threshold, 3)) == ((first, last), (low, high))
    assert f"nine days in ten between {first} and {last}, from chance and what these days varied)" in threshold.promise
    rows = made(np.zeros(300), day=np.repeat([0, 1, 2], 100))
    flags = np.concatenate([np.arange(100) < number for number in (20, first - 1, last + 1)])
    fulfilment = strategy.fulfilment(threshold, Realised.of(rows, flags))
    assert fulfilment.is_inside is bool(low <= flags.sum() <= high)
    assert f"The queue of {flags.sum()} alerts lies inside: between {low} and {high} were predicted" in fulfilment.text
    assert f"{first} to {last} for a day, which 1 of 3 days kept" in fulfilment.text
    above = strategy.fulfilment(threshold, Realised.of(rows, np.ones(300, bool)))
    assert above.is_inside is False
    assert "lies outside, above it" in above.text


@pytest.mark.parametrize(
    ("days", "per_day", "message"),
    [
        (2.0, 50, r"alerts_per_day is 50 and there are only 50\.0 rows a day, so that every row would be flagged"),
        (2.0, 1000, "lower threshold.alerts_per_day"),
        (2.0, 0.4, r"block is 2 days long, which makes less than one alert.*at least 0\.5"),
    ],
)
def test_a_capacity_that_cannot_be_kept_is_refused(days, per_day, message):
    with pytest.raises(TrainingError, match=message):
        Capacity(alerts_per_day=per_day).solve(made(np.arange(100.0), days=days, whole=np.zeros(100, bool)))


def test_a_queue_at_the_end_of_its_interval_is_inside():
    strategy = Capacity(alerts_per_day=20)
    threshold = strategy.solve(made(simulate(np.random.default_rng(6), 8, 0.1)[0], day=np.repeat(np.arange(8), 400)))
    low, high = predicted_queue(threshold)
    for flagged, is_inside in ((low - 1, False), (low, True), (high, True), (high + 1, False)):
        assert (
            strategy.fulfilment(threshold, Realised.of(made(np.zeros(300)), np.arange(300) < flagged)).is_inside
            is is_inside
        )


def test_a_group_whose_share_makes_no_whole_alert_has_no_cut_of_its_own():
    rows = made(np.arange(100.0), channel=["web"] * 90 + ["fax"] * 10)
    strategy = Capacity(alerts_per_day=5)
    masks = {value: rows.where("channel", value) for value in ("web", "fax")}
    common = replace(strategy.solve(rows), segment="channel")
    assert set(strategy.split(rows, masks, common)) == {"web"}  # the fax's share is 0.5 of an alert


def test_a_day_has_one_interval_and_no_row_no_queue():
    strategy = Capacity(alerts_per_day=20)
    threshold = strategy.solve(made(np.arange(400.0), day=np.repeat([0, 1], 200)))
    low, high = predicted_queue(threshold)
    day = strategy.fulfilment(threshold, Realised.of(made(np.zeros(50)), np.arange(50) < 20))
    assert day.text == f"The queue of 20 alerts lies inside: between {low} and {high} were predicted for the day."
    nothing = strategy.fulfilment(threshold, Realised.of(made([]), np.zeros(0, bool)))
    assert (nothing.text, nothing.is_inside) == ("No row was scored, so there is no queue.", None)


def test_more_customers_than_there_are_cannot_be_reviewed():
    rows = made(np.arange(100.0), day=np.repeat([0, 1], 50), customers=np.arange(100) % 10)
    with pytest.raises(TrainingError, match=r"alerts_per_day is 10 and there are only 10\.0 customers a day"):
        Capacity(alerts_per_day=10, unit="customers").solve(rows)
    assert Capacity(alerts_per_day=9.5, unit="customers").solve(rows).facts["mean"] == 9.5


def test_groups_share_what_the_other_rows_leave_and_nothing_where_these_take_all():
    # The ten other rows lie highest: a day's capacity of 20 leaves 10, three quarters of them for the larger group.
    rows = made(np.arange(100.0), channel=["web", "web", "web", "fax"] * 22 + ["web", "fax"] + [None] * 10)
    masks = {value: rows.where("channel", value) for value in ("web", "fax")}
    strategy = Capacity(alerts_per_day=20)
    common = replace(strategy.solve(rows), segment="channel")
    parts = strategy.split(rows, masks, common)
    flagged = {value: int((rows.scores[masks[value]] > part.value).sum()) for value, part in parts.items()}
    assert flagged == {"web": math.floor(10 * 67 / 90), "fax": math.floor(10 * 23 / 90)}
    assert [part.settings["alerts_per_day"] for part in parts.values()] == [10 * 67 / 90, 10 * 23 / 90]
    few = Capacity(alerts_per_day=10)
    assert few.split(rows, masks, replace(few.solve(rows), segment="channel")) == {}
