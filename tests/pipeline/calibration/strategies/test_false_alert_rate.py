import re

import numpy as np
import pytest
from scipy import stats

from pipeline.calibration.intervals import rank_for_rate, realised_count, realised_rate
from pipeline.calibration.p_values import Calibration
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.false_alert_rate import FalseAlertRate
from pipeline.errors import TrainingError
from tests.pipeline.calibration.held_out_rows import made


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
        cut = FalseAlertRate(rate=rate).solve(made(scores)).value
        assert cut == np.sort(scores)[::-1][k - 1]
        asked = np.concatenate([scores, generator.normal(size=50).round(2), [-9.0, 9.0]])
        assert ((asked > cut) == (Calibration(scores).p_value(asked) <= rate)).all()


def test_too_few_normal_rows_for_a_rate_are_refused_with_the_number_needed():
    with pytest.raises(TrainingError, match=r"rate of 0\.01 needs at least 99 normal rows .* and there are 98"):
        FalseAlertRate(rate=0.01).solve(made(np.arange(98.0)))
    assert FalseAlertRate(rate=0.01).solve(made(np.arange(99.0))).value == 98
    with pytest.raises(TrainingError, match=r"rate of 0\.29 needs at least 3 normal rows"):
        FalseAlertRate(rate=0.29).solve(made(np.arange(2.0)))


def test_the_rate_that_the_refusal_names_can_be_kept():
    for rows in range(60, 130):
        with pytest.raises(TrainingError, match="to at least") as refused:
            FalseAlertRate(rate=0.001).solve(made(np.arange(float(rows))))
        rate = float(re.search(r"to at least ([\d.]+),", str(refused.value))[1])
        assert FalseAlertRate(rate=rate).solve(made(np.arange(float(rows)))).facts["k"] == 1


@pytest.mark.parametrize("law", ["normal", "heavy"])
@pytest.mark.parametrize(("rows", "rate", "future"), [(99, 0.01, 400), (200, 0.05, 300), (997, 0.02, 2000)])
def test_the_realised_count_is_in_its_interval_as_often_as_the_exact_discrete_law_says(rows, rate, future, law):
    draws, k = 6000, rank_for_rate(rows, rate)
    low, high = realised_count(rows, k, future)
    exact_law = stats.betabinom(future, k, rows + 1 - k)
    exact = exact_law.cdf(high) - exact_law.cdf(low - 1)
    assert exact >= 0.9
    generator = np.random.default_rng(1)
    inside = flagged = 0
    for size in [500] * (draws // 500):
        if law == "normal":
            known, further = generator.normal(size=(size, rows)), generator.normal(size=(size, future))
        else:
            known, further = generator.standard_cauchy((size, rows)), generator.standard_cauchy((size, future))
        cuts = np.partition(known, rows - k, axis=1)[:, rows - k]
        counts = (further > cuts[:, None]).sum(axis=1)
        inside += int(((low <= counts) & (counts <= high)).sum())
        flagged += int(counts.sum())
    assert inside / draws == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / draws))
    spread = exact_law.std() / future / np.sqrt(draws)
    assert flagged / (draws * future) == pytest.approx(k / (rows + 1), abs=4 * spread)
    assert k / (rows + 1) <= rate


def test_with_ties_no_more_rows_are_flagged_than_promised():
    generator = np.random.default_rng(2)
    rows, rate, draws = 200, 0.1, 5000
    k = rank_for_rate(rows, rate)
    known = generator.poisson(3, (draws, rows))
    cuts = np.partition(known, rows - k, axis=1)[:, rows - k]
    assert (generator.poisson(3, draws) > cuts).mean() <= rate + 4 * np.sqrt(rate * (1 - rate) / draws)


def test_the_long_run_rate_lies_in_its_interval_as_often_as_said():
    rows, rate, draws = 500, 0.05, 5000
    k = rank_for_rate(rows, rate)
    low, high = realised_rate(rows, k)
    scores = np.random.default_rng(3).exponential(size=(draws, rows))
    rates = np.exp(-np.partition(scores, rows - k, axis=1)[:, rows - k])  # the true share above the cut
    inside = ((low <= rates) & (rates <= high)).mean()
    assert inside == pytest.approx(0.9, abs=4 * np.sqrt(0.09 / draws))
    assert rates.mean() == pytest.approx(k / (rows + 1), rel=0.02)


def test_it_promises_the_volume_of_the_block_and_names_its_condition():
    generator = np.random.default_rng(4)
    normal = generator.normal(size=1999)
    everything = made(np.concatenate([normal, np.full(40, 99.0)]), labels=np.repeat([0, 1], [1999, 40]), days=4.0)
    threshold = FalseAlertRate(rate=0.01).solve(everything)
    assert (everything.scores > threshold.value).sum() == 40 + 19
    assert threshold.alerts_per_day == pytest.approx(59 / 4)
    assert threshold.alert_share == pytest.approx(59 / 2039)
    assert "At most 1 % of normal rows" in threshold.promise
    assert "14.8 alerts a day" in threshold.promise
    assert "exchangeable" in threshold.promise
    low, high = (100 * bound for bound in stats.beta(20, 1980).ppf([0.05, 0.95]))
    assert f"between {low:.2g} % and {high:.3g} %" in threshold.promise


def test_what_came_is_held_against_the_interval_among_rows_known_to_be_normal():
    strategy = FalseAlertRate(rate=0.05)
    threshold = strategy.solve(made(np.arange(199.0)))
    low, high = realised_count(199, 10, 100)
    labels = np.repeat([0.0, 1.0, np.nan], [100, 20, 30])
    for flagged in (low - 1, low, high, high + 1):
        if flagged < 0:
            continue
        flags = np.concatenate([np.arange(100) < flagged, np.ones(50, bool)])
        fulfilment = strategy.fulfilment(threshold, Realised.of(made(np.zeros(150), labels=labels), flags))
        assert fulfilment.is_inside is (low <= flagged <= high)
        assert f"Of 100 rows taken for normal by now, {flagged} were flagged" in fulfilment.text
        assert f"between {low} and {high} were predicted" in fulfilment.text
    nothing = strategy.fulfilment(threshold, Realised.of(made(np.zeros(5), labels=[np.nan] * 5), np.ones(5, bool)))
    assert nothing.is_inside is None
    assert "No label of these rows is known yet" in nothing.text
