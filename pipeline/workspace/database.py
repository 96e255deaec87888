"""The database of what has been done: SQLite in the work folder, or another one at ``tracking.ledger_url``."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError, SQLAlchemyError

from pipeline.errors import ConfigError
from pipeline.settings.config import Config
from pipeline.settings.sensitive import without_password
from pipeline.workspace.schema import BATCHES, VERSION, VERSION_TABLE

WAIT = 60
"""Seconds that a writer to SQLite waits for another process's transaction, instead of failing at once."""
POOL = 20
"""Connections that a server keeps, and as many more for a moment."""
ADVISORY_LOCK = int.from_bytes(b"assay", "big")
"""The number of PostgreSQL's lock that whoever migrates holds."""
NO_URL = (
    "tracking.ledger_url is no SQLAlchemy URL; write one such as postgresql+psycopg://user@host/assay, "
    'or "" for SQLite in the work folder'
)


def database_url(config: Config) -> sa.URL:
    """Return where the database lies.

    Raises
    ------
    ConfigError
        When ``tracking.ledger_url`` cannot be read as a URL.
    """
    path = Path(config.work_dir).absolute() / "ledger.db"
    given = config.tracking.ledger_url
    try:
        return sa.make_url(given) if given else sa.URL.create("sqlite", database=str(path))
    except ArgumentError:
        raise ConfigError(NO_URL) from None


def shown_url(url: sa.URL) -> str:
    """Return a URL as messages show it, without what is secret in it."""
    return without_password(url.render_as_string(hide_password=False))


def connect(config: Config) -> sa.Engine:
    """Return the engine of a database that has the tables of `pipeline.workspace.schema`.

    Missing tables are made and older ones brought up to date, by one process while others wait for it.

    Raises
    ------
    ConfigError
        When the database cannot be used: an unreadable URL, a driver that is not installed, a server that does not
        answer, a file that is no database, a database that a newer Assay has written or that has other tables of the
        same names; or when it would be made although scored batches are there: the old one is lost.
    """
    url = database_url(config)
    where = shown_url(url)
    try:
        if not config.tracking.ledger_url:
            Path(config.work_dir).absolute().mkdir(parents=True, exist_ok=True)
        waits = {"timeout": WAIT} if url.get_backend_name() == "sqlite" else {}
        # Each transaction opens a connection and closes it: nobody has to remember the engine's.
        engine = sa.create_engine(url, connect_args=waits, poolclass=sa.NullPool)
        _bring_up_to_date(engine, config)
    except ArgumentError:
        raise ConfigError(NO_URL) from None
    except ModuleNotFoundError as error:
        remedy = "install Assay with its extra, assay[postgres]" if error.name == "psycopg" else "install it with pip"
        raise ConfigError(
            f"tracking.ledger_url = {where} needs the driver {error.name!r}, which is not installed; {remedy}"
        ) from None
    except (SQLAlchemyError, OSError) as error:
        raise _unusable(where, error) from None
    return engine


def connect_many(config: Config) -> sa.Engine:
    """Return the engine of the same database for a server's many threads, which read while one writes.

    A transaction that writes asks for it: ``engine.connect().execution_options(writes=True)``. In SQLite it takes the
    write lock at its beginning: one that read first, and then wrote, would fail beside another writer at once. The file
    is set to write-ahead logging, in which readers never wait; other processes use it as before.

    Raises
    ------
    ConfigError
        As `connect` does.
    """
    url = connect(config).url
    if url.get_backend_name() != "sqlite":
        # The connection that was used last is taken first: what it has read of the catalogue, and planned, is at hand.
        lasting: dict[str, Any] = {"pool_size": POOL, "max_overflow": POOL, "pool_use_lifo": True}
        engine = sa.create_engine(url, pool_pre_ping=True, **lasting)
        sa.event.listen(engine, "before_cursor_execute", _without_nul, retval=True)
        return engine
    engine = sa.create_engine(url, connect_args={"timeout": WAIT}, pool_size=POOL, max_overflow=POOL)

    @sa.event.listens_for(engine, "connect")
    def settle(connection: Any, record: object) -> None:
        connection.isolation_level = None  # transactions begin where `begin` says, not where Python's driver thinks
        with suppress(sqlite3.OperationalError):  # another process is at it; without it, readers wait, and all is right
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")  # a decision that was acknowledged survives a power cut

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def is_up_to_date(config: Config) -> bool | None:
    """Return whether the database has the tables of `pipeline.workspace.schema`; None where there is none yet.

    Nothing is made and nothing brought up to date, as `connect` does.

    Raises
    ------
    ConfigError
        When the database cannot be asked.
    """
    url = database_url(config)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).is_file():
        return None
    try:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            version = _version(connection)
            is_there = version is not None or sa.inspect(connection).has_table(BATCHES.name)
    except ModuleNotFoundError:
        connect(config)  # says which driver to install
        raise
    except (SQLAlchemyError, OSError) as error:
        raise _unusable(shown_url(url), error) from None
    return version == VERSION if is_there else None


