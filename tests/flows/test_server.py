"""The server that a command starts for itself: it ends with the command, and that it can't start is one sentence."""

import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.processes import SECONDS, Process, run, running

START = """
import sys, time
from flows import server
server.IDLE_SECONDS = float(sys.argv[1])
started = server.start_server()
if started is None:
    sys.exit("none was started")
print(started._process.pid, started.url, flush=True)
if sys.argv[2] == "sleep":
    time.sleep(600)
started.wait()
print("answers", flush=True)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables that configure no server; Prefect's files go into a folder of the test's own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    (tmp_path / "prefect").mkdir()
    return own | {"PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


def start(environment: dict[str, str], *, idle: float = 600) -> Process:
    return run(sys.executable, "-c", START, str(idle), "wait", env=environment)


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a process is looked for in /proc")
def test_it_ends_with_a_command_that_was_killed(environment: dict[str, str]) -> None:
    with running(sys.executable, "-c", START, "600", "sleep", env=environment) as process:
        process.wait_for("http")
        pid = int(process.output.split()[0])
        assert is_there(pid)
        process.send(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    end = time.monotonic() + SECONDS
    while is_there(pid):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_it_answers_and_ends_with_the_command(environment: dict[str, str]) -> None:
    process = start(environment)
    assert process.status == 0, process
    pid, url, word = process.output.split()
    assert word == "answers"
    assert url.startswith("http://127.0.0.1:")
    assert not is_there(int(pid))


def test_a_database_that_is_none_is_one_sentence(environment: dict[str, str]) -> None:
    (Path(environment["PREFECT_HOME"]) / "prefect.db").write_bytes(b"no database" * 1000)
    process = start(environment)
    assert process.status == 1
    assert "Prefect's private server ended at its start (" in process.errors
    assert "start a server with `prefect server start --host 127.0.0.1`" in process.errors


def test_one_that_does_nothing_is_given_up(environment: dict[str, str]) -> None:
    with closing(sqlite3.connect(Path(environment["PREFECT_HOME"]) / "prefect.db")) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("CREATE TABLE held (id)")
        database.execute("BEGIN EXCLUSIVE")
        process = start(environment, idle=3)
    assert process.status == 1
    assert "does not answer, and did nothing for 3 seconds; start a server with" in process.errors


def test_none_is_started_where_one_is_configured_or_forbidden(environment: dict[str, str]) -> None:
    configured = start(environment | {"PREFECT_API_URL": "http://127.0.0.1:9/api"})
    assert configured.errors == "none was started\n"
    forbidden = start(environment | {"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"})
    assert "no Prefect server is configured, and Prefect is told to start none of its own" in forbidden.errors
