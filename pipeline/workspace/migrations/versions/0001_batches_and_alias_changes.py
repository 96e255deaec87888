"""The first schema: the ledger's batches, and the changes of aliases.

A database from before the migrations has either table, or both: they are kept as they are, with their rows, where they
are the very same.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from pipeline.errors import ConfigError
from pipeline.settings.sensitive import without_password

revision = "0001"
down_revision = None

TABLES = sa.MetaData(naming_convention={"ix": "ix_%(column_0_label)s", "pk": "%(table_name)s_pkey"})
sa.Table(
    "batches",
    TABLES,
    sa.Column("batch_id", sa.String(64), primary_key=True),
    sa.Column("model_name", sa.String(255), primary_key=True),
    sa.Column("model_version", sa.String(64), primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False, index=True),
    sa.Column("period_start", sa.DateTime),
    sa.Column("period_end", sa.DateTime),
    sa.Column("threshold", sa.Float),
    sa.Column("read", sa.BigInteger, nullable=False),
    sa.Column("accepted", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.Column("outside", sa.BigInteger, nullable=False),
    sa.Column("refused", sa.BigInteger, nullable=False),
    sa.Column("scored", sa.BigInteger, nullable=False),
    sa.Column("flagged", sa.BigInteger, nullable=False),
    sa.Column("first_timestamp", sa.DateTime),
    sa.Column("last_timestamp", sa.DateTime),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("scored_at", sa.DateTime, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
)
sa.Table(
    "alias_changes",
    TABLES,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model_name", sa.String(255), nullable=False, index=True),
    sa.Column("alias", sa.String(64), nullable=False),
    sa.Column("version", sa.String(64)),
    sa.Column("replaced", sa.String(64)),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("who", sa.String(255), nullable=False),
    sa.Column("at", sa.DateTime, nullable=False),
    sa.Column("failed_gates", sa.Text, nullable=False),
)


def upgrade() -> None:
    """Make the tables that are missing.

    Raises
    ------
    ConfigError
        When a table of one of the names is there and is another one.
    """
    connection = op.get_bind()
    present = set(sa.inspect(connection).get_table_names())
    for table in TABLES.sorted_tables:
        if table.name not in present:
            table.create(connection)
        elif difference := _difference(connection, table):
            where = without_password(connection.engine.url.render_as_string(hide_password=False))
            raise ConfigError(
                f"the database at {where} has a table {table.name!r} that is not Assay's: its {difference} is missing, "
                "one too many or another; name another database in tracking.ledger_url"
            )


def _difference(connection: sa.Connection, table: sa.Table) -> str:
    """Return the first part of a table that is not as it is here, and "" where there is none."""
    key = sa.inspect(connection).get_pk_constraint(table.name)["constrained_columns"]
    if key != table.primary_key.columns.keys():
        return "primary key"

    def is_of_the_table(item: Any, name: str | None, kind: str, *rest: Any) -> bool:
        return kind != "table" or name == table.name

    context = MigrationContext.configure(connection, opts={"include_object": is_of_the_table})
    for change in compare_metadata(context, TABLES):
        kind, *subject = change[0] if isinstance(change, list) else change
        name = subject[2] if kind.startswith("modify") else subject[-1].name
        return f"{'column' if 'column' in kind or kind.startswith('modify') else kind.split('_', 1)[1]} {name!r}"
    return ""
