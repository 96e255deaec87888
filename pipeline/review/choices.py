"""What the queue can be filtered by: batches, versions, reasons and people that it has."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from pipeline.review.listing import Line, lines
from pipeline.review.people import Person
from pipeline.review.store import Reading
from pipeline.review.work import rows_of
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_BATCHES, REVIEW_USERS

MOST = 50
LOOKED_AT = 5_000
"""Alerts, those with the highest scores, whose reasons are offered."""


@dataclass(frozen=True)
class Choices:
    """The values of the filters, at most 50 each.

    Attributes
    ----------
    batches, versions : tuple of str
        Newest first.
    reasons : tuple of str
        Columns of first reasons, the most frequent first.
    people : tuple of str
    """

    batches: tuple[str, ...]
    versions: tuple[str, ...]
    reasons: tuple[str, ...]
    people: tuple[str, ...]


def choices(reading: Reading) -> Choices:
    """Return the values of the filters."""
    newest = (
        sa.select(REVIEW_BATCHES.c.batch_id, REVIEW_BATCHES.c.model_version)
        .where(REVIEW_BATCHES.c.model_name == reading.name)
        .order_by(REVIEW_BATCHES.c.scored_at.desc())
        .limit(MOST)
    )
    batches = reading.connection.execute(newest).all()
    some = (
        sa.select(REVIEW_ALERTS.c.reason)
        .where(REVIEW_ALERTS.c.model_name == reading.name, REVIEW_ALERTS.c.state == "open")
        .order_by(REVIEW_ALERTS.c.score.desc())
        .limit(LOOKED_AT)
        .subquery()
    )
    reasons = sa.select(some.c.reason).group_by(some.c.reason).order_by(sa.func.count().desc(), some.c.reason)
    people = sa.select(REVIEW_USERS.c.name).where(REVIEW_USERS.c.ended_at.is_(None)).order_by(REVIEW_USERS.c.name)
    return Choices(
        tuple(dict.fromkeys(batch for batch, _ in batches)),
        tuple(dict.fromkeys(version for _, version in batches)),
        tuple(reason for reason in reading.connection.scalars(reasons.limit(MOST)) if reason),
        tuple(reading.connection.scalars(people.limit(MOST))),
    )


def lines_of(reading: Reading, keys: Sequence[str], who: Person) -> tuple[Line, ...]:
    """Return alerts by key, in the order of the keys, as a person may see them."""
    rows = rows_of(reading, keys)
    return lines(reading, [rows[key] for key in keys], who)
