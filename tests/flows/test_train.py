"""Training on real parts: a Prefect server, an MLflow store, Parquet files."""

import json
import re
import signal
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.run import run_flow
from pipeline.errors import AssayError
from tests.flows.assay import DAY, PERIOD, client_of, review, with_model
from tests.processes import running


def test_training_registers_a_champion_then_candidates_and_leaves_no_pickle(trained: Path) -> None:
    client = client_of(trained)
    name = client.search_registered_models()[0].name
    version = client.get_model_version_by_alias(name, "champion")
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert {"auroc", "average_precision", "threshold"} <= run.data.metrics.keys()
    assert run.data.params["threshold.strategy"] == "false_alert_rate"
    assert run.inputs.dataset_inputs[0].dataset.digest
    files = [path.name for path in (trained / "assay-data").rglob("*") if path.is_file()]
    assert not [file for file in files if file.endswith((".pkl", ".pickle", ".pt", ".pth", ".joblib"))]
    assert any(file.endswith(".safetensors") for file in files)
    folder = next((trained / "assay-data" / "runs").iterdir())
    again = run_flow(
        trained / "assay.toml", "flows.train:train", table="", first=date(2025, 2, 1), last=date(2025, 2, 14)
    )
    assert client.get_model_version_by_alias(name, "candidate").version == int(again.version)
    assert client.get_model_version_by_alias(name, "champion").version == version.version
    assert "<html" in (folder / "report.html").read_text()[:200]
    (file,) = (trained / "assay-data" / "lineage").glob("*.ndjson")
    events = [json.loads(line) for line in file.read_text().splitlines()]
    ends = [event for event in events if event["outputs"] and event["outputs"][-1]["name"].endswith(".model")]
    made = [event["outputs"][-1]["facets"]["version"]["datasetVersion"] for event in ends]
    assert made[-2:] == [str(version.version), str(again.version)]
    parent = ends[-1]["run"]["facets"]["parent"]
    assert (ends[-1]["eventType"], parent["job"]["name"]) == ("COMPLETE", "assay-train")
    assert "nominalTime" in ends[-1]["run"]["facets"]


def test_labels_from_review_are_used_by_the_next_training_from_their_moment_on(home: Path) -> None:
    def train() -> dict[str, Any]:
        days = {"first": date(2025, 2, 7), "last": DAY, "as_of": datetime(2025, 3, 4, 12)}
        folder = Path(run_flow(home / "assay.toml", "flows.train:train", table="", **days).folder)
        assert "Labels known" in (folder / "report.html").read_text()
        return json.loads((folder / "detector" / "detector.json").read_text())["summary"]

    scores = run_flow(home / "assay.toml", "flows.score:score", table="", first=DAY, last=DAY)
    ids = pq.read_table(Path(scores.folder) / "scores.parquet")["TRANSACTION_ID"].to_pylist()
    before = train()
    assert before["unknown_label_rows"] > len(ids) > 50
    review(home, ids[:40], [1] * 15 + [0] * 25, "2025-03-04")
    review(home, ids[40:], [1] * len(ids[40:]), "2025-03-05")
    after = train()
    assert after["unknown_label_rows"] == before["unknown_label_rows"] - 40
    assert after["fraud_rows"] == before["fraud_rows"] + 15


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ('name = "varational"', "model.name = 'varational' is no family of models; did you mean 'variational'"),
        ('name = "dense"\noptions = { noise = 0.1 }', "model.options.noise = 0.1 is no option of 'dense'"),
    ],
)
def test_a_wrong_name_or_option_is_refused_before_the_table_is_read(new_table: Path, model: str, message: str) -> None:
    config = with_model(new_table, model)
    (new_table / "transactions.parquet").unlink()
    with pytest.raises(AssayError, match=message):
        run_flow(config, "flows.train:train", table="", **PERIOD)


def test_a_training_that_was_killed_goes_on_where_it_was(new_table: Path, assay: Path) -> None:
    config = with_model(new_table, 'name = "dense"\nmax_epochs = 50\npatience = 50\nbatch_size = 16')
    words = [str(assay), "train", "--config", str(config), "--from", "2025-01-31", "--to", "2025-02-21"]
    kept = new_table / "assay-data" / "checkpoints"
    with running(*words) as process:
        process.wait_until(lambda: list(kept.glob("*/*/*.safetensors")))
        process.send(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert len(list(kept.glob("*/*/*.safetensors"))) == 1
    result = run_flow(config, "flows.train:train", table="", **PERIOD)
    said = re.search(
        r"The training went on from epoch (\d+), after which an earlier run", " ".join(result.screen.sentences)
    )
    assert said is not None
    assert 1 <= int(said[1]) < 50
    fitted = json.loads((Path(result.folder) / "detector" / "model" / "model.json").read_text())
    assert [epoch["epoch"] for epoch in fitted["epochs"]] == list(range(1, 51))
    assert list(kept.iterdir()) == []
