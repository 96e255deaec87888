"""benchmarks/rules.py on a small simulated table."""

import json
import sys
from pathlib import Path

from benchmarks import rules
from tests.processes import run

ROOT = Path(__file__).parents[2]


def test_both_evaluations_say_the_same_of_38_rules(tmp_path):
    words = ["--rows", "3000", "--batch-rows", "1000", "--folder", tmp_path, "--json", tmp_path / "out.json"]
    process = run(sys.executable, "benchmarks/rules.py", *map(str, words), cwd=ROOT)
    assert process.status == 0, process
    plain, library, ratio = json.loads((tmp_path / "out.json").read_text())
    assert (plain["rows"], plain["checks"]) == (library["rows"], library["checks"]) == (3000, 38)
    assert ratio["ratio"] == library["seconds"] / plain["seconds"]
    assert ratio["broken"] > 0
    assert "rules with different answers: none" in process.output
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_different_answer_is_named():
    ours = {"a: unique": [True, 3, 0, 0, []], "b: finite": [True, 3, 0, 0, []]}
    assert rules.compare(ours, {**ours, "b: finite": [False, 3, 0, 1, ["inf"]]}) == ["b: finite"]
    assert rules.compare(ours, {"a: unique": ours["a: unique"]}) == ["b: finite"]


def test_the_suite_has_as_many_rules_as_it_is_asked_for():
    assert [len(rules.checks(number)) for number in (1, 20, 38)] == [1, 20, 38]
