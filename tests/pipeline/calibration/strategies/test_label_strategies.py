"""Cost, F-beta, precision and recall: each cut against a search over every score."""

import re

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import fbeta_score, precision_score, recall_score

from pipeline.calibration.intervals import predicted_count, realised_count
from pipeline.calibration.strategies.cost import Cost
from pipeline.calibration.strategies.f_beta import FBeta
from pipeline.calibration.strategies.precision_at_least import PrecisionAtLeast
from pipeline.calibration.strategies.recall_at_least import RecallAtLeast
from pipeline.errors import TrainingError
from tests.pipeline.calibration.held_out_rows import made

STRATEGIES = [
    Cost(review_cost=3, recovered_share=0.8),
    FBeta(beta=1),
    PrecisionAtLeast(precision=0.5),
    RecallAtLeast(recall=0.7),
]


def labelled(seed, rows=800, *, ties=True):
    generator = np.random.default_rng(seed)
    fraud = generator.random(rows) < 0.05
    scores = generator.normal(size=rows) + 2 * fraud
    amounts = generator.lognormal(2, 1, rows)
    labels = np.where(generator.random(rows) < 0.2, np.nan, fraud)
    day = np.sort(generator.integers(0, 4, rows))
    return made(scores.round(1) if ties else scores, labels=labels, amounts=amounts, day=day)


def every_cut(rows):
    return np.unique(np.concatenate([rows.scores, [rows.scores.min() - 1]]))


@pytest.mark.parametrize("seed", range(8))
def test_cost_finds_the_cut_that_saves_the_most_money_among_known_rows(seed):
    rows = labelled(seed)
    known = ~np.isnan(rows.labels)

    def saved(cut):
        flags = known & (rows.scores > cut)
        return 0.8 * rows.amounts[flags & (rows.labels == 1)].sum() - 3 * flags.sum()

    threshold = STRATEGIES[0].solve(rows)
    best = max(saved(cut) for cut in every_cut(rows))
    assert saved(threshold.value) == pytest.approx(best)
    assert threshold.facts["saved_per_day"] == pytest.approx(best / 4)
    fulfilment = STRATEGIES[0].fulfilment(threshold, rows, rows.scores > threshold.value)
    assert f"saved {best:,.2f}, {best / 4:,.2f} a day" in fulfilment.text
    curve = STRATEGIES[0].curve(threshold, rows)
    points = dict(curve.lines[0][2])
    assert max(points.values()) == pytest.approx(best / 4)
    assert curve.at[1] == pytest.approx(best / 4)


