"""What a command is about to change in MLflow: written before it does, taken out in the transaction that records it.

An intent that is still there once nobody holds the lock is one of a command that was killed, or could not clear up:
`pipeline.selection.recovery` completes or undoes it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from filelock import Timeout

from pipeline.errors import AssayError, ResourceError
from pipeline.settings.config import Config
from pipeline.workspace.database import answering, connect
from pipeline.workspace.locks import locked
from pipeline.workspace.schema import INTENTS

Change = Literal["aliases", "registration", "runs"]


class Busy(AssayError):
    """Another command is changing the versions of the same model."""


@dataclass(frozen=True)
class Intent:
    """An intent: a change that has begun.

    Attributes
    ----------
    number : int
    kind : {"aliases", "registration", "runs"}
    content : mapping
        JSON types; what it takes to complete or undo it.
    at : datetime
        UTC.
    """

    number: int
    kind: Change
    content: Mapping[str, Any]
    at: datetime


class Intents:
    """The intents of one table's model (``config.name``) that began in this work folder, oldest first.

    Raises
    ------
    ConfigError
        When the database cannot be used, so that nothing is begun that could not be recorded.
    """

    def __init__(self, config: Config) -> None:
        self.name, self.place = config.name, str(Path(config.work_dir).absolute())
        self._config, self._engine = config, connect(config)
        self._path = Path(self.place) / "registry.lock"

    @contextmanager
    def alone(self, timeout: float = 3600) -> Iterator[None]:
        """Hold the lock of whoever changes the registry: a file's, and PostgreSQL's beside it as for `ledger.lock`.

        Either is given back when the process ends, however it ends.

        Parameters
        ----------
        timeout : float
            Seconds to wait for another process.

        Raises
        ------
        Busy
            When another one still holds it then.
        ResourceError
            When the work folder cannot be written to.
        ConfigError
            When the database cannot be used.
        """
        names = [f"versions of {self.name}", f"registry of {self.place}"]
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self._path, self._config, names, timeout))
            except Timeout:
                raise Busy(
                    f"another command is changing the versions of model {self.name!r} and has not finished within "
                    f"{timeout:g} seconds; wait for it to end, then run this again"
                ) from None
            except OSError as error:
                raise ResourceError(
                    f"the work folder {self.place} can't be written to ({error.strerror}); mend that, or name another "
                    "one as work_dir"
                ) from None
            yield

    def pending(self) -> list[Intent]:
        """Return those that have begun and not ended; of commands at work, too, unless the lock is held."""
        query = sa.select(INTENTS.c.number, INTENTS.c.kind, INTENTS.c.content, INTENTS.c.at)
        mine = sa.and_(INTENTS.c.model_name == self.name, INTENTS.c.place == self.place)
        with answering(self._engine), self._engine.connect() as connection:
            rows = connection.execute(query.where(mine).order_by(INTENTS.c.number)).all()
        return [Intent(number, kind, json.loads(content), at) for number, kind, content, at in rows]

    def begin(self, kind: Change, content: Mapping[str, Any]) -> Intent:
        """Write an intent, whose change may begin when this returns."""
        at = datetime.now(UTC).replace(tzinfo=None)
        row = {"model_name": self.name, "place": self.place, "kind": kind, "content": json.dumps(content), "at": at}
        with answering(self._engine), self._engine.begin() as connection:
            number = connection.execute(sa.insert(INTENTS).values(row)).inserted_primary_key
        return Intent(0 if number is None else int(number[0]), kind, dict(content), at)

    def end(self, intent: Intent) -> None:
        """Take an intent out whose change was undone, or needs no record."""
        with answering(self._engine), self._engine.begin() as connection:
            take_out(connection, intent)


def take_out(connection: sa.Connection, intent: Intent) -> None:
    """Take an intent out in a transaction that records its change."""
    connection.execute(sa.delete(INTENTS).where(INTENTS.c.number == intent.number))
