"""Packets: alerts that a user takes along in one file, decides without the desk, and brings back as a signed file.

A packet carries a key of its own, which the desk works out again from its secret, the packet's id and its user: nothing
of the secret is in the packet. What comes back is signed by that key, is taken in once, and goes over nobody's head.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, Field

from pipeline.review.alert import content_of
from pipeline.review.cells import shown_cells
from pipeline.review.events import Event, canonical, events
from pipeline.review.listing import ORDERS, Line, View, conditions, hidden_columns, lines, selected
from pipeline.review.people import Person
from pipeline.review.refusals import Missing, Refusal
from pipeline.review.store import Reading, Writing
from pipeline.review.work import Action, check, obstacle, rows_of, write
from pipeline.settings.config import Config
from pipeline.settings.keys import secret_key
from pipeline.settings.pseudonyms import Pseudonyms
from pipeline.settings.review import Label
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_EVENTS, REVIEW_USERS

KEY_FILE = "packets.key"
"""In the work folder, readable by its owner only."""
MOST = 500
"""Alerts of one packet."""
DAYS = 7
"""How long after a packet was made its decisions are taken in."""


@dataclass(frozen=True)
class Carried:
    """An alert of a packet: its line, and its other cells by column, as the packet's user may see them."""

    line: Line
    cells: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Packet:
    """Alerts that a user takes along.

    Attributes
    ----------
    id : str
    user : Person
        In whose name the decisions will be.
    made_at, until : datetime
        UTC; after ``until`` its decisions are not taken in.
    key : str
        What signs the decisions; hexadecimal digits.
    alerts : tuple of Carried
    total : int
        Alerts of the view, of which the packet has the first `MOST`.
    """

    id: str
    user: Person
    made_at: datetime
    until: datetime
    key: str
    alerts: tuple[Carried, ...]
    total: int


@dataclass(frozen=True)
class Clash:
    """A decision that was not taken in: the alert's id as the person may see it, its time, and why."""

    id: str
    time: str
    why: str


@dataclass(frozen=True)
class Arrival:
    """What became of a file of decisions.

    Attributes
    ----------
    packet, user : str
    events : tuple of Event
        The decisions that were taken in.
    clashes : tuple of Clash
        Those that were not.
    """

    packet: str
    user: str
    events: tuple[Event, ...]
    clashes: tuple[Clash, ...]


class _Decision(BaseModel, extra="forbid"):
    label: Label
    code: str = Field(max_length=64)
    comment: str = Field(max_length=10_000)
    at: datetime


class _Body(BaseModel, extra="forbid"):
    packet: str = Field(pattern="[0-9a-f]{16}", max_length=16)
    decisions: dict[str, _Decision] = Field(max_length=MOST)


class _File(BaseModel, extra="forbid"):
    body: str
    signature: str = Field(pattern="[0-9a-f]{64}", max_length=64)


def key_of_packet(config: Config, packet: str, user: str) -> bytes:
    """Return the key of a packet, which only whoever has the desk's secret can work out."""
    path = Path(config.work_dir) / KEY_FILE
    secret = secret_key(path, "the desk's packets", "no packet that was made before can be brought back")
    return hmac.digest(secret, canonical(["packet", config.name, packet, user]).encode(), "sha256")


def make_packet(writing: Writing, view: View, user: str, who: Person) -> Packet:
    """Return a packet with the open alerts of a view that are nobody else's.

    Parameters
    ----------
    writing : Writing
    view : View
        Its state counts for nothing.
    user : str
    who : Person
        Who makes the packet.

    Raises
    ------
    Missing
        When there is no such user, or no such alert.
    Forbidden
        When the user may not decide.
    """
    person = _person(writing, user)
    where = [
        *conditions(writing, replace(view, state="open", start=0), person),
        REVIEW_ALERTS.c.assignee.in_(("", user)),
    ]
    rows = [
        row._asdict() for row in writing.connection.execute(selected(where).order_by(*ORDERS[view.sort]).limit(MOST))
    ]
    if not rows:
        raise Missing("no open alert is like that, and a packet without alerts is of no use; choose another view")
    counted = sa.select(sa.func.count()).select_from(REVIEW_ALERTS).where(*where)
    packet, until = secrets.token_hex(8), writing.at + timedelta(days=DAYS)
    seen = {row["key"]: row["event"] for row in rows}
    after = {"user": user, "role": person.role, "until": until, "seen": seen}
    writing.journal.append("packet", packet, who, after=after)
    hidden, pseudonyms = hidden_columns(writing, person), Pseudonyms(writing.config.work_dir)
    carried = []
    for line in lines(writing, rows, person):
        cells = shown_cells(content_of(writing, line.key)["cells"], writing.config, hidden, pseudonyms)
        carried.append(Carried(line, _others(cells, writing.config)))
    return Packet(
        id=packet,
        user=person,
        made_at=writing.at,
        until=until,
        key=key_of_packet(writing.config, packet, user).hex(),
        alerts=tuple(carried),
        total=writing.connection.scalar(counted) or 0,
    )


