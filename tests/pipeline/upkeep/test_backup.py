"""A copy of what must be kept: whole, of one moment, restored by copying it back, and known where it is damaged."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import AssayError, InputError
from pipeline.settings.config import Config
from pipeline.upkeep import backup
from pipeline.upkeep.backup import back_up, faults, read_manifest
from pipeline.workspace.database import connect_many
from pipeline.workspace.ledger import Ledger
from pipeline.workspace.workspace import Workspace
from tests.flows.assay import run, said
from tests.pipeline.review.scored import deliver, desk_config, score_batch

NOW = datetime(2025, 3, 3, 4, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A table with a scored batch, a day of history, a delivery of labels, and scratch of all kinds."""
    config = desk_config(tmp_path)
    score_batch(config, [1, 2], audited=[3])
    rows = pa.table({"tx": [1, 2, 3], "at": [datetime(2025, 3, 2, hour) for hour in (1, 2, 3)], "eur": [1.0, 2.0, 3.0]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    Workspace(config).history.append(tmp_path / "rows.parquet", "b1")
    deliver(config, "1,1,2")
    work = Path(config.work_dir)
    (work / "pseudonyms.key").write_text("key")
    (work / "prefect").mkdir()
    (work / "prefect" / "prefect.db").write_text("made again")
    (tmp_path / "assay.toml").write_text(
        f'name = "cards"\nwork_dir = "{work}"\n[contract]\nid = "tx"\ntimestamp = "at"\namount = "eur"\n'
    )
    return config


@pytest.fixture
def copy(config: Config, tmp_path: Path) -> Path:
    """A backup of it."""
    return back_up(config, tmp_path / "assay.toml", tmp_path / "copies", NOW)[0]


def test_a_copy_that_is_copied_back_is_what_there_was(config: Config, copy: Path) -> None:
    assert copy.name == "cards-20250303T040000"
    assert copy.stat().st_mode & 0o777 == 0o700
    names = sorted(path for path in read_manifest(copy).files if "/history/" not in path and "/labels/" not in path)
    of_batch = [f"work/batches/b1-v1/{name}.parquet" for name in ("alerts", "audit")]
    assert names == ["assay.toml", *of_batch, "work/ledger.db", "work/pseudonyms.key"]
    entries, work = Ledger(config).entries(), Path(config.work_dir)
    history = [pq.read_table(file) for file in Workspace(config).history.files(None, None)]
    labels = [pq.read_table(file) for file in Workspace(config).reviewed.files()]
    assert (len(history), len(labels)) == (1, 1)
    shutil.rmtree(work)
    shutil.copytree(copy / "work", work)
    assert Ledger(config).entries() == entries
    assert [pq.read_table(file) for file in Workspace(config).history.files(None, None)] == history
    assert [pq.read_table(file) for file in Workspace(config).reviewed.files()] == labels
    assert (work / "batches" / "b1-v1" / "alerts.parquet").is_file()


def test_a_copy_is_made_beside_a_writer_and_has_what_was_committed(config: Config, tmp_path: Path) -> None:
    with connect_many(config).connect().execution_options(writes=True) as connection, connection.begin():
        connection.exec_driver_sql("UPDATE batches SET message = 'half done'")
        copy, _ = back_up(config, tmp_path / "assay.toml", tmp_path / "copies", NOW)
    with closing(sqlite3.connect(copy / "work" / "ledger.db")) as database:
        assert database.execute("SELECT message FROM batches").fetchall() == [("",)]
    assert [entry.message for entry in Ledger(config).entries()] == ["half done"]
    assert faults(copy) == []


def test_what_is_damaged_missing_or_added_is_named(copy: Path) -> None:
    assert faults(copy) == []
    alerts = copy / "work" / "batches" / "b1-v1" / "alerts.parquet"
    raw = bytearray(alerts.read_bytes())
    raw[100] ^= 1
    alerts.write_bytes(raw)
    (copy / "work" / "pseudonyms.key").unlink()
    (copy / "work" / "batches" / "other").write_text("?")
    assert faults(copy) == [
        "work/batches/b1-v1/alerts.parquet is not what was copied",
        "work/pseudonyms.key is missing",
        "work/batches/other was not copied, and lies there since",
    ]


def test_a_database_that_was_damaged_before_it_was_copied_is_named(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = copy / "work" / "ledger.db"
    raw = bytearray(database.read_bytes())
    raw[4096:8192] = bytes(4096)
    database.write_bytes(raw)
    monkeypatch.setattr(backup, "_digest", lambda file: read_manifest(copy).files[str(file.relative_to(copy))][0])
    (text,) = faults(copy)
    assert text.startswith("work/ledger.db is a damaged database: ")


def test_a_copy_that_fails_leaves_nothing(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copystat", full)
    with pytest.raises(OSError, match="No space left"):
        back_up(config, tmp_path / "assay.toml", tmp_path / "copies", NOW)
    assert list((tmp_path / "copies").iterdir()) == []
    (Path(config.work_dir) / "ledger.db").write_text("no database, however long this line may be")
    with pytest.raises(AssayError, match=r"ledger\.db cannot be copied \(file is not a database\)"):
        back_up(config, tmp_path / "assay.toml", tmp_path / "copies", NOW)
    assert list((tmp_path / "copies").iterdir()) == []


def test_a_copy_into_the_work_folder_and_what_is_no_copy_are_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lies in the work folder .* name another folder"):
        back_up(config, tmp_path / "assay.toml", Path(config.work_dir) / "copies", NOW)
    with pytest.raises(InputError, match=r"is no backup: it has no manifest\.json that can be read"):
        faults(tmp_path)


def test_what_servers_have_is_told_without_passwords(tmp_path: Path) -> None:
    tracking = {"ledger_url": "postgresql+psycopg://ann:secret@db/assay", "uri": "https://mlflow.example"}
    config = desk_config(tmp_path).model_copy(
        update={"tracking": desk_config(tmp_path).tracking.model_copy(update=tracking)}
    )
    (tmp_path / "assay.toml").write_text("")
    _, manifest = back_up(config, tmp_path / "assay.toml", tmp_path / "copies", NOW)
    ledger, store = manifest.elsewhere
    assert "pg_dump --format=custom" in ledger
    assert "secret" not in ledger
    assert store.startswith("versions and models lie on the MLflow server")
    assert list(manifest.files) == ["assay.toml"]


def test_the_command_copies_and_checks(config: Config, tmp_path: Path) -> None:
    made = run("backup", tmp_path / "copies", "--config", tmp_path / "assay.toml")
    assert made.exit_code == 0, made.output
    (copy,) = (tmp_path / "copies").iterdir()
    assert "Backup of cards" in said(made)
    assert "ledger.db 1 file" in said(made)
    checked = run("backup", "--check", copy)
    assert checked.exit_code == 0, checked.output
    assert f"{len(read_manifest(copy).files)} files of cards, as they were at" in said(checked)
    (copy / "assay.toml").unlink()
    checked = run("backup", "--check", copy)
    assert checked.exit_code == 1
    assert "assay.toml is missing" in said(checked)
