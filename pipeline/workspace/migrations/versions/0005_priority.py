"""How soon an alert is to be decided, an audited row's chance to be drawn, and labels that were delivered."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns."""
    with op.batch_alter_table("review_alerts") as alerts:
        alerts.add_column(sa.Column("priority", sa.String(8), nullable=False, server_default="normal"))
        alerts.add_column(sa.Column("chance", sa.Float(), nullable=True))
        alerts.add_column(sa.Column("delivered", sa.String(16), nullable=False, server_default=""))
