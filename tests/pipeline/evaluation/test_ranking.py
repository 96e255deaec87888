"""Weighted metrics by cumulative sums against scikit-learn's."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from pipeline.evaluation.bootstrap import weights
from pipeline.evaluation.ranking import Ranking


@pytest.mark.parametrize("digits", [0, 1, 8])  # with many ties, some, none
@pytest.mark.parametrize("seed", range(3))
def test_equals_scikit_learn_with_sample_weight(seed, digits):
    rng = np.random.default_rng(seed)
    is_fraud = rng.random(3000) < 0.03
    scores = np.round(rng.normal(size=3000) + 1.5 * is_fraud, digits)
    ranking = Ranking(scores, is_fraud)
    several = [np.ones(3000, int), rng.random(3000), *weights(rng.integers(0, 200, 3000), 10, seed)]
    for drawn in several:
        there = drawn > 0
        expected = {"sample_weight": drawn[there]}
        assert ranking.auroc(drawn) == pytest.approx(roc_auc_score(is_fraud[there], scores[there], **expected))
        found = average_precision_score(is_fraud[there], scores[there], **expected)
        assert ranking.average_precision(drawn) == pytest.approx(found)


def test_is_undefined_where_only_one_class_has_weight():
    ranking = Ranking([3, 2, 1], [1, 0, 0])
    for drawn in ([0, 1, 1], [2, 0, 0], [0, 0, 0]):
        assert all(math.isnan(value) for value in ranking.auroc_and_ap(np.array(drawn)))
    assert ranking.auroc_and_ap(np.array([1, 1, 0])) == (1, 1)
    assert all(math.isnan(value) for value in Ranking([], []).auroc_and_ap(np.array([], int)))


def test_frauds_found_are_those_that_have_one_of_the_highest_scores():
    rng = np.random.default_rng(5)
    scores, is_fraud, drawn = rng.integers(0, 9, 200), rng.random(200) < 0.3, rng.random(200)
    found, total = Ranking(scores, is_fraud).found(drawn, np.array([0, 1, 4, 9]))
    assert total == pytest.approx(drawn[is_fraud].sum())
    for weight, lowest in zip(found, [9, 8, 5, 0], strict=True):
        assert weight == pytest.approx(drawn[(scores >= lowest) & is_fraud].sum())


def test_counts_are_of_rows_that_score_at_least_as_high():
    rng = np.random.default_rng(4)
    scores, is_fraud, drawn = rng.integers(0, 9, 200), rng.random(200) < 0.3, rng.integers(0, 3, 200)
    frauds, rows = Ranking(scores, is_fraud).counts(drawn)
    for place, score in enumerate(sorted(set(scores), reverse=True)):
        assert rows[place] == drawn[scores >= score].sum()
        assert frauds[place] == drawn[(scores >= score) & is_fraud].sum()
