"""The served model: what MLflow loads answers as the Detector does."""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from mlflow.exceptions import MlflowException

from pipeline.errors import ConfigError, ResourceError
from pipeline.settings.config import ThresholdConfig
from pipeline.settings.output import FIGURES
from pipeline.tracking import store
from pipeline.tracking.client import start
from tests.pipeline.tracking.small_training import Trained
from tests.processes import SECONDS, free_port, running

NO_HISTORY = "no history: entities have no past"
NO_FOLDER = "the history that the request names is no folder within the one that ASSAY_HISTORY names"
Scores = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture(autouse=True)
def _allowed(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_HISTORY", str(Path(trained.history).parent))


@pytest.fixture(scope="module")
def model(trained: Trained, registered: store.Registered) -> mlflow.pyfunc.PyFuncModel:
    start(trained.config)
    return mlflow.pyfunc.load_model("models:/cards@champion")


def test_rows_without_a_history_score_as_the_detector_scores_them(
    trained: Trained, model: mlflow.pyfunc.PyFuncModel, scores: Scores
) -> None:
    rows = trained.rows.drop(columns="fraud")
    rows.loc[rows.index[5], "eur"] = 1e6
    answer = model.predict(rows)
    expected = scores(rows).loc[answer["tx"]]
    assert list(answer) == ["tx", *FIGURES, "is_flagged", "note"]
    assert answer["anomaly_score"].to_numpy().tolist() == expected["anomaly_score"].tolist()
    assert answer["p_value"].to_numpy().tolist() == expected["p_value"].tolist()
    flagged = expected["anomaly_score"].to_numpy() > trained.detector.threshold
    assert answer["is_flagged"].tolist() == flagged.tolist()
    assert 0 < flagged.sum() < len(rows)
    assert set(answer["note"]) == {NO_HISTORY}


def test_a_threshold_by_segment_is_served_and_one_for_a_whole_batch_is_refused(
    trained: Trained, scores: Scores
) -> None:
    rows = trained.rows.drop(columns="fraud")
    answers = {}
    for name, given in {"by-channel": {"segment": "channel"}, "by-batch": {"strategy": "fdr"}}.items():
        settings = ThresholdConfig(false_alert_rate=0.1, min_segment_rows=40, **given)
        changed = trained.detector.with_threshold(settings)
        changed.save(trained.folder / name)
        config = trained.named(name)
        trained.log(config, detector_folder=trained.folder / name)
        answers[name] = config, changed
    config, changed = answers["by-channel"]
    assert len(changed.cut.parts) == 2
    start(config)
    answer = mlflow.pyfunc.load_model("models:/by-channel@champion").predict(rows)
    cuts = np.array([changed.cut.parts[channel].value for channel in rows["channel"]])
    expected = scores(rows).loc[rows["tx"]]["anomaly_score"].to_numpy() > cuts
    assert answer["is_flagged"].tolist() == expected.tolist()
    assert 0 < expected.sum() < len(rows)
    with pytest.raises(ConfigError, match="draws the line for a batch as a whole") as raised:
        mlflow.pyfunc.load_model("models:/by-batch@champion")
    assert "assay threshold --capacity" in str(raised.value)


def test_a_history_gives_the_entities_a_past(trained: Trained, model: mlflow.pyfunc.PyFuncModel) -> None:
    late = trained.rows.tail(40)
    answer = model.predict(late, params={"history": trained.history})
    table = pq.read_table(trained.folder / "features.parquet").slice(560)
    assert table["tx"].to_pylist() == late["tx"].tolist()
    expected = trained.detector.matrix_scores(trained.detector.encoder.transform(table))
    assert answer["anomaly_score"].to_numpy(float) == pytest.approx(expected, rel=1e-5)
    assert set(answer["note"]) == {""}
    without = model.predict(late)["anomaly_score"].to_numpy(float)
    assert np.abs(without / expected - 1).max() > 0.01


@pytest.mark.parametrize("allowed", [None, "", "/", "elsewhere"])
def test_a_caller_has_no_folder_read_that_the_server_does_not_allow(
    trained: Trained,
    model: mlflow.pyfunc.PyFuncModel,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    allowed: str | None,
) -> None:
    if allowed is None:
        monkeypatch.delenv("ASSAY_HISTORY")
    else:
        monkeypatch.setenv("ASSAY_HISTORY", str(tmp_path) if allowed == "elsewhere" else allowed)
    (tmp_path / "link").symlink_to(trained.history)
    for folder in (trained.history, f"{tmp_path}/link", f"{tmp_path}/../{Path(trained.history).name}"):
        if allowed == "/" and Path(folder).is_dir():
            assert set(model.predict(trained.rows.tail(3), params={"history": folder})["note"]) == {""}
            continue
        with pytest.raises(MlflowException, match=NO_FOLDER):
            model.predict(trained.rows.tail(3), params={"history": folder})


def test_no_history_is_noted_and_one_that_is_not_there_refused(
    trained: Trained, model: mlflow.pyfunc.PyFuncModel
) -> None:
    for params in (None, {}, {"history": ""}):
        answer = model.predict(trained.rows.head(3), params=params)
        assert answer["note"].tolist() == [NO_HISTORY] * 3
        assert answer["anomaly_score"].notna().all()
    for folder in ("/nowhere/at/all", "\0", f"{trained.history}/none", str(trained.folder / "features.parquet")):
        with pytest.raises(MlflowException, match=NO_FOLDER):
            model.predict(trained.rows.head(3), params={"history": folder})


def test_a_server_whose_folder_of_histories_is_not_there_does_not_start(
    trained: Trained, registered: store.Registered, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(trained.config)
    monkeypatch.setenv("ASSAY_HISTORY", "/nowhere/at/all")
    with pytest.raises(ConfigError, match="ASSAY_HISTORY = '/nowhere/at/all' is no folder; name the one that"):
        mlflow.pyfunc.load_model("models:/cards@champion")


def test_a_request_that_fails_is_answered_in_a_sentence_without_paths_or_traces(
    trained: Trained, model: mlflow.pyfunc.PyFuncModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = model.unwrap_python_model()

    def reply(rows: pd.DataFrame) -> str:
        with pytest.raises(MlflowException) as raised:
            served.predict(None, rows)
        text = raised.value.serialize_as_json()
        assert "Traceback" not in text
        assert ".py" not in text
        return text

    rows = trained.rows.head(3).drop(columns="fraud")
    text = reply(rows.assign(eur=pd.Series(["1.5", "\ud800", "2"], dtype=object)))
    assert "INVALID_PARAMETER_VALUE" in text
    assert "column 'eur' holds a cell that is no text in UTF-8; leave it empty" in text

    def fail(error: Exception) -> None:
        def raise_it(*_: object) -> None:
            raise error

        monkeypatch.setattr(served, "_answer", raise_it)

    fail(ResourceError("/tmp/tmpx1/features.parquet can't be read (disk full); mend that"))
    assert '"features.parquet can\'t be read (disk full); mend that"' in reply(rows)
    fail(KeyError("/srv/secret.csv"))
    text = reply(rows)
    assert "the rows can't be scored (KeyError); the log of the server says where it went wrong" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    "change",
    [
        {"at": str},
        {"at": "datetime64[ns]"},
        {"at": "datetime64[ns, UTC]"},
        {"tx": str, "eur": str},
        {"tx": float, "eur": object},
        {"tx": "Int64", "eur": "Float64", "card": "category"},
        {"tx": "int32", "card": "string"},
    ],
    ids=str,
)
def test_the_way_values_are_typed_makes_no_difference(
    trained: Trained, model: mlflow.pyfunc.PyFuncModel, change: dict[str, Any]
) -> None:
    rows = trained.rows.head(30).drop(columns="fraud")
    if "datetime64[ns, UTC]" in change.values():
        changed = rows.assign(at=rows["at"].dt.tz_localize("UTC"))
    else:
        changed = rows.astype(change)
    assert (changed.dtypes != rows.dtypes).any()
    expected, answer = model.predict(rows), model.predict(changed)
    assert answer["anomaly_score"].equals(expected["anomaly_score"])
    assert answer["tx"].astype(float).tolist() == rows["tx"].tolist()


def test_whole_numbers_are_amounts_too(trained: Trained, model: mlflow.pyfunc.PyFuncModel) -> None:
    rows = trained.rows.head(5).assign(eur=[1, 20, 300, 4, 5])
    assert rows["eur"].dtype == "int64"
    assert model.predict(rows)["anomaly_score"].equals(model.predict(rows.astype({"eur": float}))["anomaly_score"])


def test_answers_come_in_the_order_of_the_questions(trained: Trained, model: mlflow.pyfunc.PyFuncModel) -> None:
    rows = trained.rows.head(50)
    shuffled = rows.sample(frac=1, random_state=3)
    answer = model.predict(shuffled)
    assert answer["tx"].tolist() == shuffled["tx"].tolist()
    again = answer.set_index("tx").loc[rows["tx"], "anomaly_score"]
    assert again.to_numpy().tolist() == model.predict(rows)["anomaly_score"].to_numpy().tolist()


def test_columns_beyond_the_contract_and_labels_change_nothing(
    trained: Trained, model: mlflow.pyfunc.PyFuncModel
) -> None:
    rows = trained.rows.head(20)
    plain = model.predict(rows.drop(columns="fraud"))
    assert model.predict(rows.assign(fraud=1, source_row="x", all_rows=7))["anomaly_score"].equals(
        plain["anomaly_score"]
    )


@pytest.mark.parametrize(
    ("column", "value", "note"),
    [
        ("eur", "a lot", "not scored: eur: is a number"),
        ("eur", None, "not scored: eur: not missing"),
        ("eur", "inf", "not scored: eur: finite"),
        ("eur", True, "not scored: eur: is a number"),
        ("eur", [1, 2], "not scored: eur: is a number"),
        ("at", "yesterday", "not scored: at: is a timestamp"),
        ("at", None, "not scored: at: not missing"),
        ("at", 20250101, "not scored: at: is a timestamp"),
        ("tx", "x-1", "not scored: tx: is a whole number"),
        ("tx", None, "not scored: tx: not missing"),
        ("tx", 1000, "not scored: tx: unique"),
        ("card", None, "not scored: card: not missing"),
        ("channel", None, NO_HISTORY),
        ("channel", "telepathy", NO_HISTORY),
    ],
)
def test_a_bad_cell_costs_its_own_row_and_no_other(
    trained: Trained, model: mlflow.pyfunc.PyFuncModel, *, column: str, value: object, note: str
) -> None:
    rows = trained.rows.head(6).drop(columns="fraud").astype(object)
    rows.loc[4, column] = value
    answer = model.predict(rows)
    assert answer["note"].tolist() == [NO_HISTORY] * 4 + [note, NO_HISTORY]
    scored = [True] * 4 + [note == NO_HISTORY, True]
    for name in ("anomaly_score", "p_value", "is_flagged"):
        assert answer[name].notna().tolist() == scored
    others = trained.rows.head(6).drop(index=4)
    expected = model.predict(others)["anomaly_score"].to_numpy(float)
    found = answer["anomaly_score"].drop(index=4).to_numpy(float)
    assert found[:4] == pytest.approx(expected[:4], rel=1e-5)


def test_a_row_that_breaks_two_rules_names_both(trained: Trained, model: mlflow.pyfunc.PyFuncModel) -> None:
    rows = trained.rows.head(2).astype(object)
    rows.loc[1, "eur"] = rows.loc[1, "at"] = "?"
    assert model.predict(rows)["note"][1] == "not scored: at: is a timestamp, eur: is a number"


def test_rows_that_a_batch_would_quarantine_are_noted_and_not_scored(
    trained: Trained, model: mlflow.pyfunc.PyFuncModel
) -> None:
    rows = trained.rows.head(7).drop(columns="fraud").astype(object)
    rows.loc[1, "eur"] = 1e300
    rows.loc[2, "eur"] = -5.0
    rows.loc[3, "at"] = "0001-01-01T00:00:00"
    rows.loc[4, "at"] = "9999-12-31T23:59:59"
    rows.loc[5, "card"] = "'; DROP TABLE events; --"
    rows.loc[6, "eur"] = -1e300
    answer = model.predict(rows, params={"history": trained.history})
    assert answer["anomaly_score"].notna().tolist() == [True, False, False, False, False, True, False]
    assert answer["note"].tolist() == [
        "",
        "not scored: eur: not beyond max_amount",
        "not scored: eur: not negative",
        "not scored: at: plausible",
        "not scored: at: plausible",
        "",
        "not scored: eur: not beyond max_amount, eur: not negative",
    ]


def test_a_column_of_a_wrong_type_is_noted_on_every_row(trained: Trained, model: mlflow.pyfunc.PyFuncModel) -> None:
    answer = model.predict(trained.rows.head(2).assign(at=[1, 2]))
    assert answer["note"].str.contains("column 'at' is of type int64, not a timestamp").all()
    assert answer["anomaly_score"].isna().all()


def test_no_rows_give_no_rows(trained: Trained, model: mlflow.pyfunc.PyFuncModel) -> None:
    answer = model.predict(trained.rows.head(0))
    assert list(answer) == ["tx", *FIGURES, "is_flagged", "note"]
    assert len(answer) == 0


def test_a_missing_column_is_named(trained: Trained, model: mlflow.pyfunc.PyFuncModel) -> None:
    with pytest.raises(MlflowException, match=r"missing inputs \['card'\]"):
        model.predict(trained.rows.head(2).drop(columns="card"))


@pytest.fixture
def server(trained: Trained, registered: store.Registered, tmp_path: Path) -> Iterator[str]:
    """The address of a real `mlflow models serve`; it ends with the test."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", "models:/cards@champion"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    # MLflow starts uvicorn by its name.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    uri = f"sqlite:///{trained.folder}/mlflow.db"
    environment = {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": uri, "MLFLOW_DISABLE_TELEMETRY": "true"}
    with running(*command, cwd=tmp_path, env=environment) as process:
        process.wait_for_answer(f"http://127.0.0.1:{port}/ping")
        yield f"http://127.0.0.1:{port}/invocations"


def _ask(url: str, question: dict[str, Any]) -> list[dict[str, Any]]:
    request = urllib.request.Request(url, json.dumps(question).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS) as response:
        # NaN would be no JSON: other languages' readers refuse it.
        return json.loads(response.read(), parse_constant=pytest.fail)["predictions"]


def test_mlflow_serves_the_model(trained: Trained, server: str, model: mlflow.pyfunc.PyFuncModel) -> None:
    rows = trained.rows.tail(4).drop(columns="fraud").reset_index(drop=True)
    records = json.loads(rows.to_json(orient="records", date_format="iso"))
    records[0]["eur"] = 5
    records[2]["eur"] = "a lot"
    rows.loc[0, "eur"] = 5.0
    history = {"history": trained.history}

    answer = _ask(server, {"dataframe_records": records, "params": history})
    expected = model.predict(rows.drop(index=2), params=history)
    kept = [answer[0], answer[1], answer[3]]
    assert [row["tx"] for row in answer] == rows["tx"].tolist()
    assert [row["anomaly_score"] for row in kept] == pytest.approx(expected["anomaly_score"].tolist(), rel=1e-5)
    assert [row["is_flagged"] for row in kept] == expected["is_flagged"].tolist()
    assert [row["note"] for row in answer] == ["", "", "not scored: eur: is a number", ""]
    assert (answer[2]["anomaly_score"], answer[2]["p_value"], answer[2]["is_flagged"]) == (None, None, None)

    split = {"columns": [*records[0], "more"], "data": [[*record.values(), 1] for record in records]}
    again = _ask(server, {"dataframe_split": split})
    assert [row["note"] for row in again] == [NO_HISTORY, NO_HISTORY, answer[2]["note"], NO_HISTORY]
    assert all(0 < row["p_value"] <= 1 for row in (again[0], again[1], again[3]))

    with pytest.raises(urllib.error.HTTPError, match="400") as raised:
        _ask(server, {"dataframe_records": [{"tx": 1}]})
    assert "missing inputs" in raised.value.read().decode()
