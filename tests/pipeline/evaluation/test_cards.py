"""Card precision@k against a plain loop over days and cards."""

import math

import numpy as np
import pytest

from pipeline.evaluation.metrics import (
    card_precision_at_k,
    card_precision_by_day,
)


def naive_card_precision(days, cards, scores, is_fraud, *, k):
    found, shares = set(), []
    for day in sorted(set(days)):
        best, fraudulent = {}, set()
        for d, card, score, fraud in zip(days, cards, scores, is_fraud, strict=True):
            if d == day and card not in found:
                best[card] = max(score, best.get(card, -math.inf))
                if fraud:
                    fraudulent.add(card)
        top = sorted(best, key=lambda card: (-best[card], card))[:k]
        hits = [card for card in top if card in fraudulent]
        shares.append(len(hits) / k)
        found.update(hits)
    return sum(shares) / len(shares)


@pytest.mark.parametrize("k", [1, 3, 100])
@pytest.mark.parametrize("seed", range(4))
def test_card_precision_is_that_of_a_plain_loop(seed, k):
    rng = np.random.default_rng(seed)
    n = 600
    days = rng.permutation(np.repeat(np.arange(6), n // 6)).tolist()
    cards = rng.integers(0, 40, n).tolist()
    is_fraud = (rng.random(n) < 0.05).tolist()
    scores = np.round(rng.normal(size=n) + 2 * np.array(is_fraud), 1).tolist()  # with ties
    expected = naive_card_precision(days, cards, scores, is_fraud, k=k)
    assert card_precision_at_k(days, cards, scores, is_fraud, k=k) == pytest.approx(expected)
    dates = (np.datetime64("2018-07-25") + np.array(days)).astype("datetime64[us]")
    names = np.array([f"card {card:02d}" for card in cards], dtype=object)
    assert card_precision_at_k(dates, names, scores, is_fraud, k=k) == pytest.approx(expected)


def test_a_card_is_left_out_only_once_it_was_found():
    days = [1, 1, 2, 2, 3, 3]
    cards = ["a", "b", "a", "b", "a", "b"]
    # Day 1: a leads, without fraud. Day 2: a leads, with fraud, and is found. Day 3: only b is left.
    assert card_precision_at_k(days, cards, [5, 1, 5, 1, 5, 1], [0, 1, 1, 0, 1, 1], k=1) == pytest.approx(2 / 3)


def test_a_day_with_fewer_cards_than_k_still_divides_by_k():
    assert card_precision_at_k([1, 1], ["a", "b"], [2, 1], [1, 1], k=100) == pytest.approx(0.02)


def test_card_precision_without_fraud_is_undefined():
    assert math.isnan(card_precision_at_k([1], ["a"], [1.0], [0]))
    assert math.isnan(card_precision_at_k([], [], [], []))


def test_days_can_be_counted_more_than_once():
    rng = np.random.default_rng(8)
    days, cards = np.repeat(np.arange(5), 80), rng.integers(0, 30, 400)
    is_fraud = rng.random(400) < 0.05
    scores = rng.normal(size=400) + 2 * is_fraud
    daily = card_precision_by_day(days, cards, scores, is_fraud, k=3)
    assert daily.days.tolist() == [0, 1, 2, 3, 4]
    assert daily.mean() == card_precision_at_k(days, cards, scores, is_fraud, k=3)
    assert daily.mean([2, 0, 1, 0, 1]) == pytest.approx(daily.precision[[0, 0, 2, 4]].mean())
    assert math.isnan(daily.mean([0] * 5))
