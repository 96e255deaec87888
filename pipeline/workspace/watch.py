"""How the checks of the watch stand, and every change of it with its reason, in the database of what has been done."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from pipeline.errors import plain
from pipeline.settings.config import Config
from pipeline.workspace.database import answering, connect
from pipeline.workspace.schema import WATCH_EVENTS

CheckState = Literal["ok", "warn", "stop"]
WORSE = 1.5
"""A check that is not ok is told again once it lies as many times as far from its limit as when it was last told."""


class Stand(NamedTuple):
    """How a check stands.

    Attributes
    ----------
    check : str
    state : {"ok", "warn", "stop"}
    reason : str
        A sentence.
    degree : float
        How many times as far as its limit; 0 where it is ok, and where that is not known.
    """

    check: str
    state: CheckState
    reason: str
    degree: float = 0.0


@dataclass(frozen=True, kw_only=True)
class WatchEvent:
    """A change of a check's state, or that it is worse: then `state` is what it was.

    Attributes
    ----------
    check : str
        Such as "scores".
    state, previous : {"ok", "warn", "stop"}
    reason : str
        A sentence.
    day : date
        The last day that was looked at.
    batch_id, model_version : str
        The batch whose scoring changed it, and by which version.
    at : datetime
        UTC.
    degree : float
        How many times as far as its limit the check lay then; 0 where that is not known.
    """

    check: str
    state: CheckState
    previous: CheckState
    reason: str
    day: date
    batch_id: str
    model_version: str
    at: datetime
    degree: float = 0.0

    @property
    def is_worse(self) -> bool:
        """Whether the state is what it was, and lies farther from its limit."""
        return self.state == self.previous


class WatchEvents:
    """The changes of one table's checks (``config.name``), oldest first.

    Raises
    ------
    ConfigError
        When the database cannot be used.
    """

    def __init__(self, config: Config) -> None:
        self.name = config.name
        self._engine = connect(config)

    def all(self) -> list[WatchEvent]:
        """Return every change."""
        columns = [WATCH_EVENTS.c[field.name] for field in fields(WatchEvent)]
        query = sa.select(*columns).where(WATCH_EVENTS.c.model_name == self.name).order_by(WATCH_EVENTS.c.number)
        with answering(self._engine), self._engine.connect() as connection:
            rows: Sequence[Any] = connection.execute(query).all()
        return [WatchEvent(**row._mapping) for row in rows]

    def latest(self) -> dict[str, WatchEvent]:
        """Return the last change of each check that ever changed; the others are ok."""
        return {event.check: event for event in self.all()}

    def note(
        self,
        states: Sequence[Stand],
        *,
        day: date,
        batch_id: str,
        model_version: str,
        at: datetime | None = None,
    ) -> list[WatchEvent]:
        """Write down which checks stand otherwise than before, or are worse, and return these changes.

        Parameters
        ----------
        states : sequence of Stand
        day : date
        batch_id, model_version : str
        at : datetime, optional
            UTC; now when left out.
        """
        moment = at or datetime.now(UTC).replace(tzinfo=None)
        before = self.latest()  # whoever writes holds the run lock
        changes = [
            WatchEvent(
                check=stand.check,
                state=stand.state,
                previous=before[stand.check].state if stand.check in before else "ok",
                reason=plain(stand.reason),
                day=day,
                batch_id=batch_id,
                model_version=model_version,
                at=moment,
                degree=stand.degree,
            )
            for stand in states
            if _is_news(stand, before.get(stand.check))
        ]
        if changes:
            rows = [{"model_name": self.name, **vars(event)} for event in changes]
            with answering(self._engine), self._engine.begin() as connection:
                connection.execute(sa.insert(WATCH_EVENTS), rows)
        return changes


def _is_news(stand: Stand, last: WatchEvent | None) -> bool:
    if last is None or stand.state != last.state:
        return stand.state != (last.state if last else "ok")
    return stand.state != "ok" and 0 < WORSE * last.degree <= stand.degree
