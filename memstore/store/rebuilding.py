"""Encoding a whole store anew, with its own encoder or another one."""

from __future__ import annotations

from collections.abc import Callable

from memstore.catalog import log, memories, vectors
from memstore.catalog.engine import reading, writing
from memstore.catalog.tables import memory
from memstore.catalog.vectors import PassageVectors
from memstore.encoders import Encoder
from memstore.errors import StoreLocked
from memstore.store.identity import write_identity
from memstore.store.opening import OpenStore
from memstore.store.writing import Written, encode

_BATCH = 256


def rebuild(
    opened: OpenStore, encoder: Encoder, *, now: int, progress: Callable[[int], None] | None
) -> int:
    """Replace all vectors by those of `encoder` and return the number of memories.

    The new vectors are all made first, then swapped in by one transaction: whoever reads meanwhile
    sees the old ones or the new ones, never both, and an interrupted rebuild changes nothing.

    Raises:
        StoreLocked: someone else changed the store meanwhile; nothing was changed, run it again.
    """
    opened.check_writable()
    with reading(opened.engine, opened.path) as connection:
        version = log.last_event(connection)
        found = memories.load(connection, memories.live)
        context = opened.settings.session_context
        written = {
            row: Written(item.text, item.title, memories.context_of(connection, row, context))
            for row, item in sorted(found.items())
        }
    rows = list(written)
    encoded: dict[int, tuple[PassageVectors, ...]] = {}
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        made = encode(encoder, opened.settings, [written[row] for row in batch])
        encoded.update(zip(batch, made, strict=True))
        if progress is not None:
            progress(len(batch))
    with opened.replacing(encoder), writing(opened.engine, opened.path) as connection:
        if log.last_event(connection) != version:
            raise StoreLocked(
                f"{opened.path} was changed while it was being re-encoded. Nothing was replaced; "
                "run the rebuild again when nobody writes."
            )
        forgotten = memories.load(connection, memory.c.forgotten_at.is_not(None))
        vectors.delete_passages(connection, [*rows, *forgotten])
        for row, passages in encoded.items():
            vectors.insert_passages(connection, row, passages)
        write_identity(connection, encoder.identity)
        log.append_event(
            connection, log.STORE, "rebuild", now=now, payload={"encoder": encoder.identity.name}
        )
    return len(rows)
