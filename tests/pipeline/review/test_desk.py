"""The desk from end to end: what is scored comes in, is taken, decided and taken back."""

from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.refusals import Conflict, Forbidden, Missing, Refusal
from pipeline.review.work import Action
from pipeline.settings.config import Config
from tests.pipeline.review.scored import ANN, BOB, EVE, LEA, MONDAY, Clock, desk_config, score_batch

FRAUD = Action(kind="decide", label="fraud")
NORMAL = Action(kind="decide", label="not_fraud")


def ids(desk: Desk, **view: object) -> list[str]:
    return [line.id for line in desk.page(View(**view), ANN).lines]


def test_what_is_scored_is_in_the_queue_by_score_on_both_databases(config: Config) -> None:
    desk = Desk(config, Clock())
    assert desk.sync() == 0
    score_batch(config, [7, 8, 9], audited=[20, 21])
    assert desk.sync() == 1
    assert desk.sync() == 0
    page = desk.page(View(), ANN)
    assert (page.total, page.counts["open"]) == (5, 5)
    assert {line.id for line in page.lines} == {"7", "8", "9", "20", "21"}
    assert page.lines[0].id in ("7", "20", "21")
    assert all(98.0 <= line.score <= 100.0 for line in page.lines)
    first = next(line for line in page.lines if line.id == "7")
    assert (first.amount, first.keys) == ("10.00", (("card", "card-1"), ("shop", "shop-1"), ("channel", "web")))
    assert first.reasons[0].text == "eur 10.00, not 2.00"
    desk.close()


def test_two_analysts_get_different_alerts_and_a_decision_frees_one(desk: Desk) -> None:
    first, second = desk.next(View(), ANN), desk.next(View(), BOB)
    assert first is not None
    assert second is not None
    assert [desk.alert(key, EVE).line.id for key in (first, second)] == ["1", "2"]
    assert desk.alert(first, BOB).line.held_by == "ann"
    assert desk.alert(first, ANN).held_until == MONDAY + timedelta(minutes=10)
    done = desk.act({first: desk.alert(first, ANN).line.event}, FRAUD, ANN)
    assert done.sentence == "1 alert: fraud"
    assert ids(desk, state="decided") == ["1"]
    line = desk.page(View(state="decided"), LEA).lines[0]
    assert (line.label, line.decided_by, line.decided_at, line.held_by) == ("fraud", "ann", MONDAY, "")
    assert desk.next(View(), ANN) not in (first, second, None)


def test_a_second_decision_on_what_was_seen_before_is_told_and_may_supersede(desk: Desk) -> None:
    line = desk.page(View(), ANN).lines[0]
    desk.act({line.key: line.event}, FRAUD, ANN)
    for who, name in ((BOB, "a colleague"), (LEA, "ann")):
        with pytest.raises(Conflict, match=f"{name} has decided 'fraud'; supersede that, or leave it"):
            desk.act({line.key: line.event}, NORMAL, who)
    assert desk.alert(line.key, BOB).line.label == "fraud"
    done = desk.act({line.key: line.event}, NORMAL, BOB, supersede=True)
    assert done.events[0].kind == "supersede"
    assert (done.events[0].before["label"], done.events[0].after["label"]) == ("fraud", "not_fraud")
    assert desk.alert(line.key, BOB).line.decided_by == "bob"


def test_undo_takes_back_the_last_action_then_the_one_before(desk: Desk) -> None:
    lines = desk.page(View(), ANN).lines[:4]
    desk.act({lines[0].key: lines[0].event}, FRAUD, ANN)
    preview = desk.preview([line.key for line in lines], NORMAL, ANN)
    assert preview.sentence == "decide 'not fraud' for 3 alerts; 1 is left out"
    desk.act(preview.numbers, NORMAL, ANN)
    assert sorted(ids(desk, state="decided")) == ["1", "2", "3", "4"]
    assert desk.undo(ANN).sentence == "taken back: decide of 3 alerts"
    assert ids(desk, state="decided") == ["1"]
    desk.undo(ANN)
    assert ids(desk, state="decided") == []
    with pytest.raises(Missing, match="nothing that ann could take back"):
        desk.undo(ANN)
    with pytest.raises(Forbidden, match="eve is viewer"):
        desk.undo(EVE)


def test_what_was_put_off_comes_back_by_itself(desk: Desk, clock: Clock) -> None:
    line = desk.page(View(), ANN).lines[0]
    with pytest.raises(Refusal, match="name a later date"):
        desk.act({line.key: line.event}, Action(kind="snooze", until=MONDAY), ANN)
    desk.act({line.key: line.event}, Action(kind="snooze", until=MONDAY + timedelta(days=1)), ANN)
    assert ids(desk, state="snoozed") == ["1"]
    clock.ahead(hours=23)
    assert (desk.sync(), ids(desk)[0]) == (0, "2")
    clock.ahead(hours=2)
    assert (desk.sync(), ids(desk)[0]) == (1, "1")


def test_an_escalated_alert_is_a_leads_and_comes_first_there(desk: Desk) -> None:
    line = desk.page(View(), ANN).lines[5]
    desk.act({line.key: line.event}, Action(kind="escalate", why="odd shop"), ANN)
    seen = {line.key: desk.alert(line.key, ANN).line.event}
    with pytest.raises(Conflict, match="a lead decides it"):
        desk.act(seen, FRAUD, ANN)
    assert desk.next(View(), LEA) == line.key
    desk.act(seen, FRAUD, LEA)
    assert ids(desk, state="decided") == ["6"]


def test_a_replaced_batch_leaves_the_queue_but_for_what_was_decided(tmp_path: Path) -> None:
    config = desk_config(tmp_path)
    desk = Desk(config, Clock())
    score_batch(config, [1, 2, 3])
    desk.sync()
    line = desk.page(View(), ANN).lines[0]
    desk.act({line.key: line.event}, FRAUD, ANN)
    score_batch(config, [2, 4], batch="b2", replaces=["b1"], score=50.0)
    assert desk.sync() == 2
    assert (ids(desk), ids(desk, state="decided"), ids(desk, state="withdrawn")) == (["2", "4"], ["1"], ["3"])
    assert desk.page(View(state="withdrawn"), ANN).lines[0].why == "its file was replaced by a changed one"


def test_a_newer_version_takes_over_the_rows_that_wait(tmp_path: Path) -> None:
    config = desk_config(tmp_path)
    desk = Desk(config, Clock())
    score_batch(config, [1, 2, 3])
    desk.sync()
    line = desk.page(View(), ANN).lines[0]
    desk.act({line.key: line.event}, FRAUD, ANN)
    score_batch(config, [1, 2], version="2", score=50.0, scored_at=MONDAY)
    desk.sync()
    (waiting,) = desk.page(View(), ANN).lines
    assert (waiting.id, waiting.version, waiting.score) == ("2", "2", 49.0)
    assert desk.page(View(state="decided"), ANN).lines[0].version == "1"
    assert desk.page(View(state="withdrawn"), ANN).lines[0].why == "version 2 does not flag it"
