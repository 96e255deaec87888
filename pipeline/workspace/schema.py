"""The tables of the database of what has been done, as they are now; migrations/ brings an older database here.

Whoever changes a table here adds a file to migrations/versions, numbered on from the last, and raises `VERSION` to its
number. A test compares what the migrations make with what stands here, for SQLite and PostgreSQL.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

VERSION = "0009"
"""The number of the last migration, in the table `VERSION_TABLE` of a database that is up to date."""
VERSION_TABLE = "assay_version"
"""Alembic's usual name is taken: Optuna keeps its searches in the same database, and its own version beside them."""


class Utc(sa.TypeDecorator[datetime]):
    """A moment, kept in UTC without a zone, as everywhere inside; an aware one is converted."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Return the moment as it is kept."""
        return value.astimezone(UTC).replace(tzinfo=None) if value is not None and value.tzinfo else value


# Names that a later migration can speak of; they are PostgreSQL's own, which tables from before the migrations have.
METADATA = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)

BATCHES = sa.Table(
    "batches",
    METADATA,
    sa.Column("batch_id", sa.String(64), primary_key=True),
    sa.Column("model_name", sa.String(255), primary_key=True),
    sa.Column("model_version", sa.String(64), primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False, index=True),
    sa.Column("period_start", Utc),
    sa.Column("period_end", Utc),
    sa.Column("threshold", sa.Float),
    sa.Column("read", sa.BigInteger, nullable=False),
    sa.Column("accepted", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.Column("outside", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
    sa.Column("scored", sa.BigInteger, nullable=False),
    sa.Column("flagged", sa.BigInteger, nullable=False),
    sa.Column("first_timestamp", Utc),
    sa.Column("last_timestamp", Utc),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("scored_at", Utc, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("rules", sa.String(64), nullable=False, server_default=""),
    sa.Column("removed_at", Utc),
)
"""One row a batch and model version: `pipeline.workspace.ledger`."""

ALIAS_CHANGES = sa.Table(
    "alias_changes",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model_name", sa.String(255), nullable=False, index=True),
    sa.Column("alias", sa.String(64), nullable=False),
    sa.Column("version", sa.String(64)),
    sa.Column("replaced", sa.String(64)),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("who", sa.String(255), nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Column("failed_gates", sa.Text, nullable=False),
)
"""One row a change of an alias: `pipeline.selection.records`."""

INTENTS = sa.Table(
    "intents",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model_name", sa.String(255), nullable=False, index=True),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("content", sa.Text, nullable=False),
    sa.Column("at", Utc, nullable=False),
)
"""One row a change that has begun and not ended: `pipeline.workspace.intents`."""

WATCH_EVENTS = sa.Table(
    "watch_events",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model_name", sa.String(255), nullable=False, index=True),
    sa.Column("check", sa.String(16), nullable=False),
    sa.Column("state", sa.String(8), nullable=False),
    sa.Column("previous", sa.String(8), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("batch_id", sa.String(64), nullable=False),
    sa.Column("model_version", sa.String(64), nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Column("degree", sa.Float, nullable=False, server_default="0"),
)
"""One row a change of a check's state, or that it is worse: `pipeline.workspace.watch`."""


def _of_table(*columns: sa.Column[Any]) -> tuple[sa.Column[Any], ...]:
    """Return the columns of a table of the desk that holds rows of several tables' models."""
    return (sa.Column("model_name", sa.String(255), primary_key=True), *columns)


REVIEW_EVENTS = sa.Table(
    "review_events",
    METADATA,
    *_of_table(sa.Column("number", sa.Integer, primary_key=True, autoincrement=False)),
    sa.Column("action", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("who", sa.String(255), nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Column("subject", sa.String(255), nullable=False),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index("ix_review_events_subject", "model_name", "subject", "number"),
    sa.Index("ix_review_events_who", "model_name", "who", "number"),
)
"""One row a thing done at the desk, never changed: `pipeline.review.events`."""

REVIEW_CHAINS = sa.Table(
    "review_chains",
    METADATA,
    *_of_table(),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("day", sa.Date),
)
"""The last event of each table's chain; whoever appends holds the row."""

REVIEW_ANCHORS = sa.Table(
    "review_anchors",
    METADATA,
    *_of_table(sa.Column("day", sa.Date, primary_key=True)),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)
"""The last event of each day that is over."""

REVIEW_BATCHES = sa.Table(
    "review_batches",
    METADATA,
    *_of_table(
        sa.Column("batch_id", sa.String(64), primary_key=True),
        sa.Column("model_version", sa.String(64), primary_key=True),
    ),
    sa.Column("scored_at", Utc, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
)
"""The scored batches whose alerts are in the queue."""

REVIEW_ALERTS = sa.Table(
    "review_alerts",
    METADATA,
    *_of_table(sa.Column("key", sa.String(20), primary_key=True)),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("batch_id", sa.String(64), nullable=False),
    sa.Column("model_version", sa.String(64), nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("rank", sa.Integer, nullable=False),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("p_value", sa.Float, nullable=False),
    sa.Column("amount", sa.Float),
    sa.Column("risk", sa.Float, nullable=False),
    sa.Column("entity", sa.String(255), nullable=False),
    sa.Column("reason", sa.String(255), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("label", sa.String(16), nullable=False),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("assignee", sa.String(255), nullable=False),
    sa.Column("who", sa.String(255), nullable=False),
    sa.Column("decided_at", Utc),
    sa.Column("snoozed_until", Utc),
    sa.Column("due", Utc),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("second", sa.String(8), nullable=False),
    sa.Column("second_label", sa.String(16), nullable=False),
    sa.Column("second_by", sa.String(255), nullable=False),
    sa.Column("event", sa.Integer, nullable=False),
    sa.Column("priority", sa.String(8), nullable=False, server_default="normal"),
    sa.Column("chance", sa.Float),
    sa.Column("delivered", sa.String(16), nullable=False, server_default=""),
    sa.Index("ix_review_alerts_score", "model_name", "state", "score", "key", "amount"),
    sa.Index("ix_review_alerts_risk", "model_name", "state", "risk", "key", "amount"),
    sa.Index("ix_review_alerts_age", "model_name", "state", "at", "key", "amount"),
    sa.Index("ix_review_alerts_entity", "model_name", "entity", "at", "label"),
    sa.Index("ix_review_alerts_batch", "model_name", "batch_id", "state"),
    sa.Index("ix_review_alerts_day", "model_name", "day", "state"),
    sa.Index("ix_review_alerts_second", "model_name", "second", "score"),
    sa.Index("ix_review_alerts_assignee", "model_name", "assignee", "state"),
    sa.Index("ix_review_alerts_decided", "model_name", "decided_at"),
    sa.Index("ix_review_alerts_due", "model_name", "state", "due"),
)
"""The queue as the events and the ledger make it, one row an alert; it can be made again from them."""

REVIEW_COUNTS = sa.Table(
    "review_counts",
    METADATA,
    *_of_table(sa.Column("state", sa.String(16), primary_key=True)),
    sa.Column("alerts", sa.Integer, nullable=False),
)
"""How many alerts are in which state; it can be made again from the queue."""

REVIEW_ROWS = sa.Table(
    "review_rows",
    METADATA,
    *_of_table(sa.Column("key", sa.String(20), primary_key=True)),
    sa.Column("content", sa.Text, nullable=False),
)
"""What an alert shows: its cells and its reasons, in JSON."""

REVIEW_VALUES = sa.Table(
    "review_values",
    METADATA,
    *_of_table(
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("value", sa.String(255), primary_key=True),
        sa.Column("key", sa.String(20), primary_key=True),
        sa.Column("secret", sa.Boolean, primary_key=True),
    ),
    sa.Index("ix_review_values_key", "model_name", "key", "name", "value", "secret"),
)
"""Entities and categories that alerts are looked for by; secret are the clear values of sensitive columns."""

REVIEW_LOCKS = sa.Table(
    "review_locks",
    METADATA,
    *_of_table(sa.Column("key", sa.String(20), primary_key=True)),
    sa.Column("who", sa.String(255), nullable=False),
    sa.Column("until", Utc, nullable=False),
    sa.Column("again", sa.String(8), nullable=False),
)
"""Who holds which alert, and until when."""

REVIEW_DECISIONS = sa.Table(
    "review_decisions",
    METADATA,
    *_of_table(sa.Column("number", sa.Integer, primary_key=True, autoincrement=False)),
    sa.Column("key", sa.String(20), nullable=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("label", sa.String(16), nullable=False),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("who", sa.String(255), nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Column("truth", sa.String(16), nullable=False),
    sa.Column("undone_by", sa.Integer),
    sa.Index("ix_review_decisions_key", "model_name", "key"),
    sa.Index("ix_review_decisions_at", "model_name", "at"),
)
"""One row an event that decides; it can be made again from the events."""

REVIEW_VIEWS = sa.Table(
    "review_views",
    METADATA,
    *_of_table(
        sa.Column("who", sa.String(255), primary_key=True),
        sa.Column("title", sa.String(255), primary_key=True),
    ),
    sa.Column("query", sa.Text, nullable=False),
)
"""Views of the queue that people have saved."""

REVIEW_USERS = sa.Table(
    "review_users",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("ended_at", Utc),
)
"""Who may use the desk; the password is a hash by argon2id."""

REVIEW_SESSIONS = sa.Table(
    "review_sessions",
    METADATA,
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(64), nullable=False, index=True),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("seen_at", Utc, nullable=False),
)
"""Who is logged in; the token is a hash of what the browser holds."""

REVIEW_TOKENS = sa.Table(
    "review_tokens",
    METADATA,
    sa.Column("token", sa.String(64), primary_key=True),
    sa.Column("title", sa.String(64), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("scopes", sa.Text, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("until", Utc),
)
"""What programs, and the one-time link of the first admin, are let in by; the token is a hash."""

REVIEW_ATTEMPTS = sa.Table(
    "review_attempts",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String(64), nullable=False, index=True),
    sa.Column("address", sa.String(64), nullable=False, index=True),
    sa.Column("at", Utc, nullable=False),
)
"""Logins that failed of late."""
