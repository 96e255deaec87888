"""The names that `pipeline` has for notebooks and other programs, and what importing them costs."""

import ast
import sys
from importlib import import_module
from pathlib import Path

import pytest

import pipeline
from tests.processes import run

ROOT = Path(__file__).parents[2]
HEAVY = ["torch", "pandas", "duckdb", "mlflow", "prefect", "great_expectations", "sklearn", "numpy", "pyarrow"]


def modules_after(code: str) -> str:
    """Return which heavy packages a new interpreter has imported after some code."""
    code += f"\nimport sys\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    process = run(sys.executable, "-c", code, cwd=ROOT)
    assert process.status == 0, process
    return process.output.strip()


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert modules_after("import pipeline") == ""


def test_a_configuration_is_read_without_anything_heavy() -> None:
    assert modules_after("from pipeline import Config, read_config, write_config") == ""


@pytest.mark.parametrize("name", pipeline.__all__)
def test_every_name_is_that_of_its_file(name: str) -> None:
    assert getattr(pipeline, name) is getattr(import_module(f"pipeline.{pipeline.HOMES[name]}"), name)
    assert name in dir(pipeline)


def test_type_checkers_see_the_same_names_in_the_same_files() -> None:
    tree = ast.parse(Path(pipeline.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"pipeline.{home}" for name, home in pipeline.HOMES.items()}


def test_a_name_that_is_not_there_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="module 'pipeline' has no attribute 'score_frames'"):
        pipeline.score_frames  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'score_frames'"):
        exec("from pipeline import score_frames")  # noqa: S102 - the statement is what is tested
