"""The chain of events: whoever changes, removes or moves one is found out."""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from pipeline.review.desk import Desk
from pipeline.review.events import FIRST, events
from pipeline.review.listing import View
from pipeline.review.work import Action
from pipeline.workspace.schema import REVIEW_ANCHORS, REVIEW_CHAINS, REVIEW_EVENTS
from tests.pipeline.review.scored import ANN, MONDAY, Clock

EVENTS = REVIEW_EVENTS.c


@pytest.fixture
def worked(desk: Desk, clock: Clock) -> Desk:
    """A desk where three alerts were decided on Monday, and three on Tuesday: seven events."""
    for number, line in enumerate(desk.page(View(), ANN).lines[:6]):
        if number == 3:
            clock.ahead(days=1)
        desk.act({line.key: line.event}, Action(kind="decide", label="fraud"), ANN)
    return desk


def change(desk: Desk, *statements: sa.Executable) -> None:
    with desk.store.writing() as writing:
        for statement in statements:
            writing.connection.execute(statement)


def renumber(old: int, new: int) -> sa.Executable:
    return sa.update(REVIEW_EVENTS).where(EVENTS.number == old).values(number=new)


def test_an_event_holds_who_did_what_when_from_where_and_its_hash_is_sha_256_of_it(worked: Desk) -> None:
    with worked.store.reading() as reading:
        first, second, *_ = events(reading.connection, "cards")
    assert (first.kind, first.who, first.previous) == ("publish", "assay", FIRST)
    assert (second.kind, second.who, second.address, second.at) == ("decide", "ann", "127.0.0.1", MONDAY)
    assert (second.before["state"], second.after["state"], second.after["label"]) == ("open", "decided", "fraud")
    parts = [2, 2, "decide", "ann", "2025-03-03T09:00:00.000000", second.subject]
    sides = [json.dumps(side, sort_keys=True, separators=(",", ":")) for side in (second.before, second.after)]
    text = json.dumps([*parts, *sides, "127.0.0.1", first.hash], separators=(",", ":"))
    assert second.hash == hashlib.sha256(text.encode()).hexdigest()


def test_a_whole_chain_is_whole_and_each_day_that_is_over_has_an_anchor(worked: Desk) -> None:
    verdict = worked.verify()
    assert (verdict.number, verdict.fault) == (7, "")
    with worked.store.reading() as reading:
        anchors = reading.connection.execute(sa.select(REVIEW_ANCHORS)).all()
    assert [(row.day, row.number) for row in anchors] == [(MONDAY.date(), 4)]
    assert worked.verify((7, verdict.hash)).fault == ""
    assert "event 7 is not the one that what was noted elsewhere names" in worked.verify((7, FIRST)).fault


@pytest.mark.parametrize(
    ("statements", "fault"),
    [
        ([sa.update(REVIEW_EVENTS).where(EVENTS.number == 3).values(who="bob")], "event 3 (decide of "),
        (
            [sa.update(REVIEW_EVENTS).where(EVENTS.number == 5).values(at=MONDAY + timedelta(seconds=1))],
            "event 5 (decide of ",
        ),
        ([sa.update(REVIEW_EVENTS).where(EVENTS.number == 6).values(after="{}")], "event 6 (decide of "),
        ([sa.delete(REVIEW_EVENTS).where(EVENTS.number == 2)], "event 2 was removed: event 3 "),
        ([renumber(3, 99), renumber(4, 3), renumber(99, 4)], "event 3 (decide of "),
        ([sa.delete(REVIEW_EVENTS).where(EVENTS.number > 5)], "event 6 and what came after it were removed: the chain"),
        (
            [
                sa.delete(REVIEW_EVENTS).where(EVENTS.number > 2),
                sa.update(REVIEW_CHAINS).values(number=0, hash=FIRST),
            ],
            "event 3 and what came after it were removed: the anchor of 2025-03-03 names event 4",
        ),
    ],
)
def test_the_first_event_that_was_changed_removed_or_moved_is_named(
    worked: Desk, statements: list[sa.Executable], fault: str
) -> None:
    change(worked, *statements)
    assert worked.verify().fault.startswith(fault)


def test_a_chain_written_anew_does_not_fit_its_anchor(worked: Desk) -> None:
    def again(edit: Callable[[dict], dict]) -> None:
        from dataclasses import replace

        previous = FIRST
        with worked.store.writing() as writing:
            for event in list(events(writing.connection, "cards")):
                changed = replace(event, previous=previous, after=edit(dict(event.after)))
                previous = changed.digest()
                values = {"previous": changed.previous, "hash": previous, "after": json.dumps(changed.after)}
                here = EVENTS.number == event.number
                writing.connection.execute(sa.update(REVIEW_EVENTS).where(here).values(values))
            writing.connection.execute(sa.update(REVIEW_CHAINS).values(hash=previous))

    again(lambda after: after)
    assert worked.verify().fault == ""
    again(lambda after: {**after, "label": "not_fraud"})
    assert worked.verify().fault.startswith("event 4 is not the one that the anchor of 2025-03-03 names")
