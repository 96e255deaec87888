"""The work folder: results appear all at once, or not at all."""

import os
import stat
from pathlib import Path

import pytest

from pipeline.errors import ResourceError
from pipeline.settings.config import Config
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
    with pytest.raises(ResourceError, match=r"work/runs can't be made .*work_dir"), work.staged(work.runs / "r1"):
        pass


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o700), (0o027, 0o750), (0o022, 0o755)])
def test_who_may_look_into_results_is_what_the_umask_says(work: WorkFolder, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with work.staged(work.batches / "b1") as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            (folder / "scores").write_text("1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((work.batches / "b1").stat().st_mode) == mode
    assert files(work.batches) == ["b1", "b1/scores"]
