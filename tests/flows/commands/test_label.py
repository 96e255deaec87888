"""assay label: what it says of labels from review, and that they are in once, wherever it fails or is killed."""

import os
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.settings.config import Config
from pipeline.workspace.workspace import Workspace
from tests.faults import ERRORS, KILLED, Forks, Outcomes, Points, settle_locks, spread
from tests.flows.assay import run


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


class Told(Exception):
    """A command has ended with an error that it told in one sentence."""


CONTRACT = {"id": "tx", "timestamp": "at", "amount": "eur", "label": "fraud", "types": {"tx": "integer"}}
TOML = """
[contract]
id = "tx"
timestamp = "at"
amount = "eur"
label = "fraud"
types = { tx = "integer" }
"""


def label(home: str) -> None:
    """Take the home's labels in; raise what is no error told in a sentence, and `Told` for one that is."""
    os.chdir(home)
    result = run("label", "labels.csv")
    if result.exit_code == 1 and isinstance(result.exception, SystemExit):
        raise Told
    if result.exception:
        raise result.exception


def home_with_history(folder: Path) -> Path:
    """Return a folder with a configuration, a history of three rows, and labels of two of them and a third."""
    folder.mkdir()
    (folder / "assay.toml").write_text(TOML)
    rows = pa.table({"tx": pa.array([1, 2, 3], pa.int64()), "eur": [1.0, 2.0, 3.0], "fraud": pa.nulls(3, pa.int8()),
                     "at": [datetime(2025, 3, 1) + timedelta(hours=hour) for hour in range(3)]})  # fmt: skip
    pq.write_table(rows, folder / "rows.parquet")
    Workspace(Config.model_validate({"contract": CONTRACT, "work_dir": str(folder / "assay-data")})).history.append(
        folder / "rows.parquet", "m1"
    )
    (folder / "labels.csv").write_text("tx,fraud,labelled_at\n1,1,2025-03-02\n2,0,2025-03-02\n9,1,2025-03-02\n")
    return folder


def state(home: Path) -> dict[str, object]:
    """Return the labels that are in, by file, and what is hidden."""
    work = home / "assay-data"
    files = {file.name: pq.read_table(file).to_pylist() for file in sorted(work.rglob("labels/*/*.parquet"))}
    return files | {"hidden": sorted(path.name for path in work.rglob(".*") if path.name != ".lock")}


def test_labels_are_in_once_wherever_it_fails_or_is_killed_and_is_run_again(tmp_path: Path) -> None:
    source, home, log = home_with_history(tmp_path / "source"), tmp_path / "home", tmp_path / "points"
    before, outcomes = state(source), Outcomes()

    def fail(number: int, error: int) -> tuple[int, str]:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(source, home)
        return forks.run(label, Points(home / "assay-data", number, error, str(log)), str(home))

    with Forks(__name__, "flows.commands.label") as forks:
        assert fail(-1, 0) == (0, "")
        names, after = log.read_text().splitlines(), state(home)
        assert [len(rows) for rows in after.values()] == [3, 0]
        for place, number in enumerate(range(0, len(names), spread(5))):
            for error in (0, ERRORS[place % len(ERRORS)]):
                outcome = fail(number, error)
                assert outcome in ([(0, ""), (1, "Told: ")] if error else [(KILLED, "")]), (names[number], error)
                assert {**state(home), "hidden": []} in (before, after), names[number]
                settle_locks(home)
                assert forks.run(label, Points(home / "assay-data"), str(home)) == (0, ""), names[number]
                outcomes.add(names[number], error, {} if state(home) == after else state(home))
    assert outcomes.show() == {"same"}
