"""How far from its limit a check of the watch lay when it was told: what lies much farther is told again."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column."""
    with op.batch_alter_table("watch_events") as events:
        events.add_column(sa.Column("degree", sa.Float(), nullable=False, server_default="0"))
