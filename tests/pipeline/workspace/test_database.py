"""The database of what has been done: its schema, however old it is, and whoever opens it at once."""

import multiprocessing
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pipeline.errors import ConfigError
from pipeline.selection.records import AliasChange, AliasRecords
from pipeline.settings.config import Config
from pipeline.tables.batch import Batch
from pipeline.workspace.database import connect, database_url
from pipeline.workspace.ledger import Entry, Ledger
from pipeline.workspace.schema import METADATA, VERSION, VERSION_TABLE
from tests.processes import SECONDS, run

# As SQLAlchemy made them in SQLite before there were migrations, word for word.
BATCHES = """
CREATE TABLE batches (
    batch_id VARCHAR(64) NOT NULL, model_name VARCHAR(255) NOT NULL, model_version VARCHAR(64) NOT NULL,
    source TEXT NOT NULL, digest VARCHAR(64) NOT NULL, period_start DATETIME, period_end DATETIME, threshold FLOAT,
    read BIGINT NOT NULL, accepted BIGINT NOT NULL, quarantined BIGINT NOT NULL, outside BIGINT NOT NULL,
    refused BIGINT NOT NULL, scored BIGINT NOT NULL, flagged BIGINT NOT NULL, first_timestamp DATETIME,
    last_timestamp DATETIME, folder TEXT NOT NULL, scored_at DATETIME NOT NULL, status VARCHAR(16) NOT NULL,
    message TEXT NOT NULL, PRIMARY KEY (batch_id, model_name, model_version)
);
CREATE INDEX ix_batches_digest ON batches (digest);
INSERT INTO batches VALUES ('a1', 'cards', '1', '/data/monday.parquet', 'd-a1', NULL, NULL, 3.5, 100, 90, 4, 6, 0, 90,
    2, '2025-01-06 00:00:00.000000', '2025-01-06 23:59:59.123456', '/assay/batches/a1', '2025-01-07 02:00:00.000000',
    'scored', '');
"""
ALIAS_CHANGES = """
CREATE TABLE alias_changes (
    number INTEGER NOT NULL, model_name VARCHAR(255) NOT NULL, alias VARCHAR(64) NOT NULL, version VARCHAR(64),
    replaced VARCHAR(64), action VARCHAR(16) NOT NULL, why TEXT NOT NULL, who VARCHAR(255) NOT NULL,
    at DATETIME NOT NULL, failed_gates TEXT NOT NULL, PRIMARY KEY (number)
);
CREATE INDEX ix_alias_changes_model_name ON alias_changes (model_name);
INSERT INTO alias_changes VALUES (7, 'cards', 'champion', '1', NULL, 'register', 'the first', 'ann',
    '2025-01-06 12:00:00.000000', '[]');
"""


def make_config(folder: Path, url: str = "") -> Config:
    contract = {"id": "tx", "timestamp": "at", "amount": "eur"}
    return Config.model_validate(
        {"contract": contract, "name": "cards", "work_dir": str(folder), "tracking": {"ledger_url": url}}
    )


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    """The configuration of a database that is empty."""
    return make_config(tmp_path, request.getfixturevalue("postgresql_url") if request.param == "postgresql" else "")


@pytest.fixture
def raw(config: Config) -> Iterator[sa.Engine]:
    """The database itself, as nobody has brought it up to date."""
    engine = sa.create_engine(database_url(config))
    yield engine
    engine.dispose()


def scripts() -> ScriptDirectory:
    settings = AlembicConfig()
    settings.set_main_option("script_location", "pipeline.workspace:migrations")
    return ScriptDirectory.from_config(settings)


def as_before_the_migrations() -> sa.MetaData:
    """Return the tables of the first migration, whose keys had no names of ours then."""
    before = sa.MetaData()
    for table in scripts().get_revision("0001").module.TABLES.sorted_tables:
        table.to_metadata(before)
    return before


def tables(engine: sa.Engine) -> list[str]:
    return sorted(sa.inspect(engine).get_table_names())


def versions(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalars())


def differences(engine: sa.Engine) -> list[object]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return list(compare_metadata(context, METADATA))


