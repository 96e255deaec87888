"""benchmarks/memory.py on small simulated tables."""

import json
import sys
from pathlib import Path

from tests.processes import run

ROOT = Path(__file__).parents[2]


def test_prints_the_peak_of_each_stage(tmp_path):
    words = ["--rows", "3000", "--numbers", "2", "--only", "validate", "features"]
    words += ["--folder", tmp_path, "--json", tmp_path / "out.json"]
    process = run(sys.executable, "benchmarks/memory.py", *map(str, words), cwd=ROOT)
    assert process.status == 0, process
    records = json.loads((tmp_path / "out.json").read_text())
    assert [record["what"] for record in records] == ["validate", "features"]
    for record in records:
        assert f"{record['what']:<14}{3000:>12,}" in process.output
        assert 50e6 < record["anonymous"] < record["resident"] < 4e9
        # 8 columns of the simulator, two of them short texts, and two numbers more.
        assert 3000 * (8 * 5 + 1 + 2 * 8) < record["table"] < 3000 * 120
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
