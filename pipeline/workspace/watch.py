"""How the checks of the watch stand, and every change of it with its reason, in the database of what has been done."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from typing import Any, Literal

import sqlalchemy as sa

from pipeline.errors import plain
from pipeline.settings.config import Config
from pipeline.workspace.database import answering, connect
from pipeline.workspace.schema import WATCH_EVENTS

CheckState = Literal["ok", "warn", "stop"]


@dataclass(frozen=True, kw_only=True)
class WatchEvent:
    """A change of a check's state.

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
    """

    check: str
    state: CheckState
    previous: CheckState
    reason: str
    day: date
    batch_id: str
    model_version: str
    at: datetime


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
        states: Sequence[tuple[str, CheckState, str]],
        *,
        day: date,
        batch_id: str,
        model_version: str,
        at: datetime | None = None,
    ) -> list[WatchEvent]:
        """Write down which checks stand otherwise than before, and return these changes.

        Parameters
        ----------
        states : sequence of (check, state, reason)
        day : date
        batch_id, model_version : str
        at : datetime, optional
            UTC; now when left out.
        """
        moment = at or datetime.now(UTC).replace(tzinfo=None)
        before = {event.check: event.state for event in self.all()}  # whoever writes holds the run lock
        changes = [
            WatchEvent(
                check=check,
                state=state,
                previous=before.get(check, "ok"),
                reason=plain(reason),
                day=day,
                batch_id=batch_id,
                model_version=model_version,
                at=moment,
            )
            for check, state, reason in states
            if before.get(check, "ok") != state
        ]
        if changes:
            rows = [{"model_name": self.name, **vars(event)} for event in changes]
            with answering(self._engine), self._engine.begin() as connection:
                connection.execute(sa.insert(WATCH_EVENTS), rows)
        return changes
