"""The desk's way into the database: one moment and one connection for whatever is read or done together."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from pipeline.review.events import Journal
from pipeline.settings.config import Config
from pipeline.workspace.database import answering, connect_many
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_ROWS, REVIEW_VALUES

SAMPLED = 1_000
"""Rows of an index that SQLite looks at."""


def utc_now() -> datetime:
    """Return this moment, UTC without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class Reading:
    """A transaction that reads.

    Attributes
    ----------
    connection : Connection
    config : Config
    at : datetime
        Now, UTC.
    """

    connection: sa.Connection
    config: Config
    at: datetime

    @property
    def name(self) -> str:
        """The table's name."""
        return self.config.name


@dataclass(frozen=True)
class Writing(Reading):
    """A transaction that writes, with the chain of events that it adds to."""

    journal: Journal


class Store:
    """The database of the desk.

    Parameters
    ----------
    config : Config
    clock : callable
        Returns now, UTC without a zone.
    """

    def __init__(self, config: Config, clock: Callable[[], datetime] = utc_now) -> None:
        self.config, self.clock = config, clock
        self._engine = connect_many(config)
        self._turn = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Give a transaction that reads."""
        with answering(self._engine), self._engine.connect() as connection:
            yield Reading(connection, self.config, self.clock())

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """Give a transaction that writes; an error inside the block takes back all of it."""
        # One chain has one writer at a time: threads that queue here are next at once, where SQLite would let them ask
        # again after a while, and PostgreSQL would have them hold a connection each.
        with self._turn, answering(self._engine), self._engine.connect() as plain:
            connection = plain.execution_options(writes=True)
            with connection.begin():
                journal = Journal(connection, self.config.name, self.clock)
                yield Writing(connection, self.config, journal.at, journal)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def plan_each(connection: sa.Connection) -> None:
    """Have the database plan each query of this transaction anew, while it fills the queue's tables.

    PostgreSQL keeps the plan of a query that came five times. One made for a nearly empty table reads all of it for
    every part of a long batch: a million alerts took hours.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_custom_plan")


def weigh_plans(connection: sa.Connection) -> None:
    """Have the database look at what the queue's tables hold by now, which it plans its queries by.

    After a long batch has come in it would plan for the few rows of before, and read a whole table for one page:
    PostgreSQL for a minute, until it looks by itself; SQLite for ever. A sample of the rows is enough for both.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA analysis_limit = {SAMPLED}")
    for table in (REVIEW_ALERTS, REVIEW_ROWS, REVIEW_VALUES):
        connection.exec_driver_sql(f"ANALYZE {table.name}")
