"""Which alert is the next one, and which are decided twice."""

from pathlib import Path

import pytest

from pipeline.review.desk import Desk
from pipeline.review.figures import Share
from pipeline.review.listing import View
from pipeline.review.refusals import Conflict
from pipeline.review.work import Action
from tests.pipeline.review.scored import ANN, BOB, EVE, LEA, Clock, deliver, desk_config, score_batch

FRAUD, NORMAL = (Action(kind="decide", label=label) for label in ("fraud", "not_fraud"))


def open_desk(folder: Path, chance: float, **review: object) -> Desk:
    config = desk_config(folder, **review)
    score_batch(config, range(1, 4))
    desk = Desk(config, Clock(), chance=lambda: chance)
    desk.sync()
    return desk


def act(desk: Desk, key: str | None, action: Action, who: object) -> None:
    assert key is not None
    desk.act({key: desk.alert(key, who).line.event}, action, who)


def test_a_lock_ends_after_its_time_and_others_are_told_who_holds(desk: Desk, clock: Clock) -> None:
    first = desk.next(View(), ANN)
    assert first is not None
    with pytest.raises(Conflict, match="ann holds the alert until 09:10 UTC"):
        desk.hold(first, BOB)
    with pytest.raises(Conflict, match="ann holds the alert until 09:10 UTC"):
        act(desk, first, FRAUD, BOB)
    assert desk.peek(View(), BOB) != first
    clock.ahead(minutes=10, seconds=1)
    assert desk.next(View(), BOB) == first
    desk.release(first, ANN)
    assert desk.alert(first, ANN).line.held_by == "bob"
    desk.release(first, BOB)
    assert desk.next(View(), ANN) == first
    assert desk.next(View(), ANN, beside=[first]) != first


def test_what_is_assigned_to_another_is_passed_over(desk: Desk) -> None:
    line = desk.page(View(), LEA).lines[0]
    desk.act({line.key: line.event}, Action(kind="assign", assignee="bob"), LEA)
    assert desk.next(View(), ANN) != line.key
    assert desk.next(View(), BOB) == line.key


def test_a_second_reviewer_decides_unawares_and_a_difference_goes_to_a_lead(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, 0.0, second_share=1.0)
    key = desk.next(View(), ANN)
    act(desk, key, FRAUD, ANN)
    assert desk.next(View(), BOB) == key
    seen = desk.alert(str(key), BOB)
    assert (seen.line.state, seen.line.label, seen.line.decided_by, seen.events) == ("open", "", "", ())
    act(desk, key, NORMAL, BOB)
    line = desk.alert(str(key), LEA).line
    assert (line.state, line.label, line.why) == ("escalated", "fraud", "two analysts differ")
    assert desk.quality(LEA).agreement["bob"] == Share(0, 1)
    assert "second" not in [event.kind for event in desk.alert(str(key), EVE).events]
    act(desk, key, NORMAL, LEA)
    assert desk.alert(str(key), LEA).line.label == "not_fraud"


def test_golden_rows_are_those_that_two_agreed_on_and_change_nothing(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, 0.0, second_share=1.0)
    key = desk.next(View(), ANN)
    act(desk, key, FRAUD, ANN)
    act(desk, desk.next(View(), BOB), FRAUD, BOB)
    golden = Desk(desk_config(tmp_path, golden_share=0.5), Clock(), chance=lambda: 0.1)
    for who in (ANN, BOB):
        assert golden.next(View(), who) != key
    assert golden.next(View(), LEA) == key
    act(golden, key, NORMAL, LEA)
    line = golden.alert(str(key), LEA).line
    assert (line.state, line.label, line.decided_by) == ("decided", "fraud", "ann")
    assert golden.quality(LEA).accuracy == {"all": Share(0, 1), "lea": Share(0, 1)}
    assert golden.undo(LEA).sentence == "taken back: golden of 1 alert"
    assert golden.quality(LEA).accuracy == {}


def test_golden_rows_are_also_those_whose_label_was_delivered_and_say_nothing_of_it(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, 1.0)
    key = desk.next(View(), ANN)
    act(desk, key, FRAUD, ANN)
    deliver(desk.config, "1,0,1", "3,1,1")
    desk.sync()
    golden = Desk(desk_config(tmp_path, golden_share=0.5), Clock(), chance=lambda: 0.1)
    assert golden.next(View(), ANN) != key
    assert golden.next(View(), BOB) == key
    view = golden.alert(str(key), BOB)
    assert (view.line.state, view.line.frauds_of_entity, view.line.is_late, view.line.due) == ("open", 0, False, None)
    assert {relative.frauds for relative in view.relatives} == {0}
    act(golden, key, NORMAL, BOB)
    decided = golden.alert(str(key), LEA)
    assert (decided.line.state, decided.line.label, decided.line.frauds_of_entity) == ("decided", "fraud", 1)
    assert (decided.events[-1].kind, decided.events[-1].after["truth"]) == ("golden", "not_fraud")


def test_what_is_on_the_screen_is_not_the_next_one_to_decide_again(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, 0.0, second_share=1.0)
    keys = [line.key for line in desk.page(View(), ANN).lines]
    for key in keys:
        act(desk, key, FRAUD, ANN)
    assert desk.next(View(), BOB) == keys[0]
    assert desk.next(View(), BOB, beside=keys[:1]) == keys[1]
    assert desk.next(View(), BOB, beside=keys) is None
    golden = Desk(desk_config(tmp_path, golden_share=0.5), Clock(), chance=lambda: 0.1)
    deliver(golden.config, "3,1,1")
    golden.sync()
    assert golden.next(View(), LEA) == keys[2]
    assert golden.next(View(), LEA, beside=keys[2:]) is None


def test_without_open_alerts_second_reviews_are_next_then_nothing(tmp_path: Path) -> None:
    desk = open_desk(tmp_path, 1.0, second_share=1.0)
    keys = []
    for _ in range(3):
        keys.append(desk.next(View(), ANN))
        act(desk, keys[-1], FRAUD, ANN)
    assert desk.next(View(), ANN) is None
    for key in keys:
        assert desk.next(View(), BOB) == key
        act(desk, key, FRAUD, BOB)
    assert desk.next(View(), BOB) is None
