"""Hidden folders vanish, whoever was killed in them; those of others stay."""

import os
import signal
import sys
import time
from pathlib import Path

from pipeline.tables.scratch import LOCK, SETTLE_SECONDS, hidden, in_use
from tests.processes import run


def kill_in_a_hidden_folder(parent: Path) -> Path:
    """Start a process that works in a hidden folder, kill it as a machine that runs out of memory does."""
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pipeline.tables.scratch import hidden\n"
        "with hidden(Path(sys.argv[1]), 'matrix') as folder:\n"
        "    (folder / 'large').write_bytes(bytes(1000))\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert run(sys.executable, "-c", script, parent).status == -signal.SIGKILL
    (left,) = (path for path in parent.glob(".matrix-*") if path.is_dir())
    assert (left / "large").stat().st_size == 1000
    return left


def settle(folder: Path) -> None:
    """Make a lock look as old as that of last night's run."""
    os.utime(f"{folder}{LOCK}", (time.time() - 2 * SETTLE_SECONDS,) * 2)


def test_what_a_killed_process_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    left = kill_in_a_hidden_folder(tmp_path)
    with hidden(tmp_path, "scores"):
        assert left.exists()  # its lock may be about to be taken
        assert not in_use(left)
    settle(left)
    with hidden(tmp_path, "scores") as folder:
        assert {path.name for path in tmp_path.iterdir()} == {folder.name, f"{folder.name}{LOCK}"}
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_worked_in_stays(tmp_path: Path) -> None:
    with hidden(tmp_path, "one") as one:
        settle(one)
        with hidden(tmp_path, "two") as two:
            settle(two)
            with hidden(tmp_path, "three"):
                assert one.exists()
                assert two.exists()
        assert (in_use(one), in_use(two)) == (True, False)


def test_hidden_folders_of_others_stay(tmp_path: Path) -> None:
    """Results may go anywhere, also beside the hidden folders of other programs, which have locks of their own."""
    theirs = [tmp_path / ".mine" / "notes", tmp_path / ".browser" / ".lock", tmp_path / ".store" / "lock"]
    for file in theirs:
        file.parent.mkdir()
        file.touch()
        os.utime(file, (time.time() - 2 * SETTLE_SECONDS,) * 2)
    with hidden(tmp_path, "scores"):
        assert all(file.exists() for file in theirs)
