"""Filters, order, search, counts, and what each role sees of a line."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.refusals import Forbidden, Missing, Refusal
from pipeline.review.work import Action
from pipeline.settings.pseudonyms import Pseudonyms
from pipeline.settings.sensitive import MASK
from tests.pipeline.review.scored import ANN, BOB, EVE, LEA, MONDAY, Clock, desk_config, score_batch

DAY = (MONDAY - timedelta(days=1)).date()


@pytest.mark.parametrize(
    ("view", "ids"),
    [
        (View(limit=2, start=1), ["2", "3"]),
        (View(sort="age", limit=2), ["10", "9"]),
        (View(sort="risk", limit=2), ["10", "9"]),
        (View(column="card", value="card-0"), ["3", "6", "9"]),
        (View(column="channel", value="web", least=50.0), ["5", "7", "9"]),
        (View(value="web", least=50.0), ["5", "7", "9"]),
        (View(value="card-2"), ["2", "5", "8"]),
        (View(column="channel", limit=1), ["1"]),
        (View(search=" 4 "), ["4"]),
        (View(search="card-2"), ["2", "5", "8"]),
        (View(search="nothing"), []),
        (View(least=30.0, most=40.0), ["3", "4"]),
        (View(first_day=DAY, last_day=DAY, limit=1), ["1"]),
        (View(first_day=DAY + timedelta(days=1)), []),
        (View(batch="b1", version="1", reason="eur", limit=1), ["1"]),
        (View(batch="b2"), []),
        (View(state="late"), []),
    ],
)
def test_views_are_filtered_and_ordered(desk: Desk, view: View, ids: list[str]) -> None:
    page = desk.page(view, EVE)
    assert [line.id for line in page.lines] == ids
    assert page.total == len(desk.page(replace(view, start=0, limit=100), EVE).lines)


def test_lines_count_what_is_known_of_their_entity(desk: Desk, clock: Clock) -> None:
    lines = desk.page(View(search="card-1"), ANN).lines
    desk.act({lines[0].key: lines[0].event}, Action(kind="decide", label="fraud"), ANN)
    assert [(line.alerts_of_entity, line.frauds_of_entity) for line in desk.page(View(limit=2), ANN).lines] == [
        (3, 0),
        (3, 0),
    ]
    assert {line.frauds_of_entity for line in desk.page(View(search="card-1"), ANN).lines} == {1}
    clock.ahead(hours=25)
    page = desk.page(View(state="late"), ANN)
    assert (page.total, all(line.is_late for line in page.lines)) == (9, True)
    assert desk.page(View(state="decided", decided_by="ann", label="fraud"), ANN).total == 1


def test_who_decided_is_a_leads_to_know(desk: Desk) -> None:
    first, second = desk.page(View(), ANN).lines[:2]
    desk.act({first.key: first.event}, Action(kind="decide", label="fraud"), ANN)
    desk.act({second.key: second.event}, Action(kind="decide", label="fraud"), BOB)
    desk.undo(BOB)
    desk.act({second.key: desk.alert(second.key, BOB).line.event}, Action(kind="decide", label="fraud"), BOB)
    names = {
        who.name: [line.decided_by for line in desk.page(View(state="decided"), who).lines]
        for who in (ANN, BOB, EVE, LEA)
    }
    assert names == {"ann": ["ann", ""], "bob": ["", "bob"], "eve": ["", ""], "lea": ["ann", "bob"]}
    assert [line.decided_by for line in desk.export(View(state="decided"), ANN)] == ["ann", ""]
    assert "bob" not in repr(desk.alert(second.key, ANN))
    assert [event.who for event in desk.alert(second.key, ANN).events] == ["a colleague"] * 3
    assert [event.who for event in desk.alert(second.key, LEA).events] == ["bob"] * 3
    for read in (desk.page, desk.export, desk.next):
        with pytest.raises(Forbidden, match="ann is analyst, and 'lead' needs lead or admin"):
            read(View(state="decided", decided_by="bob"), ANN)
    assert desk.page(View(state="decided", decided_by="bob"), LEA).total == 1


def test_sensitive_cells_are_hidden_from_roles_wherever_they_stand(tmp_path: Path) -> None:
    config = desk_config(tmp_path, sensitive=["card", "eur"])
    score_batch(config, range(1, 4))
    desk = Desk(config, Clock())
    desk.sync()
    pseudonym = Pseudonyms(config.work_dir).of("card-1")
    line = desk.page(View(), ANN).lines[0]
    assert (line.amount, line.keys[0], line.entity) == (MASK, ("card", pseudonym), pseudonym)
    assert line.reasons[0].text == f"eur {MASK}, not what was expected"
    clear = desk.page(View(), LEA).lines[0]
    assert (clear.amount, clear.keys[0], clear.reasons[0].text) == ("10.00", ("card", "card-1"), "eur 10.00, not 2.00")
    by_number = View(search="card-1")
    assert [desk.page(by_number, who).total for who in (ANN, LEA)] == [0, 1]
    assert [desk.page(View(search=pseudonym), who).total for who in (ANN, LEA)] == [1, 1]
    assert [desk.page(View(most=15.0), who).total for who in (ANN, LEA)] == [3, 1]
    assert [item.value for item in desk.alert(line.key, ANN).relatives] == [pseudonym, "shop-1"]
    assert [item.value for item in desk.alert(line.key, LEA).relatives] == ["card-1", "shop-1"]
    assert "card-1" not in repr(desk.alert(line.key, ANN))
    assert desk.unmask(line.key, "card", "the bank asks", ANN) == "card-1"
    (event,) = desk.alert(line.key, LEA).events
    assert (event.kind, event.who, event.after) == ("unmask", "ann", {"column": "card", "why": "the bank asks"})
    with pytest.raises(Refusal, match="needs a reason"):
        desk.unmask(line.key, "card", " ", ANN)
    with pytest.raises(Forbidden, match="eve is viewer"):
        desk.unmask(line.key, "card", "curious", EVE)
    with pytest.raises(Missing, match="no column 'pin'"):
        desk.unmask(line.key, "pin", "curious", ANN)
    with pytest.raises(Missing, match="no alert 'x' in the queue of 'cards'"):
        desk.alert("x", ANN)
    desk.close()


def test_a_hostile_value_of_any_length_is_found_and_kept(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    config = desk_config(tmp_path)
    folder = score_batch(config, [1])
    text = "<script>'\"\u202e" + "x" * 10_000
    alerts = pq.read_table(folder / "alerts.parquet")
    for name in ("card", "device"):
        alerts = alerts.set_column(alerts.column_names.index(name), name, pa.array([text]))
    pq.write_table(alerts, folder / "alerts.parquet")
    desk = Desk(config, Clock())
    desk.sync()
    (line,) = desk.page(View(column="card", value=text), ANN).lines
    assert dict(line.keys)["card"] == text
    desk.close()


def test_views_are_saved_for_each_person_and_alerts_exported_with_an_event(desk: Desk) -> None:
    desk.save_view("mine", "state=open", ANN)
    desk.save_view("mine", "state=late", ANN)
    desk.save_view("other", "state=decided", ANN)
    desk.save_view("other", "", ANN)
    assert (desk.views(ANN), desk.views(BOB)) == ({"mine": "state=late"}, {})
    with pytest.raises(Refusal, match="under a title"):
        desk.save_view(" ", "x", ANN)
    assert [line.id for line in desk.export(View(search="card-2", limit=1), ANN)] == ["2", "5", "8"]
    with pytest.raises(Forbidden, match="'export' needs analyst or lead or admin"):
        desk.export(View(), EVE)
    assert desk.verify().number == 2


def test_much_money_at_risk_and_escalation_make_an_alert_urgent(tmp_path: Path) -> None:
    clock = Clock()
    config = desk_config(tmp_path, urgent_risk=75.0, due_hours=24, due_hours_urgent=4)
    score_batch(config, range(1, 11))
    desk = Desk(config, clock)
    desk.sync()

    def ids(**view: object) -> set[str]:
        return {line.id for line in desk.page(View(**view), ANN).lines}

    # Amounts are 10 to 100, and money at risk is the amount times one less a p-value of 0.001 to 0.01.
    assert ids(priority="urgent") == {"8", "9", "10"}
    assert ids(priority="normal") == {"1", "2", "3", "4", "5", "6", "7"}
    line = desk.page(View(), ANN).lines[0]
    assert (line.priority, line.due) == ("normal", MONDAY + timedelta(hours=24))
    desk.act({line.key: line.event}, Action(kind="escalate"), ANN)
    line = desk.alert(line.key, ANN).line
    assert (line.priority, line.due) == ("urgent", MONDAY + timedelta(hours=4))
    desk.undo(ANN)
    assert desk.alert(line.key, ANN).line.due == MONDAY + timedelta(hours=24)
    clock.ahead(hours=2, minutes=59)
    assert (ids(state="soon"), ids(state="late")) == (set(), set())
    clock.ahead(minutes=2)
    assert (ids(state="soon"), ids(state="late")) == ({"8", "9", "10"}, set())
    assert {line.id for line in desk.page(View(), ANN).lines if line.is_soon} == {"8", "9", "10"}
    clock.ahead(hours=15)
    assert (len(ids(state="soon")), ids(state="late")) == (7, {"8", "9", "10"})
    assert {line.id for line in desk.page(View(), ANN).lines if line.is_late} == {"8", "9", "10"}
    desk.close()
