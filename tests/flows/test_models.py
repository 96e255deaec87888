"""From a family's name in assay.toml to scores: training, scoring, codes and the report, on real parts.

They are about training, scoring and the commands that show rows, one after the other; hence a file of their own.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.run import run_flow
from tests.flows.assay import DAY, PERIOD, client_of, run, with_model


def train(config: Path) -> Any:
    return run_flow(config, "flows.train:train", table="", **PERIOD)


def test_families_are_trained_scored_and_compared_by_name(new_table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.scoring.maps.NORMAL_POINTS", 300)  # of three maps by t-SNE
    config = with_model(
        new_table, 'name = "variational"\ncode_size = 3\nmax_epochs = 4\ntrim = 0.01\noptions = { beta = 0.5 }'
    )
    variational = train(config)
    report = (Path(variational.folder) / "report.html").read_text()
    for text in ("Map of the code", "Map of the columns", "Fitted on as normal", "Left out of the fit", "beta = 0.5"):
        assert text in report
    suspects = pq.read_table(variational.screen.tables["Where"]["most suspect fit rows"])
    assert suspects.num_rows == 20
    assert suspects["reason"].null_count == 0
    with_model(new_table, 'name = "knn"\noptions = { n_neighbors = 3 }')
    config.write_text(config.read_text().replace("tsne = false", "tsne = true"))
    knn = train(config)
    report = (Path(knn.folder) / "report.html").read_text()
    assert "Map of the code" not in report
    assert "Map by neighbourhood" in report
    assert "<h2>Training</h2>" not in report

    client = client_of(new_table)
    runs = [client.get_run(made.screen.tables["Where"]["MLflow run"]) for made in (variational, knn)]
    params = [found.data.params for found in runs]
    assert [found["model.name"] for found in params] == ["variational", "knn"]
    assert (params[0]["fitted.beta"], params[0]["fitted.code_size"], params[1]["fitted.n_neighbors"]) == (
        "0.5",
        "3",
        "3",
    )
    assert len(client.get_metric_history(runs[0].info.run_id, "train_loss")) == 4
    measures = json.loads(Path(client.download_artifacts(runs[0].info.run_id, "measures.json")).read_text())
    assert {"trimmed_rows", "auroc", "auroc_low"} <= measures.keys()
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
    before = sorted((new_table / "assay-data" / "history").rglob("*"))
    written = run("encode", "--out", new_table / "codes.parquet", *days)
    assert written.exit_code == 0, written.output
    codes = pq.read_table(new_table / "codes.parquet")
    ids = pq.read_table(Path(scored.folder) / "scores.parquet")["TRANSACTION_ID"]
    assert codes.schema.names == ["TRANSACTION_ID", "code_1", "code_2", "code_3"]
    assert sorted(codes["TRANSACTION_ID"].to_pylist()) == sorted(ids.to_pylist())
    assert np.column_stack([codes[name] for name in codes.schema.names[1:]]).std(axis=0).min() > 0
    written = run("reconstruct", "--out", new_table / "expected.parquet", *days)
    assert written.exit_code == 0, written.output
    assert pq.read_table(new_table / "expected.parquet")["TX_AMOUNT (expected)"].null_count == 0
    assert sorted((new_table / "assay-data" / "history").rglob("*")) == before
    for command, lacks in {"encode": "makes no code of a row", "reconstruct": "does not reconstruct rows"}.items():
        refused = run(command, "--out", new_table / "none.parquet", "--version", knn.version, *days)
        assert refused.exit_code == 1
        assert f"is 'knn', which {lacks}" in " ".join(refused.output.split())
    assert not (new_table / "none.parquet").exists()
