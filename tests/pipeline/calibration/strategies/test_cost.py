"""The cost against a search over every cut."""

import numpy as np
import pytest

from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.cost import Cost
from pipeline.errors import TrainingError
from tests.pipeline.calibration.held_out_rows import every_cut, made, partly_labelled

COST = Cost(review_cost=3, recovered_share=0.8)


@pytest.mark.parametrize("seed", range(8))
def test_cost_finds_the_cut_that_saves_the_most_money_among_known_rows(seed):
    rows = partly_labelled(seed)
    known = ~np.isnan(rows.labels)

    def saved(cut):
        flags = known & (rows.scores > cut)
        return 0.8 * rows.amounts[flags & (rows.labels == 1)].sum() - 3 * flags.sum()

    threshold = COST.solve(rows)
    best = max(saved(cut) for cut in every_cut(rows))
    assert saved(threshold.value) == pytest.approx(best)
    assert threshold.facts["saved_per_day"] == pytest.approx(best / 4)
    fulfilment = COST.fulfilment(threshold, Realised.of(rows, rows.scores > threshold.value))
    assert f"saved {best:,.2f}, {best / 4:,.2f} a day" in fulfilment.text
    curve = COST.curve(threshold, rows)
    points = dict(curve.lines[0][2])
    assert max(points.values()) == pytest.approx(best / 4)
    assert curve.at[1] == pytest.approx(best / 4)


def test_frauds_of_no_amount_are_told_from_reviews_that_cost_too_much():
    rows = made([1.0, 2.0, 3.0, 4.0], labels=[0, 0, 1, 1], amounts=[5.0, 0.0, 0.0, 0.0])
    with pytest.raises(TrainingError, match="those of the 2 known frauds held out for calibration are all 0"):
        Cost(review_cost=0, recovered_share=1).solve(rows)


def test_a_cost_that_no_cut_is_worth_and_amounts_that_are_not_kept_are_refused():
    rows = partly_labelled(2)
    with pytest.raises(TrainingError, match=r"no cut saves money: with threshold\.review_cost = 1e\+06"):
        Cost(review_cost=1e6, recovered_share=1).solve(rows)
    with pytest.raises(TrainingError, match="needs the amounts, and the contract says that they are sensitive"):
        COST.solve(made(rows.scores, labels=rows.labels))


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


def test_the_money_that_cuts_save_is_shown_to_eight_times_as_many_as_the_best_one():
    rows = partly_labelled(3, ties=False)
    is_known = ~np.isnan(rows.labels)
    order = np.flatnonzero(is_known)[np.argsort(-rows.scores[is_known])]
    saved = np.cumsum(0.8 * rows.amounts[order] * (rows.labels[order] == 1) - 3) / 4
    best = int(np.argmax(saved))
    assert 8 * (best + 1) < len(saved)
    curve = COST.curve(COST.solve(rows), rows)
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
