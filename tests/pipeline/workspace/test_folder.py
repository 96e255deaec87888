"""The work folder: results appear all at once, or not at all."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.settings.config import Config
from pipeline.tables.scratch import LOCK, SETTLE_SECONDS, hidden
from pipeline.workspace.folder import WorkFolder


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    return WorkFolder(Config.model_validate({"contract": contract, "work_dir": str(tmp_path / "work")}))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_results_appear_whole_and_scratch_stays_behind(work: WorkFolder) -> None:
    with work.staged(work.batches / "b1") as folder:
        (folder / "scores").write_text("1")
        (folder / ".scratch").mkdir()
        (folder / ".features").write_text("x")
        assert not (work.batches / "b1").exists()
    assert files(work.batches) == ["b1", "b1/scores"]


def test_a_failure_leaves_what_was_there(work: WorkFolder) -> None:
    with work.staged(work.batches / "b1") as folder:
        (folder / "scores").write_text("old")

    def fail() -> None:
        with work.staged(work.batches / "b1") as folder:
            (folder / "scores").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert files(work.batches) == ["b1", "b1/scores"]
    assert (work.batches / "b1" / "scores").read_text() == "old"


def test_results_are_replaced_as_a_whole(work: WorkFolder) -> None:
    for names in (["scores", "alerts"], ["scores"]):
        with work.staged(work.batches / "b1") as folder:
            for name in names:
                (folder / name).write_text(name)
    assert files(work.batches) == ["b1", "b1/scores"]


def test_retired_results_are_kept_elsewhere(work: WorkFolder) -> None:
    for content in ("first", "second"):
        with work.staged(work.batches / "b1") as folder:
            (folder / "scores").write_text(content)
        work.retire(work.batches / "b1")
    work.retire(work.batches / "never")
    assert files(work.batches) == []
    assert (work.replaced / "b1" / "scores").read_text() == "second"


def test_a_work_folder_that_is_a_file_is_named(work: WorkFolder) -> None:
    work.root.write_text("")
    with pytest.raises(InputError, match=r"work/runs can't be made .*work_dir"), work.staged(work.runs / "r1"):
        pass


def kill_in_a_hidden_folder(parent: Path) -> Path:
    """Start a process that works in a hidden folder, kill it as a machine that runs out of memory does."""
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pipeline.workspace.folder import hidden\n"
        "with hidden(Path(sys.argv[1]), 'matrix') as folder:\n"
        "    (folder / 'large').write_bytes(bytes(1000))\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(parent)], check=False)
    (left,) = parent.glob(".matrix-*")
    assert (left / "large").stat().st_size == 1000
    return left


def settle(folder: Path) -> None:
    """Make a lock look as old as that of last night's run."""
    os.utime(folder / LOCK, (time.time() - 2 * SETTLE_SECONDS,) * 2)


def test_what_a_killed_process_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    left = kill_in_a_hidden_folder(tmp_path)
    with hidden(tmp_path, "scores"):
        assert left.exists()  # its lock may be about to be taken
    settle(left)
    with hidden(tmp_path, "scores") as folder:
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert not any(tmp_path.iterdir())


def test_a_folder_that_is_worked_in_stays(tmp_path: Path) -> None:
    with hidden(tmp_path, "one") as one:
        settle(one)
        with hidden(tmp_path, "two") as two:
            settle(two)
            with hidden(tmp_path, "three"):
                assert one.exists()
                assert two.exists()


def test_hidden_folders_of_others_stay(tmp_path: Path) -> None:
    """Results may go anywhere, also beside the hidden folders of other programs, which have locks of their own."""
    theirs = [tmp_path / ".mine" / "notes", tmp_path / ".browser" / ".lock", tmp_path / ".store" / "lock"]
    for file in theirs:
        file.parent.mkdir()
        file.touch()
        os.utime(file, (time.time() - 2 * SETTLE_SECONDS,) * 2)
    with hidden(tmp_path, "scores"):
        assert all(file.exists() for file in theirs)
