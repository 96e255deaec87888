"""A precision that is kept, against a search over every cut."""

import re

import numpy as np
import pytest
from sklearn.metrics import precision_score

from pipeline.calibration.intervals import predicted_count
from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.precision_at_least import PrecisionAtLeast
from pipeline.errors import TrainingError
from tests.pipeline.calibration.held_out_rows import every_cut, made, partly_labelled


@pytest.mark.parametrize("seed", range(8))
def test_precision_is_kept_with_the_most_alerts(seed):
    rows = partly_labelled(seed)
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


def test_a_precision_that_is_just_kept_is_kept():
    rows = made([1.0, 2.0, 3.0, 4.0], labels=[0, 1, 0, 1])
    threshold = PrecisionAtLeast(precision=0.5).solve(rows)
    assert (rows.scores > threshold.value).all()
    assert (threshold.facts["alerts"], threshold.facts["frauds"]) == (4, 2)


def test_what_came_is_held_against_the_interval():
    rows = partly_labelled(3)
    labels = np.concatenate([np.ones(40), np.zeros(60), np.full(10, np.nan)])
    batch, flags = made(np.zeros(110), labels=labels), np.concatenate([np.arange(40) < 25, np.arange(70) < 30])
    precision = PrecisionAtLeast(precision=0.5)
    threshold = precision.solve(rows)
    low, high = predicted_count(int(threshold.facts["frauds"]), int(threshold.facts["alerts"]), 55)
    fulfilment = precision.fulfilment(threshold, Realised.of(batch, flags))
    assert "Of 55 alerts with a known label 25 are fraud" in fulfilment.text
    assert fulfilment.is_inside is bool(low <= 25 <= high)


def test_the_share_that_a_refusal_names_can_be_kept():
    for frauds in range(2, 40):
        rows = made(np.arange(100.0), labels=(np.arange(100) > 98 - frauds) & (np.arange(100) < 99))
        with pytest.raises(TrainingError, match="at most") as refused:
            PrecisionAtLeast(precision=0.999).solve(rows)
        share = float(re.search(r"to at most ([\d.]+)", " ".join(str(refused.value).split()))[1])
        assert PrecisionAtLeast(precision=share).solve(rows).alert_share > 0