@pytest.mark.parametrize("beta", [0.5, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_f_beta_is_the_highest_of_any_cut(seed, beta):
    rows = labelled(seed)
    known = ~np.isnan(rows.labels)

    def value(cut):
        return fbeta_score(rows.labels[known] == 1, rows.scores[known] > cut, beta=beta, zero_division=0)

    threshold = FBeta(beta=beta).solve(rows)
    assert value(threshold.value) == pytest.approx(max(map(value, every_cut(rows))))
    assert threshold.facts["f_beta"] == pytest.approx(value(threshold.value))
    fulfilment = FBeta(beta=beta).fulfilment(threshold, rows, rows.scores > threshold.value)
    assert f"F-{beta:g} is {value(threshold.value):.3f}" in fulfilment.text


@pytest.mark.parametrize("seed", range(8))
def test_precision_is_kept_with_the_most_alerts(seed):
    rows = labelled(seed)
    known = ~np.isnan(rows.labels)

    def precision(cut):
        return precision_score(rows.labels[known] == 1, rows.scores[known] > cut, zero_division=0)

    threshold = PrecisionAtLeast(precision=0.5).solve(rows)
    assert precision(threshold.value) >= 0.5
    lower = every_cut(rows)[every_cut(rows) < threshold.value]
    assert all(precision(cut) < 0.5 for cut in lower)
    worst = made(-rows.scores, labels=rows.labels)
    with pytest.raises(TrainingError, match=r"no cut has a precision of threshold\.min_precision = 0\.99.* the most"):
        PrecisionAtLeast(precision=0.99).solve(worst)


@pytest.mark.parametrize("seed", range(8))
def test_recall_is_kept_with_the_fewest_alerts(seed):
    rows = labelled(seed, ties=False)
    known = ~np.isnan(rows.labels)
    frauds = int((rows.labels == 1).sum())
    threshold = RecallAtLeast(recall=0.7).solve(rows)
    hits = recall_score(rows.labels[known] == 1, rows.scores[known] > threshold.value) * frauds
    assert round(hits) == int(np.ceil(0.7 * (frauds + 1)))


def test_recall_holds_on_average_over_draws_of_the_known_frauds():
    generator, frauds, draws = np.random.default_rng(0), 30, 5000
    j = int(np.ceil(0.8 * (frauds + 1)))
    low, high = realised_count(frauds, j, 25)
    known = generator.normal(size=(draws, frauds))
    cuts = np.sort(known, axis=1)[:, frauds - j]
    flagged = (generator.normal(size=(draws, 25)) >= cuts[:, None]).sum(axis=1)
    assert flagged.mean() / 25 >= 0.8 - 4 * flagged.std() / 25 / np.sqrt(draws)
    law = stats.betabinom(25, j, frauds + 1 - j)
    exact = law.cdf(high) - law.cdf(low - 1)
    assert ((low <= flagged) & (flagged <= high)).mean() == pytest.approx(exact, abs=0.02)


def test_what_came_is_held_against_the_interval():
    rows = labelled(3)
    labels = np.concatenate([np.ones(40), np.zeros(60), np.full(10, np.nan)])
    batch, flags = made(np.zeros(110), labels=labels), np.concatenate([np.arange(40) < 25, np.arange(70) < 30])
    precision = PrecisionAtLeast(precision=0.5)
    threshold = precision.solve(rows)
    low, high = predicted_count(int(threshold.facts["frauds"]), int(threshold.facts["alerts"]), 55)
    fulfilment = precision.fulfilment(threshold, batch, flags)
    assert "Of 55 alerts with a known label 25 are fraud" in fulfilment.text
    assert fulfilment.is_inside is bool(low <= 25 <= high)
    recall = RecallAtLeast(recall=0.7)
    threshold = recall.solve(rows)
    low, high = realised_count(int(threshold.facts["frauds"]), int(threshold.facts["rank"]), 40)
    fulfilment = recall.fulfilment(threshold, batch, flags)
    assert "Of 40 known frauds 25 were flagged" in fulfilment.text
    assert fulfilment.is_inside is bool(low <= 25 <= high)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_without_labels_it_is_refused_and_what_came_is_not_known(strategy):
    rows = labelled(1)
    for labels, found in [(np.full(800, np.nan), "0 have a known one"), (np.zeros(800), "0 of them fraud")]:
        with pytest.raises(TrainingError, match=f"learns from labels, and of the 800 rows .*{found}"):
            strategy.solve(made(rows.scores, labels=labels, amounts=rows.amounts))
    nothing = made(np.zeros(3), labels=[np.nan] * 3, amounts=np.ones(3))
    fulfilment = strategy.fulfilment(strategy.solve(rows), nothing, np.ones(3, bool))
    assert fulfilment.is_inside is None
    assert "known" in fulfilment.text


def test_frauds_of_no_amount_are_told_from_reviews_that_cost_too_much():
    rows = made([1.0, 2.0, 3.0, 4.0], labels=[0, 0, 1, 1], amounts=[5.0, 0.0, 0.0, 0.0])
    with pytest.raises(TrainingError, match="those of the 2 known frauds held out for calibration are all 0"):
        Cost(review_cost=0, recovered_share=1).solve(rows)


def test_a_cost_that_no_cut_is_worth_and_amounts_that_are_not_kept_are_refused():
    rows = labelled(2)
    with pytest.raises(TrainingError, match=r"no cut saves money: with threshold\.review_cost = 1e\+06"):
        Cost(review_cost=1e6, recovered_share=1).solve(rows)
    with pytest.raises(TrainingError, match="needs the amounts, and the contract says that they are sensitive"):
        STRATEGIES[0].solve(made(rows.scores, labels=rows.labels))


def test_a_recall_that_too_few_frauds_can_show_is_refused():
    rows = made(np.arange(50.0), labels=np.arange(50) >= 45)
    with pytest.raises(TrainingError, match=r"min_recall = 0\.9 needs at least 9 known frauds .* there are 5.*0\.83"):
        RecallAtLeast(recall=0.9).solve(rows)


@pytest.mark.parametrize(
    "strategy", [lambda share: RecallAtLeast(recall=share), lambda x: PrecisionAtLeast(precision=x)]
)
def test_the_share_that_a_refusal_names_can_be_kept(strategy):
    for frauds in range(2, 40):
        rows = made(np.arange(100.0), labels=(np.arange(100) > 98 - frauds) & (np.arange(100) < 99))
        with pytest.raises(TrainingError, match="at most") as refused:
            strategy(0.999).solve(rows)
        share = float(re.search(r"to at most ([\d.]+)", " ".join(str(refused.value).split()))[1])
        assert strategy(share).solve(rows).alert_share > 0


def test_a_cut_that_saves_nothing_saves_no_money():
    rows = made([1.0, 2.0, 3.0], labels=[0, 0, 1], amounts=[1.0, 1.0, 10.0])
    with pytest.raises(TrainingError, match=r"no cut saves money: with threshold\.review_cost = 10"):
        Cost(review_cost=10, recovered_share=1).solve(rows)
    assert Cost(review_cost=9, recovered_share=1).solve(rows).facts["saved_per_day"] == 1


def test_money_is_saved_on_the_days_whose_labels_are_known():
    labels = [0, 1, 0, 1, np.nan, np.nan, np.nan, np.nan]
    rows = made(np.arange(8.0), labels=labels, amounts=np.full(8, 50.0), day=[0, 0, 1, 1, 2, 2, 3, 3], days=3.6)
    facts = Cost(review_cost=1, recovered_share=1).solve(rows).facts
    # Of four days two have a label, which are half of the 3.6; the best cut flags both frauds and the row between.
    assert facts["saved_per_day"] == pytest.approx((2 * 50 - 3) / 1.8)
    assert facts["most_per_day"] == pytest.approx((2 * 50 - 2) / 1.8)


def test_a_precision_that_is_just_kept_is_kept():
    rows = made([1.0, 2.0, 3.0, 4.0], labels=[0, 1, 0, 1])
    threshold = PrecisionAtLeast(precision=0.5).solve(rows)
    assert (rows.scores > threshold.value).all()
    assert (threshold.facts["alerts"], threshold.facts["frauds"]) == (4, 2)


def test_the_money_that_cuts_save_is_shown_to_eight_times_as_many_as_the_best_one():
    rows = labelled(3, ties=False)
    is_known = ~np.isnan(rows.labels)
    order = np.flatnonzero(is_known)[np.argsort(-rows.scores[is_known])]
    saved = np.cumsum(0.8 * rows.amounts[order] * (rows.labels[order] == 1) - 3) / 4
    best = int(np.argmax(saved))
    assert 8 * (best + 1) < len(saved)
    curve = STRATEGIES[0].curve(STRATEGIES[0].solve(rows), rows)
    assert (curve.title, curve.x_label, curve.is_log) == (
        "Money saved by the number of alerts",
        "alerts a day",
        (False, False),
    )
    assert curve.text == (
        f"A day, on the {is_known.sum()} rows with a known label: 80 % of the flagged frauds' amounts less 3 an alert. "
        "The dot is the threshold."
    )
    [(kind, label, points)] = curve.lines
    assert (kind, label) == ("curve", "")
    assert (points[0][0], points[-1][0]) == (1 / 4, 8 * (best + 1) / 4)
    assert [y for _, y in points] == pytest.approx([saved[round(4 * x) - 1] for x, _ in points])
    assert curve.at == ((best + 1) / 4, pytest.approx(saved[best]))


def test_f_beta_is_shown_by_the_number_of_alerts():
    rows = labelled(2, ties=False)
    is_known = ~np.isnan(rows.labels)
    fraud = (rows.labels[is_known] == 1)[np.argsort(-rows.scores[is_known])]
    curve = FBeta(beta=2).curve(FBeta(beta=2).solve(rows), rows)
    assert (curve.title, curve.is_log) == ("F-2 by the number of alerts", (True, False))
    assert curve.text == f"On the {len(fraud)} rows with a known label. The dot is the threshold."
    assert curve.x_label == "alerts among these rows (log scale)"
    [(kind, label, points)] = curve.lines
    assert (kind, label, len(points)) == ("curve", "", 400)
    for x, y in points[::40]:
        assert y == pytest.approx(fbeta_score(fraud, np.arange(len(fraud)) < x, beta=2))
    assert (points[0][0], points[-1][0]) == (1, len(fraud))
    values = [fbeta_score(fraud, np.arange(len(fraud)) < x, beta=2) for x in range(1, len(fraud) + 1)]
    assert curve.at == (int(np.argmax(values)) + 1, pytest.approx(max(values)))
