"""Sealed passages that were deleted, until their segment is rewritten.

Revision: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tombstone",
        sa.Column("passage_id", sa.Integer(), nullable=False),
        sa.Column("segment_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["segment_id"], ["segment.id"], name=op.f("fk_tombstone_segment_id_segment")
        ),
        sa.PrimaryKeyConstraint("passage_id", name=op.f("pk_tombstone")),
    )
    op.create_index(op.f("ix_tombstone_segment_id"), "tombstone", ["segment_id"])
