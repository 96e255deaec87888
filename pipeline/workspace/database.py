"""The database of what has been done: SQLite in the work folder, or another one at ``tracking.ledger_url``."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, InterfaceError, OperationalError, SQLAlchemyError

from pipeline.errors import ConfigError
from pipeline.settings.config import Config

WAIT = 60
"""Seconds that a writer to SQLite waits for another process's transaction, instead of failing at once."""
NO_URL = (
    "tracking.ledger_url is no SQLAlchemy URL; write one such as postgresql+psycopg://user@host/assay, "
    'or "" for SQLite in the work folder'
)


class Utc(sa.TypeDecorator[datetime]):
    """A moment, kept in UTC without a zone, as everywhere inside; an aware one is converted."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the moment as it is kept."""
        return value.astimezone(UTC).replace(tzinfo=None) if value is not None and value.tzinfo else value


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


def connect(config: Config, table: sa.Table) -> sa.Engine:
    """Return the database's engine, with a table that is made when it is missing.

    Raises
    ------
    ConfigError
        When the database cannot be used: an unreadable URL, a driver that is not installed, a server that does not
        answer, a file that is no database.
    """
    url = database_url(config)
    where = url.render_as_string(hide_password=True)
    try:
        if not config.tracking.ledger_url:
            Path(config.work_dir).absolute().mkdir(parents=True, exist_ok=True)
        waits = {"timeout": WAIT} if url.get_backend_name() == "sqlite" else {}
        engine = sa.create_engine(url, connect_args=waits)
        _create(engine, table)
    except ArgumentError:
        raise ConfigError(NO_URL) from None
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"tracking.ledger_url = {where} needs the driver {error.name!r}, which is not installed; "
            "install it with pip"
        ) from None
    except (SQLAlchemyError, OSError) as error:
        raise _unusable(where, error) from None
    return engine


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
        raise _unusable(engine.url.render_as_string(hide_password=True), error) from None


def _unusable(where: str, error: Exception) -> ConfigError:
    cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    if "locked" in cause:
        remedy = "another process is writing to it: wait for that one to end, then run this again"
    else:
        remedy = "mend it there, or name another database in tracking.ledger_url"
    return ConfigError(f"the ledger of scored batches at {where} cannot be used: {cause}; {remedy}")


def _create(engine: sa.Engine, table: sa.Table) -> None:
    try:
        table.create(engine, checkfirst=True)
    except SQLAlchemyError:
        # Another process made the table between the look and the making.
        if not sa.inspect(engine).has_table(table.name):
            raise
