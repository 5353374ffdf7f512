"""What was said of memories since they were written: votes, uses, and who is believed how far."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, literal, or_, select, update

from memstore.catalog import log
from memstore.catalog.checksums import check, check_number, damaged, stamps, update_row
from memstore.catalog.sql import among, number_by
from memstore.catalog.tables import event, memory, source
from memstore.times import to_microseconds

_VOTES = (log.CONFIRM, log.CONTRADICT)


@dataclass(frozen=True, slots=True)
class Said:
    """The votes and uses of one memory, in the order they were recorded.

    `votes` are source → whether it confirms; `uses` are time and session.
    """

    votes: dict[int, bool]
    uses: list[tuple[int, str | None]]


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far a source is believed, 0 to 1: as a writer (the prior), and as a voter."""

    prior: float
    vote: float


UNKNOWN = Reliability(0.5, 1.0)  # no source, or one of which nothing was said


@dataclass(frozen=True, slots=True)
class Trusted:
    """The columns of a memory that are a cache of its prior and of what was said."""

    row: int
    id: str
    prior: float | None
    source_id: int | None
    alpha: float
    beta: float
    use_count: int
    first_use_at: int | None
    use_ring: bytes | None


def said(
    connection: Connection, memory_ids: Sequence[str] | None = None, *, until: int | None = None
) -> dict[str, Said]:
    """Return memory id → what was said of it, for those of which anything was.

    Args:
        memory_ids: None for all.
        until: only what was recorded by then, in UTC microseconds.
    """
    statement = select(event).where(event.c.verb.in_((*_VOTES, log.REINFORCE))).order_by(event.c.id)
    if memory_ids is not None:
        statement = statement.where(among(event.c.memory_id, memory_ids))
    if until is not None:
        statement = statement.where(event.c.recorded_at <= until)
    found: dict[str, Said] = {}
    for row in connection.execute(statement):
        check(event, row)
        item = found.setdefault(row.memory_id, Said({}, []))
        if row.verb == log.REINFORCE:
            item.uses.append((row.at, row.session))
        else:
            item.votes[row.source_id] = row.verb == log.CONFIRM
    return found


def reliabilities(
    connection: Connection, source_ids: Collection[int] | None = None, *, until: int | None = None
) -> dict[int, Reliability]:
    """Return source id → how far it is believed.

    Args:
        source_ids: None for all there are.
        until: as it was then, in UTC microseconds.

    Raises:
        IndexDamaged: one of them is not as it was written, or not there.
    """
    statement = select(source, number_by(source.c.name))
    if source_ids is not None:
        statement = statement.where(among(source.c.id, source_ids))
    found = {
        row.id: Reliability(row.m0, row.r) for row in map(_checked, connection.execute(statement))
    }
    if missing := {*(source_ids or ())} - found.keys():
        raise damaged(f"source {min(missing)}", "it is not there")
    if until is not None:
        later = connection.execute(
            select(event)
            .where(event.c.verb == log.SOURCE, event.c.recorded_at > until)
            .order_by(event.c.id.desc())
        )
        for row in later:  # newest first: the oldest change behind `until` is what remains
            if row.source_id not in found:  # that nobody asked for
                continue
            before = {name: values[0] for name, values in log.payload(row).items()}
            found[row.source_id] = Reliability(before["reliability"], before["vote_weight"])
    return found


def trusted(connection: Connection, rows: Sequence[int] | None = None) -> Iterator[Trusted]:
    """Yield the cached columns of some memories, or of all, forgotten ones too."""
    columns = [getattr(memory.c, name) for name in Trusted.__dataclass_fields__]
    statement = select(*columns).order_by(memory.c.row)
    if rows is not None:
        statement = statement.where(among(memory.c.row, rows))
    for row in connection.execute(statement):
        yield Trusted(*row)


def write_trusted(connection: Connection, items: Iterable[Trusted]) -> None:
    """Overwrite the cached columns of memories."""
    for item in items:
        values = {
            "alpha": item.alpha,
            "beta": item.beta,
            "use_count": item.use_count,
            "first_use_at": item.first_use_at,
            "use_ring": item.use_ring,
        }
        values |= stamps(memory, {**values, "id": item.id})
        connection.execute(update(memory).where(memory.c.row == item.row).values(values))


def believing(connection: Connection, source_id: int) -> list[int]:
    """Return the rows of the memories whose trust depends on a source: it wrote them, or voted."""
    voted = select(event.c.memory_id).where(
        event.c.source_id == source_id, event.c.verb.in_(_VOTES)
    )
    return list(
        connection.scalars(
            select(memory.c.row).where(
                or_(
                    (memory.c.source_id == source_id) & memory.c.prior.is_(None),
                    memory.c.id.in_(voted),
                )
            )
        )
    )


def source_reliability(connection: Connection, source_id: int | None) -> Reliability:
    """Return how far a source is believed."""
    if source_id is None:
        return UNKNOWN
    return reliabilities(connection, [source_id])[source_id]


def write_reliability(
    connection: Connection, source_id: int, reliability: Reliability, *, now: int
) -> None:
    """Change how far a source is believed, with an event that says what it was before."""
    before = source_reliability(connection, source_id)
    update_row(
        connection, source, source.c.id == source_id, m0=reliability.prior, r=reliability.vote
    )
    log.append_event(
        connection,
        log.STORE,
        log.SOURCE,
        now=now,
        source_id=source_id,
        payload={
            "reliability": [before.prior, reliability.prior],
            "vote_weight": [before.vote, reliability.vote],
        },
    )


