"""The tables of the database of what has been done, as they are now; migrations/ brings an older database here.

Whoever changes a table here adds a file to migrations/versions, numbered on from the last, and raises `VERSION` to its
number. A test compares what the migrations make with what stands here, for SQLite and PostgreSQL.
"""

from datetime import UTC, datetime

import sqlalchemy as sa

VERSION = "0003"
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
