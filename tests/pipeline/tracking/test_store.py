"""Training runs and models in a real MLflow store."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import AssayError, ResourceError
from pipeline.settings.config import Config
from pipeline.settings.sensitive import MASK
from pipeline.tracking import store
from pipeline.tracking.aliases import move_aliases
from pipeline.tracking.client import StoreError, experiment_name, start
from tests.pipeline.tracking.small_training import COUNTS, Trained


def experiment_runs(config: Config) -> list:
    client = start(config)
    experiment = client.get_experiment_by_name(experiment_name(config))
    return client.search_runs([experiment.experiment_id], order_by=["attribute.start_time ASC"])


def model_folder(config: Config, version: str) -> Path:
    uri = start(config).get_model_version_download_uri(config.name, version)
    return Path(unquote(urlsplit(uri).path))


def files_of(trained: Trained) -> list[Path]:
    return [path for path in (trained.folder / "mlflow-artifacts").rglob("*") if path.is_file()]


def test_the_run_shows_the_settings_that_say_what_it_is(trained: Trained, registered: store.Registered) -> None:
    run = start(trained.config).get_run(registered.run_id)
    shown = {
        "contract.entities": '["card"]',
        "contract.label": "fraud",
        "contract.categorical": '["channel"]',
        "contract.types": '{"tx": "integer"}',
        "contract.sensitive": '["card"]',
        "model.name": "denoising",
        "model.max_epochs": "2",
        "model.hidden": "[8]",
        "model.code_size": "4",
        "threshold.strategy": "false_alert_rate",
    }
    assert {name: value for name, value in run.data.params.items() if name != "threshold"} == shown
    assert float(run.data.params["threshold"]) == trained.detector.threshold
    assert run.info.status == "FINISHED"
    assert run.data.tags["batch_id"] == "0123"
    assert run.data.tags["history"] == trained.history


def test_people_see_what_a_run_and_its_version_are(trained: Trained) -> None:
    config = trained.named("seen")
    first, second = trained.log(config), trained.log(config, tags={"weights_of": "1"})
    client = start(config)
    title = "denoising, 2025-01-01 to 2025-01-20, false alert rate 0.01"
    runs = [client.get_run(each.run_id) for each in (first, second)]
    assert [run.info.run_name for run in runs] == [title, title]
    for text in (trained.detector.promise, "| average precision | 0.25 (0.2 to 0.3) |"):
        assert text in runs[0].data.tags["mlflow.note.content"]
    assert [run.data.tags["alias"] for run in runs] == ["champion", "candidate"]
    named = {"family": "denoising", "period": "2025-01-01 to 2025-01-20", "threshold": "false alert rate 0.01"}
    version = client.get_model_version("seen", second.version)
    assert version.tags == {**named, "data_digest": "ab" * 32, "weights_of": "1"}
    assert version.description.startswith(f"**{title}**")
    assert "waits for assay promote" in client.get_registered_model("seen").description
    move_aliases(config, {"previous": "1", "champion": "2", "candidate": None}, {})
    tags = [client.get_run(each.run_id).data.tags for each in (first, second)]
    assert [each["alias"] for each in tags] == ["previous", "champion"]
    assert named.items() <= tags[1].items()
    move_aliases(config, {"previous": None}, {})
    assert "alias" not in client.get_run(first.run_id).data.tags


def test_few_numbers_are_charts_and_none_is_lost(trained: Trained) -> None:
    config = trained.named("charts")
    figures = dict.fromkeys(("auroc", "recall", "auroc_low", "injected_plus_recall", "card_precision@100"), 0.5)
    registered = trained.log(config, metrics={**figures, "fit_seconds": 2.5}, epochs=())
    client = start(config)
    shown = {"auroc", "recall", "card_precision_at_100", "fit_seconds"}
    assert client.get_run(registered.run_id).data.metrics.keys() == shown
    everything = json.loads(Path(client.download_artifacts(registered.run_id, "measures.json")).read_text())
    assert everything.keys() == shown | {"auroc_low", "injected_plus_recall"}
    experiment = client.get_experiment_by_name("charts")
    assert experiment.tags["mlflow.experiment.primaryMetric.name"] == "average_precision"
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_each_epoch_is_a_step_of_the_losses(trained: Trained, registered: store.Registered) -> None:
    client = start(trained.config)
    for name in ("train_loss", "held_out_loss"):
        logged = {m.step: m.value for m in client.get_metric_history(registered.run_id, name)}
        assert logged == {epoch["epoch"]: pytest.approx(epoch[name]) for epoch in trained.detector.epochs}
        assert len(logged) == 2


def test_metrics_belong_to_the_run_and_to_the_model(trained: Trained, registered: store.Registered) -> None:
    client = start(trained.config)
    run = client.get_run(registered.run_id)
    assert run.data.metrics["average_precision"] == 0.25
    assert run.data.metrics["card_precision_at_100"] == 0.5
    best = client.search_logged_models(
        [run.info.experiment_id], order_by=[{"field_name": "metrics.average_precision", "ascending": False}]
    )
    assert registered.run_id in [model.source_run_id for model in best]
    assert {metric.key for metric in best[0].metrics} >= {"average_precision", "card_precision_at_100"}


def test_the_dataset_is_known_by_its_digest(trained: Trained, registered: store.Registered) -> None:
    (logged,) = start(trained.config).get_run(registered.run_id).inputs.dataset_inputs
    assert logged.dataset.name == "rows.parquet"
    assert logged.dataset.digest == ("ab" * 32)[:36]
    assert json.loads(logged.dataset.source) == {"uri": str(trained.folder / "rows.parquet")}
    profile = json.loads(logged.dataset.profile)
    assert profile == {"num_rows": 640, **COUNTS, "sha256": "ab" * 32}
    columns = json.loads(logged.dataset.schema)["mlflow_colspec"]
    assert {column["name"]: column["type"] for column in columns} == {
        "tx": "long",
        "at": "datetime",
        "eur": "double",
        "card": "string",
        "channel": "string",
        "fraud": "long",
    }


def test_plots_report_and_config_are_there(trained: Trained, registered: store.Registered) -> None:
    client = start(trained.config)
    names = {file.path for file in client.list_artifacts(registered.run_id)}
    assert {"report.html", "config.json", "plots"} <= names
    assert [file.path for file in client.list_artifacts(registered.run_id, "plots")] == ["plots/losses.svg"]
    kept = json.loads(Path(client.download_artifacts(registered.run_id, "config.json")).read_text())
    assert Config.model_validate(kept) == trained.config


def test_the_first_version_is_champion_and_later_ones_are_candidates(trained: Trained) -> None:
    config = trained.named("aliases")
    made = [trained.log(config) for _ in range(3)]
    assert [(each.version, each.alias) for each in made] == [
        ("1", "champion"),
        ("2", "candidate"),
        ("3", "candidate"),
    ]
    assert store.load_detector(config)[1] == "1"
    assert store.load_detector(config, "candidate")[1] == "3"
    assert store.load_detector(config, "2")[1] == "2"


def test_the_loaded_detector_scores_as_the_one_that_was_logged(trained: Trained, registered: store.Registered) -> None:
    loaded, version = store.load_detector(trained.config)
    table = pq.read_table(trained.folder / "features.parquet")
    first, second = (pa.Table.from_batches(each.score(table.to_batches())) for each in (loaded, trained.detector))
    assert first.equals(second)
    assert np.unique(first["anomaly_score"]).size > 500
    assert (loaded.threshold, version) == (trained.detector.threshold, registered.version)


def test_files_that_are_gone_are_named_in_one_sentence(trained: Trained) -> None:
    config = trained.named("gone")
    shutil.rmtree(model_folder(config, trained.log(config).version))
    with pytest.raises(AssayError, match="version 1 of model 'gone' is registered, but its files cannot be read"):
        store.load_detector(config)


def test_a_damaged_model_is_named_by_its_version_and_where_it_lies(trained: Trained) -> None:
    config = trained.named("damaged")
    folder = model_folder(config, trained.log(config).version) / "artifacts" / "detector"
    weights = folder / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    message = f"version 1 of model 'damaged' cannot be used: the model's file {re.escape(str(weights))} is damaged"
    with pytest.raises(ResourceError, match=message):
        store.load_detector(config, "champion")


def test_a_run_that_fails_on_the_way_registers_nothing_and_may_be_tried_again(trained: Trained) -> None:
    config = trained.named("halfway")
    with pytest.raises(StoreError, match=r"nowhere\.html"):
        trained.log(config, report=trained.folder / "nowhere.html")
    # This one fails after the model was logged.
    with pytest.raises(StoreError, match="cannot be used"):
        trained.log(config, metrics={"average_precision": "many"})
    client = start(config)
    assert client.search_model_versions("name = 'halfway'") == []
    made = trained.log(config)
    assert (made.version, made.alias) == ("1", "champion")
    runs = experiment_runs(config)
    assert [run.info.status for run in runs] == ["FAILED", "FAILED", "FINISHED"]
    models = client.search_logged_models([runs[0].info.experiment_id])
    assert [model.source_run_id for model in models] == [made.run_id]


def test_a_version_whose_alias_could_not_be_set_is_taken_back(trained: Trained) -> None:
    config = trained.named("unaliased")
    start(config)
    with closing(sqlite3.connect(trained.folder / "mlflow.db")) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON registered_model_aliases "
            "BEGIN SELECT RAISE(ABORT, 'no space left'); END"
        )
        with pytest.raises(StoreError, match="no space left"):
            trained.log(config)
        database.execute("DROP TRIGGER full")
    client = start(config)
    assert client.search_model_versions("name = 'unaliased'") == []
    made = trained.log(config)
    assert [v.version for v in client.search_model_versions("name = 'unaliased'")] == [int(made.version)]
    assert made.alias == "champion"
    assert store.load_detector(config)[1] == made.version


def test_nothing_in_the_artefact_is_pickled(trained: Trained, registered: store.Registered) -> None:
    # Loading the model for another test makes Python write its bytecode beside the code.
    found = model_folder(trained.config, registered.version).rglob("*")
    files = [path for path in found if path.is_file() and "__pycache__" not in path.parts]
    kinds = {path.suffix for path in files if path.name != "MLmodel"}
    assert {".safetensors", ".json", ".parquet", ".py"} <= kinds
    assert kinds <= {".safetensors", ".json", ".parquet", ".py", ".yaml", ".txt", ".html", ".css", ".js", ".svg", ""}
    assert not [path for path in files if path.read_bytes()[:1] == b"\x80"]


def test_sensitive_values_are_masked_in_the_example(trained: Trained, registered: store.Registered) -> None:
    files = [path for path in files_of(trained) if path.name.endswith("input_example.json")]
    assert files
    for path in files:
        text = path.read_text()
        assert MASK in str(json.loads(text))
        assert "card-" not in text
        assert "fraud" not in text


def test_passwords_are_not_logged(trained: Trained, tmp_path: Path) -> None:
    config = trained.named("secretive")
    uri = f"sqlite:///{trained.folder}/mlflow.db"
    secret = {"uri": uri, "ledger_url": "postgresql://assay:secret-word@db/assay"}
    config = config.model_copy(update={"tracking": config.tracking.model_copy(update=secret)})
    # As a training does: the artefact is that of a detector with these very settings.
    replace(trained.detector, config=config).save(tmp_path / "detector")
    made = trained.log(config, detector_folder=tmp_path / "detector")
    run = start(config).get_run(made.run_id)
    kept = json.loads(Path(start(config).download_artifacts(made.run_id, "config.json")).read_text())
    assert kept["tracking"]["ledger_url"] == "postgresql://assay:***@db/assay"
    assert "secret-word" not in str(run)
    folder = trained.folder / "mlflow-artifacts"
    assert (model_folder(config, made.version) / "MLmodel").is_file()
    assert not [path for path in folder.rglob("*") if path.is_file() and b"secret-word" in path.read_bytes()]
    with closing(sqlite3.connect(trained.folder / "mlflow.db")) as database:
        assert not [line for line in database.iterdump() if "secret-word" in line]


def test_the_ui_command_names_the_store(trained: Trained, registered: store.Registered) -> None:
    database = trained.folder / "mlflow.db"
    assert database.is_file()
    assert registered.ui_command == f"mlflow ui --backend-store-uri 'sqlite:///{database}'"
    assert registered.model_uri == "models:/cards/1"
