import numpy as np
import pytest
from scipy import stats

from pipeline.calibration.p_values import Calibration, TailLaw
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.tail import PeaksOverThreshold, rates
from pipeline.errors import TrainingError
from tests.pipeline.calibration.held_out_rows import made


def test_the_cut_has_the_tail_p_value_asked_for():
    scores = np.random.default_rng(0).gamma(2, size=5000)
    strategy = PeaksOverThreshold(rate=1e-5)
    threshold = strategy.solve(made(scores))
    assert threshold.value > scores.max()
    assert Calibration.fit(scores).tail_p_value(np.array([threshold.value]))[0] == pytest.approx(1e-5)
    assert "one in 100,000" in threshold.promise
    assert "guarantees nothing" in threshold.promise
    exponential = stats.beta(1, 3).rvs(size=3000, random_state=1)  # bounded: the shape is held at 0
    bounded = strategy.solve(made(exponential))
    assert bounded.facts["shape"] == 0
    assert Calibration.fit(exponential).tail_p_value(np.array([bounded.value]))[0] == pytest.approx(1e-5)


@pytest.mark.parametrize("shape", [0.15, 0.4])
def test_the_true_rate_lies_in_its_interval_about_as_often_as_said_where_the_law_is_right(shape):
    law, rate, inside = stats.genpareto(shape), 2e-4, []
    for seed in range(250):
        try:
            facts = PeaksOverThreshold(rate=rate).solve(made(law.rvs(size=3000, random_state=seed)))
        except TrainingError:
            continue  # the fit was refused
        inside.append(facts.facts["low"] <= law.sf(facts.value) <= facts.facts["high"])
    assert len(inside) > 200
    assert 0.82 <= np.mean(inside) <= 0.96


def test_the_draws_of_the_rate_are_those_of_the_law_with_its_parameters_known_to_be_uncertain():
    scores = stats.genpareto(0.2).rvs(size=100_000, random_state=2)
    tail = Calibration.fit(scores).tail
    cut = float(np.quantile(scores, 0.999))
    found = rates(tail, len(scores), cut)
    assert np.median(found) == pytest.approx(0.001, rel=0.1)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_draw_whose_law_ends_below_the_cut_has_nothing_above_it():
    found = rates(TailLaw(level=0.0, exceedances=60, shape=0.0, scale=1.0), 600, 50.0)
    assert found.dtype == np.float64
    assert found.min() == 0
    assert 0.3 < (found == 0).mean() < 0.6  # about half of the shapes that are drawn are below zero


def test_the_share_above_the_level_is_on_average_the_p_value_there():
    scores = np.random.default_rng(8).exponential(size=500)
    tail = Calibration.fit(scores).tail
    assert tail.exceedances == 50
    assert rates(tail, 500, tail.level).mean() == pytest.approx(51 / 501, abs=0.001)  # Beta(51, 450)


def test_a_bad_fit_is_refused_with_the_reason():
    generator = np.random.default_rng(3)
    two_lumps = np.concatenate([generator.uniform(size=9000), *(generator.normal(at, 0.1, 500) for at in (3, 5))])
    for scores, why in [
        (generator.normal(size=400), "of 400 there are 40"),
        (two_lumps, "do not follow a generalised Pareto law"),
        (stats.genpareto(1.6).rvs(size=20_000, random_state=0), "with 1 or more it has no mean"),
        (np.ones(5000), "there are 0, the others being ties"),
    ]:
        with pytest.raises(TrainingError, match=why):
            PeaksOverThreshold(rate=1e-5).solve(made(scores))
    with pytest.raises(TrainingError, match=r"false_alert_rate is 0\.2 and the tail law holds below 0\.1"):
        PeaksOverThreshold(rate=0.2).solve(made(generator.exponential(size=3000)))
    with pytest.raises(TrainingError, match=r"false_alert_rate is 0\.1 and the tail law holds below 0\.1"):
        PeaksOverThreshold(rate=0.1).solve(made(generator.exponential(size=999)))  # (1 + 99) / (1 + 999)


def test_its_fit_is_shown_beside_the_scores_it_was_fitted_to():
    scores = np.random.default_rng(4).exponential(size=5000)
    strategy = PeaksOverThreshold(rate=1e-4)
    threshold = strategy.solve(made(scores))
    curve = strategy.curve(threshold, made(scores))
    (_, _, law), (_, _, found) = curve.lines
    level = threshold.facts["level"]
    assert found[-1] == (scores.max(), pytest.approx(1 / 5001))
    assert found[0][0] == scores[scores > level].min()
    for score, share in law[1:]:
        assert share == pytest.approx(np.exp(-score), rel=0.6)  # the true law
    assert curve.at == (threshold.value, 1e-4)
    assert (len(law), law[0][0], law[-1][0]) == (200, level, 1.02 * max(threshold.value, scores.max()))
    assert [share for _, share in law] == Calibration.fit(scores).tail_p_value(np.array([x for x, _ in law])).tolist()
    assert [(kind, label) for kind, label, _ in curve.lines] == [
        ("curve", "the law"),
        ("train", "the 500 scores that it was fitted to"),
    ]
    assert (curve.title, curve.x_label, curve.is_log) == (
        "The tail that the threshold is extrapolated from",
        "anomaly score",
        (False, True),
    )
    assert curve.text == (
        "Share of normal rows above each score, on a log scale. The dot is the threshold; where the two lines part, do "
        "not trust it."
    )


def test_what_came_is_held_against_the_interval():
    strategy = PeaksOverThreshold(rate=0.001)
    threshold = strategy.solve(made(np.random.default_rng(5).exponential(size=5000)))
    rows = made(np.zeros(10_000))
    fulfilment = strategy.fulfilment(threshold, Realised.of(rows, np.arange(10_000) < 10))
    assert fulfilment.is_inside
    assert "Of 10,000 rows taken for normal by now, 10 were flagged (0.1 %), inside" in fulfilment.text
    assert not strategy.fulfilment(threshold, Realised.of(rows, np.arange(10_000) < 100)).is_inside
