"""How many alerts are in which state: kept beside the queue, for to count a long one takes longer than to show it."""

import sqlalchemy as sa

from pipeline.review.events import Event
from pipeline.review.store import Reading
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_COUNTS

STATES = ("open", "snoozed", "escalated", "decided", "withdrawn")


def by_state(reading: Reading) -> dict[str, int]:
    """Return how many alerts are in which state."""
    query = sa.select(REVIEW_COUNTS.c.state, REVIEW_COUNTS.c.alerts).where(REVIEW_COUNTS.c.model_name == reading.name)
    return dict.fromkeys(STATES, 0) | {row.state: row.alerts for row in reading.connection.execute(query)}


def recount(connection: sa.Connection, name: str) -> None:
    """Count a table's alerts, after a change of many of them."""
    query = (
        sa.select(REVIEW_ALERTS.c.state, sa.func.count().label("alerts"))
        .where(REVIEW_ALERTS.c.model_name == name)
        .group_by(REVIEW_ALERTS.c.state)
    )
    counts = dict.fromkeys(STATES, 0) | {row.state: row.alerts for row in connection.execute(query)}
    rows = [{"model_name": name, "state": state, "alerts": alerts} for state, alerts in counts.items()]
    connection.execute(sa.delete(REVIEW_COUNTS).where(REVIEW_COUNTS.c.model_name == name))
    connection.execute(sa.insert(REVIEW_COUNTS), rows)


def move(connection: sa.Connection, name: str, event: Event) -> None:
    """Count an alert in the state that an event gave it, and no longer in the one before."""
    before, after = event.before.get("state"), event.after.get("state")
    if before == after:
        return
    count = REVIEW_COUNTS.c.alerts
    connection.execute(
        sa.update(REVIEW_COUNTS)
        .where(REVIEW_COUNTS.c.model_name == name, REVIEW_COUNTS.c.state.in_((before, after)))
        .values(alerts=sa.case((REVIEW_COUNTS.c.state == after, count + 1), else_=count - 1))
    )
