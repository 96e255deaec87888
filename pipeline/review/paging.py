"""A part of the queue at a time, found by where the one before it ended: deep parts cost what the first one costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from pipeline.review.counts import STATES, by_state
from pipeline.review.listing import ORDERS, WAIT, Line, View, conditions, lines, selected
from pipeline.review.people import Person
from pipeline.review.refusals import Refusal
from pipeline.review.store import Reading
from pipeline.workspace.schema import REVIEW_ALERTS

COUNTED = 200
"""Alerts of a filtered view that are counted; of more, it is said that they are more."""
REACH = 5_000
"""How far into a view a number alone leads: each alert on the way is read."""
MANY = 20_000
"""Late alerts that are put in order as a whole; of more, those of each state are read in order, one by one."""
SORTED = {"score": REVIEW_ALERTS.c.score, "risk": REVIEW_ALERTS.c.risk, "age": REVIEW_ALERTS.c.at}
"""What each order goes by, the key last; all but "age" fall."""


@dataclass(frozen=True)
class Page:
    """A part of the list.

    Attributes
    ----------
    view : View
    lines : tuple of Line
    total : int
        Alerts of the view. Where it filters they are counted up to `COUNTED`: of more, it is one more than that, or
        than what this part ends with.
    counts : mapping of str to int
        Alerts of the whole queue by state.
    """

    view: View
    lines: tuple[Line, ...]
    total: int
    counts: Mapping[str, int]


def page(reading: Reading, view: View, who: Person) -> Page:
    """Return a part of the list.

    Raises
    ------
    Refusal
        When it begins further in than `REACH`, and no alert that is still there says where.
    """
    where, counts = conditions(reading, view, who), by_state(reading)
    beyond = _beyond(reading, view)
    if not beyond and view.start > REACH:
        raise Refusal(
            f"alert {view.start:,} of a view is further in than a number alone leads, which is {REACH:,}; "
            "go on from the last alert of the part before it, or filter"
        )
    is_back = bool(beyond and view.before)
    rows = _rows(reading, view, who, [*where, *beyond], is_back=is_back, offset=0 if beyond else view.start)
    if is_back and len(rows) < view.limit:  # its beginning has come nearer since
        return page(reading, replace(view, start=0, before=""), who)
    return Page(view, lines(reading, rows, who), _total(reading, view, where, rows=len(rows), counts=counts), counts)


def _beyond(reading: Reading, view: View) -> list[sa.ColumnElement[bool]]:
    """Return that an alert comes after, or before, the one that the view names; nothing where it names none."""
    column, key = SORTED[view.sort], REVIEW_ALERTS.c.key
    mark = sa.select(column, key).where(REVIEW_ALERTS.c.model_name == reading.name, key == (view.before or view.after))
    place = reading.connection.execute(mark).first() if view.before or view.after else None
    if place is None:
        return []
    here = sa.tuple_(column, key)
    there = sa.tuple_(sa.literal(place[0], column.type), sa.literal(place[1], key.type))
    return [here > there if _rises(view, is_back=bool(view.before)) else here < there]


def _rises(view: View, *, is_back: bool) -> bool:
    """Whether a part is read from the lowest up."""
    return (view.sort == "age") is not is_back


def _rows(
    reading: Reading, view: View, who: Person, where: Sequence[sa.ColumnElement[bool]], *, is_back: bool, offset: int
) -> list[Mapping[str, Any]]:
    """Return the rows of a part in the view's order."""
    alerts, rises = REVIEW_ALERTS.c, _rises(view, is_back=is_back)
    order = [column.asc() if rises else column.desc() for column in (SORTED[view.sort], alerts.key)]
    if states := _states(reading, view, who):
        # An index has the order of one state each: the best of all are among the best of each.
        best = [
            sa.select(alerts.key).where(*where, alerts.state == state).order_by(*order).limit(offset + view.limit)
            for state in states
        ]
        keys = sa.union_all(*(sa.select(part.subquery().c.key) for part in best))
        where = [alerts.model_name == reading.name, alerts.key.in_(keys)]
    query = selected(where).order_by(*order).offset(offset).limit(view.limit)
    rows: list[Mapping[str, Any]] = [row._asdict() for row in reading.connection.execute(query)]
    return rows[::-1] if is_back else rows


def _states(reading: Reading, view: View, who: Person) -> tuple[str, ...]:
    """Return the states that are read one by one; none where there is one, or few alerts that are quickly in order."""
    if not view.state:
        return STATES
    if view.state not in ("late", "soon"):
        return ()
    unfiltered = conditions(reading, View(state=view.state), who)
    return WAIT if _counted(reading, unfiltered, MANY) > MANY else ()


def _counted(
    reading: Reading,
    where: Sequence[sa.ColumnElement[bool]],
    most: int,
    order: Sequence[sa.ColumnElement[Any]] = (),
) -> int:
    """Return how many alerts are so, up to one more than ``most``, looked for in an order."""
    some = sa.select(REVIEW_ALERTS.c.key).where(*where).order_by(*order).limit(most + 1).subquery()
    return reading.connection.scalar(sa.select(sa.func.count()).select_from(some)) or 0


def _total(
    reading: Reading,
    view: View,
    where: Sequence[sa.ColumnElement[bool]],
    *,
    rows: int,
    counts: Mapping[str, int],
) -> int:
    """Return how many alerts a view has: as `Page` says it."""
    plain = View(sort=view.sort, state=view.state, start=view.start, limit=view.limit, after=view.after)
    if replace(view, before="") == plain and (not view.state or view.state in counts):
        return counts[view.state] if view.state else sum(counts.values())
    if rows < view.limit and not view.before and (rows or not view.start):
        return view.start + rows
    # In the order of the page, whose rows were just read: any other may begin where nothing is like that.
    order = ORDERS[view.sort] if view.state else ()
    total = _counted(reading, where, COUNTED, order)
    return max(total, view.start + rows + 1) if total > COUNTED else total
