"""Several runners on one folder: each file is scored once, by the lock of a file, or by the database's alone."""

import fcntl
import json
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.run import run_flow
from pipeline.settings.file import read_config
from pipeline.workspace.draft import CHANGE
from pipeline.workspace.ledger import Ledger
from tests.faults import KILLED, Forks
from tests.flows.test_faults import PARTS, day_of, deliver, history_of
from tests.pipeline.workspace.conftest import postgresql_server, postgresql_url

__all__ = ["postgresql_server", "postgresql_url"]

DAYS = {"a": date(2025, 2, 26), "b": date(2025, 2, 27)}


def runner(home: str, *, locks_files: bool, config: str = "assay.toml", stops: int = 0) -> int:
    """Start a runner in a process of its own, and return that one's number; what it says or raises is written down.

    With ``stops`` it writes to that pipe when all of its first draft but the record is there, and goes no further.
    """
    if child := os.fork():
        return child
    words, status = "", 1
    try:
        if not locks_files:
            fcntl.flock = lambda *_: None  # type: ignore[assignment] # a disk between hosts that grants every lock
        if stops:
            sys.addaudithook(lambda event, values: _stop(stops) if _is_at(event, values) else None)
        words = "\n".join(run_flow(Path(home) / config, "flows.score:score_incoming").screen.sentences)
        status = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the test shows it
        words = traceback.format_exc()
    finally:
        (Path(home) / f"said-{os.getpid()}").write_text(words)
        os._exit(status)


def _is_at(event: str, values: tuple[Any, ...]) -> bool:
    return event == "os.rename" and str(values[1]).endswith(CHANGE)


def _stop(pipe: int) -> None:
    os.write(pipe, b"1")
    signal.pause()


def end_well(home: str, *children: int) -> None:
    """Wait for runners, and raise what one of them has raised."""
    for child in children:
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            raise AssertionError((Path(home) / f"said-{child}").read_text())


def run_at_once(home: str, runners: int, locks_files: int) -> None:
    end_well(home, *[runner(home, locks_files=bool(locks_files)) for _ in range(runners)])


def run_and_kill_the_first(home: str) -> None:
    """Stop the first runner before its record, let one come by that does not wait, and kill the first beside two."""
    reached, at_the_point = os.pipe()
    first = runner(home, locks_files=False, stops=at_the_point)
    os.close(at_the_point)
    if os.read(reached, 1) != b"1":
        end_well(home, first)
    end_well(home, runner(home, locks_files=False, config="skip.toml"))
    others = [runner(home, locks_files=False) for _ in range(2)]
    os.kill(first, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) == KILLED
    end_well(home, *others)


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(__name__, *PARTS) as process:
        yield process


@pytest.fixture
def deliveries(home: Path) -> Path:
    """A home with three files that nobody has scored."""
    set_to(home, "assay.toml", prefect="false")
    for name, day in DAYS.items():
        deliver(home, name, day_of(home, day))
    return home


def set_to(home: Path, name: str, **values: str) -> None:
    """Write the configuration with other values under a name."""
    lines = (home / "assay.toml").read_text().splitlines()
    for key, value in values.items():
        (place,) = [number for number, line in enumerate(lines) if line.startswith(f"{key} = ")]
        lines[place] = f"{key} = {value}"
    (home / name).write_text("\n".join(lines) + "\n")


def holds_each_file_once(home: Path) -> None:
    """Hold ledger, results, history and the events of every run against what was delivered."""
    entries = Ledger(read_config(home / "assay.toml")).entries()
    rows = {name: set(day_of(home, day)["TRANSACTION_ID"].to_pylist()) for name, day in DAYS.items()}
    assert Counter((Path(entry.source).stem, entry.status) for entry in entries) == dict.fromkeys(
        ((name, "scored") for name in DAYS), 1
    )
    stored = Counter(row for file in history_of(home).values() for row in file["TRANSACTION_ID"])
    for entry in entries:
        scored = Counter(pq.read_table(Path(entry.folder) / "scores.parquet")["TRANSACTION_ID"].to_pylist())
        name = Path(entry.source).stem
        assert len(scored) == sum(scored.values()) == entry.scored == entry.accepted == entry.read - entry.quarantined
        assert scored.keys() <= rows[name]
        assert entry.read == len(day_of(home, DAYS[name]))
        assert {stored[row] for row in scored} == {1}
    work = home / "assay-data"
    assert {path.name for path in (work / "batches").iterdir()} == {Path(entry.folder).name for entry in entries}
    events = [
        json.loads(line) for file in (work / "lineage").glob("*.ndjson") for line in file.read_text().splitlines()
    ]
    done = Counter(Path(each["inputs"][0]["name"]).stem for each in events if each["eventType"] == "COMPLETE")
    assert done == dict.fromkeys(DAYS, 1)  # scored again in place, a file would have two


def test_two_runners_on_one_host_score_each_file_once(forks: Forks, deliveries: Path) -> None:
    assert forks.run(run_at_once, None, str(deliveries), 2, 1) == (0, "")
    holds_each_file_once(deliveries)


def test_four_runners_whose_files_lock_nothing_score_each_file_once_by_the_databases_lock(
    forks: Forks, deliveries: Path, postgresql_url: str
) -> None:
    set_to(deliveries, "assay.toml", ledger_url=f'"{postgresql_url}"')
    assert forks.run(run_at_once, None, str(deliveries), 4, 0) == (0, "")
    holds_each_file_once(deliveries)


def test_a_runner_that_is_killed_is_waited_for_and_the_others_go_on(
    forks: Forks, deliveries: Path, postgresql_url: str
) -> None:
    set_to(deliveries, "assay.toml", ledger_url=f'"{postgresql_url}"')
    set_to(deliveries, "skip.toml", overlap='"skip"')
    assert forks.run(run_and_kill_the_first, None, str(deliveries)) == (0, "")
    holds_each_file_once(deliveries)
    said = [file.read_text() for file in deliveries.glob("said-*")]
    left_out = 'another run is at work, and schedule.overlap = "skip" leaves this one out; nothing was done'
    assert said.count(left_out) == 1
