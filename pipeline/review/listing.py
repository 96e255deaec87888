"""The queue as a list: filters, order, search and counts, all of them asked of the database."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from pipeline.review.cells import Reason, shown_cells, shown_reasons
from pipeline.review.keys import key_of
from pipeline.review.people import Person, decider
from pipeline.review.store import Reading
from pipeline.settings.pseudonyms import Pseudonyms
from pipeline.settings.titles import unit
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_LOCKS, REVIEW_ROWS, REVIEW_VALUES

ORDERS = {
    "score": (REVIEW_ALERTS.c.score.desc(), REVIEW_ALERTS.c.key.desc()),
    "risk": (REVIEW_ALERTS.c.risk.desc(), REVIEW_ALERTS.c.key.desc()),
    "age": (REVIEW_ALERTS.c.at, REVIEW_ALERTS.c.key),
}
LOCK = sa.and_(REVIEW_LOCKS.c.model_name == REVIEW_ALERTS.c.model_name, REVIEW_LOCKS.c.key == REVIEW_ALERTS.c.key)
WAIT = ("open", "escalated")
"""States in which an alert has a due time."""
SOON = 0.25
"""Share of the time that an alert has at which it is nearly late."""
FEW = 1_000
"""Alerts with a value that are named one by one."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What part of the queue is looked at, and in which order; all of it can stand in an address.

    Attributes
    ----------
    sort : {"score", "risk", "age"}
        Highest score first; most money at risk first; oldest first.
    state : str
        "open", "snoozed", "escalated", "decided" or "withdrawn"; "" for all. "late" are those open past their due time,
        "soon" those with less than a quarter of their time left, "disputed" decided ones for which another label was
        delivered.
    priority : {"", "urgent", "normal"}
        "" for all.
    first_day, last_day : date or None
        Of the transaction, in the table's time zone; both included.
    batch, version, assignee, decided_by, label, reason : str
        "" for all. ``reason`` is the column of the first reason.
    column, value : str
        An entity or a category, and what it is: a segment, or all alerts of one customer. Any of them where the column
        is "", all alerts where the value is.
    least, most : float or None
        Of the amount; both included.
    search : str
        An id, or a value of any entity.
    start, limit : int
        Which of the alerts are shown.
    after, before : str
        The key of the alert that the shown ones come right after, or right before; ``start`` is then only their number.
    """

    sort: Literal["score", "risk", "age"] = "score"
    state: str = "open"
    priority: Literal["", "urgent", "normal"] = ""
    first_day: date | None = None
    last_day: date | None = None
    batch: str = ""
    version: str = ""
    assignee: str = ""
    decided_by: str = ""
    label: str = ""
    reason: str = ""
    column: str = ""
    value: str = ""
    least: float | None = None
    most: float | None = None
    search: str = ""
    start: int = 0
    limit: int = 50
    after: str = ""
    before: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One alert of the list, with what the person may see of it.

    Attributes
    ----------
    key : str
        Names the alert in addresses and calls; 20 hexadecimal digits.
    id, time, amount : str
        Ready to show; ``time`` in the table's zone.
    unit : str
        Of the amount, where it is shown; "" for none.
    keys : tuple of (str, str)
        Entities and categories, by column, ready to show.
    entity : str
        What stands for the value that makes a case.
    score, p_value : float
        Of an audited row, those of an alert of its batch: it is not told from one.
    risk : float
        Money at risk.
    batch, version : str
    state, label, code, assignee, decided_by : str
        ``label`` is "fraud", "not_fraud", "unsure" or "". ``decided_by`` is "" for a colleague of whoever is no lead.
    at, decided_at, snoozed_until, due : datetime or None
        UTC.
    why : str
        Of escalation, snooze or withdrawal.
    held_by : str
        Who holds it now, other than the person; "" for nobody.
    event : int
        The alert's last event: what a decision is made on the strength of.
    reasons : tuple of Reason
    alerts_of_entity, frauds_of_entity : int
        Alerts of its entity in the desk, this one among them, and those of them that are confirmed frauds.
    priority : {"urgent", "normal"}
    is_late, is_soon : bool
        Open past its due time; or with less than a quarter of its time left.
    """

    key: str
    id: str
    time: str
    amount: str
    unit: str
    keys: tuple[tuple[str, str], ...]
    entity: str
    score: float
    p_value: float
    risk: float
    batch: str
    version: str
    state: str
    label: str
    code: str
    assignee: str
    decided_by: str
    at: datetime
    decided_at: datetime | None
    snoozed_until: datetime | None
    due: datetime | None
    why: str
    held_by: str
    event: int
    reasons: tuple[Reason, ...]
    alerts_of_entity: int
    frauds_of_entity: int
    priority: str
    is_late: bool
    is_soon: bool


