"""Encoding a whole store anew, with its own encoder or another one."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable

from sqlalchemy import Connection, select

from memstore.catalog import log, memories, segments, vectors
from memstore.catalog.engine import reading, writing
from memstore.catalog.tables import memory
from memstore.catalog.vectors import PassageVectors
from memstore.encoders import Encoder
from memstore.errors import StoreLocked
from memstore.settings import VectorSettings
from memstore.store.encoding import Written, encode
from memstore.store.identity import write_identity
from memstore.store.index_files import changing_index
from memstore.store.opening import OpenStore

_BATCH = 256


def rebuild(
    opened: OpenStore,
    encoder: Encoder | None,
    made: VectorSettings | None,
    *,
    now: int,
    progress: Callable[[int], None] | None,
) -> int:
    """Replace all vectors by those of `encoder`, made so, and return the number of memories.

    Without settings they are made as the store's are. Without an encoder it is the store's own, as
    it is loaded: a name alone does not say every setting.

    The new vectors are all made first, then swapped in by one transaction: whoever reads meanwhile
    sees the old ones or the new ones, never both, and an interrupted rebuild changes nothing.

    Raises:
        EncoderMismatch: the store's vectors are not (any more) of the encoder it was opened with.
        StoreLocked: someone else changed the store meanwhile; nothing was changed, run it again.
    """
    opened.check_writable()
    own = encoder is None
    if encoder is None:
        encoder = opened.encoder
    if made is None:
        made = opened.vector_settings
    with reading(opened.engine, opened.path) as connection:
        if own:  # a handle that missed a rebuild must not undo it
            opened.check_encoder(connection, encoder, opened.vector_settings)
        version = log.last_event(connection)
        written = _written(connection, made.context_of(encoder.identity.session_context))
    rows = list(written)
    encoded: dict[int, tuple[PassageVectors, ...]] = {}
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        passages = encode(encoder, made, [written[row] for row in batch])
        encoded.update(zip(batch, passages, strict=True))
        if progress is not None:
            progress(len(batch))
    # However long it takes: what was encoded should not be lost to a merge, which will end.
    with (
        changing_index(opened.engine, opened.path, wait=None, consequence="Nothing was replaced."),
        opened.replacing(encoder, made),
        writing(opened.engine, opened.path) as connection,
    ):
        if log.changed_since(connection, version):
            raise StoreLocked(
                f"{opened.path} was changed while it was being re-encoded. Nothing was "
                "replaced; run the rebuild again when nobody writes."
            )
        everything = connection.scalars(select(memory.c.row)).all()  # forgotten ones too
        vectors.delete_passages(connection, everything)
        segments.delete_all(connection)
        vectors.insert_passages(connection, encoded)
        write_identity(connection, encoder.identity, made)
        log.append_event(
            connection,
            log.STORE,
            "rebuild",
            now=now,
            payload={"encoder": encoder.identity.name},
        )
    return len(rows)


def _written(connection: Connection, context: int) -> dict[int, Written]:
    """Return row → what is encoded, for all live memories in stored order."""
    recent: defaultdict[tuple[int, str], deque[str]] = defaultdict(lambda: deque(maxlen=context))
    written = {}
    columns = (memory.c.row, memory.c.text, memory.c.title, memory.c.namespace_id, memory.c.session)
    for row in connection.execute(select(*columns).where(memories.live).order_by(memory.c.row)):
        if row.session is None:
            written[row.row] = Written(row.text, row.title, ())
            continue
        before = recent[row.namespace_id, row.session]
        written[row.row] = Written(row.text, row.title, tuple(before))
        before.append(row.text)
    return written
