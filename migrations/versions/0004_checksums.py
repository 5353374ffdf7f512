"""Checksums of rows, so that a flipped bit is found and never believed.

Revision: 0004
"""

import zlib

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COVERED = {
    "setting": {"checksum": ("name", "value")},
    "namespace": {"checksum": ("path",)},
    "source": {"checksum": ("name", "m0", "r")},
    "memory": {
        "checksum": (
            *("id", "namespace_id", "key", "session", "title", "text", "content_hash", "metadata"),
            *("kind", "source_id", "recorded_at", "occurred_at", "t_ref", "t_end", "t_precision"),
            *("observed_at", "valid_from", "valid_to", "expired_at", "forgotten_at"),
            *("superseded_by", "half_life_s", "prior", "importance", "entities_given"),
        ),
        "use_checksum": ("id", "alpha", "beta", "use_count", "first_use_at", "use_ring"),
    },
    "passage": {"checksum": ("memory_row", "ordinal", "start", "end")},
    "codec": {"checksum": ("name", "manifest", "created_at")},
    "segment": {"checksum": ("name", "passages", "tokens", "manifest", "created_at")},
    "entity": {"checksum": ("canon", "label")},
    "entity_alias": {"checksum": ("namespace_id", "alias", "canon")},
    "memory_entity": {"checksum": ("memory_row", "entity_id", "role", "display")},
    "entity_count": {"checksum": ("namespace_id", "entity_id", "display")},
    "event": {
        "checksum": (
            *("memory_id", "verb", "source_id", "session", "at", "recorded_at", "payload"),
            "idem_key",
        )
    },
    "calibration": {"checksum": ("scorer", "kind", "parameters", "evidence", "fitted_at")},
    "weights": {"checksum": ("profile", "weights", "parent", "evidence", "created_at")},
    "page": {"checksum": ("id", "query_hash", "session", "at", "profile", "hits")},
}


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    driver.create_function("checksum_0004", -1, checksum, deterministic=True)
    op.execute("DROP TRIGGER event_is_append_only")  # its rows get a column, and no other value
    for table, columns in COVERED.items():
        for column, covers in columns.items():
            op.add_column(table, sa.Column(column, sa.Integer(), nullable=True))
            names = ", ".join(f'"{name}"' for name in covers)
            op.execute(f'UPDATE "{table}" SET {column} = checksum_0004({names})')
    op.execute(
        "CREATE TRIGGER event_is_append_only BEFORE UPDATE ON event "
        "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END"
    )
    op.create_index(op.f("ix_weights_profile"), "weights", ["profile"], unique=False)


def checksum(*values) -> int:
    parts = []
    for value in values:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, str):
            written = value.encode()
            parts.append(b"t%d:%b" % (len(written), written))
        elif isinstance(value, float) and not value.is_integer():
            parts.append(b"f%b;" % float.__repr__(value).encode())
        elif isinstance(value, (int, float)):
            parts.append(b"i%d;" % int(value))
        else:
            parts.append(b"b%d:%b" % (len(value), value))
    return zlib.crc32(b"".join(parts))