def selected(where: Iterable[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    """Return the query of alerts and who holds them."""
    holds = (REVIEW_LOCKS.c.who.label("holder"), REVIEW_LOCKS.c.until.label("held_until"), REVIEW_LOCKS.c.again)
    return sa.select(REVIEW_ALERTS, *holds).select_from(REVIEW_ALERTS.outerjoin(REVIEW_LOCKS, LOCK)).where(*where)


def conditions(reading: Reading, view: View, who: Person) -> list[sa.ColumnElement[bool]]:
    """Return what an alert of the view fulfils.

    Raises
    ------
    Forbidden
        When the view is of what a colleague decided, and only a lead may see that.
    """
    if view.decided_by and not decider(view.decided_by, who):
        who.need("lead")
    alerts = REVIEW_ALERTS.c
    parts = [alerts.model_name == reading.name]
    if view.state == "late":
        parts += [alerts.state.in_(WAIT), alerts.due < reading.at]
    elif view.state == "soon":
        parts += [alerts.state.in_(WAIT), is_soon(reading)]
    elif view.state == "disputed":
        parts += [alerts.state == "decided", alerts.label != "unsure"]
        parts += [alerts.delivered != "", alerts.delivered != alerts.label]
    elif view.state:
        parts.append(alerts.state == view.state)
    equal = (
        *((alerts.batch_id, view.batch), (alerts.model_version, view.version), (alerts.who, view.decided_by)),
        *((alerts.label, view.label), (alerts.reason, view.reason), (alerts.priority, view.priority)),
    )
    parts += [column == value for column, value in equal if value]
    if view.assignee:
        mine = alerts.assignee == view.assignee
        few = _few(reading, sa.select(alerts.key).where(alerts.model_name == reading.name, mine))
        parts.append(mine if few is None else alerts.key.in_(few))
    parts += [alerts.day >= view.first_day] if view.first_day else []
    parts += [alerts.day <= view.last_day] if view.last_day else []
    if reading.config.contract.amount not in hidden_columns(reading, who):
        parts += [alerts.amount >= view.least] if view.least is not None else []
        parts += [alerts.amount <= view.most] if view.most is not None else []
    if view.value:
        names = [view.column] if view.column else reading.config.contract.key_columns[1:]
        parts.append(_having(reading, names, view.value, who))
    if view.search.strip():
        text = view.search.strip()
        is_hidden = reading.config.contract.id in hidden_columns(reading, who)
        of_id = [] if is_hidden else [key_of(reading.name, text)]
        parts.append(_having(reading, reading.config.contract.entities, text, who, of_id=of_id))
    return parts


def is_soon(reading: Reading) -> sa.ColumnElement[bool]:
    """Return that an alert is nearly late: less than a quarter of its time is left."""
    alerts, settings = REVIEW_ALERTS.c, reading.config.review
    ends = {"urgent": settings.due_hours_urgent, "normal": settings.due_hours}
    soon = [
        sa.and_(
            alerts.priority == priority,
            alerts.due.between(reading.at, reading.at + timedelta(hours=hours * SOON)),
        )
        for priority, hours in ends.items()
    ]
    return sa.or_(*soon)


def hidden_columns(reading: Reading, who: Person) -> frozenset[str]:
    """Return the sensitive columns that a person may not see in clear."""
    return (
        frozenset() if who.role in reading.config.review.clear_roles else frozenset(reading.config.contract.sensitive)
    )


def _having(
    reading: Reading, names: Sequence[str], value: str, who: Person, *, of_id: Sequence[str] = ()
) -> sa.ColumnElement[bool]:
    """Return that an alert has a value in one of some columns, or one of some keys."""
    values = REVIEW_VALUES.c
    open_to = [] if who.role in reading.config.review.clear_roles else [values.secret.is_(False)]
    here = [
        values.model_name == reading.name,
        values.name.in_([name[:255] for name in names]),
        values.value == value[:255],
        *open_to,
    ]
    few = _few(reading, sa.select(values.key).where(*here))
    if few is not None:
        return REVIEW_ALERTS.c.key.in_([*few, *of_id])
    # Not EXISTS, of which PostgreSQL makes a join that reads all of the many before the first row is there.
    one = sa.select(values.key).where(*here, values.key == REVIEW_ALERTS.c.key).limit(1)
    return one.correlate(REVIEW_ALERTS).scalar_subquery().is_not(None)


def _few(reading: Reading, keys: sa.Select[Any]) -> list[str] | None:
    """Return the keys of a query if they are few; None if they are many.

    Few are named one by one, which the database looks up; of many, each row is asked in the view's order, until the
    page is full. The other way round, either is slow by a hundred times.
    """
    some = list(reading.connection.scalars(keys.limit(FEW + 1)))
    return some if len(some) <= FEW else None


def lines(reading: Reading, rows: Sequence[Mapping[str, Any]], who: Person) -> tuple[Line, ...]:
    """Return rows of the queue as a person may see them."""
    keys = [row["key"] for row in rows]
    query = sa.select(REVIEW_ROWS.c.key, REVIEW_ROWS.c.content).where(
        REVIEW_ROWS.c.model_name == reading.name, REVIEW_ROWS.c.key.in_(keys)
    )
    contents = {key: json.loads(content) for key, content in reading.connection.execute(query)}
    past = _of_entities(reading, {row["entity"] for row in rows if row["entity"]})
    pseudonyms = Pseudonyms(reading.config.work_dir)
    return tuple(
        _line(row, contents[row["key"]], past.get(row["entity"], (1, 0)), (reading, who, pseudonyms)) for row in rows
    )


def _of_entities(reading: Reading, entities: set[str]) -> dict[str, tuple[int, int]]:
    """Return how many alerts, and confirmed frauds among them, each entity has."""
    frauds = sa.func.sum(sa.case((REVIEW_ALERTS.c.label == "fraud", 1), else_=0))
    query = (
        sa.select(REVIEW_ALERTS.c.entity, sa.func.count(), frauds)
        .where(REVIEW_ALERTS.c.model_name == reading.name, REVIEW_ALERTS.c.entity.in_(sorted(entities)))
        .group_by(REVIEW_ALERTS.c.entity)
    )
    return {entity: (count, fraud) for entity, count, fraud in reading.connection.execute(query)}


def _line(
    row: Mapping[str, Any],
    content: Mapping[str, Any],
    past: tuple[int, int],
    context: tuple[Reading, Person, Pseudonyms],
) -> Line:
    reading, who, pseudonyms = context
    contract = reading.config.contract
    hidden = hidden_columns(reading, who)
    cells = shown_cells(content["cells"], reading.config, hidden, pseudonyms)
    label = row["label"]
    row = blind(row, who, reading.at)
    settings, is_open = reading.config.review, row["state"] in WAIT and row["due"] is not None
    hours = settings.due_hours_urgent if row["priority"] == "urgent" else settings.due_hours
    left = row["due"] - reading.at if is_open else timedelta.max
    is_held = row["holder"] and row["holder"] != who.name and row["held_until"] > reading.at
    return Line(
        key=row["key"],
        id=cells[contract.id],
        time=cells[contract.timestamp],
        amount=cells[contract.amount],
        unit="" if contract.amount in hidden else unit(contract.amount, reading.config),
        keys=tuple((name, cells[name]) for name in contract.key_columns[1:] if name in cells),
        entity=cells.get(reading.config.review.entity or next(iter(contract.entities), ""), ""),
        **{name: row[name] for name in ("score", "p_value", "risk", "state", "label", "code", "assignee", "at", "why")},
        **{name: row[name] for name in ("decided_at", "snoozed_until", "due", "event")},
        batch=row["batch_id"],
        version=row["model_version"],
        decided_by=decider(row["who"], who),
        held_by=row["holder"] if is_held else "",
        reasons=shown_reasons(content, reading.config, hidden),
        alerts_of_entity=past[0],
        frauds_of_entity=past[1] - (label == "fraud" and not row["label"]),
        priority=row["priority"],
        is_late=left < timedelta(),
        is_soon=timedelta() <= left <= timedelta(hours=hours * SOON),
    )


def blind(row: Mapping[str, Any], who: Person, now: datetime) -> Mapping[str, Any]:
    """Return a row as a second reviewer sees it while holding it: undecided."""
    if not (row["again"] and row["holder"] == who.name and row["held_until"] > now):
        return row
    open_again = {"state": "open", "label": "", "code": "", "comment": "", "who": "", "decided_at": None, "due": None}
    return {**row, **open_again}
