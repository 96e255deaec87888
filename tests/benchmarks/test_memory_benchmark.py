"""benchmarks/memory.py on small simulated tables."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_prints_the_peak_of_each_stage(tmp_path):
    words = ["--rows", "3000", "--numbers", "2", "--only", "validate", "features"]
    words += ["--folder", tmp_path, "--json", tmp_path / "out.json"]
    command = [sys.executable, "benchmarks/memory.py", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    records = json.loads((tmp_path / "out.json").read_text())
    assert [record["what"] for record in records] == ["validate", "features"]
    for record in records:
        assert f"{record['what']:<14}{3000:>12,}" in done.stdout
        assert 50e6 < record["anonymous"] < record["resident"] < 4e9
        # 8 columns of the simulator, two of them short texts, and two numbers more.
        assert 3000 * (8 * 5 + 1 + 2 * 8) < record["table"] < 3000 * 120
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
