"""Alerts with their decisions as a table, as a person may see them."""

from pipeline.review.listing import ORDERS, Line, View, conditions, lines, selected
from pipeline.review.people import Person
from pipeline.review.store import Reading

MOST = 100_000
"""Alerts of one export."""
PART = 1_000


def exported(reading: Reading, view: View, who: Person) -> list[Line]:
    """Return the alerts of a view, all of them up to `MOST`, whatever part of it is on the screen."""
    query = selected(conditions(reading, view, who)).order_by(*ORDERS[view.sort]).limit(MOST)
    rows = [row._asdict() for row in reading.connection.execute(query)]
    return [line for start in range(0, len(rows), PART) for line in lines(reading, rows[start : start + PART], who)]
