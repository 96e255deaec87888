"""pipeline/review/deliveries.py: labels that were delivered, beside the rows of the queue."""

from pathlib import Path

import sqlalchemy as sa

from pipeline.review import deliveries
from pipeline.review.deliveries import labels_of
from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.work import Action
from pipeline.settings.config import Config
from pipeline.workspace.schema import REVIEW_ALERTS
from tests.pipeline.review.scored import ANN, Clock, deliver, desk_config, score_batch


def delivered(desk: Desk) -> dict[str, str]:
    query = sa.select(REVIEW_ALERTS.c.id, REVIEW_ALERTS.c.delivered).where(REVIEW_ALERTS.c.delivered != "")
    with desk.store.reading() as reading:
        return dict(map(tuple, reading.connection.execute(query)))


def test_a_delivery_is_one_event_and_the_last_label_counts(config: Config) -> None:
    score_batch(config, range(1, 6))
    desk = Desk(config, Clock())
    assert desk.sync() == 1
    deliver(config, "1,1,1", "2,0,1", "77,1,1")
    assert (desk.sync(), desk.sync()) == (1, 0)
    assert delivered(desk) == {"1": "fraud", "2": "not_fraud"}
    deliver(config, "1,0,2", "2,1,0.5", "3,0,1", "3,1,1.5")
    assert desk.sync() == 1
    assert delivered(desk) == {"1": "not_fraud", "2": "not_fraud", "3": "fraud"}
    score_batch(config, [77, 78], batch="b2", score=50.0)
    desk.sync()
    after = delivered(desk)
    assert after["77"] == "fraud"
    other = Desk(config, Clock())
    assert other.sync() == 0
    other.close()
    desk.rebuild()
    assert delivered(desk) == after
    assert labels_of(config, ["1", "99"]) == {"1": "not_fraud"}
    desk.close()


def test_of_the_queue_only_delivered_rows_are_read_some_at_a_time(config: Config, monkeypatch) -> None:
    monkeypatch.setattr(deliveries, "AT_ONCE", 3)
    score_batch(config, range(1, 41))
    desk = Desk(config, Clock())
    desk.sync()
    deliver(config, *(f"{tx},1,1" for tx in (2, 4, 41, 42, 43, 44, 40)))
    asked = []

    @sa.event.listens_for(desk.store._engine, "after_cursor_execute")
    def note(connection, cursor, statement, parameters, *_) -> None:
        if "review_alerts.key IN" in statement.replace('"', ""):
            asked.append(len(parameters) - 1)  # but for the table's name

    assert desk.sync() == 1
    assert delivered(desk) == {"2": "fraud", "4": "fraud", "40": "fraud"}
    assert asked == [3, 3, 1]
    desk.close()


def test_a_decision_that_a_delivery_contradicts_is_disputed(tmp_path: Path) -> None:
    config = desk_config(tmp_path)
    score_batch(config, range(1, 5))
    desk = Desk(config, Clock())
    desk.sync()
    lines = desk.page(View(), ANN).lines
    for line, label in zip(lines, ("fraud", "fraud", "unsure"), strict=False):
        desk.act({line.key: line.event}, Action(kind="decide", label=label), ANN)
    deliver(config, "1,0,1", "2,1,1", "3,1,1", "4,1,1")
    desk.sync()
    assert [line.id for line in desk.page(View(state="disputed"), ANN).lines] == ["1"]
    desk.close()
