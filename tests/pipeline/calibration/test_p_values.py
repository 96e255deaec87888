import json
import re

import numpy as np
import pytest
from scipy import stats

from pipeline.calibration.p_values import Calibration, TailLaw, fit_tail, tail_or_reason

ANY_TAIL = "a tail law needs 50 scores above its level, the top tenth, and of "


def test_p_value_is_the_share_of_calibration_scores_at_least_as_high_counting_the_row_itself():
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 40, 300).astype(float)  # many ties
    asked = generator.uniform(-5, 45, 200).round()
    expected = [(1 + sum(score >= one for score in scores)) / (1 + len(scores)) for one in asked]
    assert Calibration(scores).p_value(asked).tolist() == expected


def test_p_value_never_falls_below_one_over_n_plus_one_and_reaches_one():
    calibration = Calibration(np.arange(99.0))
    assert calibration.p_value(np.array([-1.0, 0.0, 1e300])).tolist() == [1.0, 1.0, 0.01]


@pytest.mark.parametrize("law", ["normal", "heavy", "ties"])
def test_p_values_are_valid_over_draws_of_the_calibration_rows(law):
    generator = np.random.default_rng(1)
    draw = {
        "normal": lambda size: generator.normal(size=size),
        "heavy": generator.standard_cauchy,
        "ties": lambda size: generator.poisson(2, size).astype(float),
    }[law]
    rows, draws = 60, 6000
    p_values = np.array([Calibration(draw(rows)).p_value(draw(1))[0] for _ in range(draws)])
    for rate in (1 / 61, 0.05, 0.1, 0.3, 0.5, 0.9):
        # Four standard errors: a valid p-value passes all of these checks about 999 times in 1,000.
        slack = 4 * np.sqrt(rate * (1 - rate) / draws)
        assert (p_values <= rate).mean() <= rate + slack
        if law != "ties":
            exact = np.floor(rate * (rows + 1) + 1e-9) / (rows + 1)
            assert (p_values <= rate).mean() == pytest.approx(exact, abs=slack)


def test_tail_p_value_equals_the_p_value_up_to_the_level_and_never_rises_with_the_score():
    generator = np.random.default_rng(2)
    calibration = Calibration.fit(generator.gamma(2, size=5000))
    asked = np.sort(np.concatenate([calibration.scores, generator.gamma(2, size=2000) * 3, [1e3, 1e6, 1e300]]))
    p_values, tail = calibration.p_value(asked), calibration.tail_p_value(asked)
    below = asked <= calibration.tail.level
    assert below.sum() > 4000
    assert (tail[below] == p_values[below]).all()
    assert (np.diff(tail) <= 0).all()
    assert (tail > 0).all()


def test_tail_p_value_above_the_level_is_the_generalised_pareto_law_of_scipy():
    calibration = Calibration(np.arange(1000.0), TailLaw(level=899.0, exceedances=100, shape=0.3, scale=40.0))
    asked = np.array([900.0, 950.0, 5000.0])
    expected = 101 / 1001 * stats.genpareto(0.3, loc=899, scale=40).sf(asked)
    np.testing.assert_allclose(calibration.tail_p_value(asked), expected, rtol=1e-12)
    exponential = Calibration(np.arange(1000.0), TailLaw(level=899.0, exceedances=100, shape=0.0, scale=40.0))
    np.testing.assert_allclose(
        exponential.tail_p_value(asked[:2]), 101 / 1001 * stats.expon(899, 40).sf(asked[:2]), rtol=1e-12
    )


@pytest.mark.parametrize(
    "law",
    [stats.expon(), stats.genpareto(0.25), stats.t(4), stats.norm(), stats.chi2(10)],
    ids=lambda law: law.dist.name,
)
def test_tail_p_value_is_near_the_true_chance_ten_times_beyond_the_calibration_rows(law):
    ratios = []
    for seed in range(20):
        calibration = Calibration.fit(law.rvs(size=4000, random_state=seed))
        if calibration.tail is not None:
            ratios.append(calibration.tail_p_value(law.isf(np.array([1 / 40_000])))[0] * 40_000)
    assert len(ratios) >= 12
    # Within a factor of four of 1 in 40,000, where the p-value itself stops at 1 in 4,001; a light tail is
    # overstated, never understated, because the shape is held at 0 or above.
    assert 0.25 < np.median(ratios) < (40 if law.dist.name in ("norm", "chi2") else 4)


def test_no_tail_when_scores_are_too_few():
    generator = np.random.default_rng(3)
    few = generator.exponential(size=499)
    assert tail_or_reason(few) == (None, ANY_TAIL + "499 there are 49")
    assert Calibration.fit(few).tail_p_value(np.array([1.0])) is None
    enough = fit_tail(generator.exponential(size=500))
    assert enough is not None
    assert enough.exceedances == 50
    assert tail_or_reason(np.ones(5000)) == (None, ANY_TAIL + "5,000 there are 0, the others being ties")


def test_no_tail_when_the_largest_scores_follow_no_pareto_law():
    generator = np.random.default_rng(3)
    law = generator.exponential(size=9000)
    three_lumps = np.concatenate([law / law.max(), *(generator.normal(at, 0.1, 500) for at in (3, 5))])
    tail, reason = tail_or_reason(three_lumps)
    assert tail is None
    assert "do not follow a generalised Pareto law (Kolmogorov-Smirnov test, p-value " in reason
    assert reason.endswith(" and 0.05 is the least)")
    assert fit_tail(three_lumps) is None


def test_no_tail_when_the_law_has_no_mean():
    scores = stats.genpareto(1.6).rvs(size=20_000, random_state=0)
    tail, reason = tail_or_reason(scores)
    assert tail is None
    assert re.fullmatch(
        "the law that fits the largest scores has the shape 1.[56]., and with 1 or more .* no mean", reason
    )
    assert fit_tail(scores) is None


def test_a_bounded_tail_is_taken_for_an_exponential_one_of_the_same_mean():
    scores = np.sort(stats.beta(1, 3).rvs(size=3000, random_state=1))
    tail = fit_tail(scores)
    assert (tail.shape, tail.exceedances, tail.level) == (0, 300, scores[-301])
    assert tail.scale == pytest.approx((scores[-300:] - scores[-301]).mean())


def test_the_tail_fit_does_not_depend_on_the_scale_or_order_of_the_scores():
    scores = np.random.default_rng(4).gamma(2, size=3000)
    tail, scaled = fit_tail(scores), fit_tail(1e9 * scores[::-1])
    assert scaled.shape == pytest.approx(tail.shape, abs=1e-3)
    assert scaled.scale == pytest.approx(1e9 * tail.scale, rel=1e-3)


def test_round_trip_through_json_gives_the_same_p_values_bit_for_bit():
    calibration = Calibration.fit(np.random.default_rng(5).gamma(2, size=3000))
    again = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())), calibration.scores)
    asked = np.linspace(0, 40, 500)
    assert calibration.tail is not None
    assert (again.tail_p_value(asked) == calibration.tail_p_value(asked)).all()
    assert Calibration.from_dict({"tail": None}, calibration.scores).tail is None


@pytest.mark.parametrize("scores", [[], [1.0, np.nan], [np.inf]])
def test_scores_that_cannot_calibrate_are_refused(scores):
    with pytest.raises(ValueError, match="at least one score, and finite ones"):
        Calibration.fit(np.array(scores))
