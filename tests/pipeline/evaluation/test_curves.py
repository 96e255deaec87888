"""Curves with bands: each point worked out by hand, bands from the same draws, means over blocks."""

import numpy as np
import pytest

from pipeline.evaluation.curves import found_over_alerts, precision_over_recall
from pipeline.evaluation.measures import Outcomes
from tests.pipeline.evaluation.scored import outcomes


def test_precision_is_that_of_the_highest_threshold_that_reaches_the_recall():
    rows = outcomes()
    fraud = rows.labels == 1
    curve = precision_over_recall(rows, points=20, draws=30)
    for recall, precision in zip(curve.x, curve.value, strict=True):
        reached = [
            cut for cut in np.unique(rows.scores) if fraud[rows.scores >= cut].sum() >= recall * fraud.sum() - 1e-9
        ]
        assert precision == pytest.approx(fraud[rows.scores >= max(reached)].mean())
    assert (curve.low <= curve.value).mean() > 0.8
    assert (curve.high > curve.low)[1:].all()  # the first point needs one fraud only, the highest row of all
    assert curve.x[-1] == 1


@pytest.mark.parametrize("by_amount", [False, True])
def test_what_a_number_of_alerts_a_day_finds(by_amount):
    rows = outcomes(unknown=0.2)
    curve = found_over_alerts(rows, by_amount=by_amount, points=15, draws=30)
    known = ~np.isnan(rows.labels)
    fraud = rows.labels == 1
    weight = rows.amounts if by_amount else np.ones(len(fraud))
    ordered = np.sort(rows.scores)[::-1]
    for alerts, found in zip(curve.x, curve.value, strict=True):
        cut = ordered[round(alerts * 8) - 1]  # of all rows, whether their label is known or not
        flagged = (rows.scores >= cut) & known
        assert found == pytest.approx((weight * (flagged & fraud)).sum() / (weight * fraud).sum())
    assert (np.diff(curve.value) >= 0).all()
    assert curve.x[-1] >= 10 * rows.flagged.sum() / 8


def test_of_blocks_the_curves_are_meant_whatever_their_scales():
    one, two = outcomes(seed=1), outcomes(seed=2)
    two = Outcomes(**{**vars(two), "scores": two.scores * 7 + 100})
    both = precision_over_recall([one, two], points=10, draws=5)
    apart = [precision_over_recall(block, points=10, draws=5).value for block in (one, two)]
    np.testing.assert_allclose(both.value, np.mean(apart, axis=0))


def test_without_both_classes_there_is_no_curve():
    rows = outcomes()
    for labels in (np.zeros(4000), np.ones(4000), np.full(4000, np.nan)):
        single = Outcomes(**{**vars(rows), "labels": labels})
        assert precision_over_recall(single) is None
        assert found_over_alerts([single]) is None
    assert precision_over_recall([rows, single], draws=3) is not None
