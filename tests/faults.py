"""Faults on purpose: what a process does to the files of a folder is counted, and at one point it fails or is killed.

A point is a call of Python's that changes a file or a folder (open to write, rename, link, remove, mkdir, rmdir,
fsync), a write of Arrow's, or a commit to SQLite. What DuckDB and SQLite do inside is not seen.
"""

import errno
import importlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import pyarrow.parquet as pq
import sqlalchemy as sa

from pipeline.tables.scratch import LOCK, SETTLE_SECONDS
from tests.processes import SECONDS

ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS, errno.ESTALE)
"""No space, no permission, broken disk, read-only disk, network disk gone: each point fails with one of them."""
SQLITE = {
    errno.ENOSPC: "database or disk is full",
    errno.EACCES: "database is locked",
    errno.EROFS: "attempt to write a readonly database",
}
"""What SQLite says of an error in a commit."""
KILLED = -signal.SIGKILL


def spread(step: int) -> int:
    """Return the step from one point to the next that is tried: `step` itself, or 1 where SOAK is set (make soak)."""
    return 1 if os.environ.get("SOAK") else step


def settle_locks(folder: Path) -> None:
    """Make the locks of hidden folders look as old as those of last night's run, so that the next one sweeps them."""
    for lock in folder.rglob(f".*{LOCK}"):
        os.utime(lock, (time.time() - 2 * SETTLE_SECONDS,) * 2)


class Outcomes:
    """What came of points failed and killed: a table of kinds of points, faults and outcomes."""

    def __init__(self) -> None:
        self._table: Counter[tuple[str, str, str]] = Counter()

    def add(self, point: str, fault: int | str, unlike: object) -> None:
        """Add a fault at a point, or the number of its error, 0 = killed, and what is not as it would be without it."""
        name = fault if isinstance(fault, str) else os.strerror(fault) if fault else "killed"
        outcome = f"{point}: {unlike}" if unlike else "same"
        self._table[point.split(maxsplit=1)[0], name, outcome] += 1

    def show(self) -> set[str]:
        """Print the table, and return the different outcomes."""
        for (kind, fault, outcome), count in sorted(self._table.items()):
            print(f"{kind:8} {fault:28} {count:4} {outcome}")
        return {outcome for _, _, outcome in self._table}


@dataclass
class Points:
    """The points that a process passes inside a folder.

    Parameters
    ----------
    folder : Path
    at : int
        Number of the point at which the fault happens; none where it is -1.
    error : int
        Number of the error that the call fails with; 0 = the process is killed.
    log : str
        File outside of the folder that gets a line a point.
    """

    folder: Path
    at: int = -1
    error: int = 0
    log: str = ""
    passed: int = 0

    @property
    def told(self) -> dict[str, Any]:
        """The parameters as JSON has them."""
        return {"folder": str(self.folder), "at": self.at, "error": self.error, "log": self.log}

    def install(self) -> None:
        """Watch this process from now on, for as long as it lives."""
        sys.addaudithook(self._audit)
        fsync = os.fsync

        def watched_fsync(descriptor: int) -> None:
            self._pass("fsync", _open_path(descriptor))
            fsync(descriptor)

        os.fsync = watched_fsync
        for name in ("write_table", "write_batch"):
            setattr(pq.ParquetWriter, name, self._watched_write(getattr(pq.ParquetWriter, name)))
        sa.event.listen(sa.Engine, "commit", self._commit)

    def _audit(self, event: str, values: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self._pass("open", values[0])
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link"):
            place = {"os.rename": 1, "os.symlink": 1, "os.link": 1}.get(event, 0)  # what it becomes
            in_folder = values[-1]
            path = values[place]
            if isinstance(in_folder, int) and in_folder > 0 and event in ("os.remove", "os.rmdir"):
                path = _open_path(in_folder) / os.fsdecode(path)
            self._pass(event.removeprefix("os."), path)

    def _watched_write(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def watched(writer: Any, *values: Any, **named: Any) -> Any:
            self._pass("write", getattr(writer, "where", ""))
            return write(writer, *values, **named)

        return watched

    def _commit(self, connection: sa.Connection) -> None:
        if connection.engine.url.get_backend_name() == "sqlite":
            self._pass("commit", connection.engine.url.database or "")

    def _pass(self, kind: str, path: Any) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            path = getattr(path, "name", "")  # of an open file
        text = str(Path(os.fsdecode(path)).absolute())
        if not text.startswith(f"{self.folder}/"):
            return
        number, self.passed = self.passed, self.passed + 1
        if self.log:
            descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(descriptor, f"{kind} {plain(text.removeprefix(f'{self.folder}/'))}\n".encode())
            os.close(descriptor)
        if number == self.at:
            if not self.error:
                os.kill(os.getpid(), signal.SIGKILL)
            if kind == "commit":
                cause = SQLITE.get(self.error, "disk I/O error")
                raise sa.exc.OperationalError("COMMIT", None, sqlite3.OperationalError(cause))
            raise OSError(self.error, os.strerror(self.error), text)


def _open_path(descriptor: int) -> Path:
    return Path(f"/proc/self/fd/{descriptor}").readlink()


def plain(path: str) -> str:
    """Return a path without what is drawn by chance in it: the ends of hidden names."""
    return re.sub(r"(\.[\w.-]+?)[-.](?:[0-9a-f]{8}|[a-z0-9_]{8})(?=/|$|\.assay-scratch$)", r"\1", path)


class Forks:
    """A process that has imported what actions need, and forks one for each of them. A context manager.

    Parameters
    ----------
    *modules : str
        What it imports first.
    """

    def __init__(self, *modules: str) -> None:
        words = [sys.executable, "-W", "ignore", "-m", __name__, *modules]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        if self._process.wait(SECONDS) != 0:
            raise AssertionError("the process that forks has failed")
        self._process.stdout.close()

    def run(self, action: Callable[..., None], points: Points | None, *values: str | int) -> tuple[int, str]:
        """Run an action in a process that passes the points; return its exit status and what it raised.

        Without points, it runs in the process that forks, which then has all that the next actions import late.

        Parameters
        ----------
        action : callable
            Of the top level of a module. What it raises makes the status 1.
        points : Points, optional
        *values
            The action's.
        """
        task = {
            "action": f"{action.__module__}:{action.__name__}",
            "points": points and points.told,
            "values": values,
        }
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        status, text = json.loads(self._process.stdout.readline())
        return status, text


def _serve() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what actions print is no answer
    for line in sys.stdin:
        task = json.loads(line)
        with tempfile.TemporaryFile("w+") as words:
            status = _in_a_child(task, words) if task["points"] else _act(task, words)
            words.seek(0)
            answers.write(json.dumps([status, words.read()]) + "\n")
            answers.flush()


def _in_a_child(task: dict[str, Any], words: IO[str]) -> int:
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        Points(**{**task["points"], "folder": Path(task["points"]["folder"])}).install()
        status = _act(task, words)
    finally:
        os._exit(status)


def _act(task: dict[str, Any], words: IO[str]) -> int:
    module, name = task["action"].split(":")
    try:
        getattr(importlib.import_module(module), name)(*task["values"])
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, the status says so
        words.write(f"{type(error).__name__}: {error}")
        words.flush()
        return 1
    return 0


if __name__ == "__main__":
    _serve()