def test_the_migrations_make_the_schema(config: Config) -> None:
    connect(config)
    engine = connect(config)
    assert tables(engine) == sorted([*METADATA.tables, VERSION_TABLE])
    assert differences(engine) == []
    assert versions(engine) == [VERSION]
    for name, table in METADATA.tables.items():
        key = sa.inspect(engine).get_pk_constraint(name)
        assert (key["name"], key["constrained_columns"]) == (f"{name}_pkey", table.primary_key.columns.keys())


def test_the_last_migration_has_the_schemas_number() -> None:
    numbers = [script.revision for script in scripts().walk_revisions()]
    assert numbers == [f"{number:04}" for number in range(len(numbers), 0, -1)]
    assert numbers[0] == VERSION


@pytest.mark.parametrize("present", [["batches"], ["alias_changes"], ["alias_changes", "batches"]])
def test_tables_from_before_the_migrations_are_taken_over(config: Config, raw: sa.Engine, present: list[str]) -> None:
    before = as_before_the_migrations()
    before.create_all(raw, [before.tables[name] for name in present])
    engine = connect(config)
    assert differences(engine) == []
    assert versions(engine) == [VERSION]


def test_a_refusal_from_before_its_rules_were_kept_is_tried_again_and_then_holds(
    config: Config, raw: sa.Engine, tmp_path: Path
) -> None:
    before = as_before_the_migrations()
    before.create_all(raw)
    source = tmp_path / "monday.csv"
    source.write_text("tx,at,eur\n1,2025-01-06,5\n")
    batch = Batch.of(source, config)
    counts = dict.fromkeys(["read", "accepted", "quarantined", "outside", "refused", "scored", "flagged"], 0)
    row = {"batch_id": batch.id, "model_name": "cards", "model_version": "1", "source": str(source)}
    row |= {"digest": batch.digest, "folder": "", "scored_at": datetime(2025, 1, 7), "status": "refused"}
    with raw.begin() as connection:
        connection.execute(sa.insert(before.tables["batches"]).values({**row, **counts, "message": "no amounts"}))
    ledger = Ledger(config)
    assert ledger.handled().entry_of(batch) is None
    period = {"period_start": None, "period_end": None}
    refusal = Entry(**{**row, **period, "message": "no amounts", "rules": batch.rules})
    ledger.record(refusal)
    assert ledger.handled().entry_of(batch) == refusal
    ledger.record(replace(refusal, status="scored"))
    assert ledger.find(batch.id, "1") is not None
    with raw.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM batches")) == 1


def test_what_stood_in_them_stays(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.executescript(BATCHES + ALIAS_CHANGES)
    config = make_config(tmp_path)
    entry = Ledger(config).find("a1", "1")
    assert entry is not None
    assert (entry.flagged, entry.last_timestamp) == (2, datetime(2025, 1, 6, 23, 59, 59, 123456))
    records = AliasRecords(config)
    change = AliasChange(alias="champion", version="2", replaced="1", action="promote", why="better", who="bob")
    with records.recording([change]):
        pass
    assert [(change.version, change.who) for change in records.all()] == [("1", "ann"), ("2", "bob")]
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        assert connection.execute("SELECT number FROM alias_changes").fetchall() == [(7,), (8,)]
    assert differences(connect(config)) == []


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ("ALTER TABLE batches ADD note TEXT", "column 'note'"),
        ("ALTER TABLE batches DROP COLUMN message", "column 'message'"),
        ("ALTER TABLE batches RENAME COLUMN message TO why", "column '(message|why)'"),
        ("DROP INDEX ix_batches_digest", "index 'ix_batches_digest'"),
        ("DROP TABLE batches; CREATE TABLE batches (batch_id VARCHAR(64) PRIMARY KEY)", "primary key"),
    ],
)
def test_a_table_of_the_same_name_that_is_another_is_refused_and_left_alone(
    config: Config, raw: sa.Engine, statement: str, part: str
) -> None:
    before = as_before_the_migrations()
    with raw.begin() as connection:
        before.tables["batches"].create(connection)
        for command in statement.split("; "):
            connection.exec_driver_sql(command)
    for _ in range(2):
        with pytest.raises(ConfigError, match=rf"has a table 'batches' that is not Assay's: its {part} is") as raised:
            connect(config)
        assert "\n" not in str(raised.value)
        assert tables(raw) == ["batches"]  # alias_changes, which was made first, is gone with the transaction


