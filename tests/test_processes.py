"""The processes of tests themselves: bounded, interruptible, and gone at the end."""

import signal
import sys
from pathlib import Path

import pytest

from tests.processes import Process, run, running

ROOT = Path(__file__).parents[1]
SLEEP = "import time; print('up', flush=True); time.sleep(3600)"
IGNORE = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
# Starts one that would live on, and ends.
LEAVE = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {IGNORE!r}])"
INTERRUPT = f"""
from signal import SIGINT, SIG_IGN, getsignal
import sys
from tests.processes import running
assert getsignal(SIGINT) == SIG_IGN
with running(sys.executable, "-c", {SLEEP!r}) as process:
    process.wait_for("up")
    process.send(SIGINT)
    print(process.wait())
"""


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


def test_a_command_that_ends_gives_its_status_and_what_it_wrote() -> None:
    process = run(*python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert (process.status, process.output, process.errors) == (3, "out\n", "err\n")


def test_ctrl_c_ends_what_is_started_where_it_is_ignored() -> None:
    script = 'trap "" INT; exec "$0" "$@"'
    process = run("bash", "-c", script, *python(INTERRUPT), cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    assert process.output == f"{-signal.SIGINT}\n", process


def test_one_that_ignores_the_request_to_end_is_killed() -> None:
    process = Process(python(IGNORE))
    process.wait_for("up")
    process.end(grace=0.1)
    assert process.status == -signal.SIGKILL


def test_what_it_started_is_ended_too() -> None:
    with running(*python(LEAVE)) as process:
        process.wait_for("up")
        process.wait_until(lambda: process.status is not None)
        assert not process.ends_within(0.1)
    assert process.ends_within(0)
    assert process.status == 0


def test_waits_are_bounded_and_say_what_was_written() -> None:
    with running(*python(SLEEP)) as process:
        process.wait_for("up")
        with pytest.raises(AssertionError, match=r"(?s)sleep\(3600\)\nup\n.*did not end within 0.1 seconds"):
            process.wait(0.1)
        with pytest.raises(AssertionError, match=r"(?s)nothing came of .* within 0.1 seconds"):
            process.wait_for("down", 0.1)


def test_a_wait_for_one_that_has_failed_ends_at_once() -> None:
    with (
        running(*python("raise SystemExit('out of coffee')")) as process,
        pytest.raises(AssertionError, match=r"(?s)out of coffee.*ended with status 1"),
    ):
        process.wait_for("up")
