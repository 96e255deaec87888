"""What was done at the desk: rows that are only ever added, chained by their hashes, anchored once a day."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.review.people import Person
from pipeline.workspace.schema import REVIEW_ANCHORS, REVIEW_CHAINS, REVIEW_EVENTS

EventKind = Literal[
    *("publish", "withdraw", "decide", "supersede", "second", "golden", "undo", "snooze", "wake", "escalate"),
    *("assign", "comment", "unmask", "export", "login", "logout", "refuse", "user", "token"),
]
FIRST = "0" * 64
"""What stands before the first event."""
AT_A_TIME = 10_000


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing done.

    Attributes
    ----------
    number : int
        Counts from 1 in each table's chain, without gaps.
    action : int
        The number of the first event of what was done in one go, such as a bulk decision.
    kind : str
    who, address : str
    at : datetime
        UTC.
    subject : str
        What it was done to: an alert's key, a batch, a user.
    before, after : mapping
        What was changed, from what, to what.
    previous, hash : str
        SHA-256 of the event before, and of this one with it.
    """

    number: int
    action: int
    kind: EventKind
    who: str
    at: datetime
    subject: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    address: str
    previous: str
    hash: str = ""

    def digest(self) -> str:
        """Return the hash that the event must have."""
        return _digest(
            *(self.number, self.action, self.kind, self.who, self.at, self.subject),
            *(canonical(self.before), canonical(self.after), self.address, self.previous),
        )


def _digest(*parts: Any) -> str:
    texts = [part.isoformat(timespec="microseconds") if isinstance(part, datetime) else part for part in parts]
    return hashlib.sha256(canonical(texts).encode()).hexdigest()


def canonical(value: Any) -> str:
    """Return JSON that equal values have alike.

    Examples
    --------
    >>> canonical({"b": 1, "a": None})
    '{"a":null,"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_text)


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


class Journal:
    """The chain of one table within one transaction that writes: nobody else appends to it until that ends.

    Parameters
    ----------
    connection : Connection
    name : str
        `Config.name`.
    clock : callable
        Returns now, UTC; asked once the chain is held, so that moments rise along it.
    """

    def __init__(self, connection: sa.Connection, name: str, clock: Callable[[], datetime]) -> None:
        self.connection, self.name = connection, name
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        start = {"model_name": name, "number": 0, "hash": FIRST, "day": None}
        connection.execute(insert(REVIEW_CHAINS).values(start).on_conflict_do_nothing())
        query = sa.select(REVIEW_CHAINS).where(REVIEW_CHAINS.c.model_name == name).with_for_update()
        chain = connection.execute(query).one()
        self.number, self.hash, self._day = chain.number, chain.hash, chain.day
        self.at = clock()
        self._first = 0

    def append(
        self,
        kind: EventKind,
        subject: str,
        who: Person,
        *,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
    ) -> Event:
        """Add an event of this transaction's action, and return it."""
        if self._day is not None and self._day < self.at.date():
            anchor = {"model_name": self.name, "day": self._day, "number": self.number, "hash": self.hash}
            self.connection.execute(sa.insert(REVIEW_ANCHORS).values(anchor))
        number = self.number + 1
        self._first = self._first or number
        fields = {"kind": kind, "who": who.name, "at": self.at, "subject": subject, "address": who.address}
        changes = {"before": json.loads(canonical(before or {})), "after": json.loads(canonical(after or {}))}
        event = Event(number=number, action=self._first, previous=self.hash, **fields, **changes)  # type: ignore[arg-type]
        row = {**fields, "number": number, "action": self._first, "previous": self.hash, "hash": event.digest()}
        texts = {name: canonical(value) for name, value in changes.items()}
        self.connection.execute(sa.insert(REVIEW_EVENTS).values(model_name=self.name, **row, **texts))
        self.number, self.hash, self._day = number, str(row["hash"]), max(self._day or date.min, self.at.date())
        self.connection.execute(
            sa.update(REVIEW_CHAINS)
            .where(REVIEW_CHAINS.c.model_name == self.name)
            .values(number=self.number, hash=self.hash, day=self._day)
        )
        return event


def events(connection: sa.Connection, name: str, *conditions: sa.ColumnElement[bool]) -> Iterator[Event]:
    """Yield events of a table in their order, some at a time."""
    last = 0
    while True:
        query = (
            sa.select(*(column for column in REVIEW_EVENTS.c if column.name != "model_name"))
            .where(REVIEW_EVENTS.c.model_name == name, REVIEW_EVENTS.c.number > last, *conditions)
            .order_by(REVIEW_EVENTS.c.number)
            .limit(AT_A_TIME)
        )
        rows = connection.execute(query).all()
        for row in rows:
            fields = dict(row._mapping)
            yield Event(**fields | {side: json.loads(fields[side]) for side in ("before", "after")})
        if len(rows) < AT_A_TIME:
            return
        last = rows[-1].number
