"""The queue's tables made again are those that the desk had."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.errors import AssayError
from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.people import Person
from pipeline.review.rebuild import PROJECTIONS
from pipeline.review.work import Action
from pipeline.settings.config import Config
from tests.pipeline.review.scored import ANN, BOB, LEA, MONDAY, Clock, desk_config, score_batch


def stored(desk: Desk) -> dict[str, list[Any]]:
    with desk.store.reading() as reading:
        return {table.name: sorted(map(repr, reading.connection.execute(sa.select(table)))) for table in PROJECTIONS}


def worked(config: Config) -> Desk:
    """A desk at which everything has been done that can be done to an alert, over two versions and three batches."""
    clock = Clock()
    desk = Desk(config, clock, chance=lambda: 0.0)
    score_batch(config, range(1, 80), audited=[500, 501])
    desk.sync()

    def act(place: int, who: Person, *, supersede: bool = False, **action: Any) -> str:
        line = desk.page(View(state="", sort="age"), LEA).lines[place]
        desk.act({line.key: line.event}, Action(**action), who, supersede=supersede)
        clock.ahead(minutes=7)
        return line.key

    lines = desk.page(View(limit=60), ANN).lines
    desk.act({line.key: line.event for line in lines[:55]}, Action(kind="decide", label="fraud", comment="bulk"), ANN)
    act(2, BOB, kind="decide", label="not_fraud", supersede=True)
    act(3, LEA, kind="decide", label="unsure", supersede=True)
    desk.undo(LEA)
    again = desk.next(View(), BOB)
    assert again is not None
    desk.act({again: desk.alert(again, BOB).line.event}, Action(kind="decide", label="not_fraud"), BOB)
    waiting = desk.page(View(), ANN).lines
    for line, action in zip(
        waiting,
        (
            Action(kind="snooze", until=clock.now + timedelta(hours=1), why="later"),
            Action(kind="escalate", why="odd"),
            Action(kind="assign", assignee="ann"),
            Action(kind="comment", comment="called the customer"),
        ),
        strict=False,
    ):
        desk.act({line.key: line.event}, action, ANN)
    clock.ahead(days=1)
    score_batch(config, range(1, 70), version="2", score=300.0, scored_at=MONDAY)
    score_batch(config, range(200, 220), batch="b2")
    desk.sync()
    score_batch(config, range(210, 230), batch="b3", replaces=["b2"])
    desk.sync()
    return desk


def test_what_is_made_again_is_what_was_there(config: Config) -> None:
    config = config.model_copy(update={"review": config.review.model_copy(update={"second_share": 0.9})})
    desk = worked(config)
    before = stored(desk)
    states = desk.page(View(), LEA).counts
    assert all(states[state] for state in ("open", "escalated", "decided", "withdrawn"))
    assert desk.rebuild() == desk.verify().number
    after = stored(desk)
    for table in PROJECTIONS:
        assert after[table.name] == before[table.name]
    desk.close()


def test_without_the_files_of_a_batch_nothing_is_changed(tmp_path) -> None:
    config = desk_config(tmp_path)
    folder = score_batch(config, range(1, 5))
    desk = Desk(config, Clock())
    desk.sync()
    before = stored(desk)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(AssayError, match=r"alerts of batch b1 are neither in .* bring the folder back"):
        desk.rebuild()
    assert stored(desk) == before
