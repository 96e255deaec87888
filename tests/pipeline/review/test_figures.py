"""The dashboard's figures, counted by hand."""

import math
from datetime import date, timedelta

import pytest

from pipeline.review.desk import Desk
from pipeline.review.figures import Deadlines, Share
from pipeline.review.listing import View
from pipeline.review.work import Action
from tests.pipeline.review.scored import ANN, BOB, LEA, MONDAY, Clock, score_batch


def test_figures_are_those_of_the_decisions_that_hold(desk: Desk, clock: Clock) -> None:
    score_batch(desk.config, [50, 51], batch="b2", audited=[60], score=5.0)
    desk.sync()
    lines = {line.id: line for line in desk.page(View(limit=100), ANN).lines}

    def decide(row_id: str, label: str, who: object = ANN) -> None:
        line = lines[row_id]
        desk.act({line.key: line.event}, Action(kind="decide", label=label), who)
        clock.ahead(minutes=6)

    for row_id, label in (("1", "fraud"), ("2", "not_fraud"), ("3", "fraud"), ("4", "unsure"), ("5", "fraud")):
        decide(row_id, label)
    desk.undo(ANN)
    decide("60", "fraud")
    clock.ahead(days=7)
    decide("6", "not_fraud", BOB)
    figures = desk.figures(LEA)
    assert (figures.counts["open"], figures.counts["decided"]) == (7, 6)
    assert (figures.late, figures.nearly_late) == (7, 0)
    assert figures.oldest == MONDAY - timedelta(days=1, minutes=9)
    assert figures.decisions == {
        date(2025, 3, 3): {"fraud": 3, "not_fraud": 1, "unsure": 1},
        date(2025, 3, 10): {"not_fraud": 1},
    }
    assert figures.precision["week"] == {"2025-03-03": Share(2, 3), "2025-03-10": Share(0, 1)}
    assert figures.precision["analyst"] == {"ann": Share(2, 3), "bob": Share(0, 1)}
    assert figures.precision["reason"] == {"eur": Share(2, 4)}
    assert figures.precision["version"] == {"1": Share(2, 4)}
    # Odd ids are of the web: 1, 3 and the undone 5 against 2 and 6.
    assert figures.precision["segment"] == {"pos": Share(0, 2), "web": Share(2, 2)}
    assert figures.ages == {"under 1 day": 0, "1 to 2 days": 0, "2 to 4 days": 0, "4 to 8 days": 0, "longer": 7}
    assert figures.deadlines["urgent"] == Deadlines(0, 0, 0, Share(0, 0))
    assert figures.deadlines["normal"] == Deadlines(7, 0, 7, Share(5, 6))
    assert figures.disputed == 0
    assert figures.in_time == Share(5, 6)
    assert figures.caught == 10.0 + 30.0 + 10.0
    assert figures.hours == pytest.approx(0.5)
    assert figures.caught_an_hour == pytest.approx(100.0)
    assert "analyst" not in desk.figures(ANN).precision
    assert desk.figures(LEA, weeks=1).precision["week"] == {"2025-03-10": Share(0, 1)}


def test_a_share_has_jeffreys_interval_and_of_nothing_none() -> None:
    low, high = Share(10, 100).interval
    assert (round(low, 3), round(high, 3)) == (0.059, 0.158)
    assert math.isnan(Share(0, 0).value)
    assert math.isnan(Share(0, 0).interval[0])
