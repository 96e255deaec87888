"""What is done to alerts: decided, put off, passed on, taken back; each an event, none over another's head."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from pipeline.review.events import Event, EventKind, events
from pipeline.review.listing import selected
from pipeline.review.people import COLLEAGUE, Person, decider
from pipeline.review.refusals import Conflict, Missing, Refusal
from pipeline.review.state import OF_AN_ALERT, apply, fields_of
from pipeline.review.store import Reading, Writing
from pipeline.settings.review import Label, ReviewConfig
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_BATCHES, REVIEW_EVENTS, REVIEW_LOCKS

LOOKED_BACK = 2_000
"""Events of a person among which the action to undo is looked for."""
AT_ONCE = 5_000
"""Alerts of a bulk action, at most."""
WORDS = {"fraud": "fraud", "not_fraud": "not fraud", "unsure": "unsure"}


@dataclass(frozen=True, kw_only=True)
class Action:
    """What is to be done to one alert or several.

    Attributes
    ----------
    kind : {"decide", "snooze", "escalate", "assign", "comment"}
    label : {"fraud", "not_fraud", "unsure"}
        Of a decision.
    code, comment : str
        Reason code of a decision; a comment of a decision, or for itself.
    until : datetime or None
        UTC; until when it is put off.
    assignee : str
        Who it goes to; "" for anybody.
    why : str
        Of escalation or snooze.
    """

    kind: Literal["decide", "snooze", "escalate", "assign", "comment"]
    label: Label | Literal[""] = ""
    code: str = ""
    comment: str = ""
    until: datetime | None = None
    assignee: str = ""
    why: str = ""


@dataclass(frozen=True)
class Done:
    """What was done.

    Attributes
    ----------
    sentence : str
        For the live region.
    events : tuple of Event
        One an alert.
    """

    sentence: str
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Preview:
    """What a bulk action would do.

    Attributes
    ----------
    sentence : str
    numbers : mapping of str to int
        The alerts that it would action, with their last events: what `act` takes.
    refused : mapping of str to str
        By key, why an alert would be left out.
    """

    sentence: str
    numbers: Mapping[str, int]
    refused: Mapping[str, str]


def rows_of(reading: Reading, keys: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return alerts by key.

    Raises
    ------
    Missing
        When one is not there.
    """
    if len(keys) > AT_ONCE:
        raise Refusal(f"{len(keys):,} alerts are more than the {AT_ONCE:,} that one action changes; filter further")
    query = selected([REVIEW_ALERTS.c.model_name == reading.name, REVIEW_ALERTS.c.key.in_(list(keys))])
    rows: dict[str, Mapping[str, Any]] = {row.key: row._asdict() for row in reading.connection.execute(query)}
    for key in keys:
        if key not in rows:
            raise Missing(f"there is no alert {key!r} in the queue of {reading.name!r}; look for it by its id")
    return rows


def check(action: Action, who: Person, settings: ReviewConfig, at: datetime) -> None:
    """Refuse a change that nobody could make to any alert.

    Raises
    ------
    Forbidden, Refusal
    """
    who.need("decide")
    if action.kind == "assign" and action.assignee != who.name:
        who.need("assign others")
    if action.kind == "snooze" and (action.until is None or action.until <= at):
        raise Refusal("an alert is put off until a moment that is still to come; name a later date")
    if action.kind == "comment" and not action.comment.strip():
        raise Refusal("the comment is empty; write one")
    if action.kind != "decide":
        return
    if action.label not in WORDS:
        raise Refusal(f"a decision is fraud, not_fraud or unsure, and {action.label!r} is none of them")
    if action.code and action.code not in settings.codes:
        codes = ", ".join(settings.codes) or "none; add some to review.codes"
        raise Refusal(f"{action.code!r} is no reason code of this table; its codes are {codes}")
    words = WORDS[action.label]
    if action.label in settings.code_needed and not action.code:
        raise Refusal(f"a decision of {words!r} needs a reason code: {', '.join(settings.codes)}")
    if action.label in settings.comment_needed and not action.comment.strip():
        raise Refusal(f"a decision of {words!r} needs a comment; write one")


def obstacle(row: Mapping[str, Any], action: Action, who: Person, at: datetime, *, supersede: bool) -> str:
    """Return why an alert can't be changed so, in a sentence; empty where it can."""
    again = row["again"] and row["holder"] == who.name and row["held_until"] > at
    if action.kind == "comment" or (again and action.kind == "decide"):
        return ""
    if row["state"] == "withdrawn":
        return f"the alert was withdrawn: {row['why']}"
    if row["state"] == "escalated" and action.kind == "decide" and not who.may("lead"):
        return "the alert was escalated, and a lead decides it"
    if row["state"] == "decided" and action.kind == "decide" and not supersede:
        return (
            f"{decider(row['who'], who) or COLLEAGUE} has decided {WORDS[row['label']]!r}; supersede that, or leave it"
        )
    if row["state"] == "decided" and action.kind in ("snooze", "escalate"):
        return f"{decider(row['who'], who) or COLLEAGUE} has decided {WORDS[row['label']]!r} already"
    is_held = row["holder"] and row["holder"] != who.name and row["held_until"] > at
    if is_held and not supersede and action.kind != "assign":
        return f"{row['holder']} holds the alert until {row['held_until']:%H:%M} UTC"
    return ""


