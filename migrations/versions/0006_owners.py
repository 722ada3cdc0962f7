"""Whose everything is, the keys that act for owners, and what was done by whom."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_OWNED = ("sweeps", "datasets", "jobs", "runs", "test_looks")
_FIRST_OWNER = "admin"
"""Whose everything is that was made while there were no keys."""
_BY_COHORT: list[str | sa.TextClause] = ["status", "cohort_key", sa.text("priority DESC"), "queued_at", "id"]


def upgrade() -> None:
    for table in _OWNED:
        op.add_column(table, sa.Column("owner", sa.String(length=64), server_default=_FIRST_OWNER, nullable=False))
    op.create_index("jobs_by_owner", "jobs", ["owner", "created_at", "id"])
    op.create_index("runs_by_owner", "runs", ["owner", "status", sa.text("priority DESC"), "queued_at", "id"])
    op.drop_index("runs_by_cohort_key", "runs")
    op.create_index("runs_by_cohort_key", "runs", ["owner", *_BY_COHORT])
    with op.batch_alter_table("datasets") as datasets:
        datasets.drop_constraint("datasets_name_key", type_="unique")
        datasets.create_unique_constraint("datasets_owner_name_key", ["owner", "name"])
    _answers(["owner", "key", "route"], sa.Column("owner", sa.String(length=64), nullable=False))
    op.create_table(
        "owners",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="owners_pkey"),
    )
    op.execute(sa.text("INSERT INTO owners (name, turn) VALUES (:name, 0)").bindparams(name=_FIRST_OWNER))
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("secret_sha256", sa.String(length=64), nullable=False),
        sa.Column("previous_sha256", sa.String(length=64), nullable=True),
        sa.Column("previous_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="keys_pkey"),
    )
    op.create_index("keys_by_age", "keys", ["created_at", "id"])
    op.create_table(
        "events",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("subject_id", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="events_pkey"),
    )
    op.create_index("events_by_age", "events", ["happened_at", "id"])
    op.create_index("events_by_subject", "events", ["subject_id", "happened_at", "id"])
    op.create_index("events_by_owner", "events", ["owner", "happened_at", "id"])
    op.create_table(
        "rate_counts",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="rate_counts_pkey"),
    )


def downgrade() -> None:
    for table in ("rate_counts", "events", "keys", "owners"):
        op.drop_table(table)
    _answers(["key", "route"])
    with op.batch_alter_table("datasets") as datasets:
        datasets.drop_constraint("datasets_owner_name_key", type_="unique")
        datasets.create_unique_constraint("datasets_name_key", ["name"])
    op.drop_index("runs_by_cohort_key", "runs")
    op.create_index("runs_by_cohort_key", "runs", _BY_COHORT)
    op.drop_index("runs_by_owner", "runs")
    op.drop_index("jobs_by_owner", "jobs")
    for table in _OWNED:
        op.drop_column(table, "owner")


def _answers(key: list[str], *more: sa.Column[str]) -> None:
    """Make the table of answers anew, empty: they are repeated to clients that ask again within seconds."""
    op.drop_index("idempotent_answers_by_age", "idempotent_answers")
    op.drop_table("idempotent_answers")
    op.create_table(
        "idempotent_answers",
        *more,
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("route", sa.String(length=200), nullable=False),
        sa.Column("body_hash", sa.String(length=64), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=False),
        sa.Column("location", sa.String(length=300), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(*key, name="idempotent_answers_pkey"),
    )
    op.create_index("idempotent_answers_by_age", "idempotent_answers", ["created_at"])
