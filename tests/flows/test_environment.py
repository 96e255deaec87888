"""Files of the user's own that Python would import in place of Assay's packages."""

import os
import sys
from pathlib import Path

import pytest

from tests.processes import Process, run

ROOT = Path(__file__).parents[2]


def run_with(command: list[str | Path], folder: Path, *path: Path) -> Process:
    """Run a command in a folder, with this repository last on PYTHONPATH."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [*path, ROOT])), "COLUMNS": "200"}
    return run(*command, cwd=folder, env=environment)


@pytest.mark.parametrize(
    ("files", "own"),
    [
        (["pipeline.py"], "pipeline"),
        (["pipeline/__init__.py"], "pipeline"),
        # As much of a package as the command itself imports.
        (["pipeline/__init__.py", "pipeline/errors.py"], "pipeline"),
        (["models.py"], "models"),
        (["models/__init__.py", "models/user.py"], "models"),
        (["expectations/__init__.py"], "expectations"),
    ],
)
def test_a_namesake_on_pythonpath_is_named_in_one_sentence(
    tmp_path: Path, assay: Path, files: list[str], own: str
) -> None:
    theirs = tmp_path / "their own"
    for file in files:
        (theirs / file).parent.mkdir(parents=True, exist_ok=True)
        (theirs / file).write_text("class AssayError(Exception): ...\n")
    done = run_with([assay, "--help"], tmp_path, theirs)
    place = theirs / files[0].removesuffix("/__init__.py")
    assert done.errors == (
        f"Error: {place} is imported in place of Assay's own {own}; rename it, or take {theirs} out of PYTHONPATH\n"
    )
    assert (done.status, done.output) == (1, "")


def test_a_namesake_in_the_current_folder_is_named_with_another_remedy(tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("")
    done = run_with([sys.executable, "-m", "flows.cli", "--help"], tmp_path)
    assert done.errors == (
        f"Error: {tmp_path}/models.py is imported in place of Assay's own models; rename it, or run the command in "
        "another folder\n"
    )
    assert (done.status, done.output) == (1, "")


def test_files_that_nothing_is_imported_from_do_no_harm(tmp_path: Path, assay: Path) -> None:
    # Of two folders of one name Python takes the one that is a package, and the command alone doesn't look into its
    # current folder.
    (tmp_path / "first" / "models").mkdir(parents=True)
    (tmp_path / "first" / "models" / "weights.txt").write_text("")
    (tmp_path / "pipeline.py").write_text("raise RuntimeError")
    done = run_with([assay, "--help"], tmp_path, tmp_path / "first")
    assert done.status == 0, done.errors
    assert "Usage: assay" in done.output
