"""Counts of the desk's alerts by state, and indexes that lists are read from without their rows."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

WIDER = {
    "ix_review_alerts_score": ("review_alerts", ["model_name", "state", "score", "key", "amount"]),
    "ix_review_alerts_risk": ("review_alerts", ["model_name", "state", "risk", "key", "amount"]),
    "ix_review_alerts_age": ("review_alerts", ["model_name", "state", "at", "key", "amount"]),
    "ix_review_alerts_entity": ("review_alerts", ["model_name", "entity", "at", "label"]),
    "ix_review_values_key": ("review_values", ["model_name", "key", "name", "value", "secret"]),
}


def upgrade() -> None:
    """Make the table, count what is there, and make the indexes again with more columns."""
    op.create_table(
        "review_counts",
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("alerts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("model_name", "state", name="review_counts_pkey"),
    )
    states = ", ".join(f"('{state}')" for state in ("open", "snoozed", "escalated", "decided", "withdrawn"))
    op.execute(
        f"WITH names AS (SELECT DISTINCT model_name FROM review_alerts), states (state) AS (VALUES {states}) "
        "INSERT INTO review_counts (model_name, state, alerts) SELECT names.model_name, states.state, "
        "(SELECT COUNT(*) FROM review_alerts WHERE review_alerts.model_name = names.model_name "
        "AND review_alerts.state = states.state) FROM names CROSS JOIN states"
    )
    for index, (table, columns) in WIDER.items():
        op.drop_index(index, table_name=table)
        op.create_index(index, table, columns, unique=False)
