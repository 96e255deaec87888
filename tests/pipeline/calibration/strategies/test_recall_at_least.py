"""A recall that is kept, against a search over every cut and against draws."""

import re

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import recall_score

from pipeline.calibration.intervals import realised_count
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.recall_at_least import RecallAtLeast
from pipeline.errors import TrainingError
from tests.pipeline.calibration.held_out_rows import made, partly_labelled


@pytest.mark.parametrize("seed", range(8))
def test_recall_is_kept_with_the_fewest_alerts(seed):
    rows = partly_labelled(seed, ties=False)
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


def test_a_recall_that_too_few_frauds_can_show_is_refused():
    rows = made(np.arange(50.0), labels=np.arange(50) >= 45)
    with pytest.raises(TrainingError, match=r"min_recall = 0\.9 needs at least 9 known frauds .* there are 5.*0\.83"):
        RecallAtLeast(recall=0.9).solve(rows)


def test_what_came_is_held_against_the_interval():
    rows = partly_labelled(3)
    labels = np.concatenate([np.ones(40), np.zeros(60), np.full(10, np.nan)])
    batch, flags = made(np.zeros(110), labels=labels), np.concatenate([np.arange(40) < 25, np.arange(70) < 30])
    recall = RecallAtLeast(recall=0.7)
    threshold = recall.solve(rows)
    low, high = realised_count(int(threshold.facts["frauds"]), int(threshold.facts["rank"]), 40)
    fulfilment = recall.fulfilment(threshold, Realised.of(batch, flags))
    assert "Of 40 known frauds 25 were flagged" in fulfilment.text
    assert fulfilment.is_inside is bool(low <= 25 <= high)


def test_the_share_that_a_refusal_names_can_be_kept():
    for frauds in range(2, 40):
        rows = made(np.arange(100.0), labels=(np.arange(100) > 98 - frauds) & (np.arange(100) < 99))
        with pytest.raises(TrainingError, match="at most") as refused:
            RecallAtLeast(recall=0.999).solve(rows)
        share = float(re.search(r"to at most ([\d.]+)", " ".join(str(refused.value).split()))[1])
        assert RecallAtLeast(recall=share).solve(rows).alert_share > 0
