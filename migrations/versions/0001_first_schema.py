"""The first schema.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "codec",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_codec")),
        sa.UniqueConstraint("name", name=op.f("uq_codec_name")),
    )
    op.create_table(
        "entity",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("canon", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entity")),
        sa.UniqueConstraint("canon", name=op.f("uq_entity_canon")),
    )
    op.create_table(
        "namespace",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_namespace")),
        sa.UniqueConstraint("path", name=op.f("uq_namespace_path")),
    )
    op.create_table(
        "setting",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_setting")),
    )
    op.create_table(
        "source",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("m0", sa.Float(), server_default="0.5", nullable=False),
        sa.Column("r", sa.Float(), server_default="1.0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
        sa.UniqueConstraint("name", name=op.f("uq_source_name")),
    )
    op.create_table(
        "entity_alias",
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entity_id"],
            ["entity.id"],
            name=op.f("fk_entity_alias_entity_id_entity"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_entity_alias")),
    )
    op.create_table(
        "entity_count",
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("entity_id", sa.Integer(), nullable=False),
        sa.Column("memories", sa.Integer(), nullable=False),
        sa.Column("display", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entity_id"], ["entity.id"], name=op.f("fk_entity_count_entity_id_entity")
        ),
        sa.ForeignKeyConstraint(
            ["namespace_id"], ["namespace.id"], name=op.f("fk_entity_count_namespace_id_namespace")
        ),
        sa.PrimaryKeyConstraint("namespace_id", "entity_id", name=op.f("pk_entity_count")),
    )
    op.create_index(op.f("ix_entity_count_entity_id"), "entity_count", ["entity_id"], unique=False)
    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("memory_id", sa.Text(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("at", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.Integer(), nullable=False),
        sa.Column("payload", sa.Text(), server_default="{}", nullable=False),
        sa.Column("idem_key", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_event_source_id_source")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("idem_key", name=op.f("uq_event_idem_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_event_memory_id"), "event", ["memory_id"], unique=False)
    op.create_table(
        "memory",
        sa.Column("row", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("metadata", sa.Text(), server_default="{}", nullable=False),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("source_id", sa.Integer(), nullable=True),
        sa.Column("recorded_at", sa.Integer(), nullable=False),
        sa.Column("occurred_at", sa.Integer(), nullable=True),
        sa.Column("t_ref", sa.Integer(), nullable=True),
        sa.Column("t_end", sa.Integer(), nullable=True),
        sa.Column("t_precision", sa.Text(), server_default="instant", nullable=False),
        sa.Column("observed_at", sa.Integer(), nullable=True),
        sa.Column("valid_from", sa.Integer(), nullable=True),
        sa.Column("valid_to", sa.Integer(), nullable=True),
        sa.Column("expired_at", sa.Integer(), nullable=True),
        sa.Column("forgotten_at", sa.Integer(), nullable=True),
        sa.Column("superseded_by", sa.Text(), nullable=True),
        sa.Column("half_life_s", sa.Float(), nullable=True),
        sa.Column("alpha", sa.Float(), nullable=False),
        sa.Column("beta", sa.Float(), nullable=False),
        sa.Column("use_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_use_at", sa.Integer(), nullable=True),
        sa.Column("use_ring", sa.LargeBinary(), nullable=True),
        sa.Column("importance", sa.Float(), server_default="0.0", nullable=False),
        sa.Column("entities_given", sa.Boolean(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["namespace_id"], ["namespace.id"], name=op.f("fk_memory_namespace_id_namespace")
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_memory_source_id_source")
        ),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_memory")),
        sa.UniqueConstraint("id", name=op.f("uq_memory_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_memory_namespace_id_content_hash"),
        "memory",
        ["namespace_id", "content_hash"],
        unique=False,
    )
    op.create_index(
        op.f("ix_memory_namespace_id_key"), "memory", ["namespace_id", "key"], unique=False
    )
    op.create_index(
        op.f("ix_memory_namespace_id_session"), "memory", ["namespace_id", "session"], unique=False
    )
    op.create_table(
        "segment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("codec_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("passages", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["codec_id"], ["codec.id"], name=op.f("fk_segment_codec_id_codec")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segment")),
        sa.UniqueConstraint("name", name=op.f("uq_segment_name")),
    )
    op.create_table(
        "memory_entity",
        sa.Column("memory_row", sa.Integer(), nullable=False),
        sa.Column("entity_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("display", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entity_id"], ["entity.id"], name=op.f("fk_memory_entity_entity_id_entity")
        ),
        sa.ForeignKeyConstraint(
            ["memory_row"],
            ["memory.row"],
            name=op.f("fk_memory_entity_memory_row_memory"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("memory_row", "entity_id", name=op.f("pk_memory_entity")),
    )
    op.create_index(
        op.f("ix_memory_entity_entity_id_memory_row"),
        "memory_entity",
        ["entity_id", "memory_row"],
        unique=False,
    )
    op.create_table(
        "passage",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("memory_row", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("segment_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["memory_row"],
            ["memory.row"],
            name=op.f("fk_passage_memory_row_memory"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["segment_id"], ["segment.id"], name=op.f("fk_passage_segment_id_segment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passage")),
        sa.UniqueConstraint("memory_row", "ordinal", name=op.f("uq_passage_memory_row_ordinal")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "hot_vector",
        sa.Column("passage_id", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("codes", sa.LargeBinary(), nullable=False),
        sa.Column("scales", sa.LargeBinary(), nullable=False),
        sa.Column("checksum", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["passage_id"],
            ["passage.id"],
            name=op.f("fk_hot_vector_passage_id_passage"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("passage_id", name=op.f("pk_hot_vector")),
    )

    # the log is append-only; only a purge deletes the rows of what it removes
    op.execute(
        "CREATE TRIGGER event_is_append_only BEFORE UPDATE ON event "
        "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END"
    )
