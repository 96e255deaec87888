"""Batches that were scored before rows came or went which they look back to."""

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.settings.config import Config
from pipeline.workspace.history import NextHistory
from pipeline.workspace.ledger import Entry
from pipeline.workspace.outdated import Outdated, outdated_by
from pipeline.workspace.workspace import Workspace

MONDAY = datetime(2025, 3, 3)


def workspace_of(folder: Path, time_zone: str = "UTC") -> Workspace:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur", "types": {"tx": "integer"}}
    settings = {"contract": contract, "name": "cards", "work_dir": str(folder / "work")}
    return Workspace(Config.model_validate({**settings, "table": {"time_zone": time_zone}}))


def entry_of(name: str, first: datetime, last: datetime, **more: object) -> Entry:
    values = {"period_start": None, "period_end": None, "model_version": "1", **more}
    return Entry(
        batch_id=name,
        source=f"/data/{name}.csv",
        digest=name,
        model_name="cards",
        scored_at=datetime(2025, 4, 1),
        first_timestamp=first,
        last_timestamp=last,
        **values,
    )


def rows_at(folder: Path, *moments: datetime) -> Path:
    path = folder / "rows.parquet"
    ids = [round((moment - MONDAY).total_seconds()) for moment in moments]
    pq.write_table(pa.table({"tx": ids, "at": pa.array(moments, pa.timestamp("us")), "eur": [1.0] * len(ids)}), path)
    return path


def changed(space: Workspace, folder: Path, *moments: datetime) -> NextHistory:
    """Return the history with rows of some moments to come."""
    (folder / "beside").mkdir()
    history = NextHistory(space.history, folder / "beside")
    history.append(rows_at(folder, *moments), "new")
    return history


@pytest.mark.parametrize(
    ("first", "last", "is_outdated"),
    [
        (-24, -1, False),  # before it
        (0, 23, False),  # another part of the same day
        (-24, 24, True),  # over days, one of them later
        (24, 47, True),
        (24 * 60, 24 * 60 + 23, True),  # the last day that looks back so far
        (24 * 61, 24 * 61 + 23, False),
    ],
)
def test_batches_with_rows_of_later_days_that_look_back_so_far(
    tmp_path: Path, first: int, last: int, *, is_outdated: bool
) -> None:
    space = workspace_of(tmp_path)
    assert space.config.features.max_window_days == 60
    hours = [timedelta(hours=hour) for hour in (first, last)]
    space.ledger.record(entry_of("scored", *(MONDAY + hour for hour in hours)))
    history = changed(space, tmp_path, MONDAY + timedelta(hours=9))
    outdated = outdated_by(history, space.ledger, ["new"])
    assert [entry.batch_id for entry in outdated.entries] == ["scored"] * is_outdated
    assert bool(outdated.sentence) == bool(outdated.commands("assay.toml")) == is_outdated


def test_rows_that_are_there_already_and_labels_make_nothing_outdated(tmp_path: Path) -> None:
    space, rows = workspace_of(tmp_path), rows_at(tmp_path, MONDAY)
    space.history.append(rows, "a")
    space.ledger.record(entry_of("later", MONDAY + timedelta(days=1), MONDAY + timedelta(days=2)))
    assert outdated_by(changed(space, tmp_path, MONDAY), space.ledger, ["new"]).entries == ()


def test_rows_that_go_make_later_batches_outdated_and_neither_their_own_nor_the_new_one(tmp_path: Path) -> None:
    space = workspace_of(tmp_path)
    space.history.append(rows_at(tmp_path, MONDAY, MONDAY + timedelta(days=1)), "old")
    for name, day in (("old", 1), ("new", 1), ("later", 2)):
        space.ledger.record(entry_of(name, MONDAY + timedelta(days=day), MONDAY + timedelta(days=day)))
    (tmp_path / "beside").mkdir()
    history = NextHistory(space.history, tmp_path / "beside")
    history.remove("old")
    assert [entry.batch_id for entry in outdated_by(history, space.ledger, ["old", "new"]).entries] == ["later"]


def test_a_day_is_one_of_the_tables_time_zone(tmp_path: Path) -> None:
    """A day in Berlin is one of two days in UTC."""
    first = MONDAY - timedelta(hours=1)
    for zone, number in (("Europe/Berlin", 0), ("UTC", 1)):
        space = workspace_of(tmp_path / zone[:3], zone)
        (tmp_path / zone[:3]).mkdir()
        space.ledger.record(entry_of("part", first, MONDAY + timedelta(hours=22)))
        assert len(outdated_by(changed(space, tmp_path / zone[:3], first), space.ledger, ["new"]).entries) == number


def test_the_commands_name_file_period_and_version(tmp_path: Path) -> None:
    days = {"period_start": datetime(2025, 3, 3, 23), "period_end": datetime(2025, 3, 5, 23), "model_version": "7"}
    entries = (entry_of("my day", MONDAY, MONDAY), entry_of("table", MONDAY, MONDAY, **days))
    assert Outdated(entries, "Europe/Berlin").commands("assay.toml") == [
        "assay score '/data/my day.csv' --config assay.toml --version 1 --force",
        "assay score /data/table.csv --config assay.toml --from 2025-03-04 --to 2025-03-05 --version 7 --force",
    ]


def test_the_sentence_names_a_few_and_counts_all() -> None:
    entries = [entry_of(name, MONDAY, MONDAY) for name in "abcde"]
    one, five = (Outdated(tuple(entries[:number]), "UTC").sentence for number in (1, 5))
    assert one.startswith("1 batch scored before (a.csv) has rows of later days")
    assert five.startswith("5 batches scored before (a.csv, b.csv, c.csv, 2 more) have rows of later days")
