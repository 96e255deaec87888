"""The command line: help, what it imports, and one sentence for every mistake."""

import signal
import sys
from pathlib import Path

import pytest

from flows.cli import _plain_errors
from tests import processes
from tests.flows.assay import run

COMMANDS = ["init", "simulate", "validate", "features", "encode", "reconstruct", "train", "score", "label", "demo"]
COMMANDS += ["schedule", "threshold", "backtest", "compare", "promote", "rollback", "history", "tune", "status"]
COMMANDS += ["user add", "user change", "user list", "audit verify", "review", "review rebuild"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run(*command.split(), "--help")
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
    assert all(command.split()[0] in process.output for command in COMMANDS)


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
        ("simulate", tmp_path / "a.csv", "--scenario", "colusion"): "no scenario of fraud; did you mean 'collusion'?",
    }.items():
        result = run(*words)
        assert result.exit_code == 1, words
        assert message in " ".join(result.output.split()), result.output
        assert "Traceback" not in result.output
    assert not (tmp_path / "a.toml").exists()


def test_simulates_the_scenarios_that_are_named(tmp_path: Path) -> None:
    words = ("--rows", "5000", "--days", "10", "--scenario", "refund_fraud", "--scenario-column")
    result = run("simulate", tmp_path / "a.csv", *words)
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "5 refund fraud" in text
    assert "--label TX_FRAUD --ignore TX_FRAUD_SCENARIO" in text
    lines = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].endswith('"TX_FRAUD","TX_FRAUD_SCENARIO"')
    assert sum(line.endswith(',1,"refund_fraud"') for line in lines) == 5


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
