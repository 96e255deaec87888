"""A day scored from file to alerts by Spark: what is published is that of one process; what fails publishes nothing."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.run import run_flow
from pipeline.errors import AssayError
from pipeline.features import spark as features
from pipeline.scoring import spark as scoring
from pipeline.settings.file import read_config
from pipeline.validation import spark as validation
from pipeline.workspace.ledger import Ledger
from tests.flows.assay import DAY

WHEN = ["scored_at"]
ON_SPARK = '\n[engine]\nname = "spark"\nmaster = "local[2]"\n'


def score(home: Path, engine: str) -> Any:
    """Score the day by an engine, and return the tables that are published, but for the moment they were."""
    path = home / "assay.toml"
    lines = path.read_text().splitlines()
    before, after = (lines[: lines.index("[engine]")], lines[lines.index("[engine]") + 1 :])
    rest = next((number for number, line in enumerate(after) if line.startswith("[")), len(after))
    path.write_text("\n".join([*before, *after[rest:]]) + engine)
    result = run_flow(path, "flows.score:score", table="", first=DAY, last=DAY)
    tables = {
        name: pq.read_table(Path(result.folder) / f"{name}.parquet") for name in ("scores", "alerts", "quarantine")
    }
    return {name: table.drop_columns([*set(WHEN) & set(table.column_names)]) for name, table in tables.items()}


def test_what_spark_publishes_is_what_one_process_does(home: Path, tmp_path: Path) -> None:
    other = shutil.copytree(home, tmp_path / "other")
    here, there = score(home, ""), score(other, ON_SPARK)
    assert {name: table.num_rows > 0 for name, table in here.items()} == dict.fromkeys(here, True)
    assert {name: table.equals(there[name]) for name, table in here.items()} == dict.fromkeys(here, True)


def test_a_job_that_fails_publishes_nothing_and_the_next_run_scores(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*told: Any, **more: Any) -> None:
        raise RuntimeError("the disk of this worker is full")

    jobs = (
        (validation, "_findings_of", "validation"),
        (features, "_past", "computing features"),
        (scoring, "_write_scores", "scoring"),
    )
    for module, name, job in jobs:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            message = rf"^{job} on Spark at local\[2\] failed, and nothing .*: RuntimeError: the disk of this wor"
            with pytest.raises(AssayError, match=message):
                score(home, ON_SPARK)
        config = read_config(home / "assay.toml")
        assert Ledger(config).entries() == []
        assert not list(Path(config.work_dir).rglob("scores*.parquet"))
    assert score(home, ON_SPARK)["scores"].num_rows
