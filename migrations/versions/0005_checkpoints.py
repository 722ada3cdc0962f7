"""From where runs go on, and how many of them together."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("runs", sa.Column("most_together", sa.Integer(), nullable=True))
    op.add_column("runs", sa.Column("resume_step", sa.Integer(), server_default="0", nullable=False))
    op.add_column("cohorts", sa.Column("from_step", sa.Integer(), server_default="0", nullable=False))
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("storage_key", sa.String(length=300), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="checkpoints_pkey"),
    )
    op.create_index("checkpoints_by_age", "checkpoints", ["created_at", "id"])
    op.create_table(
        "checkpoint_rows",
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("checkpoint_id", sa.String(length=40), nullable=False),
        sa.Column("row", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="checkpoint_rows_run_id_fkey", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name="checkpoint_rows_checkpoint_id_fkey", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "checkpoint_id", name="checkpoint_rows_pkey"),
    )
    op.create_index("checkpoint_rows_by_checkpoint", "checkpoint_rows", ["checkpoint_id"])


def downgrade() -> None:
    op.drop_table("checkpoint_rows")
    op.drop_table("checkpoints")
    op.drop_column("cohorts", "from_step")
    op.drop_column("runs", "resume_step")
    op.drop_column("runs", "most_together")