def _without_nul(_: object, __: object, statement: str, parameters: Any, *___: object) -> tuple[str, Any]:
    """Return a statement with its parameters, in which U+2400 stands for NUL: PostgreSQL's text has no such sign."""
    several = [parameters] if isinstance(parameters, dict) else parameters
    if not any("\x00" in value for row in several for value in row.values() if isinstance(value, str)):
        return statement, parameters
    clean = [
        {name: value.replace("\x00", "\u2400") if isinstance(value, str) else value for name, value in row.items()}
        for row in several
    ]
    return statement, clean[0] if isinstance(parameters, dict) else clean


@contextmanager
def answering(engine: sa.Engine) -> Iterator[None]:
    """Turn a failure of the database inside the block into one sentence.

    Raises
    ------
    ConfigError
        When the database fails: another process holds it for longer than a writer waits, the server is gone, the disk
        is full.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise _unusable(shown_url(engine.url), error) from None


def _unusable(where: str, error: Exception) -> ConfigError:
    cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    if "locked" in cause:
        remedy = "another process is writing to it: wait for that one to end, then run this again"
    else:
        remedy = "mend it there, or name another database in tracking.ledger_url"
    return ConfigError(f"the ledger of scored batches at {where} cannot be used: {cause}; {remedy}")


def loss(config: Config) -> str:
    """Return what to do about a ledger that is missing beside scored batches, in a sentence; "" without any batch.

    A new one would know none of them: changed files would add to what they replace, and ids be published twice.
    """
    batches = Path(config.work_dir).absolute() / "batches"
    count = sum(folder.is_dir() for folder in batches.glob("[!.]*-v*"))
    if not count:
        return ""
    one = count == 1
    return (
        f"the ledger of scored batches at {shown_url(database_url(config))} is missing, and {count:,} "
        f"{'batch lies' if one else 'batches lie'} in {batches}; bring it back from a backup, or name the database "
        "that has it in tracking.ledger_url; to begin anew without them, move that folder away"
    )


def _bring_up_to_date(engine: sa.Engine, config: Config) -> None:
    with engine.connect() as connection:
        if _version(connection) == VERSION:
            return
    with engine.begin() as connection:
        _wait_for_others(connection)
        version = _version(connection)
        if version is not None and version > VERSION:
            where = shown_url(engine.url)
            raise ConfigError(
                f"the ledger of scored batches at {where} was written by a newer Assay (schema {version}, and this one "
                f"knows {VERSION}); use that Assay, or name another database in tracking.ledger_url"
            )
        if version is None and not sa.inspect(connection).has_table(BATCHES.name) and (text := loss(config)):
            raise ConfigError(text)
        if version != VERSION:
            _migrate(connection)


def _version(connection: sa.Connection) -> str | None:
    """Return the number of the last migration that was run; None for a database from before them, or a new one."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(sa.select(sa.column("version_num")).select_from(sa.table(VERSION_TABLE)))
    return version


def _wait_for_others(connection: sa.Connection) -> None:
    """Hold the database against other processes that bring it up to date, until the transaction ends."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # Python's driver would begin only at the first row written
    elif connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))


def _migrate(connection: sa.Connection) -> None:
    from alembic import command  # its import takes far longer than opening a database that is up to date
    from alembic.config import Config as Settings

    settings = Settings()
    settings.set_main_option("script_location", "pipeline.workspace:migrations")
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")
