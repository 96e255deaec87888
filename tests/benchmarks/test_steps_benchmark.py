"""benchmarks/steps.py with few rows."""

import json
import sys
from pathlib import Path

import pytest

from tests.processes import run

ROOT = Path(__file__).parents[2]


def test_prints_each_contenders_speed_against_the_step_by_hand(tmp_path):
    command = [sys.executable, "benchmarks/steps.py", "--rows", "1024", "--repeats", "2", "--no-compile"]
    process = run(*command, "--json", tmp_path / "out.json", cwd=ROOT)
    assert process.status == 0, process
    records = json.loads((tmp_path / "out.json").read_text())
    contenders = ["by hand", "autograd, AdamW by hand", "autograd, AdamW(fused=True)", "autograd, AdamW(foreach=True)"]
    cases = [(network, batch) for network in ("narrow", "default", "wide") for batch in (32, 512)]
    assert [(r["network"], r["batch"], r["contender"]) for r in records] == [
        (*case, contender) for case in cases for contender in contenders
    ]
    for record in records:
        assert record["contender"] in process.output
        assert len(record["rows_a_second"]) == len(record["ratios"]) == 2
        assert min(record["rows_a_second"]) > 0
    for number in range(0, len(records), len(contenders)):
        assert records[number]["ratios"] == [1.0, 1.0]
        by_hand, *others = records[number : number + len(contenders)]
        for other in others:
            speeds = zip(by_hand["rows_a_second"], other["rows_a_second"], strict=True)
            assert other["ratios"] == pytest.approx([reference / speed for reference, speed in speeds])
