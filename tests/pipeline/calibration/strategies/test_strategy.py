"""What several strategies need: every cut there is, the rows with a label, and a line of few points."""

import numpy as np
import pytest

from pipeline.calibration.realised import Realised
from pipeline.calibration.strategies.cost import Cost
from pipeline.calibration.strategies.f_beta import FBeta
from pipeline.calibration.strategies.precision_at_least import PrecisionAtLeast
from pipeline.calibration.strategies.recall_at_least import RecallAtLeast
from pipeline.calibration.strategies.strategy import labelled_rows, steps, thinned
from pipeline.errors import TrainingError
from tests.pipeline.calibration.held_out_rows import made, partly_labelled

FROM_LABELS = [
    Cost(review_cost=3, recovered_share=0.8),
    FBeta(beta=1),
    PrecisionAtLeast(precision=0.5),
    RecallAtLeast(recall=0.7),
]


@pytest.mark.parametrize("scores", [[9.0, 7.0, 7.0, 4.0], [2.0, 2.0], [5.0], [3.0, 2.0, 1.0]])
def test_each_cut_flags_the_number_beside_it_and_all_numbers_are_there(scores):
    scores = np.array(scores)
    cuts, alerts = steps(scores)
    assert [int((scores > cut).sum()) for cut in cuts] == alerts.tolist()
    assert alerts[-1] == len(scores)
    assert set(alerts) == {int((scores >= score).sum()) for score in scores}


def test_labelled_rows_come_highest_score_first_with_their_labels():
    labels = [0, 1, np.nan, 0]
    scores, fraud, rows = labelled_rows(made([1.0, 2.0, 9.0, 3.0], labels=labels, amounts=[10, 20, 90, 30]), "cost")
    assert scores.tolist() == [3, 2, 1]
    assert fraud.tolist() == [False, True, False]
    assert rows.amounts.tolist() == [30, 20, 10]


def test_labelled_rows_that_score_alike_stay_in_their_order():
    rows = made(np.arange(400) // 100, labels=np.arange(400) % 2, amounts=np.arange(400.0))
    assert labelled_rows(rows, "cost")[2].amounts.tolist() == [
        *range(300, 400),
        *range(200, 300),
        *range(100, 200),
        *range(100),
    ]


@pytest.mark.parametrize(("labels", "found"), [([1, 1], "2 of them fraud"), ([0, 0], "0 of them fraud")])
def test_labels_of_one_kind_alone_are_refused(labels, found):
    with pytest.raises(TrainingError, match=rf"of the 2 rows held out for calibration 2 have a known one, {found}"):
        labelled_rows(made([1.0, 2.0], labels=labels), "cost")


def test_a_thinned_line_keeps_its_ends_and_has_no_more_points_than_asked():
    x = np.arange(1000.0)
    points = thinned(x, -x, points=7)
    assert len(points) == 7
    assert (points[0], points[-1]) == ((0, 0), (999, -999))
    assert all(y == -at for at, y in points)
    assert thinned(x[:3], x[:3]) == [(0, 0), (1, 1), (2, 2)]


@pytest.mark.parametrize("strategy", FROM_LABELS, ids=lambda strategy: strategy.name)
def test_without_labels_it_is_refused_and_what_came_is_not_known(strategy):
    rows = partly_labelled(1)
    for labels, found in [(np.full(800, np.nan), "0 have a known one"), (np.zeros(800), "0 of them fraud")]:
        with pytest.raises(TrainingError, match=f"learns from labels, and of the 800 rows .*{found}"):
            strategy.solve(made(rows.scores, labels=labels, amounts=rows.amounts))
    nothing = made(np.zeros(3), labels=[np.nan] * 3, amounts=np.ones(3))
    fulfilment = strategy.fulfilment(strategy.solve(rows), Realised.of(nothing, np.ones(3, bool)))
    assert fulfilment.is_inside is None
    assert "known" in fulfilment.text
