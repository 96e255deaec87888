"""The next alert: the best one that nobody holds, and now and then one that was decided before."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.review.listing import LOCK, ORDERS, View, conditions
from pipeline.review.people import Person
from pipeline.review.store import Reading
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_DECISIONS, REVIEW_LOCKS

AHEAD = 1.5
"""How much oftener than they come up second reviews are handed out, so that they do not pile up."""


def best(reading: Reading, view: View, who: Person, beside: Collection[str] = ()) -> str | None:
    """Return the best open alert of a view that nobody else holds or has been assigned; None without one.

    Whoever may decide what was escalated gets that first.
    """
    if view.state == "open" and who.may("lead"):
        escalated = _first(reading, replace(view, state="escalated"), who, beside)
        if escalated:
            return escalated
    return _first(reading, view, who, beside)


def _first(reading: Reading, view: View, who: Person, beside: Collection[str]) -> str | None:
    where = [
        *conditions(reading, view, who),
        REVIEW_ALERTS.c.assignee.in_(("", who.name)),
        REVIEW_ALERTS.c.key.not_in(list(beside)),
        _is_free(who, reading.at),
    ]
    query = sa.select(REVIEW_ALERTS.c.key).where(*where).order_by(*ORDERS[view.sort]).limit(1)
    key: str | None = reading.connection.scalar(query)
    return key


def _is_free(who: Person, at: datetime) -> sa.ColumnElement[bool]:
    holds = sa.select(REVIEW_LOCKS.c.key).where(LOCK, REVIEW_LOCKS.c.until > at, REVIEW_LOCKS.c.who != who.name)
    return ~holds.exists()


def again(
    reading: Reading, who: Person, chance: Callable[[], float], beside: Collection[str] = ()
) -> tuple[str, str] | None:
    """Return a decided alert that the person shall decide, too, and why ("second" or "golden"); None for none now."""
    settings, draw = reading.config.review, chance()
    if draw < settings.golden_share:
        key = _golden(reading, who, chance, beside)
        return (key, "golden") if key else None
    if draw < settings.golden_share + AHEAD * settings.second_share:
        key = second(reading, who, beside)
        return (key, "second") if key else None
    return None


def second(reading: Reading, who: Person, beside: Collection[str] = ()) -> str | None:
    """Return the best alert that waits for a second decision of somebody else than who decided it."""
    alerts = REVIEW_ALERTS.c
    waits = (alerts.second == "due", alerts.state == "decided", alerts.who != who.name, alerts.key.not_in(list(beside)))
    return _again(reading, who, waits, (REVIEW_ALERTS.c.score.desc(), REVIEW_ALERTS.c.key))


def _golden(reading: Reading, who: Person, chance: Callable[[], float], beside: Collection[str]) -> str | None:
    """Return an alert, drawn at random, whose label is known and that the person has never decided.

    It was delivered since others decided it, or two others have decided alike.
    """
    decided = sa.select(REVIEW_DECISIONS.c.key).where(
        REVIEW_DECISIONS.c.model_name == REVIEW_ALERTS.c.model_name,
        REVIEW_DECISIONS.c.key == REVIEW_ALERTS.c.key,
        REVIEW_DECISIONS.c.who == who.name,
    )
    alerts = REVIEW_ALERTS.c
    is_agreed = sa.and_(alerts.second == "done", alerts.second_label == alerts.label, alerts.label != "unsure")
    is_known = sa.or_(alerts.delivered != "", is_agreed)
    golden = (alerts.state == "decided", is_known, ~decided.exists(), alerts.key.not_in(list(beside)))
    start, order = f"{int(chance() * 16**5):05x}", (REVIEW_ALERTS.c.key,)
    ahead = _again(reading, who, (*golden, REVIEW_ALERTS.c.key >= start), order)
    return ahead or _again(reading, who, golden, order)


def _again(reading: Reading, who: Person, where: Sequence[sa.ColumnElement[bool]], order: Sequence[Any]) -> str | None:
    mine = (REVIEW_ALERTS.c.model_name == reading.name, _is_free(who, reading.at))
    query = sa.select(REVIEW_ALERTS.c.key).where(*mine, *where).order_by(*order).limit(1)
    key: str | None = reading.connection.scalar(query)
    return key
