"""Intents: what is about to change, until it has."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.errors import ResourceError
from pipeline.workspace.database import connect
from pipeline.workspace.intents import Busy, Intents, take_out
from tests.pipeline.fitted import config


def intents_of(folder: Path, name: str = "cards") -> Intents:
    return Intents(config(work_dir=str(folder), name=name))


def test_intents_are_pending_in_the_order_they_began_until_they_end(tmp_path: Path) -> None:
    intents = intents_of(tmp_path)
    first = intents.begin("runs", {"token": "a"})
    second = intents.begin("registration", {"token": "b", "aliases": ["champion"]})
    assert intents_of(tmp_path).pending() == [first, second]
    assert abs(first.at - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=10)
    intents.end(first)
    assert intents.pending() == [second]


def test_an_intent_is_taken_out_with_the_transaction_that_records_it_or_not_at_all(tmp_path: Path) -> None:
    intents = intents_of(tmp_path)
    intent = intents.begin("runs", {})
    engine = connect(config(work_dir=str(tmp_path), name="cards"))

    def fail() -> None:
        with engine.begin() as connection:
            take_out(connection, intent)
            raise OSError("no store")

    with pytest.raises(OSError, match="no store"):
        fail()
    assert intents.pending() == [intent]
    with engine.begin() as connection:
        take_out(connection, intent)
    assert intents.pending() == []


def test_intents_of_other_tables_and_places_are_not_seen(tmp_path: Path) -> None:
    intents_of(tmp_path).begin("runs", {})
    assert intents_of(tmp_path, "other").pending() == []
    tracking = {"ledger_url": f"sqlite:///{tmp_path}/ledger.db"}
    assert Intents(config(work_dir=str(tmp_path / "else"), name="cards", tracking=tracking)).pending() == []


def test_one_command_at_a_time_changes_the_registry(tmp_path: Path) -> None:
    intents = intents_of(tmp_path)
    with (
        intents.alone(),
        pytest.raises(Busy, match="another command is changing the versions of model 'cards' and has not finished"),
        intents_of(tmp_path).alone(timeout=0.01),
    ):
        pytest.fail("the lock was held")
    with intents_of(tmp_path).alone(timeout=0):
        pass


def test_a_work_folder_that_takes_no_lock_is_told_in_a_sentence(tmp_path: Path) -> None:
    intents = intents_of(tmp_path)
    (tmp_path / "registry.lock").mkdir()
    with pytest.raises(ResourceError, match=r"can't be written to \(.+\); mend that, or name another"), intents.alone():
        pytest.fail("there is no lock")