def act(writing: Writing, numbers: Mapping[str, int], action: Action, who: Person, *, supersede: bool) -> Done:
    """Action alerts, all of them or none."""
    check(action, who, writing.config.review, writing.at)
    if len(numbers) > 1:
        who.need("bulk")
    rows = rows_of(writing, list(numbers))
    changes = []
    for key, event in numbers.items():
        row = rows[key]
        why = obstacle(row, action, who, writing.at, supersede=supersede)
        if why:
            raise Conflict(why, key, row["event"])
        if event != row["event"] and not supersede and action.kind != "comment":
            raise Conflict("the alert has changed since it was read; look at it again", key, row["event"])
        changes.append(write(writing, row, action, who))
    return Done(_sentence(action, changes), tuple(changes))


def preview(reading: Reading, keys: Sequence[str], action: Action, who: Person) -> Preview:
    """Return what a bulk action would do."""
    check(action, who, reading.config.review, reading.at)
    rows = rows_of(reading, keys)
    refused = {key: obstacle(rows[key], action, who, reading.at, supersede=False) for key in keys}
    refused = {key: why for key, why in refused.items() if why}
    numbers = {key: rows[key]["event"] for key in keys if key not in refused}
    text = f"{_verb(action)} {len(numbers):,} {'alert' if len(numbers) == 1 else 'alerts'}"
    left = f"; {len(refused):,} {'is' if len(refused) == 1 else 'are'} left out" if refused else ""
    return Preview(text + left, numbers, refused)


def _verb(action: Action) -> str:
    verbs = {"escalate": "escalate", "assign": f"assign to {action.assignee or 'nobody'}", "comment": "comment on"}
    if action.kind == "decide":
        return f"decide {WORDS[action.label]!r} for"
    return f"put off until {action.until:%Y-%m-%d %H:%M} UTC" if action.kind == "snooze" else verbs[action.kind]


def _sentence(action: Action, changes: Sequence[Event]) -> str:
    count = f"{len(changes):,} {'alert' if len(changes) == 1 else 'alerts'}"
    if action.kind == "decide":
        return f"{count}: {WORDS[action.label]}"
    words = {"escalate": "escalated to a lead", "assign": f"assigned to {action.assignee or 'nobody'}"}
    if action.kind == "snooze":
        return f"{count}: put off until {action.until:%Y-%m-%d %H:%M} UTC"
    return f"{count}: {words.get(action.kind, 'comment added')}"


def write(
    writing: Writing, row: Mapping[str, Any], action: Action, who: Person, *, note: Mapping[str, Any] | None = None
) -> Event:
    """Write the event of one alert's change and what it makes of the queue; ``note`` is what else the event says."""
    again = row["again"] if row["again"] and row["holder"] == who.name and row["held_until"] > writing.at else ""
    kind, after = _after(writing, row, action, who, again=again)
    before = {name: value for name, value in fields_of(row).items() if name in after}
    event = writing.journal.append(kind, row["key"], who, before=before, after={**after, **(note or {})})
    apply(writing.connection, writing.config, event)
    if action.kind != "comment":
        release(writing, row["key"])
    return event


def _after(
    writing: Writing, row: Mapping[str, Any], action: Action, who: Person, *, again: str
) -> tuple[EventKind, dict[str, Any]]:
    """Return the kind of the event of a action, and what it says."""
    hours = writing.config.review.due_hours_urgent
    if action.kind == "snooze":
        return "snooze", {"state": "snoozed", "snoozed_until": action.until, "why": action.why}
    if action.kind == "escalate":
        due = writing.at + timedelta(hours=hours)
        with_a_lead = {"state": "escalated", "assignee": "", "snoozed_until": None, "priority": "urgent", "due": due}
        return "escalate", {**with_a_lead, "why": action.why}
    if action.kind == "assign":
        return "assign", {"assignee": action.assignee}
    if action.kind == "comment":
        return "comment", {"text": action.comment}
    decision = {"label": action.label, "code": action.code}
    decided = {"id": row["id"], "decision": decision, "truth": ""}
    if again == "golden":
        return "golden", {**decided, "truth": row["delivered"] or row["label"], "text": action.comment}
    if again == "second":
        differs = {"state": "escalated", "why": "two analysts differ"} if action.label != row["label"] else {}
        second = {"second": "done", "second_label": action.label, "second_by": who.name}
        return "second", {**decided, **second, **differs, "truth": row["label"], "text": action.comment}
    share = int(hashlib.sha256(row["key"].encode()).hexdigest()[:8], 16) / 16**8
    is_first = row["state"] != "decided" and not row["label"]
    state: dict[str, Any] = {"state": "decided", "label": action.label, "code": action.code, "comment": action.comment}
    state |= {"who": who.name, "decided_at": writing.at, "snoozed_until": None}
    state |= {"second": "due" if share < writing.config.review.second_share and is_first else row["second"]}
    return "decide" if is_first else "supersede", {**decided, **state}


