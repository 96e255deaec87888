"""The backtest flow on real parts, as the command runs it."""

import json
from pathlib import Path

import mlflow
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from flows.cli import app


def backtest(home: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["backtest", "--config", str(home / "assay.toml"), *words])


def test_a_backtest_prints_each_test_with_intervals_and_leaves_runs_and_files(home: Path) -> None:
    history = sorted((home / "assay-data" / "history").rglob("*.parquet"))
    period = ("--from", "2025-01-20", "--to", "2025-03-31", "--train-days", "14", "--test-days", "10")
    done = backtest(home, *period, "--by", "CHANNEL")
    assert done.exit_code == 0, done.output
    assert "AUROC" in done.output
    assert "02-10 to 02-19" in done.output
    assert "Intervals hold nine of ten bootstrap draws: of whole customers" in " ".join(done.output.split())
    assert "By CHANNEL, all tests together" in done.output
    (folder,) = (home / "assay-data" / "backtests").iterdir()
    assert {path.name for path in folder.iterdir()} >= {"report.html", "measures.parquet", "scores.parquet"}
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    content = json.loads((folder / "backtest.json").read_text())
    assert [block["test"] for block in content["blocks"]] == [
        ["2025-02-10", "2025-02-19"],
        ["2025-02-20", "2025-03-01"],
    ]
    assert content["all"]["auroc"]["low"] < content["all"]["auroc"]["value"] < content["all"]["auroc"]["high"]
    assert set(content["segments"]) == {"chip", "contactless", "online", "atm"}
    measures = pq.read_table(folder / "measures.parquet")
    assert {1, 2, None} == set(measures["block"].to_pylist())
    scores = pq.read_table(folder / "scores.parquet")
    assert scores.num_rows == sum(block["rows"] for block in content["blocks"])
    # Nothing is remembered: the history is as it was, and nothing is registered.
    assert sorted((home / "assay-data" / "history").rglob("*.parquet")) == history
    run_id = done.output.split("MLflow run")[1].split()[0]
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    assert run.data.metrics["auroc"] == content["all"]["auroc"]["value"]
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{run_id}'")
    assert sorted(child.data.metrics["auroc"] for child in children) == sorted(
        block["measures"]["auroc"]["value"] for block in content["blocks"]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--from", "2025-02-20", "--to", "2025-02-27"), "do not fit into them; give a longer period"),
        (("--from", "2025-02-01", "--by", "SHOE_SIZE"), "--by SHOE_SIZE is no column of the contract; it has"),
    ],
)
def test_a_backtest_that_cannot_be_is_refused_in_one_sentence(home: Path, words: tuple[str, ...], message: str) -> None:
    done = backtest(home, *words)
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert not list((home / "assay-data").glob("backtests/*"))


def test_the_values_of_a_sensitive_column_are_no_segments(home: Path) -> None:
    text = (home / "assay.toml").read_text()
    (home / "assay.toml").write_text(text.replace("sensitive = []", 'sensitive = ["CUSTOMER_ID"]'))
    done = backtest(home, "--from", "2025-02-01", "--by", "CUSTOMER_ID")
    assert done.exit_code == 1
    assert "--by CUSTOMER_ID is a sensitive column, and its values would stand in clear" in " ".join(
        done.output.split()
    )
    assert not list((home / "assay-data").glob("backtests/*"))
