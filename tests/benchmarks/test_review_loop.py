"""benchmarks/review_loop.py: what it hides, what it decides and when, and what it prints."""

import importlib.util
import sys
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest

from pipeline.settings.file import write_config
from pipeline.workspace.decisions import DecisionLabels
from tests.pipeline.review.scored import desk_config, score_batch

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def loop() -> ModuleType:
    spec = importlib.util.spec_from_file_location("review_loop", ROOT / "benchmarks" / "review_loop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["review_loop"] = module
    spec.loader.exec_module(module)
    return module


def test_the_table_that_is_trained_on_has_no_labels(loop: ModuleType, tmp_path: Path) -> None:
    begun = loop.begin(tmp_path, 0, rows=2_000, capacity=7)
    table, labelled = pq.read_table(tmp_path / begun.config.table.path), pq.read_table(begun.labelled)
    assert table.equals(labelled.drop_columns(["TX_FRAUD"]))
    frauds = labelled.filter(labelled["TX_FRAUD"].to_numpy() == 1)
    assert begun.frauds == {str(row) for row in frauds["TRANSACTION_ID"].to_pylist()} != set()
    assert (begun.config.threshold.alerts_per_day, begun.config.model.seed) == (7, 0)


def test_a_week_is_decided_by_its_truth_at_the_midnight_after_it(loop: ModuleType, tmp_path: Path) -> None:
    config = desk_config(tmp_path)
    score_batch(config, range(1, 6), audited=[9])  # on 2 March, in the ninth week
    (tmp_path / "assay.toml").write_text(write_config(config, {}), encoding="utf-8")
    begun = loop.Loop(tmp_path / "assay.toml", tmp_path / "none.parquet", frozenset({"2", "9", "77"}))
    assert [loop.decide(begun, week) for week in (7, 8, 8)] == [0, 6, 0]
    (file,) = DecisionLabels(tmp_path / "decisions", config).files()
    labels = pq.read_table(file).to_pylist()
    assert {row["id"] for row in labels if row["label"] == 1} == {2, 9}
    assert {row["id"] for row in labels if row["label"] == 0} == {1, 3, 4, 5}
    assert {row["labelled_at"] for row in labels} == {datetime(2025, 3, 5)}


def test_means_are_printed_with_students_interval(loop: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert (loop.mean([0.25]), loop.mean([0.1, 0.2, 0.3])) == ("0.250", "0.200 (-0.048 to 0.448)")
    record = {"average precision": (0.1, 0.4)}
    record |= {
        name: {"alerts": 10, "frauds": frauds, "precision": frauds / 10}
        for name, frauds in zip(loop.RUNS, (2, 6), strict=True)
    }
    loop.show([record])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["none", "0.200", "2.000", "10.0"]
    assert lines[3].split() == ["all", "0.600", "0.400", "6.000", "10.0"]
    assert lines[-1] == "ahead by 0.300"
