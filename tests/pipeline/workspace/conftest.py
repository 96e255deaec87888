"""A PostgreSQL server of the tests' own, and a database in it for each test that asks for one."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.processes import free_port, run, running

NUMBERS = count()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server that is up, without a database's name."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin")) or [Path(shutil.which("initdb") or "none").parent]
    if not (programs[-1] / "initdb").exists():
        pytest.skip("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    # PostgreSQL refuses to run as root, and its own user may not look into pytest's folders.
    as_its_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder, port = Path(tempfile.mkdtemp()), free_port()
    if as_its_user:
        shutil.chown(folder, "postgres")
    data = ["-D", folder / "data"]
    words = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    settings = ["-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-F"]
    try:
        initdb = run(*as_its_user, programs[-1] / "initdb", *data, *words, cwd=folder)
        assert initdb.status == 0, initdb
        with running(*as_its_user, programs[-1] / "postgres", *data, *settings, cwd=folder) as process:
            process.wait_for("ready to accept connections")
            yield f"postgresql+psycopg://postgres@127.0.0.1:{port}"
            process.send(signal.SIGINT)  # does not wait for clients
            process.ends_within(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"test_{next(NUMBERS)}"
    server = sa.create_engine(f"{postgresql_server}/postgres", isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield f"{postgresql_server}/{name}"
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
