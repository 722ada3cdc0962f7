"""Uploaded data sets, and which jobs need them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("format", sa.String(length=20), nullable=False),
        sa.Column("known", sa.String(length=40), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("description", sa.JSON(), nullable=False),
        sa.Column("preview", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="datasets_pkey"),
        sa.UniqueConstraint("name", name="datasets_name_key"),
    )
    op.create_index("datasets_by_age", "datasets", ["created_at", "id"])
    op.create_index("datasets_by_hash", "datasets", ["sha256"])
    op.create_index("datasets_by_known", "datasets", ["known"])
    # In the words of both databases: SQLite would copy the whole table for a constraint of its own.
    op.execute("ALTER TABLE jobs ADD COLUMN dataset_id VARCHAR(40) REFERENCES datasets (id)")
    op.create_index("jobs_by_dataset", "jobs", ["dataset_id"])


def downgrade() -> None:
    op.drop_index("jobs_by_dataset", "jobs")
    op.execute("ALTER TABLE jobs DROP COLUMN dataset_id")
    op.drop_table("datasets")
