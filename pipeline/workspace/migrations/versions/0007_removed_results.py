"""When the results of a batch were removed for their age: its file stays scored."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column."""
    with op.batch_alter_table("batches") as batches:
        batches.add_column(sa.Column("removed_at", sa.DateTime(), nullable=True))
