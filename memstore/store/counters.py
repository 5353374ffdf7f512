"""Trust and use of memories, replayed from the event log: their columns are a cache of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqlalchemy import Connection

from memstore.catalog import feedback
from memstore.catalog.feedback import UNKNOWN, Reliability, Said, Trusted
from memstore.scoring.evidence import Vote, count_uses, pack_uses, posterior

NOTHING_SAID = Said({}, [])


def replayed(item: Trusted, said: Said, reliabilities: dict[int, Reliability]) -> Trusted:
    """Return a memory's columns as the log has them.

    Args:
        said: of this memory.
        reliabilities: of all sources that wrote or voted.
    """
    writer = UNKNOWN if item.source_id is None else reliabilities.get(item.source_id, UNKNOWN)
    alpha, beta = posterior(
        writer.prior if item.prior is None else item.prior,
        [
            Vote(source, confirms, reliabilities.get(source, UNKNOWN).vote)
            for source, confirms in said.votes.items()
        ],
    )
    uses = count_uses(said.uses)
    return dataclasses.replace(
        item,
        alpha=alpha,
        beta=beta,
        use_count=uses.count,
        first_use_at=uses.first,
        use_ring=pack_uses(uses.recent),
    )


def believed_sources(items: Iterable[Trusted], said: Mapping[str, Said]) -> set[int]:
    """Return the sources that wrote memories or voted on them."""
    voters = [source for one in said.values() for source in one.votes]
    writers = [item.source_id for item in items]
    return {source for source in (*voters, *writers) if source is not None}


def differing(
    connection: Connection, rows: Sequence[int] | None = None
) -> Iterator[tuple[Trusted, Trusted]]:
    """Yield the columns of memories that are not as the log has them, and what they should be.

    Args:
        rows: of the memories to look at; None for all.
    """
    items = list(feedback.trusted(connection, rows))
    said = feedback.said(connection, None if rows is None else [item.id for item in items])
    # one that is not there is an orphan's, which verify tells of
    believed = None if rows is None else believed_sources(items, said)
    reliabilities = feedback.reliabilities(connection, believed)
    for item in items:
        right = replayed(item, said.get(item.id, NOTHING_SAID), reliabilities)
        if not _same(item, right):
            yield item, right


def recount(connection: Connection, rows: Sequence[int] | None = None) -> None:
    """Write the columns of memories as the log has them."""
    feedback.write_trusted(connection, [right for _, right in differing(connection, rows)])


def _same(cached: Trusted, right: Trusted) -> bool:
    # a prior that a migration divided out of two numbers differs in its last bits
    return (
        math.isclose(cached.alpha, right.alpha, rel_tol=1e-9, abs_tol=1e-9)
        and math.isclose(cached.beta, right.beta, rel_tol=1e-9, abs_tol=1e-9)
        and cached.use_count == right.use_count
        and cached.first_use_at == right.first_use_at
        and cached.use_ring == right.use_ring
    )
