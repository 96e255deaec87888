"""A desk with a queue, in SQLite and, where it is asked for, in PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.review.desk import Desk
from pipeline.settings.config import Config
from tests.pipeline.review.scored import Clock, desk_config, score_batch
from tests.pipeline.workspace.conftest import postgresql_server, postgresql_url

__all__ = ["postgresql_server", "postgresql_url"]


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    """The configuration of a desk whose database is empty, for what the two databases might do differently."""
    return desk_config(tmp_path, request.getfixturevalue("postgresql_url") if request.param == "postgresql" else "")


@pytest.fixture
def clock() -> Clock:
    """A clock that stands at Monday, 09:00 UTC."""
    return Clock()


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Desk]:
    """A desk in SQLite with ten alerts, of the ids 1 to 10, the first one with the highest score."""
    config = desk_config(tmp_path)
    score_batch(config, range(1, 11))
    desk = Desk(config, clock, chance=lambda: 1.0)
    desk.sync()
    yield desk
    desk.close()
