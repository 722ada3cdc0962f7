"""The sizes of all files in storage, by the owner whose quota they count towards."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_SIZES_OF_DATASETS = {
    "sqlite": """
        UPDATE datasets
        SET stored_bytes = (SELECT COALESCE(SUM(value), 0) FROM json_each(datasets.description, '$.sizes'))
    """,
    "postgresql": """
        UPDATE datasets
        SET stored_bytes = (
            SELECT COALESCE(SUM(value::bigint), 0) FROM json_each_text(datasets.description -> 'sizes')
        )
    """,
}
_OWNERS_OF_ARTIFACTS = "UPDATE artifacts SET owner = (SELECT runs.owner FROM runs WHERE runs.id = artifacts.run_id)"
_OWNERS_OF_CHECKPOINTS = """
    UPDATE checkpoints
    SET owner = COALESCE(
        (
            SELECT MIN(runs.owner)
            FROM checkpoint_rows JOIN runs ON runs.id = checkpoint_rows.run_id
            WHERE checkpoint_rows.checkpoint_id = checkpoints.id
        ),
        ''
    )
"""


def upgrade() -> None:
    op.add_column("runs", sa.Column("expected_bytes", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("datasets", sa.Column("stored_bytes", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(_SIZES_OF_DATASETS[op.get_context().dialect.name])
    op.create_index("datasets_by_owner", "datasets", ["owner", "stored_bytes"])
    for table, owners in (("artifacts", _OWNERS_OF_ARTIFACTS), ("checkpoints", _OWNERS_OF_CHECKPOINTS)):
        op.add_column(table, sa.Column("owner", sa.String(length=64), server_default="", nullable=False))
        op.execute(owners)
        op.create_index(f"{table}_by_owner", table, ["owner", "size"])


def downgrade() -> None:
    for table in ("checkpoints", "artifacts"):
        op.drop_index(f"{table}_by_owner", table)
        op.drop_column(table, "owner")
    op.drop_index("datasets_by_owner", "datasets")
    op.drop_column("datasets", "stored_bytes")
    op.drop_column("runs", "expected_bytes")
