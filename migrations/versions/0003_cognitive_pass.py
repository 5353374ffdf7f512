"""What the cognitive pass learns: priors of trust, calibrations, weights, pages; local aliases.

Revision: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("memory", sa.Column("prior", sa.Float(), nullable=True))
    # nobody could vote before this schema: what trust there is was given by the writer
    op.execute("UPDATE memory SET prior = alpha / (alpha + beta) WHERE alpha <> beta")

    # each alias is one of a namespace now: of every one that knew its entity
    op.rename_table("entity_alias", "entity_alias_of_all")
    op.create_table(
        "entity_alias",
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("canon", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace_id"], ["namespace.id"], name=op.f("fk_entity_alias_namespace_id_namespace")
        ),
        sa.PrimaryKeyConstraint("namespace_id", "alias", name=op.f("pk_entity_alias")),
    )
    op.execute(
        "INSERT INTO entity_alias SELECT namespace_id, alias, canon FROM entity_alias_of_all "
        "JOIN entity ON entity.id = entity_alias_of_all.entity_id "
        "JOIN entity_count ON entity_count.entity_id = entity.id"
    )
    op.drop_table("entity_alias_of_all")

    op.create_table(
        "calibration",
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("parameters", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("fitted_at", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scorer", name=op.f("pk_calibration")),
    )
    op.create_table(
        "weights",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("weights", sa.Text(), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent"], ["weights.version"], name=op.f("fk_weights_parent_weights")
        ),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_weights")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "page",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("query_hash", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("at", sa.Integer(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("hits", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_page")),
    )
    op.create_index(op.f("ix_event_source_id"), "event", ["source_id"])