def sources_of(connection: Connection, memory_ids: Sequence[str]) -> list[int]:
    """Return who wrote memories or said something of them, before an update too."""
    writers = select(memory.c.source_id).where(among(memory.c.id, memory_ids))
    voices = select(event.c.source_id).where(among(event.c.memory_id, memory_ids))
    named = func.json_each(event.c.payload, "$.source").table_valued("value", name="named")
    earlier = (
        select(source.c.id)
        .join_from(event, named, literal(True))
        .join(source, source.c.name == named.c.value)
        .where(event.c.verb == log.UPDATE, among(event.c.memory_id, memory_ids))
    )
    found = connection.scalars(writers.union(voices, earlier))
    return [id_ for id_ in found if id_ is not None]


def erase_reliabilities(connection: Connection, source_ids: Sequence[int]) -> int:
    """Forget how far sources were believed of which nothing else is left: a purge takes their
    names with the last memory that needs them. Return how many events that are.
    """
    left = select(event.c.source_id).where(
        event.c.verb != log.SOURCE, event.c.source_id.is_not(None)
    )
    wrote = select(memory.c.source_id).where(memory.c.source_id.is_not(None))
    erased = connection.execute(
        delete(event).where(
            event.c.verb == log.SOURCE,
            among(event.c.source_id, source_ids),
            event.c.source_id.not_in(left),
            event.c.source_id.not_in(wrote),
        )
    )
    return erased.rowcount


def reliability_history(connection: Connection, name: str) -> list[tuple[int, Reliability]]:
    """Return when, in UTC microseconds, it was said of a source how far it is believed, and how
    far, the oldest first.
    """
    rows = connection.execute(
        select(event)
        .join(source, source.c.id == event.c.source_id)
        .where(event.c.verb == log.SOURCE, source.c.name == name)
        .order_by(event.c.id)
    )
    found = [(row.recorded_at, log.payload(row)) for row in rows]
    return [(at, Reliability(said["reliability"][1], said["vote_weight"][1])) for at, said in found]


def named_sources(connection: Connection) -> list[tuple[str, Reliability, int]]:
    """Return name, reliability and number of live memories of every source, by name."""
    count = func.count(memory.c.row).label("memories")
    rows = connection.execute(
        select(source, count, number_by(source.c.name))
        .outerjoin(memory, (memory.c.source_id == source.c.id) & memory.c.forgotten_at.is_(None))
        .group_by(source.c.id)
        .order_by(source.c.name)
    )
    return [
        (row.name, Reliability(row.m0, row.r), int(row.memories)) for row in map(_checked, rows)
    ]


def source_names(connection: Connection) -> dict[int, str]:
    """Return number → name of every source."""
    rows = connection.execute(select(source, number_by(source.c.name)))
    return {row.id: row.name for row in map(_checked, rows)}


def _checked(row: Row[Any]) -> Row[Any]:
    check(source, row)
    check_number(f"source {row.name!r}", row.id, row.source_number)
    return row


def earlier_values(
    connection: Connection, memory_ids: Sequence[str], names: Sequence[str], *, known_at: int
) -> dict[str, dict[str, Any]]:
    """Return memory id → name → the value it had at `known_at`, where it was changed later.

    Args:
        names: fields whose changes events note as [before, after].
    """
    rows = connection.execute(
        select(event)
        .where(among(event.c.memory_id, memory_ids), event.c.recorded_at > known_at)
        .order_by(event.c.id.desc())
    )
    found: dict[str, dict[str, Any]] = {}
    for row in rows:  # newest first, so the oldest change behind known_at is what remains
        for name, values in log.payload(row).items():
            if name in names and isinstance(values, list):
                found.setdefault(row.memory_id, {})[name] = values[0]
    return found


def moment(written: Mapping[str, Any], name: str) -> int | None:
    """Return a time of an event's payload in UTC microseconds."""
    value = written[name]
    return None if value is None else to_microseconds(value, name=name)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was made under an idempotency key."""

    memory_id: str
    verb: str
    source: str | None
    payload: dict[str, Any]


def repeated(connection: Connection, key: str) -> Call | None:
    """Return the call that was made under an idempotency key, None if there was none."""
    row = connection.execute(
        select(event, *log.JOINED_SOURCE)
        .outerjoin(source, source.c.id == event.c.source_id)
        .where(event.c.idem_key == key)
    ).first()
    if row is None:
        return None
    said = log.payload(row)
    return Call(row.memory_id, row.verb, log.checked_source(row).source_name, said)


def chain(connection: Connection, memory_id: str, *, depth: int) -> list[str]:
    """Return the ids that superseded a memory, one after another, up to the last one that is there
    and was not retracted; at most `depth`, no id twice.
    """
    found: list[str] = []
    there = 0
    while len(found) < depth:
        following = connection.scalar(
            select(memory.c.superseded_by).where(memory.c.id == memory_id)
        )
        if following is None or following in found or following == memory_id:
            break
        found.append(following)
        believed = (memory.c.id == following) & memory.c.forgotten_at.is_(None)
        believed &= memory.c.expired_at.is_(None)
        if connection.scalar(select(memory.c.row).where(believed)) is not None:
            there = len(found)
        memory_id = following
    return found[:there]


def leads_to(connection: Connection, start: str, end: str) -> bool:
    """Return whether `end` is among those that superseded `start`, however long the chain."""
    reached = (
        select(memory.c.superseded_by.label("id")).where(memory.c.id == start).cte(recursive=True)
    )
    reached = reached.union(
        select(memory.c.superseded_by).where(
            memory.c.id == reached.c.id, memory.c.superseded_by.is_not(None)
        )
    )
    return connection.scalar(select(reached.c.id).where(reached.c.id == end)) is not None
