"""From a family's name in assay.toml to scores: training, scoring, codes and the report, on real parts."""

import json
import re
import shutil
import signal
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.run import run_flow
from pipeline.errors import AssayError
from tests.processes import running

PERIOD = {"first": date(2025, 1, 31), "last": date(2025, 2, 21)}
DAY = date(2025, 3, 1)


def write(folder: Path, model: str) -> Path:
    """Write the configuration with another section [model], and return its path."""
    path = folder / "assay.toml"
    head, _, rest = path.read_text().partition("[model]\n")
    path.write_text(f"{head}[model]\n{model}\n[training]\n{rest.partition('[training]' + chr(10))[2]}")
    return path


@pytest.fixture
def table(small: Path, tmp_path: Path, prefect_server: str) -> Path:
    """A folder of the test's own with a table, its configuration, and nothing trained."""
    shutil.copy(small / "transactions.parquet", tmp_path)
    shutil.copy(small / "assay.toml", tmp_path)
    return tmp_path


def train(config: Path) -> Any:
    return run_flow(config, "flows.train:train", table="", **PERIOD)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_families_are_trained_scored_and_compared_by_name(table: Path) -> None:
    config = write(table, 'name = "variational"\ncode_size = 3\nmax_epochs = 4\ntrim = 0.01\noptions = { beta = 0.5 }')
    variational = train(config)
    report = (Path(variational.folder) / "report.html").read_text()
    for text in ("Map of the code", "Map of the columns", "Fitted on as normal", "Left out of the fit", "beta = 0.5"):
        assert text in report
    suspects = pq.read_table(variational.screen.tables["Where"]["most suspect fit rows"])
    assert suspects.num_rows == 20
    assert suspects["reason"].null_count == 0
    write(table, 'name = "knn"\noptions = { n_neighbors = 3 }')
    config.write_text(config.read_text().replace("tsne = false", "tsne = true"))
    knn = train(config)
    report = (Path(knn.folder) / "report.html").read_text()
    assert "Map of the code" not in report
    assert "Map by neighbourhood" in report
    assert "<h2>Training</h2>" not in report

    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{table}/assay-data/mlflow.db")
    runs = [client.get_run(made.screen.tables["Where"]["MLflow run"]) for made in (variational, knn)]
    params = [found.data.params for found in runs]
    assert [found["model.name"] for found in params] == ["variational", "knn"]
    assert (params[0]["fitted.beta"], params[0]["fitted.code_size"], params[1]["fitted.n_neighbors"]) == (
        "0.5",
        "3",
        "3",
    )
    assert len(client.get_metric_history(runs[0].info.run_id, "train_loss")) == 4
    assert {"trimmed_rows", "auroc"} <= runs[0].data.metrics.keys()
    assert client.get_metric_history(runs[1].info.run_id, "train_loss") == []
    plots = [{file.path for file in client.list_artifacts(found.info.run_id, "plots")} for found in runs]
    assert plots == [{"plots/losses.svg", "plots/scores.svg"}, {"plots/scores.svg"}]

    for version in (variational.version, knn.version):
        scored = run_flow(config, "flows.score:score", table="", first=DAY, last=DAY, version=version)
        alerts = pq.read_table(Path(scored.folder) / "alerts.parquet")
        assert alerts.num_rows > 0
        assert all(reasons for reasons in alerts["reasons"].to_pylist())
        assert "Map of the columns" in (Path(scored.folder) / "report.html").read_text()

    days = ("--from", DAY, "--to", DAY, "--config", config)
    before = sorted((table / "assay-data" / "history").rglob("*"))
    written = run("encode", "--out", table / "codes.parquet", *days)
    assert written.exit_code == 0, written.output
    codes = pq.read_table(table / "codes.parquet")
    ids = pq.read_table(Path(scored.folder) / "scores.parquet")["TRANSACTION_ID"]
    assert codes.schema.names == ["TRANSACTION_ID", "code_1", "code_2", "code_3"]
    assert sorted(codes["TRANSACTION_ID"].to_pylist()) == sorted(ids.to_pylist())
    assert np.column_stack([codes[name] for name in codes.schema.names[1:]]).std(axis=0).min() > 0
    written = run("reconstruct", "--out", table / "expected.parquet", *days)
    assert written.exit_code == 0, written.output
    assert pq.read_table(table / "expected.parquet")["TX_AMOUNT (expected)"].null_count == 0
    assert sorted((table / "assay-data" / "history").rglob("*")) == before
    for command, lacks in {"encode": "makes no code of a row", "reconstruct": "does not reconstruct rows"}.items():
        refused = run(command, "--out", table / "none.parquet", "--version", knn.version, *days)
        assert refused.exit_code == 1
        assert f"is 'knn', which {lacks}" in " ".join(refused.output.split())
    assert not (table / "none.parquet").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ('name = "varational"', "model.name = 'varational' is no family of models; did you mean 'variational'"),
        ('name = "dense"\noptions = { noise = 0.1 }', "model.options.noise = 0.1 is no option of 'dense'"),
    ],
)
def test_a_wrong_name_or_option_is_refused_before_the_table_is_read(table: Path, model: str, message: str) -> None:
    config = write(table, model)
    (table / "transactions.parquet").unlink()
    with pytest.raises(AssayError, match=message):
        train(config)


def test_a_training_that_was_killed_goes_on_where_it_was(table: Path, assay: Path) -> None:
    config = write(table, 'name = "dense"\nmax_epochs = 50\npatience = 50\nbatch_size = 16')
    words = [str(assay), "train", "--config", str(config), "--from", "2025-01-31", "--to", "2025-02-21"]
    kept = table / "assay-data" / "checkpoints"
    with running(*words) as process:
        process.wait_until(lambda: list(kept.glob("*/*/*.safetensors")))
        process.send(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert len(list(kept.glob("*/*/*.safetensors"))) == 1
    result = train(config)
    said = re.search(
        r"The training went on from epoch (\d+), after which an earlier run", " ".join(result.screen.sentences)
    )
    assert said is not None
    assert 1 <= int(said[1]) < 50
    fitted = json.loads((Path(result.folder) / "detector" / "model" / "model.json").read_text())
    assert [epoch["epoch"] for epoch in fitted["epochs"]] == list(range(1, 51))
    assert list(kept.iterdir()) == []
