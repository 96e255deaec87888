"""What an entity has been doing: from the history, with alerts and known labels, also over thousands of days."""

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.peers import Standing
from pipeline.review.timeline import copy_history
from pipeline.review.work import Action
from pipeline.workspace.workspace import Workspace
from tests.pipeline.review.scored import ANN, LEA, MONDAY, Clock, desk_config, score_batch


def remember(workspace: Workspace, ids: list[int], card: str, first: datetime, *, batch: str) -> None:
    """Put a row a day into the history."""
    count = len(ids)
    table = pa.table(
        {
            "tx": ids,
            "at": pa.array([first + timedelta(days=place) for place in range(count)], pa.timestamp("us")),
            "eur": [float(number) for number in ids],
            "card": [card] * count,
            "shop": ["shop-1"] * count,
            "channel": ["web"] * count,
            "fraud": pa.array([None] * count, pa.int8()),
        }
    )
    file = workspace.folder.root / "rows.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    workspace.history.append(file, batch)


def test_rows_of_the_entity_come_in_order_with_alerts_and_labels(tmp_path: Path) -> None:
    config = desk_config(tmp_path)
    workspace = Workspace(config)
    remember(workspace, [101, 102, 4, 103], "card-1", MONDAY - timedelta(days=20), batch="b0")
    remember(workspace, [900], "card-2", MONDAY - timedelta(days=20), batch="b00")
    score_batch(config, [1, 2, 4])
    desk = Desk(config, Clock())
    desk.sync()
    first, other = (desk.page(View(search=number), ANN).lines[0] for number in ("1", "4"))
    desk.act({other.key: other.event}, Action(kind="decide", label="fraud"), ANN)
    timeline = desk.history(first.key, ANN)
    assert timeline.column == "card"
    assert [(point.amount, point.label, point.is_this) for point in timeline.points] == [
        (101.0, "", False),
        (102.0, "", False),
        (4.0, "fraud", False),
        (103.0, "", False),
        (10.0, "", True),
    ]
    assert [point.key for point in timeline.points] == ["", "", other.key, "", first.key]
    assert timeline.standings == {"eur": Standing(0.25, 4, 0.2)}  # 10 is above 4 of 4, 101, 102, 103 and 900
    desk.close()


def test_hidden_amounts_are_not_in_it_and_a_text_entity_matches_no_number(tmp_path: Path) -> None:
    config = desk_config(tmp_path, sensitive=["eur"])
    remember(Workspace(config), [101], "card-1", MONDAY - timedelta(days=20), batch="b0")
    score_batch(config, [1])
    desk = Desk(config, Clock())
    desk.sync()
    key = desk.page(View(), ANN).lines[0].key
    assert [point.amount for point in desk.history(key, ANN).points] == [None, None]
    assert [point.amount for point in desk.history(key, LEA).points] == [101.0, 10.0]
    desk.close()


def test_the_copy_is_made_again_only_when_the_history_has_changed(tmp_path: Path) -> None:
    workspace = Workspace(desk_config(tmp_path))
    assert copy_history(workspace) is None
    remember(workspace, [101, 102], "card-2", MONDAY, batch="b0")
    remember(workspace, [103], "card-1", MONDAY, batch="b1")
    one = copy_history(workspace)
    assert one is not None
    assert pq.read_table(one)["tx"].to_pylist() == [103, 101, 102]
    stamp = one.stat().st_mtime_ns
    assert (copy_history(workspace), one.stat().st_mtime_ns) == (one, stamp)
    remember(workspace, [104], "card-1", MONDAY + timedelta(days=2), batch="b2")
    other = copy_history(workspace)
    assert other is not None
    assert (other != one, one.exists()) == (True, False)
    assert pq.read_table(other)["tx"].to_pylist() == [103, 104, 101, 102]
