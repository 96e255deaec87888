"""Each gate at its limit: MLflow's validation decides."""

import math
from dataclasses import replace
from datetime import date, datetime

import numpy as np
import pytest
from scipy import stats

from pipeline.calibration.strategies.capacity import predicted_queue
from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.measures import Outcomes
from pipeline.selection.comparison import Comparison, Contender
from pipeline.selection.figures import Figure, measure_versions
from pipeline.selection.gates import failed, gates
from pipeline.settings.config import ThresholdConfig
from pipeline.tracking.aliases import Version
from tests.pipeline.fitted import config


def comparison(two, figures, *, degenerate="", labelled=True, **promotion):
    """A comparison of two real detectors, with figures of its own."""
    contenders = [
        Contender(Version(str(number), "run", (), datetime(2025, 1, 1), "", {}), detector, detector.config)
        for number, (detector, _) in enumerate(two[1], 1)
    ]
    labels = np.array([0.0, 1.0]) if labelled else np.array([np.nan, np.nan])
    rows = Outcomes.of([1, 2], None, [0.0, 1.0], labels, flagged=[False, True])
    return Comparison(
        config=config(promotion=promotion),
        contenders=contenders,
        source="rows",
        days=(date(2025, 1, 1), date(2025, 1, 2)),
        outcomes=[rows, rows],
        figures=figures,
        scored=[],
        changes=[],
        degenerate=["", degenerate],
        drifts=[None],
    )


def figure(name, value, low, high=1.0):
    own = [Interval(0.5, 0.4, 0.6), Interval(0.5 + value, 0.4, 0.6)]
    return Figure(name, name, "", own, [Interval(0, 0, 0), Interval(value, low, high)])


def volume(value):
    return Figure("alerts_per_day", "Alerts a day", "", [Interval(value, value, value)] * 2, [], is_share=False)


def expected(two):
    return two[1][1][0].cut.alerts_per_day


@pytest.mark.parametrize(
    ("value", "low", "is_passed"),
    [(0.0, -0.05, True), (0.0, -0.0501, False), (0.3, -0.2, False), (-0.04, -0.045, True), (0.0, math.nan, False)],
)
def test_the_lower_end_of_the_difference_decides(two, value, low, is_passed):
    figures = [figure("average_precision", value, low), volume(expected(two))]
    found = {gate.name: gate for gate in gates(comparison(two, figures))}
    assert found["average_precision_less_baseline_low"].is_passed is is_passed


@pytest.mark.parametrize("name", ["average_precision", "card_precision_at_100"])
@pytest.mark.parametrize(
    ("less", "is_passed"),
    [
        ((-0.019, -0.025, -0.014), False),
        ((-0.01, -0.019, 0.0), True),
        ((-0.001, -0.002, -0.0001), False),
        ((0, 0, 0), True),
    ],
)
def test_a_loss_that_is_certain_is_no_matter_of_the_margin(two, name, less, is_passed):
    settings = {"max_loss_average_precision": 0.05, "max_loss_card_precision": 0.02}
    figures = [figure(name, *less), volume(expected(two))]
    conditions = gates(comparison(two, figures, **settings))
    assert (failed(conditions) == []) is is_passed
    assert ("; it is worse." in conditions[0].text) is not is_passed


def test_losses_do_not_add_up_from_champion_to_champion(two):
    """Three champions, each a little worse: none of the steps is certain, the last one against the first is."""
    rng = np.random.default_rng(5)
    rows = 4000
    labels = (rng.random(rows) < 0.05).astype(float)
    noise = rng.normal(size=rows)

    def outcomes(strength):
        scores = strength * labels + noise
        return Outcomes.of(np.arange(rows) % 20, np.arange(rows) % 400, scores, labels, flagged=scores > 2)

    # The champion, the best one before it, the version to be promoted.
    versions = [outcomes(strength) for strength in (1.75, 2.2, 1.8)]
    settings = config(promotion={"max_loss_card_precision": 1}).promotion
    base = comparison(two, [], max_loss_card_precision=1)
    old, new = base.contenders
    three = replace(
        base,
        contenders=[old, replace(old, version=replace(old.version, number="7")), new],
        outcomes=versions,
        degenerate=["", "", ""],
        figures=[f for f in measure_versions(versions, settings) if f.name == "average_precision"],
    )
    against_champion, against_best, *_ = gates(three, 2)
    assert against_champion.is_passed
    assert not against_best.is_passed
    assert "and that of version 7, the best champion so far, " in against_best.text
    assert against_best.title == "average precision, beside the best champion"
    less = measure_versions([versions[1], versions[2]], settings)
    expected_less = next(f for f in less if f.name == "average_precision").differences[1]
    assert against_best.value == expected_less.high < 0
    # Where the champion is the best one itself, it is asked for once.
    again = replace(three, outcomes=[versions[1], versions[0], versions[2]])
    again = replace(again, figures=measure_versions(again.outcomes, settings)[:1])
    assert [gate.title for gate in gates(again, 2) if "precision" in gate.title] == ["average precision"]