def _others(cells: Mapping[str, str], config: Config) -> dict[str, str]:
    contract = config.contract
    order = [name for name in contract.columns if name in cells]
    order += [name for name in cells if name not in order]
    return {name: cells[name] for name in order if name not in (contract.id, contract.timestamp, contract.amount)}


def _person(reading: Reading, name: str) -> Person:
    """Return a user as a person who may decide.

    Raises
    ------
    Missing, Forbidden
    """
    here = (REVIEW_USERS.c.name == name, REVIEW_USERS.c.ended_at.is_(None))
    role = reading.connection.scalar(sa.select(REVIEW_USERS.c.role).where(*here))
    if role is None:
        raise Missing(f"there is no user {name!r} who may log in; add one with: assay user add {name}")
    person = Person(name, role)
    person.need("decide")
    return person


def take_packet(writing: Writing, text: str, who: Person) -> Arrival:
    """Take in the decisions of a packet, in the name of its user; those that come too late are left out and told.

    Parameters
    ----------
    writing : Writing
    text : str
        Of the file that the packet's page gave.
    who : Person
        Who brings it.

    Raises
    ------
    Refusal
        When the file is none, was changed, is of no packet of this desk, was taken in before, or comes too late.
    Forbidden
        When the packet is somebody else's, and whoever brings it is no admin.
    """
    try:
        file = _File.model_validate_json(text)
        body = _Body.model_validate_json(file.body)
    except ValueError:
        raise Refusal("this is no file of decisions as a packet's page gives it; save it from the page again") from None
    packet = _checked(writing, file, body.packet)
    if packet.after["user"] != who.name:
        who.need("people")
    user, seen = _person(writing, packet.after["user"]), packet.after["seen"]
    for key in body.decisions:
        if key not in seen:
            raise Refusal(f"the file decides {key[:40]!r}, which packet {body.packet} has not; nothing was taken in")
    decisions = {
        key: (Action(kind="decide", **part.model_dump(exclude={"at"})), {"packet": body.packet, "made_at": part.at})
        for key, part in body.decisions.items()
    }
    done, left = _decide(writing, decisions, seen=seen, user=user)
    rows = rows_of(writing, list(left))
    told = lines(writing, [rows[key] for key in left], who)
    writing.journal.append(
        "import", body.packet, who, after={"user": user.name, "decided": len(done), "left_out": left}
    )
    clashes = [Clash(line.id, line.time, why) for line, why in zip(told, left.values(), strict=True)]
    return Arrival(body.packet, user.name, done, tuple(clashes))


def _checked(reading: Reading, file: _File, packet: str) -> Event:
    """Return the event by which a packet was made, if its file of decisions may be taken in."""
    here = (REVIEW_EVENTS.c.subject == packet, REVIEW_EVENTS.c.kind.in_(("packet", "import")))
    past = {event.kind: event for event in events(reading.connection, reading.name, *here)}
    made, first = past.get("packet"), past.get("import")
    if made is None:
        raise Refusal(f"the desk of {reading.name!r} has made no packet {packet!r}; take the file to the desk that did")
    key = key_of_packet(reading.config, packet, made.after["user"])
    if not hmac.compare_digest(hmac.digest(key, file.body.encode(), "sha256").hex(), file.signature):
        raise Refusal(
            "the file is not as the packet's page wrote it; nothing was taken in; save it from the page again"
        )
    if first is not None:
        raise Refusal(
            f"packet {packet} was brought back on {first.at:%Y-%m-%d at %H:%M} UTC by {first.who} already, and that is "
            "done once; decide what has come since at the desk"
        )
    if datetime.fromisoformat(made.after["until"]) < reading.at:
        raise Refusal(
            f"packet {packet} ended on {made.after['until'][:10]}, {DAYS} days after it was made; make another"
        )
    return made


def _decide(
    writing: Writing,
    decisions: Mapping[str, tuple[Action, Mapping[str, Any]]],
    *,
    seen: Mapping[str, int],
    user: Person,
) -> tuple[tuple[Event, ...], dict[str, str]]:
    """Write the decisions that nothing stands against; return their events, and why others were left out, by key."""
    rows, done, left = rows_of(writing, list(decisions)), [], {}
    for key, (action, note) in decisions.items():
        row = rows[key]
        try:
            check(action, user, writing.config.review, writing.at)
            why = obstacle(row, action, user, writing.at, supersede=False)
        except Refusal as refusal:
            why = str(refusal)
        if not why and row["event"] != seen[key]:
            why = "the alert has changed since the packet was made"
        if why:
            left[key] = why
        else:
            done.append(write(writing, row, action, user, note=note))
    return tuple(done), left
