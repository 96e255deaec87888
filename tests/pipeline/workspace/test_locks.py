"""Locks between runs on several hosts, which PostgreSQL keeps: two folders stand for two hosts that share no file."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from pipeline.errors import ConfigError
from pipeline.settings.config import Config
from pipeline.workspace.draft import drafting, settle_draft
from pipeline.workspace.intents import Busy, Intents
from pipeline.workspace.ledger import AtWork, Ledger, lock, run_lock
from pipeline.workspace.locks import LockLost, check_held
from pipeline.workspace.workspace import Workspace
from tests.pipeline.workspace.test_ledger import make_entry
from tests.processes import Process, running

ROOT = Path(__file__).parents[3]
HOLD = """
import sys, time
from pipeline.settings.config import Config
from pipeline.workspace.ledger import lock
with lock(Config.model_validate_json(sys.argv[1])):
    print("held", flush=True)
    time.sleep(3600)
"""
PUBLISH = """
import fcntl, sys, time
from pathlib import Path
from pipeline.settings.config import Config
from pipeline.workspace.draft import drafting
from pipeline.workspace.ledger import lock
from pipeline.workspace.workspace import Workspace
from tests.pipeline.workspace.test_ledger import make_entry
fcntl.flock = lambda *_: None  # a disk between hosts, on which every lock of a file is granted
config = Config.model_validate_json(sys.argv[1])
space = Workspace(config)
final = space.folder.batches / "b2-v1"
with lock(config), drafting(space, final) as draft:
    (draft.results / "scores").write_text("the other's")
    print("drafted", flush=True)
    while not Path(sys.argv[2]).exists():
        time.sleep(0.01)
    draft.publish(make_entry("b2", folder=str(final)))
"""


@pytest.fixture
def config(tmp_path: Path, postgresql_url: str) -> Config:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur", "types": {"tx": "integer"}}
    tracking = {"ledger_url": postgresql_url}
    return Config.model_validate(
        {"contract": contract, "name": "cards", "work_dir": str(tmp_path / "work"), "tracking": tracking}
    )


def elsewhere(config: Config, folder: str = "other", name: str = "cards") -> Config:
    """Return the configuration of another folder beside the first, or of another table in the same."""
    return config.model_copy(update={"name": name, "work_dir": str(Path(config.work_dir).parent / folder)})


@pytest.fixture
def holder(config: Config) -> Iterator[Process]:
    """A process that holds the run lock, and whose files no other sees."""
    with running(sys.executable, "-c", HOLD, elsewhere(config).model_dump_json()) as process:
        process.wait_for("held")
        yield process


def end_sessions(config: Config) -> None:
    """Have the server end every session of the database but the one that asks, as a restart does."""
    engine = sa.create_engine(config.tracking.ledger_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_a_run_on_another_host_is_waited_for_and_a_killed_one_gives_the_lock_back(
    config: Config, holder: Process
) -> None:
    match = r"another run is writing to .*work and has not finished within 0\.2 seconds"
    with pytest.raises(AtWork, match=match), lock(config, timeout=0.2):
        pytest.fail("two hosts hold the lock")
    with lock(elsewhere(config, "a third", "loans"), timeout=0):
        pass  # another table elsewhere is nobody's business
    with pytest.raises(AtWork), lock(elsewhere(config, name="loans"), timeout=0):
        pytest.fail("what lies in a folder is one run's at a time, as it is on one host")
    holder.send(signal.SIGKILL)
    with lock(config, timeout=60):
        pass
    with lock(config, timeout=0):
        pass  # given back at once, and not when the server notices


def test_the_registry_is_changed_by_one_host_at_a_time(config: Config) -> None:
    here, there = Intents(config), Intents(elsewhere(config))
    match = "another command is changing the versions of model"
    with here.alone(), pytest.raises(Busy, match=match), there.alone(timeout=0):
        pytest.fail("two hosts change the registry")


def test_a_batch_is_recorded_by_the_session_that_holds_the_lock(config: Config) -> None:
    ledger = Ledger(config)
    with lock(config):
        ledger.record(make_entry())
        with pytest.raises(sa.exc.DataError):
            ledger.record(make_entry("x" * 100))
        ledger.record(make_entry("b2"))  # what the database refused has cost nobody the lock
        check_held(config, run_lock("cards"))
    assert sorted(entry.batch_id for entry in ledger.entries()) == ["a1", "b2"]


def test_a_run_that_has_lost_its_lock_records_and_clears_up_nothing(config: Config) -> None:
    space = Workspace(config)
    Ledger(config)
    with lock(config):
        match = r"lost its lock in the database at postgresql\+psycopg://.*another one may"
        with pytest.raises(LockLost, match=match), drafting(space, space.folder.batches / "a1-v1") as draft:  # noqa: PT012
            end_sessions(config)
            draft.publish(make_entry(folder=str(draft.final)))
        for _ in range(2):  # nor by a session that SQLAlchemy opens anew
            with pytest.raises(LockLost, match="it ends here, and what it has not recorded, the next run does"):
                space.ledger.record(make_entry())
        with pytest.raises(LockLost):
            settle_draft(space)
    assert space.ledger.entries() == []
    with lock(config, timeout=0):
        space.ledger.record(make_entry())


def test_a_run_that_does_not_know_it_yet_is_kept_out_of_the_other_ones_draft(config: Config, tmp_path: Path) -> None:
    space, go = Workspace(config), tmp_path / "go"
    words = [sys.executable, "-c", PUBLISH, config.model_dump_json(), go]
    with lock(config), running(*words, cwd=ROOT) as other:
        with pytest.raises(LockLost), drafting(space, space.folder.batches / "a1-v1") as draft:  # noqa: PT012
            end_sessions(config)
            other.wait_for("drafted")
            (draft.results / "scores").write_text("the first one's")
        go.touch()
        assert other.wait() == 0, other
    assert [(entry.batch_id, Path(entry.folder, "scores").read_text()) for entry in space.ledger.entries()] == [
        ("b2", "the other's")
    ]
    assert list(space.folder.batches.glob(".*")) == []


def test_a_database_that_does_not_answer_is_told_before_anything_is_done(config: Config) -> None:
    away = config.tracking.model_copy(update={"ledger_url": "postgresql+psycopg://nobody@127.0.0.1:1/none"})
    match = r"the ledger of scored batches at .* cannot be used"
    with pytest.raises(ConfigError, match=match), lock(config.model_copy(update={"tracking": away})):
        pytest.fail("there is no lock")
