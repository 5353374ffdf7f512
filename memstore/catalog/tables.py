"""The tables of `memstore.db`. Times are int64 UTC microseconds; JSON is text.

`row` is a memory's private position, `id` its public name. What is only a cache of the event log
or of other rows says so. A new store is made of these tables; `migrations/` makes the same of an
older one, to the order of the columns, and tests compare the two. A checksum covers what neither
other rows nor files nor a unique index confirm.
"""

from sqlalchemy import (
    DDL,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.event import listen

from memstore.catalog.checksums import checksum_of
from memstore.catalog.full_text import CREATE

SCHEMA_VERSION = "0005"

metadata = MetaData(
    # unnamed constraints cannot be changed by a later migration
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

setting = Table(
    "setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),  # JSON
    checksum_of("name", "value"),
)

namespace = Table(
    "namespace",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("path", Text, nullable=False, unique=True),
    checksum_of("path"),
)

source = Table(
    "source",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("m0", Float, nullable=False, server_default="0.5"),  # reliability as a prior
    Column("r", Float, nullable=False, server_default="1.0"),  # weight of its votes
    checksum_of("name", "m0", "r"),
)

memory = Table(
    "memory",
    metadata,
    Column("row", Integer, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("namespace_id", ForeignKey("namespace.id"), nullable=False),
    Column("key", Text),
    Column("session", Text),
    Column("title", Text),
    Column("text", Text, nullable=False),
    Column("content_hash", Text, nullable=False),  # SHA-256 of everything the caller gave
    Column("metadata", Text, nullable=False, server_default="{}"),  # JSON object
    Column("kind", Text),
    Column("source_id", ForeignKey("source.id")),
    # time: what happened when, and what was known when
    Column("recorded_at", Integer, nullable=False),
    Column("occurred_at", Integer),
    Column("t_ref", Integer),  # event, else valid, else observed, else recorded time
    Column("t_end", Integer),  # end of a coarse date's period
    Column("t_precision", Text, nullable=False, server_default="instant"),
    Column("observed_at", Integer),
    Column("valid_from", Integer),
    Column("valid_to", Integer),
    Column("expired_at", Integer),  # retracted
    Column("forgotten_at", Integer),
    Column("superseded_by", Text),
    Column("half_life_s", Float),
    # trust and use: caches of the event log
    Column("alpha", Float, nullable=False),
    Column("beta", Float, nullable=False),
    Column("use_count", Integer, nullable=False, server_default="0"),
    Column("first_use_at", Integer),
    Column("use_ring", LargeBinary),
    Column("importance", Float, nullable=False, server_default="0.0"),
    # whether the writer named the entities, be it none: then a new text is not extracted from
    Column("entities_given", Boolean, nullable=False, server_default="0"),
    # trust: what its writer gave it, 0 to 1; NULL: the reliability of its source
    Column("prior", Float),
    checksum_of(
        *("id", "namespace_id", "key", "session", "title", "text", "content_hash", "metadata"),
        *("kind", "source_id", "recorded_at", "occurred_at", "t_ref", "t_end", "t_precision"),
        *("observed_at", "valid_from", "valid_to", "expired_at", "forgotten_at", "superseded_by"),
        *("half_life_s", "prior", "importance", "entities_given"),
    ),
    # of its own: feedback changes these in many memories at once, and need not read their texts
    checksum_of(
        *("id", "alpha", "beta", "use_count", "first_use_at", "use_ring"), column="use_checksum"
    ),
    Index(None, "namespace_id", "key"),
    Index(None, "namespace_id", "session"),
    Index(None, "namespace_id", "content_hash"),
    sqlite_autoincrement=True,  # a purged row's number is never given out again
)

passage = Table(
    "passage",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("memory_row", ForeignKey("memory.row", ondelete="CASCADE"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("start", Integer, nullable=False),  # characters of memory.text
    Column("end", Integer, nullable=False),
    # NULL: in the hot tier, where its vectors are; else its segment names it
    Column("segment_id", ForeignKey("segment.id")),
    checksum_of("memory_row", "ordinal", "start", "end"),
    UniqueConstraint("memory_row", "ordinal"),
    sqlite_autoincrement=True,
)

for _statement in CREATE:  # a virtual table, of which SQLAlchemy knows nothing
    listen(passage, "after_create", DDL(_statement))  # type: ignore[no-untyped-call]  # see below

hot_vector = Table(
    "hot_vector",
    metadata,
    Column("passage_id", ForeignKey("passage.id", ondelete="CASCADE"), primary_key=True),
    Column("tokens", Integer, nullable=False),
    Column("codes", LargeBinary, nullable=False),  # int8 (tokens, dim)
    Column("scales", LargeBinary, nullable=False),  # float32 (tokens,)
    Column("checksum", Integer, nullable=False),  # CRC-32 of codes, then scales
)

codec = Table(
    "codec",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # folder under index/
    Column("manifest", Text, nullable=False),  # JSON: file name -> SHA-256 and size
    Column("created_at", Integer, nullable=False),
    checksum_of("name", "manifest", "created_at"),
)

segment = Table(
    "segment",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("codec_id", ForeignKey("codec.id"), nullable=False),
    Column("name", Text, nullable=False, unique=True),
    Column("passages", Integer, nullable=False),
    Column("tokens", Integer, nullable=False),
    Column("manifest", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    checksum_of("name", "passages", "tokens", "manifest", "created_at"),
)

tombstone = Table(  # sealed passages that were deleted, until their segment is rewritten
    "tombstone",
    metadata,
    Column("passage_id", Integer, primary_key=True),
    Column("segment_id", ForeignKey("segment.id"), nullable=False, index=True),
)

entity = Table(
    "entity",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("canon", Text, nullable=False, unique=True),
    Column("label", Text),
    checksum_of("canon", "label"),
)

entity_alias = Table(  # of a namespace and all below it
    "entity_alias",
    metadata,
    Column("namespace_id", ForeignKey("namespace.id"), primary_key=True),
    Column("alias", Text, primary_key=True),  # canonical form
    Column("canon", Text, nullable=False),  # of the entity it stands for
    checksum_of("namespace_id", "alias", "canon"),
)

memory_entity = Table(
    "memory_entity",
    metadata,
    Column("memory_row", ForeignKey("memory.row", ondelete="CASCADE"), primary_key=True),
    Column("entity_id", ForeignKey("entity.id"), primary_key=True),
    Column("role", Text, nullable=False),  # speaker, given or extracted
    # as this memory spells it: a spelling of another namespace must not show here
    Column("display", Text, nullable=False),
    checksum_of("memory_row", "entity_id", "role", "display"),
    Index(None, "entity_id", "memory_row"),
)

entity_count = Table(  # live memories per namespace: a cache of memory_entity
    "entity_count",
    metadata,
    Column("namespace_id", ForeignKey("namespace.id"), primary_key=True),
    Column("entity_id", ForeignKey("entity.id"), primary_key=True),
    Column("memories", Integer, nullable=False),
    Column("display", Text, nullable=False),  # as the namespace's first memory of it spells it
    checksum_of("namespace_id", "entity_id", "display"),  # `memories` can be counted
    Index(None, "entity_id"),
)

event = Table(  # append-only: a trigger refuses UPDATE
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("memory_id", Text, nullable=False, index=True),
    Column("verb", Text, nullable=False),
    Column("source_id", ForeignKey("source.id"), index=True),
    Column("session", Text),
    Column("at", Integer, nullable=False),
    Column("recorded_at", Integer, nullable=False),
    Column("payload", Text, nullable=False, server_default="{}"),  # JSON object
    Column("idem_key", Text, unique=True),
    checksum_of(
        *("memory_id", "verb", "source_id", "session", "at", "recorded_at", "payload", "idem_key")
    ),
    sqlite_autoincrement=True,
)
listen(
    event,
    "after_create",
    DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy declares no types for it
        "CREATE TRIGGER event_is_append_only BEFORE UPDATE ON event "
        "BEGIN SELECT RAISE(ABORT, 'the event log is append-only'); END"
    ),
)

calibration = Table(  # how a scorer's scores become log-odds in this store
    "calibration",
    metadata,
    Column("scorer", Text, primary_key=True),  # name, and for encoders the hash of their weights
    Column("kind", Text, nullable=False),  # maxsim, logit or prob01
    Column("parameters", Text, nullable=False),  # JSON
    Column("evidence", Text, nullable=False),  # JSON: what it was fitted on, and how well it fits
    Column("fitted_at", Integer, nullable=False),
    checksum_of("scorer", "kind", "parameters", "evidence", "fitted_at"),
)

weights = Table(  # learned weights of profiles; which of them count is a setting
    "weights",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("profile", Text, nullable=False),
    Column("weights", Text, nullable=False),  # JSON
    Column("parent", ForeignKey("weights.version")),  # NULL: the shipped profile
    Column("evidence", Text, nullable=False),  # JSON
    Column("created_at", Integer, nullable=False),
    checksum_of("profile", "weights", "parent", "evidence", "created_at"),
    Index(None, "profile"),
    sqlite_autoincrement=True,
)

page = Table(  # what a query showed, if pages are logged: what weights are learned from
    "page",
    metadata,
    Column("id", Text, primary_key=True),
    Column("query_hash", Text, nullable=False),  # SHA-256: the text itself may be purged
    Column("session", Text),
    Column("at", Integer, nullable=False),
    Column("profile", Text, nullable=False),
    Column("hits", Text, nullable=False),  # JSON: ids with their ranks and what was found of them
    checksum_of("id", "query_hash", "session", "at", "profile", "hits"),
)
