"""What was done of late: events, newest first."""

import sqlalchemy as sa

from pipeline.review.events import Event, events
from pipeline.review.people import Person
from pipeline.review.store import Reading
from pipeline.workspace.schema import REVIEW_EVENTS


def recent(
    reading: Reading, who: Person, *, by: str = "", kind: str = "", before: int | None = None, limit: int = 100
) -> list[Event]:
    """Return events, newest first.

    Parameters
    ----------
    reading : Reading
    who : Person
        A lead or an admin.
    by, kind : str
        Who did it and what it is, as `Event` has them; "" for all.
    before : int or None
        The number that events are below; None for the newest.
    limit : int

    Raises
    ------
    Forbidden
    """
    who.need("lead")
    column = REVIEW_EVENTS.c
    where = [column.model_name == reading.name]
    where += [column.who == by] if by else []
    where += [column.kind == kind] if kind else []
    where += [column.number < before] if before is not None else []
    newest = sa.select(column.number).where(*where).order_by(column.number.desc()).limit(limit)
    numbers = list(reading.connection.scalars(newest))
    return list(events(reading.connection, reading.name, column.number.in_(numbers)))[::-1]
