"""What strategies share: every cut there is, which rows are known, and numbers in words."""

import numpy as np
import pytest

from pipeline.calibration.threshold import at_least, at_most, between, known_rows, steps, thinned
from pipeline.errors import TrainingError
from tests.pipeline.calibration.held_out_rows import made


@pytest.mark.parametrize("scores", [[9.0, 7.0, 7.0, 4.0], [2.0, 2.0], [5.0], [3.0, 2.0, 1.0]])
def test_each_cut_flags_the_number_beside_it_and_all_numbers_are_there(scores):
    scores = np.array(scores)
    cuts, flagged = steps(scores)
    assert [int((scores > cut).sum()) for cut in cuts] == flagged.tolist()
    assert flagged[-1] == len(scores)
    assert set(flagged) == {int((scores >= score).sum()) for score in scores}


def test_known_rows_come_highest_score_first_with_their_labels():
    labels = [0, 1, np.nan, 0]
    scores, fraud, rows = known_rows(made([1.0, 2.0, 9.0, 3.0], labels=labels, amounts=[10, 20, 90, 30]), "cost")
    assert scores.tolist() == [3, 2, 1]
    assert fraud.tolist() == [False, True, False]
    assert rows.amounts.tolist() == [30, 20, 10]


def test_known_rows_that_score_alike_stay_in_their_order():
    rows = made(np.arange(400) // 100, labels=np.arange(400) % 2, amounts=np.arange(400.0))
    assert known_rows(rows, "cost")[2].amounts.tolist() == [
        *range(300, 400),
        *range(200, 300),
        *range(100, 200),
        *range(100),
    ]


@pytest.mark.parametrize(("labels", "found"), [([1, 1], "2 of them fraud"), ([0, 0], "0 of them fraud")])
def test_labels_of_one_kind_alone_are_refused(labels, found):
    with pytest.raises(TrainingError, match=rf"of the 2 rows held out for calibration 2 have a known one, {found}"):
        known_rows(made([1.0, 2.0], labels=labels), "cost")


def test_an_interval_holds_its_ends():
    said = [between(3, 5, value) for value in (2, 3, 4, 5, 6)]
    assert said == ["outside, below it", "inside", "inside", "inside", "outside, above it"]


@pytest.mark.parametrize("value", [1 / 98, 1 / 3, 0.0999, 0.123, 1.0, 12.34, 0.5])
def test_a_written_bound_is_kept_by_what_is_written_and_close_to_it(value):
    low, high = float(at_most(value)), float(at_least(value))
    assert low <= value <= high
    assert high - low <= 0.1 * value
    assert at_least(0.5) == at_most(0.5) == "0.5"
    assert (at_least(1 / 3), at_most(1 / 3)) == ("0.34", "0.33")


def test_a_thinned_line_keeps_its_ends_and_has_no_more_points_than_asked():
    x = np.arange(1000.0)
    points = thinned(x, -x, points=7)
    assert len(points) == 7
    assert (points[0], points[-1]) == ((0, 0), (999, -999))
    assert all(y == -at for at, y in points)
    assert thinned(x[:3], x[:3]) == [(0, 0), (1, 1), (2, 2)]
