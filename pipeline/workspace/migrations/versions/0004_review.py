"""The tables of the analysts' desk."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "review_alerts",
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=20), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("p_value", sa.Float(), nullable=False),
        sa.Column("amount", sa.Float(), nullable=True),
        sa.Column("risk", sa.Float(), nullable=False),
        sa.Column("entity", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("assignee", sa.String(length=255), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=True),
        sa.Column("snoozed_until", sa.DateTime(), nullable=True),
        sa.Column("due", sa.DateTime(), nullable=True),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("second", sa.String(length=8), nullable=False),
        sa.Column("second_label", sa.String(length=16), nullable=False),
        sa.Column("second_by", sa.String(length=255), nullable=False),
        sa.Column("event", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("model_name", "key", name="review_alerts_pkey"),
    )
    op.create_index("ix_review_alerts_age", "review_alerts", ["model_name", "state", "at", "key"], unique=False)
    op.create_index("ix_review_alerts_assignee", "review_alerts", ["model_name", "assignee", "state"], unique=False)
    op.create_index("ix_review_alerts_batch", "review_alerts", ["model_name", "batch_id", "state"], unique=False)
    op.create_index("ix_review_alerts_day", "review_alerts", ["model_name", "day", "state"], unique=False)
    op.create_index("ix_review_alerts_decided", "review_alerts", ["model_name", "decided_at"], unique=False)
    op.create_index("ix_review_alerts_due", "review_alerts", ["model_name", "state", "due"], unique=False)
    op.create_index("ix_review_alerts_entity", "review_alerts", ["model_name", "entity", "at"], unique=False)
    op.create_index("ix_review_alerts_risk", "review_alerts", ["model_name", "state", "risk", "key"], unique=False)
    op.create_index("ix_review_alerts_score", "review_alerts", ["model_name", "state", "score", "key"], unique=False)
    op.create_index("ix_review_alerts_second", "review_alerts", ["model_name", "second", "score"], unique=False)
    op.create_table(
        "review_anchors",
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("model_name", "day", name="review_anchors_pkey"),
    )
    op.create_table(
        "review_attempts",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="review_attempts_pkey"),
    )
    op.create_index("ix_review_attempts_address", "review_attempts", ["address"], unique=False)
    op.create_index("ix_review_attempts_name", "review_attempts", ["name"], unique=False)
    op.create_table(
        "review_batches",
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("batch_id", sa.String(length=64), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("scored_at", sa.DateTime(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("model_name", "batch_id", "model_version", name="review_batches_pkey"),
    )
    op.create_table(
        "review_chains",
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("day", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("model_name", name="review_chains_pkey"),
    )
    op.create_table(
        "review_decisions",
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=20), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("truth", sa.String(length=16), nullable=False),
        sa.Column("undone_by", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("model_name", "number", name="review_decisions_pkey"),
    )
    op.create_index("ix_review_decisions_at", "review_decisions", ["model_name", "at"], unique=False)
    op.create_index("ix_review_decisions_key", "review_decisions", ["model_name", "key"], unique=False)
    op.create_table(
        "review_events",
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("action", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("model_name", "number", name="review_events_pkey"),
    )
    op.create_index("ix_review_events_subject", "review_events", ["model_name", "subject", "number"], unique=False)
    op.create_index("ix_review_events_who", "review_events", ["model_name", "who", "number"], unique=False)
    op.create_table(
        "review_locks",
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=20), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("until", sa.DateTime(), nullable=False),
        sa.Column("again", sa.String(length=8), nullable=False),
        sa.PrimaryKeyConstraint("model_name", "key", name="review_locks_pkey"),
    )
    op.create_table(
        "review_rows",
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=20), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model_name", "key", name="review_rows_pkey"),
    )
    op.create_table(
        "review_sessions",
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("token", name="review_sessions_pkey"),
    )
    op.create_index("ix_review_sessions_name", "review_sessions", ["name"], unique=False)
    op.create_table(
        "review_tokens",
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("until", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("token", name="review_tokens_pkey"),
    )
    op.create_table(
        "review_users",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="review_users_pkey"),
    )
    op.create_table(
        "review_values",
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=20), nullable=False),
        sa.Column("secret", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("model_name", "name", "value", "key", "secret", name="review_values_pkey"),
    )
    op.create_index("ix_review_values_key", "review_values", ["model_name", "key"], unique=False)
    op.create_table(
        "review_views",
        sa.Column("model_name", sa.String(length=255), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model_name", "who", "title", name="review_views_pkey"),
    )