def undo(writing: Writing, who: Person) -> Done:
    """Take back the person's last action, as new events."""
    who.need("decide")
    last = _last_action(writing, who)
    if not last:
        raise Missing(f"there is nothing that {who.name} could take back")
    keys = [event.subject for event in last]
    rows = rows_of(writing, keys)
    for event in last:
        if event.kind != "golden" and rows[event.subject]["event"] != event.number:
            raise Conflict(
                "the alert has changed since, so that this can't be taken back; decide it again",
                event.subject,
                rows[event.subject]["event"],
            )
    changes = []
    for event in last:
        before = {name: value for name, value in fields_of(rows[event.subject]).items() if name in event.before}
        after = {**event.before, "undoes": event.number}
        if after.get("state") == "open" and _is_withdrawn(writing, rows[event.subject]):
            after |= {"state": "withdrawn", "why": "its batch was replaced"}
        taken_back = writing.journal.append("undo", event.subject, who, before=before, after=after)
        apply(writing.connection, writing.config, taken_back)
        changes.append(taken_back)
    count = f"{len(changes):,} {'alert' if len(changes) == 1 else 'alerts'}"
    return Done(f"taken back: {last[0].kind} of {count}", tuple(changes))


def _is_withdrawn(writing: Writing, row: Mapping[str, Any]) -> bool:
    here = [REVIEW_BATCHES.c[name] == row[name] for name in ("model_name", "batch_id", "model_version")]
    return writing.connection.scalar(sa.select(REVIEW_BATCHES.c.status).where(*here)) == "withdrawn"


def _last_action(writing: Writing, who: Person) -> list[Event]:
    """Return the events of the last thing that a person did to alerts and has not taken back."""
    mine = sa.and_(REVIEW_EVENTS.c.model_name == writing.name, REVIEW_EVENTS.c.who == who.name)
    kinds = REVIEW_EVENTS.c.kind.in_([kind for kind in OF_AN_ALERT if kind not in ("comment", "wake")])
    newest = (
        sa.select(REVIEW_EVENTS.c.number, REVIEW_EVENTS.c.action, REVIEW_EVENTS.c.kind, REVIEW_EVENTS.c.after)
        .where(mine, kinds)
        .order_by(REVIEW_EVENTS.c.number.desc())
        .limit(LOOKED_BACK)
    )
    undone: set[int] = set()
    for row in writing.connection.execute(newest):
        if row.kind == "undo":
            undone.add(json.loads(row.after)["undoes"])
        elif row.number not in undone:
            return list(events(writing.connection, writing.name, REVIEW_EVENTS.c.action == row.action, kinds))
    return []


def hold(writing: Writing, key: str, who: Person, again: str = "") -> datetime:
    """Hold an alert for a person, and return until when.

    Raises
    ------
    Conflict
        When somebody else holds it.
    """
    row = rows_of(writing, [key])[key]
    if row["holder"] and row["holder"] != who.name and row["held_until"] > writing.at:
        raise Conflict(f"{row['holder']} holds the alert until {row['held_until']:%H:%M} UTC", key, row["event"])
    until = writing.at + timedelta(minutes=writing.config.review.lock_minutes)
    mine = row["holder"] == who.name and row["held_until"] > writing.at
    release(writing, key)
    values = {"model_name": writing.name, "key": key, "who": who.name, "until": until}
    again = again or (row["again"] if mine else "")
    writing.connection.execute(sa.insert(REVIEW_LOCKS).values(**values, again=again or ""))
    return until


def release(writing: Writing, key: str, who: Person | None = None) -> None:
    """Let an alert go; that of a person, where one is named."""
    mine = [REVIEW_LOCKS.c.who == who.name] if who else []
    here = (REVIEW_LOCKS.c.model_name == writing.name, REVIEW_LOCKS.c.key == key)
    writing.connection.execute(sa.delete(REVIEW_LOCKS).where(*here, *mine))


def sleepers(reading: Reading) -> bool:
    """Whether an alert was put off until now or earlier."""
    query = sa.select(REVIEW_ALERTS.c.key).where(*_due(reading)).limit(1)
    return reading.connection.scalar(query) is not None


def _due(reading: Reading) -> tuple[sa.ColumnElement[bool], ...]:
    alerts = REVIEW_ALERTS.c
    return alerts.model_name == reading.name, alerts.state == "snoozed", alerts.snoozed_until <= reading.at


def wake(writing: Writing, who: Person) -> int:
    """Open the alerts again that were put off until now, and return how many."""
    query = selected(_due(writing)).order_by(REVIEW_ALERTS.c.key)
    rows = [row._asdict() for row in writing.connection.execute(query)]
    for row in rows:
        after = {"state": "open", "snoozed_until": None}
        before = {name: row[name] for name in after}
        apply(
            writing.connection,
            writing.config,
            writing.journal.append("wake", row["key"], who, before=before, after=after),
        )
    return len(rows)
