"""What is measured of trained networks, and who looked at sealed rows."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "analyses",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("status_detail", sa.String(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.String(length=40), nullable=True),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("values", sa.JSON(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="analyses_run_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="analyses_pkey"),
        sa.UniqueConstraint("run_id", "digest", name="analyses_run_id_digest_key"),
    )
    op.create_index("analyses_by_queue", "analyses", ["status", sa.text("priority DESC"), "queued_at", "id"])
    op.create_table(
        "test_looks",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("job_name", sa.String(length=200), nullable=False),
        sa.Column("spec_hash", sa.String(length=64), nullable=False),
        sa.Column("experiment", sa.String(length=200), nullable=False),
        sa.Column("dataset_key", sa.String(length=64), nullable=False),
        sa.Column("opened_by", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="test_looks_pkey"),
        sa.UniqueConstraint("job_id", name="test_looks_job_id_key"),
    )
    op.create_index("test_looks_by_age", "test_looks", ["opened_at", "id"])
    op.create_index("test_looks_by_experiment", "test_looks", ["experiment", "opened_at", "id"])
    op.create_index("test_looks_by_dataset", "test_looks", ["dataset_key", "opened_at", "id"])


def downgrade() -> None:
    op.drop_table("test_looks")
    op.drop_table("analyses")
