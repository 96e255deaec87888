"""The examples in the docstrings run and show what they say."""

import ast
import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTED = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef


def count_examples(file: Path) -> int:
    """Count the examples in a file's docstrings without running it: MLflow's own file must not be imported."""
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    docstrings = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, DOCUMENTED)]
    return sum(len(doctest.DocTestParser().get_examples(docstring)) for docstring in docstrings)


EXAMPLES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): count
    for package in ("benchmarks", "expectations", "flows", "models", "pipeline")
    for file in sorted((ROOT / package).rglob("*.py"))
    if (count := count_examples(file))
}


def test_there_are_examples_in_every_package_of_the_library() -> None:
    assert {name.split(".")[0] for name in EXAMPLES} >= {"expectations", "models", "pipeline"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # where a script there finds the next one
    failed, attempted = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert (failed, attempted) == (0, EXAMPLES[name])
