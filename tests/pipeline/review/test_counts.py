"""The counts by state are those of the queue, after whatever is done to it, and in a database from before them."""

from datetime import timedelta

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as Settings

from pipeline.review.counts import STATES
from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.people import Person
from pipeline.review.work import Action
from pipeline.settings.config import Config
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_COUNTS
from tests.pipeline.review.scored import ANN, BOB, LEA, Clock, score_batch


def counted(desk: Desk) -> dict[str, int]:
    """Alerts by state, one by one."""
    with desk.store.reading() as reading:
        states = list(reading.connection.scalars(sa.select(REVIEW_ALERTS.c.state)))
    return {state: states.count(state) for state in STATES}


def test_counts_follow_every_action(config: Config) -> None:
    clock = Clock()
    desk = Desk(config, clock, chance=lambda: 1.0)
    assert desk.page(View(), ANN).counts == dict.fromkeys(STATES, 0)
    score_batch(config, range(1, 11))
    score_batch(config, range(11, 14), batch="b2", score=5.0)
    desk.sync()
    lines = desk.page(View(), ANN).lines
    later = Action(kind="snooze", until=clock.now + timedelta(hours=1))

    def act(places: slice, action: Action, who: Person = ANN, *, supersede: bool = False) -> None:
        events = {line.key: line.event for line in desk.page(View(state="", limit=100), LEA).lines}
        numbers = {line.key: events[line.key] for line in lines[places]}
        desk.act(numbers, action, who, supersede=supersede)
        assert desk.page(View(), ANN).counts == counted(desk)

    act(slice(0, 3), Action(kind="decide", label="fraud"))
    act(slice(1, 2), Action(kind="decide", label="unsure"), BOB, supersede=True)
    act(slice(3, 5), later)
    act(slice(4, 6), Action(kind="escalate", why="odd"))
    act(slice(6, 7), Action(kind="assign", assignee="ann"))
    act(slice(6, 7), Action(kind="comment", comment="called"))
    assert counted(desk) == {"open": 7, "snoozed": 1, "escalated": 2, "decided": 3, "withdrawn": 0}
    desk.undo(BOB)
    desk.undo(ANN)
    clock.ahead(hours=2)
    score_batch(config, range(20, 22), batch="b3", replaces=["b2"])
    desk.sync()
    assert desk.page(View(), ANN).counts == counted(desk)
    assert counted(desk)["withdrawn"] == 3
    desk.close()


def test_a_queue_from_before_the_counts_is_counted(desk: Desk) -> None:
    desk.act({line.key: line.event for line in desk.page(View(limit=2), ANN).lines}, Action(kind="escalate"), ANN)
    expected = desk.page(View(), ANN).counts
    settings = Settings()
    settings.set_main_option("script_location", "pipeline.workspace:migrations")
    with desk.store.writing() as writing:
        REVIEW_COUNTS.drop(writing.connection)
        settings.attributes["connection"] = writing.connection
        command.stamp(settings, "0005")
        command.upgrade(settings, "0006")
        command.stamp(settings, "head")
    assert desk.page(View(), ANN).counts == expected == counted(desk)
    assert (expected["open"], expected["escalated"]) == (8, 2)