def test_a_loss_of_one_asks_nothing(two):
    figures = [figure("average_precision", -0.9, -1.0), volume(expected(two))]
    assert failed(gates(comparison(two, figures, max_loss_average_precision=1))) == []


@pytest.mark.parametrize(
    ("factor", "missed"), [(1, []), (0.51, []), (0.49, ["too few alerts"]), (1.51, ["too many alerts"]), (1.49, [])]
)
def test_the_volume_has_to_lie_about_where_the_threshold_expects(two, factor, missed):
    found = gates(comparison(two, [volume(factor * expected(two))]))
    assert [gate.title for gate in failed(found)] == missed


def test_a_capacity_is_held_to_the_queue_that_it_predicts(two):
    settings = ThresholdConfig(strategy="capacity", alerts_per_day=5)
    (path, (old, new)) = two[0], [detector for detector, _ in two[1]]
    capable = path, [(old, None), (new.with_threshold(settings), None)]
    low, high = predicted_queue(capable[1][1][0].cut, 2)  # the rows are of two days
    for alerts, missed in ((low, []), (low - 0.5, ["too few alerts"]), (high, []), (high + 0.5, ["too many alerts"])):
        found = failed(gates(comparison(capable, [volume(alerts / 2)])))
        assert [gate.title for gate in found] == missed
    assert found[0].text.endswith("its capacity of 5 a day predicts that for 2 days.")


def test_a_threshold_that_flagged_no_calibration_row_may_flag_a_few_later(two):
    """The law of counts after none: gamma(1/2) over the days seen, so a negative binomial over those to come."""
    path, (old, (new, _)) = two[0], two[1]
    rare = new.with_threshold(ThresholdConfig(strategy="fdr", false_discovery_rate=0.01))
    assert rare.cut.alerts_per_day == 0
    days = rare.held_out.days
    most = stats.nbinom.ppf(0.95, 0.5, days / (days + 2)) / 2
    assert most > 0
    none, few, many = (
        failed(gates(comparison((path, [old, (rare, None)]), [volume(value)]))) for value in (0, most, most + 0.5)
    )
    assert none == few == []
    assert [gate.title for gate in many] == ["too many alerts"]
    assert many[0].text.endswith("its calibration rows had none, which predicts that for 2 days.")


@pytest.mark.parametrize(("champion", "missed"), [(3.5, ["no alerts"]), (0.0, [])])
def test_a_version_that_flags_nothing_does_not_take_over_from_one_that_does(two, champion, missed):
    path, (old, (new, _)) = two[0], two[1]
    rare = new.with_threshold(ThresholdConfig(strategy="fdr", false_discovery_rate=0.01))
    values = [Interval(value, value, value) for value in (champion, 0.0)]
    silent = Figure("alerts_per_day", "Alerts a day", "", values, [], is_share=False)
    found = failed(gates(comparison((path, [old, (rare, None)]), [silent])))
    assert [gate.title for gate in found] == missed
    assert [gate.text for gate in found] in ([], ["It flags none of these rows, and the champion 3.5 a day."])


def test_the_teams_own_interval_of_alerts_goes_before_the_thresholds(two):
    found = comparison(two, [volume(50.0)], alerts_per_day=(40, 60))
    assert failed(gates(found)) == []
    found = comparison(two, [volume(39.9)], alerts_per_day=(40, 60))
    assert [gate.title for gate in failed(gates(found))] == ["too few alerts"]
    assert (
        failed(gates(found))[0].text
        == "39.9 alerts a day; at least 40 are asked for: promotion.alerts_per_day says so."
    )


def test_degenerate_scores_and_wrong_reasons_do_not_pass(two):
    reasons = figure("top_reason", 0.2, 0.1)  # 0.7 of them
    found = failed(gates(comparison(two, [volume(expected(two)), reasons], degenerate="all rows score 1")))
    assert [gate.title for gate in found] == ["scores", "reasons"]
    assert found[0].text == "all rows score 1"
    asked = comparison(two, [volume(expected(two)), reasons], min_top_reason=0.7)
    assert failed(gates(asked)) == []


def test_without_labels_injected_anomalies_stand_in_for_them(two):
    figures = [figure("average_precision", 0, -1), figure("injected_recall", -0.1, -0.2), volume(expected(two))]
    found = comparison(two, figures, labelled=False)
    assert "injected_recall" in [gate.title for gate in failed(gates(found))]
    assert [gate.name for gate in gates(found)][:2] == ["injected_recall_less_baseline_low", "injected_recall"]
    asked = comparison(two, figures, labelled=False, min_injected_recall=0.45)
    assert "injected anomalies" in [gate.title for gate in failed(gates(asked))]  # 0.4 of them are flagged
    assert [gate.title for gate in failed(gates(replace(found, outcomes=comparison(two, []).outcomes)))] == [
        "average_precision"
    ]


def test_a_first_champion_is_held_against_nobody(two):
    figures = [figure("average_precision", 0, -1), volume(two[1][0][0].cut.alerts_per_day)]
    assert [gate.name for gate in gates(comparison(two, figures), 0)] == [
        "alerts_per_day_least",
        "alerts_per_day_most",
        "degenerate",
    ]
