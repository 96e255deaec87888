"""The queue's tables made again from the events and the files of scored batches."""

import sqlalchemy as sa

from pipeline.review.events import events
from pipeline.review.state import apply
from pipeline.review.store import Writing
from pipeline.workspace.schema import (
    REVIEW_ALERTS,
    REVIEW_BATCHES,
    REVIEW_COUNTS,
    REVIEW_DECISIONS,
    REVIEW_ROWS,
    REVIEW_VALUES,
)

PROJECTIONS = (REVIEW_ALERTS, REVIEW_ROWS, REVIEW_VALUES, REVIEW_DECISIONS, REVIEW_BATCHES, REVIEW_COUNTS)
"""Tables that hold nothing but what follows from the events."""


def rebuild(writing: Writing) -> int:
    """Make the queue's tables again, and return from how many events.

    Raises
    ------
    AssayError
        When the results of a batch that was taken in are no longer there; nothing has changed then.
    """
    for table in PROJECTIONS:
        writing.connection.execute(sa.delete(table).where(table.c.model_name == writing.name))
    count = 0
    for event in events(writing.connection, writing.name):
        apply(writing.connection, writing.config, event)
        count += 1
    return count
