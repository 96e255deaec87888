"""The one way in: what is accepted, computed, remembered and refused, in which order."""

from contextlib import contextmanager
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BatchRefused, TrainingError
from pipeline.features import compute
from pipeline.intake import accept, features_of, take_in
from pipeline.tables.batch import Batch
from pipeline.tables.period import Period
from pipeline.workspace.workspace import Workspace
from tests.pipeline.fitted import config, transactions

LAST_DAYS = Period(datetime(2025, 3, 21), None)


@pytest.fixture
def workspace(tmp_path):
    return Workspace(config(work_dir=str(tmp_path / "work"), features={"families": ("amount", "change")}))


@pytest.fixture
def table(tmp_path):
    rows = transactions()
    pq.write_table(rows, tmp_path / "rows.parquet")
    return rows


def scratch_of(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    return folder


def batch_of(tmp_path, workspace, period=LAST_DAYS):
    return Batch.of(tmp_path / "rows.parquet", workspace.config, period)


@pytest.mark.parametrize("remember", [False, True])
def test_features_are_those_of_the_whole_table_whether_or_not_rows_are_remembered(tmp_path, workspace, table, remember):
    taken = take_in(batch_of(tmp_path, workspace), workspace, scratch_of(tmp_path, "one"), remember=remember)
    whole = pq.read_table(compute(tmp_path / "rows.parquet", [], workspace.config, tmp_path / "all.parquet"))
    at = np.asarray(whole["at"]).astype("datetime64[us]")
    expected = whole.filter(at >= np.datetime64(LAST_DAYS.start))
    rows = pq.read_table(taken.features)
    assert rows.equals(expected.select(rows.column_names))
    assert rows.num_rows == taken.validated.counts.accepted > 0
    assert (taken.first, taken.last) == (min(expected["at"].to_pylist()), max(expected["at"].to_pylist()))
    files = workspace.history.files(None, None)
    stored = [key for file in files for key in pq.read_table(file, columns=["tx"])["tx"].to_pylist()]
    reach = LAST_DAYS.start - timedelta(days=workspace.config.features.max_window_days)
    seen = table.filter(np.asarray(table["at"]).astype("datetime64[us]") >= np.datetime64(reach))
    assert sorted(stored) == (sorted(seen["tx"].to_pylist()) if remember else [])


def test_a_check_that_fails_comes_before_anything_is_remembered(tmp_path, workspace, table):
    def check(accepted):
        assert accepted.is_file()
        raise TrainingError("no")

    with pytest.raises(TrainingError, match="no"):
        take_in(batch_of(tmp_path, workspace), workspace, scratch_of(tmp_path, "one"), remember=True, check=check)
    assert workspace.history.files(None, None) == []


def test_a_gap_is_a_note_or_refuses_only_where_the_caller_and_the_settings_say_so(tmp_path, table):
    for number, (on_gap, may_refuse) in enumerate([("report", True), ("refuse", False), ("refuse", True)]):
        settings = config(work_dir=str(tmp_path / f"work-{number}"), features={"on_gap": on_gap})
        workspace, scratch = Workspace(settings), scratch_of(tmp_path, str(number))
        batch = batch_of(tmp_path, workspace, Period.of_days(date(2025, 3, 21), date(2025, 3, 22), "UTC"))
        if on_gap == "refuse" and may_refuse:
            with pytest.raises(BatchRefused, match=r"the history lacks .* or accept it with features.on_gap"):
                take_in(batch, workspace, scratch, remember=True, refuse_gap=may_refuse)
            assert workspace.history.files(None, None) == []
        else:
            taken = take_in(batch, workspace, scratch, remember=True, refuse_gap=may_refuse)
            assert len(taken.notes) == 1
            assert taken.notes[0].startswith("The history lacks ")


def test_rows_of_a_replaced_batch_leave_the_history(tmp_path, workspace, table):
    first = batch_of(tmp_path, workspace)
    take_in(first, workspace, scratch_of(tmp_path, "one"), remember=True)
    changed = table.slice(0, table.num_rows - 1)
    pq.write_table(changed, tmp_path / "rows.parquet")
    second = batch_of(tmp_path, workspace)
    take_in(second, workspace, scratch_of(tmp_path, "two"), remember=True, replaced=[first.id])
    names = {file.stem for file in workspace.history.files(None, None)}
    assert names == {second.id, f"{second.id}-before"}


def test_accepting_remembers_nothing_and_shows_its_step(tmp_path, workspace, table):
    titles, rows = [], []

    @contextmanager
    def step(title):
        titles.append(title)
        yield rows.append

    scratch = scratch_of(tmp_path, "one")
    validated = accept(batch_of(tmp_path, workspace), workspace, scratch, step=step)
    assert titles == ["validate"]
    assert sum(rows) == validated.counts.read == table.num_rows
    assert validated.quarantine == scratch / "quarantine.parquet"
    assert workspace.history.files(None, None) == []


def test_features_of_accepted_rows_look_into_the_history_and_what_is_given_beside_it(tmp_path, workspace, table):
    middle = table.num_rows // 2
    early, late = table.slice(0, middle), table.slice(middle)
    pq.write_table(early, tmp_path / "early.parquet")
    pq.write_table(late, tmp_path / "late.parquet")
    beside = features_of(
        tmp_path / "late.parquet", workspace, tmp_path / "a.parquet", lookback=[tmp_path / "early.parquet"]
    )
    alone = features_of(tmp_path / "late.parquet", workspace, tmp_path / "b.parquet")
    workspace.history.append(tmp_path / "early.parquet", "e")
    stored = features_of(tmp_path / "late.parquet", workspace, tmp_path / "c.parquet")
    assert pq.read_table(beside).equals(pq.read_table(stored))
    assert not pq.read_table(beside).equals(pq.read_table(alone))
