"""pipeline/review/paging.py: parts of a view put together, forth and back, against the whole of it."""

from dataclasses import replace

import pytest

from pipeline.review import paging
from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.refusals import Refusal
from pipeline.review.work import Action
from pipeline.settings.config import Config
from tests.pipeline.review.scored import ANN, LEA, Clock, score_batch


def test_parts_one_after_the_other_are_the_whole_in_every_order(config: Config, monkeypatch) -> None:
    monkeypatch.setattr(paging, "MANY", 1)
    clock = Clock()
    score_batch(config, range(1, 9))
    score_batch(config, range(11, 18), batch="b2")  # of the same scores and times, so that keys order them
    desk = Desk(config, clock)
    desk.sync()
    lines = desk.page(View(), ANN).lines
    desk.act({line.key: line.event for line in lines[2:5]}, Action(kind="decide", label="fraud"), ANN)
    desk.act({lines[6].key: lines[6].event}, Action(kind="escalate"), ANN)
    clock.ahead(hours=25)
    for view in (
        View(),
        View(state=""),
        View(state="late"),
        View(state="", least=30.0),
        View(column="channel", value="web"),
    ):
        for sort in ("score", "risk", "age"):
            whole = [line.key for line in desk.page(replace(view, sort=sort), ANN).lines]
            part = desk.page(replace(view, sort=sort, limit=4), ANN)
            forth, pages = [line.key for line in part.lines], [part]
            while len(part.lines) == 4:
                after = replace(part.view, start=part.view.start + 4, after=part.lines[-1].key)
                part = desk.page(after, ANN)
                pages.append(part)
                forth += [line.key for line in part.lines]
            assert forth == whole
            assert pages[-1].total == len(whole)
            full = pages[1]
            back = desk.page(replace(full.view, start=0, after="", before=full.lines[0].key), ANN)
            assert [line.key for line in back.lines] == whole[:4]
    assert len(desk.page(View(state=""), ANN).lines) == desk.page(View(state="", limit=1), ANN).total == 15
    assert len(desk.page(View(state="late"), ANN).lines) == 12
    desk.close()


def test_what_leaves_a_view_between_two_parts_hides_nothing(desk: Desk) -> None:
    first = desk.page(View(limit=4), ANN)
    numbers = {line.key: line.event for line in first.lines}
    desk.act(numbers, Action(kind="decide", label="fraud"), ANN)
    second = desk.page(View(limit=4, start=4, after=first.lines[-1].key), ANN)
    assert [line.id for line in second.lines] == ["5", "6", "7", "8"]
    # What was before it is gone, so that the beginning is shown.
    back = desk.page(View(limit=4, before=second.lines[0].key), ANN)
    assert ([line.id for line in back.lines], back.view) == (["5", "6", "7", "8"], View(limit=4))


def test_a_number_alone_leads_only_so_far(desk: Desk) -> None:
    assert [line.id for line in desk.page(View(start=8, after="gone"), ANN).lines] == ["9", "10"]
    last = desk.page(View(), ANN).lines[8].key
    assert [line.id for line in desk.page(View(start=1_000_000, after=last), ANN).lines] == ["10"]
    with pytest.raises(Refusal, match="alert 5,001 of a view is further in than a number alone leads, which is 5,000"):
        desk.page(View(start=5_001), ANN)


def test_the_database_plans_for_the_rows_that_came_in(config: Config) -> None:
    score_batch(config, range(1, 101))
    desk = Desk(config, Clock())
    desk.sync()
    with desk.store.reading() as reading:
        if reading.connection.dialect.name == "postgresql":
            query = "SELECT reltuples FROM pg_class WHERE relname = 'review_alerts'"
            assert reading.connection.exec_driver_sql(query).scalar() == 100
        else:
            query = "SELECT stat FROM sqlite_stat1 WHERE idx = 'ix_review_alerts_entity'"
            assert reading.connection.exec_driver_sql(query).scalar().split()[:3] == ["100", "100", "34"]  # of 3 cards
    assert desk.page(View(), LEA).total == 100
    desk.close()