def test_a_newer_database_is_refused_in_one_sentence(config: Config, raw: sa.Engine) -> None:
    connect(config)
    with raw.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    match = (
        rf"was written by a newer Assay \(schema 9999, and this one knows {VERSION}\); use that Assay, or name another"
    )
    with pytest.raises(ConfigError, match=match):
        connect(config)
    assert versions(raw) == ["9999"]


def open_at_once(config: Config, barrier: object) -> None:
    barrier.wait(SECONDS)  # type: ignore[attr-defined]
    connect(config)


@pytest.mark.parametrize("is_new", [True, False])
def test_processes_that_start_at_once_migrate_once(config: Config, raw: sa.Engine, *, is_new: bool) -> None:
    if not is_new:
        as_before_the_migrations().create_all(raw)
    raw.dispose()
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(4)
    processes = [spawn.Process(target=open_at_once, args=(config, barrier), daemon=True) for _ in range(4)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(SECONDS)
        assert [process.exitcode for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
    assert versions(raw) == [VERSION]
    assert differences(raw) == []


def test_a_search_in_the_same_database_keeps_its_own_version(tmp_path: Path) -> None:
    import optuna

    config = make_config(tmp_path)
    url = database_url(config).render_as_string()
    connect(config)
    optuna.create_study(study_name="search", storage=optuna.storages.RDBStorage(url))
    engine = connect(config)
    assert {VERSION_TABLE, "alembic_version", "batches", "studies"} <= set(tables(engine))
    assert versions(engine) == [VERSION]
    assert optuna.get_all_study_names(optuna.storages.RDBStorage(url)) == ["search"]


def test_tables_beside_a_search_are_taken_over(tmp_path: Path) -> None:
    import optuna

    config = make_config(tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.executescript(BATCHES)
    optuna.create_study(storage=optuna.storages.RDBStorage(database_url(config).render_as_string()))
    assert Ledger(config).find("a1", "1") is not None


def test_a_database_that_is_up_to_date_is_opened_without_alembic(tmp_path: Path) -> None:
    connect(make_config(tmp_path))
    code = (
        "import sys\nfrom pipeline.settings.config import Config\nfrom pipeline.workspace.ledger import Ledger\n"
        "contract = {'id': 'tx', 'timestamp': 'at', 'amount': 'eur'}\n"
        "Ledger(Config.model_validate({'contract': contract, 'name': 'cards', 'work_dir': sys.argv[1]}))\n"
        "print('alembic' in sys.modules)"
    )
    for folder, is_imported in ((tmp_path, "False"), (tmp_path / "new", "True")):
        process = run(sys.executable, "-c", code, folder)
        assert (process.status, process.output) == (0, f"{is_imported}\n"), process


def test_a_ledger_missing_beside_scored_batches_is_told_and_not_begun_anew(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    for name in ("a1-v1", "b2-v1", ".draft-cards"):
        (tmp_path / "batches" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"ledger\.db is missing, and 2 batches lie in .*batches; bring it"):
        Ledger(config)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:  # an empty file is what SQLite leaves
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == []
    with pytest.raises(ConfigError, match="is missing, and 2 batches lie"):
        Ledger(config)
    (tmp_path / "batches").rename(tmp_path / "away")
    Ledger(config)
    (tmp_path / "away").rename(tmp_path / "batches")
    assert Ledger(config).entries() == []


def test_a_ledger_from_before_the_migrations_is_not_taken_for_lost(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        database.executescript(BATCHES)
    (tmp_path / "batches" / "a1-v1").mkdir(parents=True)
    assert [entry.batch_id for entry in Ledger(make_config(tmp_path)).entries()] == ["a1"]
