"""What an event makes of the queue: the one place that writes to its tables, live and when they are made again."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.review.counts import move, recount
from pipeline.review.deliveries import note
from pipeline.review.events import Event
from pipeline.review.publication import take_in, withdraw
from pipeline.settings.config import Config
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_DECISIONS

MUTABLE = (
    *("state", "label", "code", "comment", "assignee", "who", "decided_at", "snoozed_until", "due", "why"),
    *("second", "second_label", "second_by", "priority"),
)
"""What may change of an alert."""
MOMENTS = ("decided_at", "snoozed_until", "due")
DECIDES = ("decide", "supersede", "second", "golden")
"""Events that are a decision."""
OF_AN_ALERT = (*DECIDES, "undo", "snooze", "wake", "escalate", "assign", "comment")
"""Events of an alert that give it another state."""


def apply(connection: sa.Connection, config: Config, event: Event) -> None:
    """Make of the queue's tables what an event says."""
    if event.kind == "publish":
        take_in(connection, config, event)
        recount(connection, config.name)
    elif event.kind == "withdraw":
        withdraw(connection, config, event)
        recount(connection, config.name)
    elif event.kind == "deliver":
        note(connection, config, event.subject)
    elif event.kind in OF_AN_ALERT:
        here = sa.and_(REVIEW_ALERTS.c.model_name == config.name, REVIEW_ALERTS.c.key == event.subject)
        fields = {name: _read(name, value) for name, value in event.after.items() if name in MUTABLE}
        if event.kind not in ("golden", "comment"):
            connection.execute(sa.update(REVIEW_ALERTS).where(here).values(event=event.number, **fields))
            move(connection, config.name, event)
        if event.kind in DECIDES:
            _decide(connection, config, event)
        if event.kind == "undo":
            decision = sa.and_(
                REVIEW_DECISIONS.c.model_name == config.name, REVIEW_DECISIONS.c.number == event.after["undoes"]
            )
            connection.execute(sa.update(REVIEW_DECISIONS).where(decision).values(undone_by=event.number))


def _read(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if name in MOMENTS and value else value


def fields_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may change of an alert, as it is."""
    return {name: row[name] for name in MUTABLE}


def _decide(connection: sa.Connection, config: Config, event: Event) -> None:
    row = {name: event.after[name] for name in ("id", "truth")}
    row |= event.after["decision"]
    connection.execute(
        sa.insert(REVIEW_DECISIONS).values(
            model_name=config.name,
            number=event.number,
            key=event.subject,
            kind=event.kind,
            who=event.who,
            at=event.at,
            undone_by=None,
            **row,
        )
    )
