"""Runs of one seed: which of them a run is, and the one that has to succeed before it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("member", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("waits_for", sa.String(length=40), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_column("waits_for")
        batch_op.drop_column("member")
