"""The command line: help, what it imports, and one sentence for every mistake."""

import shutil
import signal
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from flows.cli import _plain_errors, app
from pipeline.features import list_features
from pipeline.settings.file import read_config
from tests import processes

COMMANDS = ["init", "simulate", "validate", "features", "encode", "reconstruct", "train", "score", "label", "demo"]
COMMANDS += ["schedule", "threshold", "backtest", "compare", "promote", "rollback", "history", "tune"]


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Example: assay {command}" in " ".join(result.output.split())


def test_the_overview_lists_every_command_and_imports_nothing_heavy() -> None:
    heavy = ["torch", "mlflow", "prefect", "great_expectations", "alembic"]
    heavy += ["pandas", "duckdb", "sklearn", "pyarrow", "numpy"]
    code = f"""
import sys
import time
from flows.cli import app
try:
    app(["--help"])
except SystemExit:
    pass
sys.exit(", ".join(name for name in {heavy} if name in sys.modules) or 0)
"""
    process = processes.run(sys.executable, "-c", code)
    assert process.status == 0, process
    assert all(command in process.output for command in COMMANDS)


def test_mistakes_end_in_one_sentence_and_status_1(small: Path, tmp_path: Path) -> None:
    for words, message in {
        ("train", "--config", tmp_path / "none.toml"): "does not exist; make a configuration with: assay init",
        ("init", tmp_path / "none.csv", "--out", tmp_path / "a.toml"): "none.csv does not exist",
        ("init", small / "transactions.parquet", "--out", small / "assay.toml"): "exists already",
        ("init", small / "transactions.parquet", "--label", "TX_FRUAD", "--out", tmp_path / "a.toml"): "TX_FRAUD",
        ("validate", small / "assay.toml", "--config", small / "assay.toml"): "is a configuration, not a table",
        ("init", small / "transactions.parquet", "--time-zone", "Mars", "--out", tmp_path / "a.toml"): "no time zone",
        ("init", small / "transactions.parquet", "--delimiter", "ab", "--out", tmp_path / "a.toml"): "delimiter",
        ("simulate", tmp_path / "a.xlsx"): ".parquet or .csv",
    }.items():
        result = run(*words)
        assert result.exit_code == 1, words
        assert message in " ".join(result.output.split()), result.output
        assert "Traceback" not in result.output
    assert not (tmp_path / "a.toml").exists()


def test_validate_writes_quarantine_and_data_docs_and_remembers_nothing(small: Path, tmp_path: Path) -> None:
    before = set((small / "assay-data").rglob("*")) if (small / "assay-data").exists() else set()
    result = run("validate", "--config", small / "assay.toml", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    files = {path.name for path in (tmp_path / "out").rglob("*")}
    assert {"quarantine.parquet", "index.html"} <= files
    assert "TX_AMOUNT: not negative" in result.output
    after = set((small / "assay-data").rglob("*")) if (small / "assay-data").exists() else set()
    assert after == before


def test_features_lists_them_or_writes_those_of_a_table(small: Path, tmp_path: Path) -> None:
    listed = run("features", "--config", small / "assay.toml")
    assert listed.exit_code == 0, listed.output
    assert "TX_AMOUNT against CUSTOMER_ID" in listed.output
    out = tmp_path / "features.parquet"
    days = ("--from", "2025-02-01", "--to", "2025-02-07")
    written = run("features", small / "transactions.parquet", "--config", small / "assay.toml", "--out", out, *days)
    assert written.exit_code == 0, written.output
    table = pq.read_table(out)
    names = [feature.column for feature in list_features(read_config(small / "assay.toml"))]
    assert set(names) <= set(table.column_names)
    assert f"{table.num_rows:,}" in written.output
    assert table["TX_DATETIME"].to_pylist()[0].day == 1
    assert [path.name for path in tmp_path.iterdir()] == ["features.parquet"]


@pytest.mark.parametrize("words", [("--out", "features.csv"), ("table.parquet",)])
def test_features_asks_for_a_parquet_file_to_write(small: Path, words: tuple[str, ...]) -> None:
    result = run("features", *words, "--config", small / "assay.toml")
    assert result.exit_code == 1
    assert "must name a Parquet file to write" in " ".join(result.output.split())


def test_label_says_what_it_took_in_and_what_becomes_of_it_and_refuses_in_one_sentence(
    small: Path, tmp_path: Path
) -> None:
    config = tmp_path / "assay.toml"
    shutil.copy(small / "assay.toml", config)
    (tmp_path / "labels.csv").write_text("TRANSACTION_ID,TX_FRAUD,labelled_at\n1,1,2025-03-02\n2,0,2025-03-02\n")
    taken = run("label", tmp_path / "labels.csv", "--config", config)
    assert taken.exit_code == 0, taken.output
    words = " ".join(taken.output.split())
    assert "labels 2 frauds 1 ids not in the history 2" in words
    assert "used from their moment on, by the features of later batches and by the next training" in words
    assert "the history has no row of 2 of the ids" in words
    again = run("label", tmp_path / "labels.csv", "--config", config)
    assert again.exit_code == 0
    assert "was taken in before; nothing was done" in " ".join(again.output.split())
    assert len(list((tmp_path / "assay-data" / "labels").rglob("*.parquet"))) == 1
    (tmp_path / "bad.csv").write_text("TRANSACTION_ID,TX_FRAUD\n1,perhaps\n")
    for words, message in {
        ("label", tmp_path / "bad.csv", "--config", config): "'TX_FRAUD' holds 'perhaps' in bad.csv, source_row 0",
        ("label", tmp_path / "none.csv", "--config", config): "none.csv does not exist",
        ("label", config, "--config", config): "is a configuration, not a table",
    }.items():
        result = run(*words)
        assert result.exit_code == 1, words
        assert message in " ".join(result.output.split()), result.output
        assert "Traceback" not in result.output


def test_schedule_without_a_server_says_how_to_start_one(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    process = processes.run(sys.executable, "-m", "flows.cli", "schedule", "--config", small / "assay.toml")
    assert process.status == 1
    assert "prefect server start --host 127.0.0.1" in " ".join(process.errors.split())


def test_incoming_takes_no_table(small: Path) -> None:
    result = run("score", small / "transactions.parquet", "--incoming", "--config", small / "assay.toml")
    assert result.exit_code == 2
    assert "leave out TABLE" in " ".join(result.output.split())


def test_a_work_folder_that_is_a_file_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_HOME", "PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "work").write_text("")
    result = run("demo", "--work-dir", tmp_path / "work")
    assert result.exit_code == 1
    assert "work can't be made" in "".join(result.output.splitlines())
    assert "Traceback" not in result.output


QUERY = """
import sys
import duckdb
import typer
from flows.cli import _plain_errors
try:
    with _plain_errors():
        print("running", flush=True)
        duckdb.sql("SELECT sum(a.range * b.range) FROM range(1000000) a, range(1000000) b").fetchall()
except typer.Exit as end:
    sys.exit(end.exit_code)
"""


def test_ctrl_c_while_a_query_runs_ends_in_one_sentence() -> None:
    with processes.running(sys.executable, "-c", QUERY) as process:
        process.wait_for("running")
        for _ in range(1000):  # one that comes before the query has begun may be lost in it
            process.send(signal.SIGINT)
            if process.ends_within(0.5):
                break
        assert process.status == 130
    assert "stopped; nothing is half written" in " ".join(process.errors.split())


def test_a_defect_is_not_taken_for_an_interrupt() -> None:
    with pytest.raises(RuntimeError, match="a defect"), _plain_errors():
        raise RuntimeError("a defect")
