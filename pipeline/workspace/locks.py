"""Locks that one process holds while others wait: by a file on one host, beside it by PostgreSQL on several.

A file's lock is the operating system's, and what it is worth between hosts is a matter of the file system. Where
``tracking.ledger_url`` names PostgreSQL, a session of it holds advisory locks beside the file's for as long. Either is
given back when the process ends, however it ends; the server finds out within a minute that a host is gone.

A session can end before its process does: the server is started again, the network fails. Another process may be at
work from then on, so what may be done by one alone asks first (`check_held`), and what must never be done by two is
written by the session that holds the lock (`recording`): once that has ended, its transaction cannot commit.
"""

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from filelock import FileLock, Timeout

from pipeline.errors import AssayError
from pipeline.settings.config import Config
from pipeline.workspace.database import answering, connect, database_url, shown_url

BETWEEN_TRIES = 0.25
"""Seconds between two tries to get a lock of the database."""
SESSION_SETTINGS = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "idle_session_timeout": "0",
}
"""Where the server knows them: it notices a host that is gone, and does not end the session itself."""
_SET = sa.text("SELECT set_config(name, :value, false) FROM pg_settings WHERE name = :name")
_TRY = sa.text("SELECT pg_try_advisory_lock(:key)")
_GIVE_BACK = sa.text("SELECT pg_advisory_unlock_all()")
_COUNT = sa.text(
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted AND objsubid = 1 "
    "AND (classid::bigint << 32) | objid::bigint IN :keys"
).bindparams(sa.bindparam("keys", expanding=True))


class LockLost(AssayError):
    """The database no longer holds a lock that this process took."""


@contextmanager
def locked(path: Path, config: Config, names: Sequence[str], timeout: float) -> Iterator[None]:
    """Hold the lock of a file and, where the ledger is in PostgreSQL, those of some names there.

    Parameters
    ----------
    path : Path
        Of the file; its folder is made.
    config : Config
    names : sequence of str
        What is locked in the database. Whoever takes several takes them in one order.
    timeout : float
        Seconds to wait for another process, for all of them together.

    Raises
    ------
    filelock.Timeout
        When another process still holds one of them then.
    OSError
        When the folder can't be made or written to.
    ConfigError
        When the database can't be used.
    """
    until = time.monotonic() + timeout
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, timeout=timeout):
        if database_url(config).get_backend_name() != "postgresql":
            yield
            return
        engine = connect(config)
        with answering(engine):
            session = _Session(engine, names)
        with closing(session):
            with answering(engine):
                session.take(until, path)
            yield


def check_held(config: Config, name: str) -> None:
    """Return where this process has not taken a lock of the database, or holds it still.

    Raises
    ------
    LockLost
        When it has taken the lock and lost it.
    """
    if session := _HELD.get((database_url(config), name)):
        with session.transaction():
            return


@contextmanager
def recording(engine: sa.Engine, name: str) -> Iterator[sa.Connection]:
    """Give a transaction; where this process has taken a lock of the database, one that commits only while it is held.

    Raises
    ------
    LockLost
        When the lock is lost: nothing was written, unless the connection broke while the server committed.
    """
    session = _HELD.get((engine.url, name))
    with session.transaction() if session else engine.begin() as connection:
        yield connection


class _Session:
    """A session of PostgreSQL that holds locks until it is closed, or ends."""

    def __init__(self, engine: sa.Engine, names: Sequence[str]) -> None:
        self._places = [(engine.url, name) for name in names]
        self._keys = [_key(name) for name in names]
        self._alone = threading.RLock()  # a connection is one thread's at a time
        self._lost = ""
        self._connection = engine.connect()
        with self._connection.begin():
            for name, value in SESSION_SETTINGS.items():
                self._connection.execute(_SET, {"name": name, "value": value})

    def take(self, until: float, path: Path) -> None:
        """Wait for every lock until a moment of the monotonic clock."""
        for key in self._keys:
            while not self._try(key):
                if time.monotonic() >= until:
                    raise Timeout(str(path))
                time.sleep(BETWEEN_TRIES)
        _HELD.update(dict.fromkeys(self._places, self))

    def _try(self, key: int) -> bool:
        with self._connection.begin():
            return bool(self._connection.scalar(_TRY, {"key": key}))

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Give a transaction of this session, which holds its locks as long as it lasts."""
        with self._alone:
            self._refuse_lost()  # SQLAlchemy would connect again, and the new session hold nothing
            try:
                with self._connection.begin():
                    if self._connection.scalar(_COUNT, {"keys": self._keys}) != len(self._keys):
                        self._lost = "the session is another one: connect without a pooler"
                        self._refuse_lost()
                    yield self._connection
            except sa.exc.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                self._lost = str(error.orig).strip().splitlines()[0]
                self._refuse_lost()

    def _refuse_lost(self) -> None:
        if self._lost:
            raise LockLost(
                f"this run has lost its lock in the database at {shown_url(self._places[0][0])} ({self._lost}), and "
                "another one may be at work by now; it ends here, and what it has not recorded, the next run does"
            ) from None

    def close(self) -> None:
        """Give the locks back."""
        for place in self._places:
            if _HELD.get(place) is self:
                del _HELD[place]
        with suppress(sa.exc.SQLAlchemyError):  # ended already, and the locks with it
            if not self._lost:
                with self._connection.begin():  # the server would take a moment to notice that the connection is gone
                    self._connection.execute(_GIVE_BACK)
        with suppress(sa.exc.SQLAlchemyError):
            self._connection.close()


_HELD: dict[tuple[sa.URL, str], _Session] = {}
"""The locks of databases that this process holds, by database and name: a lock is a process's, as a file's is."""


def _key(name: str) -> int:
    """Return the number that PostgreSQL knows a lock by: 64 bits with a sign."""
    return int.from_bytes(hashlib.sha256(f"assay\x00{name}".encode()).digest()[:8], "big", signed=True)
