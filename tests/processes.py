"""Processes that tests start: waits for them are bounded, Ctrl-C reaches them, and none outlives its test."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

# Ten times what the longest wait takes on an idle machine, and below the time limit of a test.
SECONDS = 600.0
# What a script starts in the background ignores SIGINT, and so does all that it starts in turn; and Python ignores
# SIGPIPE. Popen gives back the second only. A few lines before the command do it without the locks that a forked
# thread may leave shut (preexec_fn).
AS_FROM_A_TERMINAL = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Process:
    """A process in a session of its own, and what it has written so far."""

    def __init__(
        self, words: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self.words = [str(word) for word in words]
        self._process = subprocess.Popen(
            [sys.executable, "-ISc", AS_FROM_A_TERMINAL, *self.words],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._lines: tuple[list[str], list[str]] = ([], [])
        streams = (self._process.stdout, self._process.stderr)
        self._readers = [
            threading.Thread(target=_read, args=(stream, lines), daemon=True)
            for stream, lines in zip(streams, self._lines, strict=True)
        ]
        for reader in self._readers:
            reader.start()

    @property
    def output(self) -> str:
        """The whole lines that it has written to its standard output."""
        return "".join(self._lines[0])

    @property
    def errors(self) -> str:
        """The whole lines that it has written to its standard error."""
        return "".join(self._lines[1])

    @property
    def status(self) -> int | None:
        """Its exit status, minus the number of the signal that ended it, or None while it runs."""
        return self._process.poll()

    def ends_within(self, seconds: float) -> bool:
        """Wait so long at most; return whether it has ended, and all that it started has closed its output."""
        end = time.monotonic() + seconds
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        for reader in self._readers:
            reader.join(max(0.0, end - time.monotonic()))
        return self.status is not None and not any(reader.is_alive() for reader in self._readers)

    def wait(self, seconds: float = SECONDS) -> int:
        """Wait until it has ended, and all that it started has closed its output; return its exit status."""
        assert self.ends_within(seconds), f"{self} did not end within {seconds:g} seconds"
        return self._process.returncode

    def wait_until(self, condition: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait until something holds that the running process brings about."""
        end = time.monotonic() + seconds
        while not condition():
            if self.status is not None:
                self.ends_within(1)  # what it wrote last is read
                assert condition(), f"{self} ended with status {self.status}"
            assert time.monotonic() < end, f"nothing came of {self} within {seconds:g} seconds"
            time.sleep(0.02)

    def wait_for(self, text: str, seconds: float = SECONDS) -> None:
        """Wait until it has written some text."""
        self.wait_until(lambda: text in self.output + self.errors, seconds)

    def wait_for_answer(self, url: str, seconds: float = SECONDS) -> None:
        """Wait until it answers a request."""
        self.wait_until(lambda: _answers(url), seconds)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to all that it started, as a terminal does on Ctrl-C."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def end(self, grace: float = 60) -> None:
        """Ask it to end, and kill it and all that it started after a time of grace."""
        if self.status is None:
            self.send(signal.SIGTERM)
            self.ends_within(grace)
        self.send(signal.SIGKILL)
        self._process.wait(60)
        for reader, stream in zip(self._readers, (self._process.stdout, self._process.stderr), strict=True):
            reader.join(60)
            if stream is not None and not reader.is_alive():
                stream.close()

    def __str__(self) -> str:
        return f"{' '.join(self.words)}\n{self.output}\n{self.errors}\n"


@contextmanager
def running(*words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Start a command that is ended at the end of the block, whatever comes."""
    process = Process(words, cwd=cwd, env=env)
    try:
        yield process
    finally:
        process.end()


def run(
    *words: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None, seconds: float = SECONDS
) -> Process:
    """Run a command that ends by itself, within some time, and return it with its status and what it wrote."""
    with running(*words, cwd=cwd, env=env) as process:
        process.wait(seconds)
    return process


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _read(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)  # noqa: PERF402 (each is there for the other thread at once)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except OSError:
        return False
