"""How Alembic runs the steps: over the caller's connection, in the caller's transaction.

SQLite cannot alter most of a table. A step writes ``with op.batch_alter_table(...)``, which copies the table there and
alters it in place on PostgreSQL, so that one step serves both.
"""

from alembic import context

from pipeline.workspace.schema import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
