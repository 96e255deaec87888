"""pipeline/evaluation/metrics.py against plain-Python recomputations and scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, precision_recall_curve

from pipeline.evaluation.metrics import (
    auroc,
    average_precision,
    card_precision_at_k,
    evaluate,
    precision_recall_points,
)

SCORED = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({fraud for _, fraud in rows}) == 2
)


@settings(max_examples=60)
@given(SCORED)
def test_auroc_is_the_share_of_ordered_pairs(rows):
    frauds = [score for score, fraud in rows if fraud]
    normals = [score for score, fraud in rows if not fraud]
    pairs = [1.0 if f > n else 0.5 if f == n else 0.0 for f in frauds for n in normals]
    scores, labels = zip(*rows, strict=True)
    assert auroc(scores, labels) == pytest.approx(sum(pairs) / len(pairs))


@settings(max_examples=60)
@given(SCORED)
def test_average_precision_sums_precision_over_steps_of_recall(rows):
    expected, found_before = 0.0, 0
    total = sum(fraud for _, fraud in rows)
    for threshold in sorted({score for score, _ in rows}, reverse=True):
        above = [fraud for score, fraud in rows if score >= threshold]
        expected += (sum(above) - found_before) / total * (sum(above) / len(above))
        found_before = sum(above)
    scores, labels = zip(*rows, strict=True)
    assert average_precision(scores, labels) == pytest.approx(expected)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_one_class_leaves_the_curves_undefined(labels):
    assert math.isnan(auroc([1, 2, 3], labels))
    assert math.isnan(average_precision([1, 2, 3], labels))
    assert precision_recall_points([1, 2, 3], labels) is None


def test_every_point_of_the_curve_is_what_its_threshold_gives():
    rng = np.random.default_rng(3)
    labels = rng.random(3000) < 0.05
    scores = np.round(rng.normal(size=3000) + labels, 2)
    curve = precision_recall_points(scores, labels, max_points=50)
    assert 10 < len(curve.recall) <= 51
    for recall, precision, threshold in zip(curve.recall, curve.precision, curve.thresholds, strict=True):
        flagged = scores >= threshold
        assert recall == pytest.approx((flagged & labels).sum() / labels.sum())
        assert precision == pytest.approx((flagged & labels).sum() / flagged.sum())
    assert (np.diff(curve.recall) >= 0).all()
    assert curve.recall[-1] == 1
    assert curve.base_rate == pytest.approx(labels.mean())


def test_thinning_keeps_the_area_under_the_curve():
    rng = np.random.default_rng(4)
    labels = rng.random(20_000) < 0.01
    scores = rng.normal(size=20_000) + 2 * labels
    precision, recall, _ = precision_recall_curve(labels, scores)
    curve = precision_recall_points(scores, labels, max_points=150)
    assert auc(curve.recall, curve.precision) == pytest.approx(auc(recall, precision), abs=0.02)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="nan or infinite"):
        auroc([1.0, bad], [0, 1])


def test_refuses_shapes_that_differ_and_counts_below_one():
    with pytest.raises(ValueError, match=r"shape \(2,\) and labels \(1,\)"):
        average_precision([1.0, 2.0], [1])
    with pytest.raises(ValueError, match="k is 0"):
        card_precision_at_k([1], ["a"], [1.0], [1], k=0)
    with pytest.raises(ValueError, match="max_points is 1"):
        precision_recall_points([1.0, 2.0], [0, 1], max_points=1)


def test_evaluate_measures_known_labels_only():
    labels = np.array([1.0, 0.0, np.nan, 0.0, 1.0])
    scores = np.array([9.0, 1.0, 99.0, 8.0, 7.0])
    days, cards = np.array([1, 1, 1, 1, 1]), np.array([1, 2, 3, 4, 5])
    result = evaluate(days, cards, scores, labels, is_flagged=scores >= 8, k=2, amounts=[10.0, 1.0, 500.0, 1.0, 30.0])
    assert (result.rows, result.frauds, result.unknown) == (4, 2, 1)
    assert (result.flagged, result.flagged_frauds) == (2, 1)
    assert (result.precision, result.recall) == (0.5, 0.5)
    assert result.figures == pytest.approx(
        {
            "auroc": 0.75,
            "average_precision": (1 + 2 / 3) / 2,
            "card_precision_at_2": 0.5,
            "precision": 0.5,
            "recall": 0.5,
            "money_recall": 0.25,
            # The day's two highest rows are the unknown one, which counts neither way, and the first.
            "precision_at_2": 1.0,
            "recall_at_2": 0.5,
            "money_recall_at_2": 0.25,
            "alerts_per_day": 3.0,
        }
    )
    without_cards = evaluate(days, None, scores, labels, is_flagged=scores >= 100)
    assert math.isnan(without_cards.card_precision)
    assert {"auroc", "average_precision", "recall"} <= set(without_cards.figures)
    assert not {"precision", "money_recall", "card_precision_at_100"} & set(without_cards.figures)
    assert evaluate(days, cards, scores, np.full(5, np.nan), is_flagged=scores >= 8) is None


def test_every_measure_has_its_interval_under_a_name_of_its_own():
    rng = np.random.default_rng(9)
    labels = (rng.random(2000) < 0.05).astype(float)
    scores = rng.normal(size=2000) + 2 * labels
    found = evaluate(
        np.arange(2000) // 250, rng.integers(0, 300, 2000), scores, labels, is_flagged=scores > 2, amounts=scores + 9
    )
    assert {f"{name}_{end}" for name in found.figures for end in ("low", "high")} == set(found.bounds)
    assert all(
        found.bounds[f"{name}_low"] < value < found.bounds[f"{name}_high"] for name, value in found.figures.items()
    )
    assert found.texts["auroc"] == str(found.intervals["auroc"])
    assert len(found.texts) == 6
