import sqlite3
from contextlib import closing
from datetime import datetime

import pytest

from pipeline.errors import ConfigError
from pipeline.selection.records import AliasChange, AliasRecords
from tests.pipeline.fitted import config


def settings(folder, name="assay"):
    return config(work_dir=str(folder), name=name)


def change(version, replaced, action="promote", alias="champion", **more):
    return AliasChange(alias=alias, version=version, replaced=replaced, action=action, why="a reason", **more)


def record(records, *changes):
    with records.recording(changes):
        pass


def test_changes_come_back_as_they_were_recorded(tmp_path):
    records = AliasRecords(settings(tmp_path))
    first = change("1", None, "register", who="ann", at=datetime(2025, 1, 1))
    second = change("2", "1", "force", failed_gates=("recall", "volume"))
    record(records, first)
    record(records, second, change(None, "2", alias="candidate"))
    again = AliasRecords(settings(tmp_path)).all()
    assert again[:2] == [first, second]
    assert (again[2].version, again[2].alias) == (None, "candidate")
    assert again[1].who
    assert again[1].at.tzinfo is None


def test_nothing_is_recorded_of_a_change_that_failed(tmp_path):
    records = AliasRecords(settings(tmp_path))
    with pytest.raises(OSError, match="no store"), records.recording([change("1", None)]):
        raise OSError("no store")
    assert records.all() == []


def test_a_database_that_another_process_holds_is_told_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.workspace.database.WAIT", 0.1)
    records = AliasRecords(settings(tmp_path))
    with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with (
            pytest.raises(ConfigError, match="cannot be used: database is locked; another process is writing to it"),
            records.recording([change("1", None)]),
        ):
            pytest.fail("what is not recorded is not done")
        other.execute("COMMIT")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigError, match="database is locked"):
            records.all()
    assert records.all() == []


def test_models_of_other_tables_do_not_see_each_other(tmp_path):
    record(AliasRecords(settings(tmp_path)), change("1", None))
    assert AliasRecords(settings(tmp_path, "other")).all() == []


def test_champions_are_stacked_and_a_rollback_takes_the_last_one_off(tmp_path):
    records = AliasRecords(settings(tmp_path))
    record(records, change("1", None, "register"), change("2", None, "register", alias="candidate"))
    record(records, change("2", "1"))
    record(records, change("1", "2"))
    record(records, change("3", "1", "force"))
    assert records.champions() == ["1", "2", "1", "3"]
    record(records, change("1", "3", "rollback"))
    assert records.champions() == ["1", "2", "1"]
    record(records, change("2", "1", "rollback"))
    assert records.champions() == ["1", "2"]
    record(records, change("4", "2"))
    assert records.champions() == ["1", "2", "4"]


def test_a_champion_from_before_the_records_is_below_the_first_promotion(tmp_path):
    records = AliasRecords(settings(tmp_path))
    record(records, change("5", "4"))
    assert records.champions() == ["4", "5"]


def test_a_version_is_held_against_earlier_champions_back_to_a_forced_one(tmp_path):
    records = AliasRecords(settings(tmp_path))
    assert records.earlier_champions() == []
    record(records, change("1", None, "register"))
    assert records.earlier_champions() == []
    for version, before in (("2", "1"), ("3", "2"), ("2", "3"), ("4", "2")):
        record(records, change(version, before))
    assert records.earlier_champions() == ["1", "3", "2"]
    record(records, change("5", "4", "force"))
    assert records.earlier_champions() == []
    record(records, change("6", "5"))
    assert records.earlier_champions() == ["5"]
    # What was forced was taken back, and with it the decision.
    record(records, change("5", "6", "rollback"))
    record(records, change("4", "5", "rollback"))
    assert records.earlier_champions() == ["1", "3", "2"]
