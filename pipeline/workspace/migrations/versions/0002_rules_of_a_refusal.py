"""The settings that a batch was judged by: a refusal holds only as long as they do.

Of refusals from before, they are not known: those files are tried once more.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column."""
    with op.batch_alter_table("batches") as batches:
        batches.add_column(sa.Column("rules", sa.String(64), nullable=False, server_default=""))
