"""Scoring that fails or is killed wherever it touches the disk: history, ledger and results stay of one mind.

A run's points (tests/faults.py) are failed and killed in turn, the command is run again, and what is there then equals
what an undisturbed run leaves. A few of the points are tried here, all of them by `make soak`; the table is printed.
"""

import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows.run import run_flow
from tests.faults import ERRORS, KILLED, Forks, Outcomes, Points, spread

FIRST, SECOND = date(2025, 2, 26), date(2025, 2, 27)
PARTS = ("flows.score", "torch", "duckdb", "mlflow.store.tracking.sqlalchemy_store", "great_expectations")
"""What a run imports: the process that forks has imported it already."""
MOMENT = re.compile(r"\d{4}-\d\d-\d\d( at |[ T])\d\d:\d\d(:\d\d(\.\d+)?)?( UTC|Z|\+00:00)?")
State = dict[str, object]


def score_incoming(home: str) -> None:
    run_flow(Path(home) / "assay.toml", "flows.score:score_incoming")


def day_of(home: Path, day: date) -> pa.Table:
    rows = pq.read_table(home / "transactions.parquet")
    on_day = pc.equal(pc.cast(rows["TX_DATETIME"], pa.date32()), day)
    return rows.filter(pc.and_(on_day, pc.is_finite(rows["TX_AMOUNT"])))


def corrected(rows: pa.Table) -> pa.Table:
    """Return the rows as a second delivery has them: other amounts, and a few less."""
    place = rows.schema.get_field_index("TX_AMOUNT")
    return rows.set_column(place, "TX_AMOUNT", pc.multiply(rows["TX_AMOUNT"], 1.5)).slice(5)


def deliver(home: Path, name: str, rows: pa.Table) -> None:
    (home / "incoming").mkdir(exist_ok=True)
    pq.write_table(rows, home / "incoming" / f"{name}.parquet")


def history_of(home: Path) -> State:
    folder = home / "assay-data" / "history"
    return {
        str(file.relative_to(folder)): pq.read_table(file).to_pydict() for file in folder.glob("*/date=*/*.parquet")
    }


def state(home: Path) -> State:
    """Return all that a work folder says, but for the moments of scoring."""
    work = home / "assay-data"
    found: State = {f"history/{name}": rows for name, rows in history_of(home).items()}
    for file in sorted(path for parent in ("batches", "replaced") for path in (work / parent).rglob("*")):
        name = str(file.relative_to(work))
        if file.suffix == ".parquet":
            rows = pq.read_table(file)
            found[name] = rows.drop_columns([c for c in ("scored_at",) if c in rows.column_names]).to_pydict()
        elif file.is_file():
            found[name] = MOMENT.sub("", file.read_text())
    if (work / "ledger.db").exists():
        with closing(sqlite3.connect(work / "ledger.db")) as ledger:
            ledger.row_factory = sqlite3.Row
            rows = ledger.execute("SELECT * FROM batches ORDER BY batch_id").fetchall()
        found["ledger"] = [{key: row[key] for key in row.keys() if key != "scored_at"} for row in rows]  # noqa: SIM118
    parents = (work / name for name in ("batches", "history", "replaced", "runs"))
    hidden = sorted(str(path.relative_to(work)) for parent in parents for path in parent.rglob(".*"))
    found["hidden"] = [name for name in hidden if not name.endswith("/.lock")]
    return found


def differences(one: State, other: State) -> list[str]:
    """Return the names of what is not the same in two states."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


class Runner:
    """Runs the command in processes that pass points of one home's work folder.

    Parameters
    ----------
    forks : Forks
    pattern : Path
        A home that stays as it is.
    """

    def __init__(self, forks: Forks, pattern: Path) -> None:
        self.forks, self.pattern, self.home = forks, pattern, pattern.parent / "work"
        self.restore(pattern)

    def restore(self, source: Path) -> None:
        """Make the home what another one is."""
        shutil.rmtree(self.home, ignore_errors=True)
        shutil.copytree(source, self.home)

    def keep(self) -> Path:
        """Return a copy of the home as it is now, to restore it from."""
        shutil.rmtree(self.pattern.parent / "kept", ignore_errors=True)
        return Path(shutil.copytree(self.home, self.pattern.parent / "kept"))

    def run(self, at: int = -1, error: int = 0, log: str = "") -> tuple[int, str]:
        """Score the new files; return the status and what was raised."""
        return self.forks.run(score_incoming, Points(self.home / "assay-data", at, error, log), str(self.home))

    def deliver(self, **days: pa.Table) -> None:
        """Put files into the incoming folder, by name, and score what is new."""
        for name, rows in days.items():
            deliver(self.home, name, rows)
        assert self.run() == (0, "")

    def points(self) -> list[str]:
        """Return the points that a run passes, by name and in order; the home is as it was afterwards."""
        source, log = self.keep(), self.pattern.parent / "points"
        log.unlink(missing_ok=True)
        assert self.run(log=str(log)) == (0, "")
        self.restore(source)
        return log.read_text().splitlines()

    def kill(self, number: int) -> None:
        """Kill a run at a point."""
        assert self.run(number) == (KILLED, "")


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks(__name__, *PARTS) as process:
        yield process


@pytest.fixture
def runner(forks: Forks, home: Path) -> Runner:
    """A home in which a day was delivered and nothing was scored."""
    text = (home / "assay.toml").read_text()
    assert "prefect = true" in text
    (home / "assay.toml").write_text(text.replace("prefect = true", "prefect = false"))
    runner = Runner(forks, home)
    deliver(runner.home, "a", day_of(home, FIRST))
    return runner


@pytest.fixture
def commit(runner: Runner) -> int:
    """The number of the point at which the day's record is made."""
    return max(number for number, name in enumerate(runner.points()) if name == "commit ledger.db")


