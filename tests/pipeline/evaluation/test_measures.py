"""Measures with intervals: against plain NumPy, over blocks, with partial labels, and in time."""

import time

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.evaluation.bootstrap import bootstrap
from pipeline.evaluation.measures import Outcomes, measure, top_of_days
from pipeline.evaluation.metrics import card_precision_by_day
from tests.pipeline.evaluation.scored import outcomes


def test_every_measure_is_the_one_worked_out_by_hand():
    rows, k = outcomes(), 20
    found = measure(rows, k)
    fraud, flagged = rows.labels == 1, rows.flagged
    top = np.zeros(len(fraud), bool)
    for day in range(8):
        own = np.flatnonzero(rows.days == day)
        top[own[np.argsort(-rows.scores[own])[:k]]] = True
    expected = {
        "auroc": roc_auc_score(fraud, rows.scores),
        "average_precision": average_precision_score(fraud, rows.scores),
        "card_precision_at_20": card_precision_by_day(rows.days, rows.cards, rows.scores, fraud, k=k).mean(),
        "alerts_per_day": flagged.sum() / 8,
    }
    for name, mask in (("", flagged), ("_at_20", top)):
        expected[f"precision{name}"] = fraud[mask].mean()
        expected[f"recall{name}"] = mask[fraud].mean()
        expected[f"money_recall{name}"] = rows.amounts[fraud & mask].sum() / rows.amounts[fraud].sum()
    assert {name: interval.value for name, interval in found.items()} == pytest.approx(expected)
    assert all(interval.low < interval.value < interval.high for interval in found.values())


def test_intervals_are_those_of_each_measure_by_itself():
    rows, k = outcomes(), 20
    found = measure(rows, k, draws=60, seed=3)
    fraud = rows.labels == 1
    by_card = bootstrap(
        lambda drawn: roc_auc_score(fraud, rows.scores, sample_weight=drawn), rows.cards, draws=60, seed=3
    )
    assert (found["auroc"].low, found["auroc"].high) == pytest.approx((by_card.low, by_card.high))
    daily = card_precision_by_day(rows.days, rows.cards, rows.scores, fraud, k=k)
    assert found["card_precision_at_20"] == bootstrap(daily.mean, daily.days, draws=60, seed=3)


def test_of_blocks_ranks_are_meant_and_counts_are_summed():
    first, second = outcomes(seed=1), outcomes(n=1000, seed=2)
    # Another model, another scale: pooling the scores would rank every row of one block above the other's.
    other = Outcomes(**{**vars(second), "scores": second.scores + 1000, "days": second.days + 100})
    found, one, two = measure([first, other]), measure(first), measure(other)
    for name in ("auroc", "average_precision"):
        assert found[name].value == pytest.approx((one[name].value + two[name].value) / 2)
    fraud = np.concatenate([first.labels, other.labels]) == 1
    flagged = np.concatenate([first.flagged, other.flagged])
    assert found["recall"].value == pytest.approx(flagged[fraud].mean())
    assert found["alerts_per_day"].value == pytest.approx(flagged.sum() / 16)
    cards = "card_precision_at_100"
    assert found[cards].value == pytest.approx((one[cards].value + two[cards].value) / 2)
    assert found["auroc"].high - found["auroc"].low < two["auroc"].high - two["auroc"].low


def test_a_row_without_a_label_is_neither_fraud_nor_normal():
    rows = outcomes(unknown=0.4)
    known = ~np.isnan(rows.labels)
    found, only = measure(rows), measure(rows.where(known))
    for name in ("auroc", "average_precision", "precision", "recall", "money_recall", "card_precision_at_100"):
        assert found[name] == only[name]
    assert found["alerts_per_day"].value == pytest.approx(rows.flagged.sum() / 8)
    nothing = measure(Outcomes(**{**vars(rows), "labels": np.full(len(known), np.nan)}))
    assert set(nothing) == {"alerts_per_day"}


def test_recall_by_labels_that_only_alerts_have_says_too_much_and_the_text_warns():
    rows = outcomes()
    looked_at = rows.flagged | (np.arange(len(rows.labels)) % 50 == 0)
    partial = Outcomes(**{**vars(rows), "labels": np.where(looked_at, rows.labels, np.nan)})
    assert measure(partial)["recall"].value > measure(rows)["recall"].high
    assert "recall looks too high" in " ".join(measure.__doc__.split())


def test_without_cards_rows_are_drawn_and_there_is_no_card_precision():
    rows = Outcomes(**{**vars(outcomes()), "cards": None})
    found = measure(rows)
    assert "card_precision_at_100" not in found
    assert found["recall"].low < found["recall"].high


@pytest.mark.parametrize("k", [1, 3, 1000])
def test_the_top_of_each_day_has_k_rows_whatever_their_order(k):
    rng = np.random.default_rng(0)
    days, scores = rng.integers(0, 5, 200), rng.normal(size=200)
    top = top_of_days(days, scores, k)
    for day in range(5):
        own = np.flatnonzero(days == day)
        assert set(own[top[own]]) == set(own[np.argsort(-scores[own])[:k]])
    assert not len(top_of_days(np.array([]), np.array([]), k))


def test_500_draws_of_60_000_rows_take_seconds():
    rows = outcomes(n=60_000, days=7, cards=5000)
    start = time.process_time()
    measure(rows)
    assert time.process_time() - start < 10
