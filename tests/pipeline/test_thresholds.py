import numpy as np
import pytest
from scipy import stats

from pipeline.calibration import Calibration
from pipeline.errors import TrainingError
from pipeline.thresholds import capacity, false_alert_rate, rank_for_rate, realised_count, realised_rate


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05, 0.07, 0.1, 0.29, 1 / 3, 0.57, 0.9, 0.999])
def test_flagged_by_rate_means_exactly_a_p_value_at_most_the_rate(rate):
    generator = np.random.default_rng(0)
    for rows in [*range(1, 130), 999, 1000, 1999]:
        scores = generator.normal(size=rows).round(2)  # some ties
        k = rank_for_rate(rows, rate)
        assert 0 <= k <= rows
        if k == 0:
            assert 1 / (rows + 1) > rate
            continue
        cut = false_alert_rate(scores, scores, 1.0, rate).value
        assert cut == np.sort(scores)[::-1][k - 1]
        asked = np.concatenate([scores, generator.normal(size=50).round(2), [-9.0, 9.0]])
        assert ((asked > cut) == (Calibration(scores).p_value(asked) <= rate)).all()


def test_too_few_normal_rows_for_a_rate_are_refused_with_the_number_needed():
    with pytest.raises(TrainingError, match=r"rate of 0\.01 needs at least 99 normal rows .* and there are 98"):
        false_alert_rate(np.arange(98.0), np.arange(98.0), 1.0, 0.01)
    assert false_alert_rate(np.arange(99.0), np.arange(99.0), 1.0, 0.01).value == 98
    with pytest.raises(TrainingError, match=r"rate of 0\.29 needs at least 3 normal rows"):
        false_alert_rate(np.arange(2.0), np.arange(2.0), 1.0, 0.29)


def test_the_realised_rate_lies_in_its_interval_as_often_as_said():
    rows, rate, draws = 500, 0.05, 5000
    k = rank_for_rate(rows, rate)
    low, high = realised_rate(rows, k)
    generator = np.random.default_rng(1)
    inside, rates = 0, []
    for _ in range(draws):
        cut = np.sort(generator.exponential(size=rows))[-k]
        rates.append(np.exp(-cut))  # the true share of exponential scores above the cut
        inside += low <= rates[-1] <= high
    assert inside / draws == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / draws))
    assert np.mean(rates) == pytest.approx(k / (rows + 1), rel=0.02)
    assert np.mean(rates) <= rate * 1.02


def test_the_realised_count_lies_in_its_interval_as_often_as_the_discrete_law_says():
    rows, k, future, draws = 200, 10, 300, 4000
    low, high = realised_count(rows, k, future)
    law = stats.betabinom(future, k, rows + 1 - k)
    exact = law.cdf(high) - law.cdf(low - 1)
    assert exact >= 0.9
    generator = np.random.default_rng(2)
    counts = [
        int((generator.normal(size=future) > np.sort(generator.normal(size=rows))[-k]).sum()) for _ in range(draws)
    ]
    inside = np.mean([low <= count <= high for count in counts])
    assert inside == pytest.approx(exact, abs=4 * np.sqrt(0.1 * 0.9 / draws))


def test_false_alert_rate_promises_the_volume_of_the_block_and_names_its_condition():
    generator = np.random.default_rng(3)
    normal = generator.normal(size=1999)
    everything = np.concatenate([normal, np.full(40, 99.0)])
    threshold = false_alert_rate(normal, everything, 4.0, 0.01)
    flagged = int((everything > threshold.value).sum())
    assert flagged == 40 + 19
    assert threshold.alerts_per_day == pytest.approx(flagged / 4)
    assert threshold.alert_share == pytest.approx(flagged / 2039)
    assert "At most 1 % of normal rows" in threshold.promise
    assert "14.8 alerts a day" in threshold.promise
    assert "exchangeable" in threshold.promise
    low, high = (100 * bound for bound in stats.beta(20, 1980).ppf([0.05, 0.95]))
    assert f"between {low:.2g} % and {high:.3g} %" in threshold.promise


def test_capacity_is_solved_on_all_rows_of_the_block():
    generator = np.random.default_rng(4)
    for days, per_day in [(1.0, 1), (2.5, 10), (7.0, 3.3), (0.5, 40)]:
        scores = generator.normal(size=700)
        threshold = capacity(scores, days, per_day)
        assert (scores > threshold.value).sum() == int(days * per_day)
        assert threshold.alerts_per_day == pytest.approx(int(days * per_day) / days)


def test_capacity_never_flags_more_than_asked_when_scores_tie():
    scores = np.repeat([1.0, 2.0, 3.0], [80, 15, 5])
    assert (scores > capacity(scores, 1.0, 10).value).sum() == 5
    assert (scores > capacity(scores, 1.0, 20).value).sum() == 20


def test_capacity_promises_a_volume_that_days_like_the_block_keep():
    generator = np.random.default_rng(5)
    per_day_rows, days, kept = 400, 5, []
    for _ in range(1500):
        threshold = capacity(generator.normal(size=per_day_rows * days), days, 12)
        low, high = realised_count(per_day_rows * days, 12 * days + 1, per_day_rows)
        kept.append(low <= (generator.normal(size=per_day_rows) > threshold.value).sum() <= high)
    law = stats.betabinom(per_day_rows, 61, 2000 + 1 - 61)
    assert np.mean(kept) == pytest.approx(law.cdf(high) - law.cdf(low - 1), abs=0.035)
    assert f"between {low:,} and {high:,}" in threshold.promise
    assert "About 12 alerts a day (3 % of rows" in threshold.promise
    assert "exchangeable" in threshold.promise


@pytest.mark.parametrize(
    ("days", "per_day", "message"),
    [
        (
            2.0,
            50,
            r"alerts_per_day is 50 and there are only 50\.0 rows a day, so that every row would be flagged",
        ),
        (2.0, 1000, "lower threshold.alerts_per_day"),
        (2.0, 0.4, r"block is 2 days long, which makes less than one alert.*at least 0\.5"),
    ],
)
def test_a_capacity_that_cannot_be_kept_is_refused(days, per_day, message):
    with pytest.raises(TrainingError, match=message):
        capacity(np.arange(100.0), days, per_day)
