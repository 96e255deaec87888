"""What was done at the desk: rows that are only ever added, chained by their hashes, anchored once a day."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.review.people import Person
from pipeline.workspace.schema import REVIEW_ANCHORS, REVIEW_CHAINS, REVIEW_EVENTS

EventKind = Literal[
    "publish",
    "withdraw",
    "deliver",
    "decide",
    "supersede",
    "second",
    "golden",
    "undo",
    "snooze",
    "wake",
    "escalate",
    "assign",
    "comment",
    "unmask",
    "export",
    "packet",
    "import",
    "webhook",
    "login",
    "logout",
    "refuse",
    "user",
    "token",
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
        event = Event(
            number=number,
            action=self._first,
            kind=kind,
            who=who.name,
            at=self.at,
            subject=subject,
            before=json.loads(canonical(before or {})),
            after=json.loads(canonical(after or {})),
            address=who.address[:64],
            previous=self.hash,
        )
        event = replace(event, hash=event.digest())
        texts = {"before": canonical(event.before), "after": canonical(event.after)}
        self.connection.execute(sa.insert(REVIEW_EVENTS).values({**vars(event), **texts, "model_name": self.name}))
        self.number, self.hash, self._day = number, event.hash, max(self._day or date.min, self.at.date())
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


@dataclass(frozen=True)
class Verdict:
    """What came of walking a chain.

    Attributes
    ----------
    number : int
        Events in it.
    hash : str
        Of the last one; noted elsewhere, it shows later whether all up to there is as it was.
    fault : str
        The first thing that is wrong, in a sentence; empty for nothing.
    """

    number: int
    hash: str
    fault: str


def verify(connection: sa.Connection, name: str, head: tuple[int, str] | None = None) -> Verdict:
    """Walk a table's chain, and name the first event that was changed, removed or put elsewhere.

    Parameters
    ----------
    connection : Connection
    name : str
    head : (int, str), optional
        Number and hash of an event that were noted elsewhere.
    """
    noted = {
        row.number: (f"the anchor of {row.day}", row.hash) for row in connection.execute(_of(REVIEW_ANCHORS, name))
    }
    noted |= {row.number: ("the chain", row.hash) for row in connection.execute(_of(REVIEW_CHAINS, name)) if row.number}
    noted |= {head[0]: ("what was noted elsewhere", head[1])} if head else {}
    number, last = 0, FIRST
    for event in events(connection, name):
        fault = _fault(event, number + 1, last)
        source, expected = noted.pop(event.number, ("", event.hash))
        if not fault and expected != event.hash:
            fault = f"event {event.number:,} is not the one that {source} names: the chain was written anew up to it"
        if fault:
            return Verdict(number, last, fault)
        number, last = event.number, event.hash
    ahead = [each for each in noted if each > number]
    if ahead:
        source = noted[max(ahead)][0]
        text = f"event {number + 1:,} and what came after it were removed: {source} names event {max(ahead):,}"
        return Verdict(number, last, text)
    return Verdict(number, last, "")


def _of(table: sa.Table, name: str) -> sa.Select[Any]:
    return sa.select(table).where(table.c.model_name == name)


def _fault(event: Event, number: int, previous: str) -> str:
    """Return what is wrong with an event that should have a number and follow another one; empty for nothing."""
    what = f"({event.kind} of {event.subject} by {event.who} at {event.at:%Y-%m-%d %H:%M:%S} UTC)"
    if event.number != number:
        return f"event {number:,} was removed: event {event.number:,} {what} is the next"
    if event.hash != event.digest():
        return f"event {number:,} {what} was changed: its hash is another one"
    if event.previous != previous:
        return f"event {number:,} {what} does not follow the one before it: events were put elsewhere or written anew"
    return ""