@pytest.mark.parametrize("is_recorded", [False, True])
def test_killed_and_then_the_file_corrected(runner: Runner, home: Path, commit: int, *, is_recorded: bool) -> None:
    """Later features and scores equal those of a run that never saw the old file."""
    later = day_of(home, SECOND)
    runner.kill(commit + is_recorded)
    runner.deliver(a=corrected(day_of(home, FIRST)))
    runner.deliver(b=later)
    after = state(runner.home)
    runner.restore(home)
    runner.deliver(a=corrected(day_of(home, FIRST)))
    runner.deliver(b=later)
    expected = state(runner.home)
    if is_recorded:  # it was scored, and its results are kept as replaced ones
        after = {name: value for name, value in after.items() if not name.startswith("replaced/")}
        after["ledger"] = [row for row in after["ledger"] if row["status"] != "replaced"]
    assert differences(after, expected) == []


def test_killed_and_then_the_file_withdrawn(runner: Runner, home: Path, commit: int) -> None:
    """No row that nobody scored stays."""
    runner.kill(commit)
    (runner.home / "incoming" / "a.parquet").unlink()
    assert history_of(runner.home) == history_of(home)
    runner.deliver()
    assert differences(state(runner.home), {**state(home), "ledger": []}) == []


def test_changed_and_killed_and_the_original_put_back(runner: Runner, home: Path, commit: int) -> None:
    """There is no new file, and the history is that of the original."""
    rows = day_of(home, FIRST)
    runner.deliver(a=rows)
    before = state(runner.home)
    deliver(runner.home, "a", corrected(rows))
    names = runner.points()
    runner.kill(max(number for number, name in enumerate(names) if name == "commit ledger.db"))
    runner.deliver(a=rows)
    assert differences(state(runner.home), before) == []


def test_a_disk_that_is_full_at_any_point_leaves_no_rows(runner: Runner, home: Path, commit: int) -> None:
    before = history_of(runner.home)
    for number in range(0, commit + 1, spread(commit // 4)):
        status, text = runner.run(number, errno.ENOSPC)
        assert status in (0, 1)
        if status:
            assert "\n" not in text
            assert history_of(runner.home) == before
        else:  # what failed was the removal of scratch
            runner.restore(home)
            deliver(runner.home, "a", day_of(home, FIRST))


def distinct(names: list[str]) -> list[int]:
    """Return the number of the first point of each kind and place; files of one kind have numbers in their names."""
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        first.setdefault(re.sub(r"[0-9a-f]{16}|\d+", "N", name), number)
    return list(first.values())


def test_every_point_failed_and_killed_and_the_command_run_again(runner: Runner, home: Path) -> None:
    source, names = runner.keep(), runner.points()
    runner.deliver()
    expected = state(runner.home)
    outcomes = Outcomes()
    numbers = distinct(names)
    for place, number in enumerate(numbers[:: spread(len(numbers) // 8)]):
        for error in (0, ERRORS[place % len(ERRORS)]):
            runner.restore(source)
            fault = os.strerror(error) if error else "killed"
            status, text = runner.run(number, error)
            assert status in ((0, 1) if error else (KILLED,)), (names[number], fault, text)
            assert "\n" not in text, (names[number], fault)
            assert runner.run() == (0, ""), (names[number], fault)
            outcomes.add(names[number], error, differences(state(runner.home), expected))
    assert outcomes.show() == {"same"}
