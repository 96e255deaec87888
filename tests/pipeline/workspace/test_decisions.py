"""Decisions of the desk as labels: which, from when, and in which file."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError
from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.work import Action
from pipeline.workspace.decisions import DecisionLabels
from pipeline.workspace.workspace import Workspace
from tests.pipeline.review.scored import ANN, BOB, MONDAY, Clock, desk_config, score_batch


def decide(desk: Desk, row_id: int, label: str, *, supersede: bool = False) -> None:
    (line,) = desk.page(View(state="", search=str(row_id)), ANN).lines
    who = BOB if supersede else ANN
    desk.act({line.key: line.event}, Action(kind="decide", label=label), who, supersede=supersede)


def test_decisions_are_labels_as_of_their_moment(tmp_path: Path) -> None:
    config, clock = desk_config(tmp_path), Clock()
    workspace = Workspace(config)
    assert workspace.labels.reviewed == ()
    assert not (tmp_path / "work").exists()
    score_batch(config, range(1, 7))
    desk = Desk(config, clock)
    desk.sync()
    assert workspace.labels.reviewed == ()
    for row_id, label in ((1, "fraud"), (2, "not_fraud"), (3, "unsure"), (4, "fraud"), (5, "fraud")):
        decide(desk, row_id, label)
    desk.undo(ANN)
    clock.ahead(hours=2)
    decide(desk, 1, "not_fraud", supersede=True)
    decide(desk, 4, "unsure", supersede=True)
    (file,) = workspace.labels.reviewed
    assert file.name == f"{desk.verify().number:012}.parquet"
    assert pq.read_table(file).to_pylist() == [
        {"id": 1, "label": 1, "labelled_at": MONDAY},
        {"id": 2, "label": 0, "labelled_at": MONDAY},
        {"id": 1, "label": 0, "labelled_at": MONDAY + timedelta(hours=2)},
    ]
    rows = pa.table({"tx": list(range(1, 7)), "at": [datetime(2025, 3, 1)] * 6, "fraud": pa.nulls(6, pa.int8())})
    for moment, labels in (
        (MONDAY - timedelta(seconds=1), [np.nan] * 6),
        (MONDAY, [1, 0, np.nan, np.nan, np.nan, np.nan]),
        (MONDAY + timedelta(hours=2), [0, 0, np.nan, np.nan, np.nan, np.nan]),
    ):
        np.testing.assert_array_equal(workspace.labels.known(rows, moment), labels)
    desk.close()


def test_a_file_stays_as_it_is_and_another_is_made_only_for_newer_decisions(tmp_path: Path) -> None:
    config, clock = desk_config(tmp_path), Clock()
    score_batch(config, range(1, 7))
    desk = Desk(config, clock)
    desk.sync()
    decide(desk, 1, "fraud")
    labels = DecisionLabels(tmp_path / "decisions", config)
    (first,) = labels.files()
    content = first.read_bytes()
    (line,) = desk.page(View(search="2"), ANN).lines
    desk.act({line.key: line.event}, Action(kind="assign", assignee="ann"), ANN)
    assert labels.files() == [first]
    decide(desk, 2, "fraud")
    (second,) = labels.files()
    assert (second > first, first.read_bytes()) == (True, content)
    without = DecisionLabels(tmp_path / "decisions", desk_config(tmp_path / "other"), asks=False)
    assert without.files() == [second]


def test_ids_that_the_contract_no_longer_has_are_told(tmp_path: Path) -> None:
    config = desk_config(tmp_path)
    text = config.model_copy(update={"contract": config.contract.model_copy(update={"types": {}})})
    folder = score_batch(text, [1, 2])
    alerts = pq.read_table(folder / "alerts.parquet")
    alerts = alerts.set_column(0, "tx", pa.array(["a-1", "a-2"]))
    pq.write_table(alerts, folder / "alerts.parquet")
    desk = Desk(text, Clock())
    desk.sync()
    decide(desk, "a-1", "fraud")
    assert pq.read_table(DecisionLabels(tmp_path / "one", text).files()[0])["id"].to_pylist() == ["a-1"]
    with pytest.raises(ConfigError, match="are of ids that are text, and the contract now says int64"):
        DecisionLabels(tmp_path / "two", config).files()
