"""assay status: what it prints, its exit status, and that it is as the README shows it."""

import json
import os
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from prometheus_client.parser import text_string_to_metric_families

from pipeline.settings.config import Config
from pipeline.settings.file import read_config
from pipeline.tables.batch import Batch
from pipeline.workspace.database import connect
from pipeline.workspace.ledger import Entry, Ledger
from pipeline.workspace.nightly import Nightly, Schedule
from pipeline.workspace.schema import ALIAS_CHANGES
from tests import processes
from tests.flows.assay import run

ROOT = Path(__file__).parents[3]
NOW = datetime.now(UTC).replace(tzinfo=None)
NIGHTS = 5


@pytest.fixture
def cards(tmp_path: Path) -> Config:
    """A table of which five nights were scored, the last an hour ago."""
    path, incoming = tmp_path / "assay.toml", tmp_path / "incoming"
    path.write_text('name = "cards"\n[contract]\nid = "tx"\ntimestamp = "at"\namount = "eur"\n')
    config = read_config(path)
    row = {"model_name": "cards", "replaced": None, "action": "promote", "why": "", "who": "ann", "failed_gates": "[]"}
    changes = [row | {"alias": alias, "version": number, "at": NOW} for alias, number in (("champion", "3"),)]
    changes += [row | {"alias": "candidate", "version": "4", "at": NOW}]
    with connect(config).begin() as connection:
        connection.execute(sa.insert(ALIAS_CHANGES), changes)
    incoming.mkdir()
    for night in range(NIGHTS):
        _score(config, incoming / f"2025-03-0{night + 1}.parquet", night)
    Nightly(config).plan(Schedule(cron="0 2 * * *", time_zone="UTC", due=NOW + timedelta(hours=23)))
    Nightly(config).end("done")
    return config


def _score(config: Config, path: Path, night: int) -> None:
    path.write_text(str(night))
    os.utime(path, (NOW.replace(tzinfo=UTC).timestamp() - 60,) * 2)  # not just now, or it would be waited for
    batch = Batch.of(path, config)
    folder = Path(config.work_dir) / "batches" / f"{batch.id}-v3"
    folder.mkdir(parents=True)
    p_values = np.r_[np.full(26, 0.01), np.linspace(0.011, 1, 2369)]
    pq.write_table(pa.table({"p_value": p_values}), folder / "scores.parquet")
    counts = {"read": 2404, "accepted": 2395, "quarantined": 9, "scored": 2395, "flagged": 47}
    entry = Entry(
        batch_id=batch.id,
        source=str(path),
        digest=batch.digest,
        period_start=None,
        period_end=None,
        model_name="cards",
        model_version="3",
        threshold=4.2357,
        first_timestamp=datetime(2025, 3, night + 1),
        last_timestamp=datetime(2025, 3, night + 1, 23),
        folder=str(folder),
        scored_at=NOW + timedelta(seconds=5) - timedelta(days=NIGHTS - 1 - night, hours=0 if night else 1),
        rules=batch.rules,
        **counts,
    )
    Ledger(config).record(entry)


def folded(text: str) -> str:
    """Return what is printed without its numbers, times and units, and however it was wrapped."""
    text = re.sub(r"\b(bytes|[kMGT]B)\b", "B", text)
    text = re.sub(r"\b(seconds|minutes|hours|days)\b", "T", text)
    text = re.sub(r"\(\S+ \S+ B,.*\)", "(where most of it lies)", text)
    return " ".join(re.sub(r"(?:/\S*)?/(incoming)", r"\1", re.sub(r"\d[\d.,:-]*", "#", text)).split())


def test_the_readme_shows_what_is_printed(cards: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cards.work_dir)
    result = run("status", "--config", "../assay.toml")
    assert result.exit_code == 0, result.output
    block = (ROOT / "README.md").read_text(encoding="utf-8").partition("\ncards: fine\n")[2].partition("```")[0]
    assert folded(f"cards: fine {block}") == folded(result.output)


def test_json_says_the_same_to_programs(cards: Config) -> None:
    result = run("status", "--json", "--config", Path(cards.work_dir).parent / "assay.toml")
    assert result.exit_code == 0
    said = json.loads(result.output)
    assert (said["state"], said["findings"]) == ("fine", [])
    assert said["last_batch"]["flagged"] == 47
    assert said["last_batch"]["last_timestamp"] == "2025-03-05T23:00:00Z"
    assert said["incoming"]["schedule"]["due"] == f"{(NOW + timedelta(hours=23)).isoformat(timespec='seconds')}Z"
    assert said["drift"]["share"] == pytest.approx(26 / 2395)
    assert [(version["number"], version["aliases"]) for version in said["versions"]] == [
        ("3", ["champion"]),
        ("4", ["candidate"]),
    ]


def test_prometheus_is_told_the_same(cards: Config) -> None:
    result = run("status", "--json", "--config", Path(cards.work_dir).parent / "assay.toml")
    said, text = json.loads(result.output), (Path(cards.work_dir) / "assay.prom").read_text()
    values = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    assert values["assay_last_batch_flagged_rows"] == said["last_batch"]["flagged"] == 47
    assert values["assay_read_rows_total"] == said["totals"]["read"] == NIGHTS * 2404
    assert values["assay_batches_total"] == said["totals"]["batches"] == NIGHTS


def test_the_exit_status_says_whether_a_person_is_needed(cards: Config) -> None:
    config = Path(cards.work_dir).parent / "assay.toml"
    Nightly(cards).end("failed", "2025-03-06.parquet: no space left on device")
    result = run("status", "--config", config)
    assert result.exit_code == 1
    assert result.output.startswith(
        "cards: attention\n- the last run over the incoming folder: 2025-03-06.parquet: no "
    )
    Nightly(cards).end("stopped", "the MLflow store cannot be used; mend it")
    assert run("status", "--config", config).exit_code == 2


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_without_a_configuration_nothing_runs(words: tuple[str, ...], tmp_path: Path) -> None:
    result = run("status", *words, "--config", tmp_path / "none.toml")
    assert result.exit_code == 2
    assert "none.toml does not exist; make a configuration with: assay init" in " ".join(result.output.split())


def test_nothing_heavy_is_loaded(cards: Config) -> None:
    heavy = ["torch", "mlflow", "prefect", "great_expectations", "alembic", "pandas", "duckdb", "sklearn", "scipy"]
    code = f"""
import sys
from flows.cli import app
try:
    app(["status", "--config", {str(Path(cards.work_dir).parent / "assay.toml")!r}])
except SystemExit as end:
    status = end.code
sys.exit(status or ", ".join(name for name in {heavy} if name in sys.modules) or 0)
"""
    process = processes.run(sys.executable, "-c", code)
    assert process.status == 0, process
