"""What users and judges say of stored memories: one event feeds one component.

Every verb is one transaction: an event, and the columns that are a cache of the events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from memstore.catalog import feedback, links, log, memories
from memstore.catalog.engine import reading, writing
from memstore.catalog.feedback import Reliability
from memstore.errors import BadInput
from memstore.store import drafts
from memstore.store.changing import one
from memstore.store.counters import recount
from memstore.store.opening import OpenStore
from memstore.store.writing import prepare, store_prepared
from memstore.times import from_microseconds, iso
from memstore.types import Memory, NewMemory, Source, When

CHAIN_DEPTH = 32  # successors that are walked to find the current one


def reinforce(
    opened: OpenStore,
    memory_id: str,
    *,
    at: When | None,
    session: str | None,
    page: str | None,
    idempotency_key: str | None,
    now: int,
) -> Memory:
    """Note that a memory was used; see `MemoryStore.reinforce`."""
    used = drafts.check_time(at, "at")
    if used is not None and used > now:
        raise BadInput(f"at is {_iso(used)}, which is to come. A use lies in the past.")
    return _say(
        opened,
        memory_id,
        log.REINFORCE,
        at=used,
        session=drafts.check_string(session, "session"),
        payload=_page(page),
        idempotency_key=idempotency_key,
        now=now,
    )


def vote(
    opened: OpenStore,
    memory_id: str,
    *,
    confirms: bool,
    source: str,
    page: str | None,
    idempotency_key: str | None,
    now: int,
    refresh: bool = False,
    observed_at: When | None = None,
) -> Memory:
    """Note what a source says of a memory; see `MemoryStore.confirm` and `contradict`."""
    observed = drafts.check_time(observed_at, "observed_at")
    if observed is not None and not refresh:
        raise BadInput("observed_at is given without refresh=True. Add it, or leave both out.")
    if observed is not None and observed > now:
        raise BadInput(f"observed_at is {_iso(observed)}, which is to come.")
    if drafts.check_string(source, "source") is None:
        raise BadInput("source is None. Say who or what says so: one vote per source counts.")
    return _say(
        opened,
        memory_id,
        log.CONFIRM if confirms else log.CONTRADICT,
        source=source,
        observed_at=(now if observed is None else observed) if refresh else None,
        payload=_page(page),
        idempotency_key=idempotency_key,
        now=now,
    )


def _page(page: str | None) -> dict[str, Any]:
    checked = drafts.check_string(page, "page", 64)
    return {} if checked is None else {"page": checked}


def _say(
    opened: OpenStore,
    memory_id: str,
    verb: str,
    *,
    payload: Mapping[str, Any],
    idempotency_key: str | None,
    now: int,
    at: int | None = None,
    session: str | None = None,
    source: str | None = None,
    observed_at: int | None = None,
) -> Memory:
    opened.check_writable()
    key = drafts.check_string(idempotency_key, "idempotency_key")
    details = dict(payload)
    with writing(opened.engine, opened.path) as connection:
        row, _ = one(connection, drafts.check_id(memory_id))
        if _repeated(connection, key, memory_id, verb, source=source) is None:
            if observed_at is not None:
                details["observed_at"] = _observe(connection, row, observed_at)
            log.append_event(
                connection,
                memory_id,
                verb,
                now=now,
                at=at,
                source_id=memories.source_id(connection, source),
                session=session,
                payload=details,
                idempotency_key=key,
            )
            recount(connection, [row])
        return one(connection, memory_id)[1]


def _observe(connection: Connection, row: int, observed_at: int) -> list[str | None]:
    """Note when a fact was last seen to hold; return what was noted before and now.

    Its age counts from then, unless it is known when it happened.
    """
    times = memories.times_of(connection, row)
    seen = observed_at if times.observed_at is None else max(times.observed_at, observed_at)
    memories.update_memory(
        connection,
        row,
        observed_at=seen,
        t_ref=drafts.reference_time(
            occurred_at=times.occurred_at,
            valid_from=times.valid_from,
            observed_at=seen,
            recorded_at=times.recorded_at,
        ),
    )
    return [_iso(times.observed_at), _iso(seen)]


def supersede(
    opened: OpenStore,
    old_id: str,
    new: str,
    *,
    at: When | None,
    idempotency_key: str | None,
    now: int,
) -> Memory:
    """End a memory where another one begins; see `MemoryStore.supersede`."""
    opened.check_writable()
    key = drafts.check_string(idempotency_key, "idempotency_key")
    moment = drafts.check_time(at, "at")
    drafts.check_id(old_id)
    drafts.check_text(new, "new")
    with reading(opened.engine, opened.path) as connection:
        _, old = one(connection, old_id)
        is_id = bool(memories.live_rows(connection, [new]))
    if not is_id and _looks_like_an_id(new):
        raise BadInput(
            f"There is no memory {new!r}. Give the id of a memory that is there, or a text."
        )
    draft, ready = None, None
    if not is_id:
        draft = drafts.draft(
            NewMemory(
                text=new,
                namespace=old.namespace,
                key=old.key,
                kind=old.kind,
                occurred_at=None if moment is None else from_microseconds(moment),
            )
        )
        ready = prepare(opened, [draft], now)  # encoding takes time: before the transaction
    with writing(opened.engine, opened.path) as connection:
        earlier = _repeated(connection, key, old_id, log.SUPERSEDE, by=new if is_id else None)
        if earlier is not None:
            return one(connection, earlier["by"])[1]
        row, old = one(connection, old_id)
        if draft is not None and ready is not None:
            _check_open(connection, row, old, moment)
            new = store_prepared(opened, connection, [draft], ready, now=now)[0].id
        _link(connection, old_id, new, moment, key, now)
        return one(connection, new)[1]


def _looks_like_an_id(text: str) -> bool:
    """Whether a text is a mistyped id rather than words."""
    return len(text) == 26 and text.isalnum() and text.isupper()


def _check_open(connection: Connection, row: int, old: Memory, at: int | None) -> None:
    """Refuse to end a memory by a new text where that would end another one, or nothing."""
    if old.key is not None and old.superseded_by is not None:
        raise BadInput(
            f"{old.id} is superseded by {old.superseded_by} already, under its key {old.key!r}. "
            "Supersede that one, or the last of the chain: memstore history ID"
        )
    _check_end(old.id, memories.times_of(connection, row), at)


def _check_end(old_id: str, times: memories.Times, end: int | None) -> None:
    if end is not None and end < times.starts_at:
        raise BadInput(
            f"{old_id} begins {_iso(times.starts_at)} and would end before that, "
            f"{_iso(end)}. Say when it ended: at=…, or change when it began: update."
        )


def _link(
    connection: Connection, old_id: str, new_id: str, at: int | None, key: str | None, now: int
) -> None:
    row, old = one(connection, old_id)
    new_row, new = one(connection, new_id)
    if old.namespace != new.namespace:
        raise BadInput(
            f"{old_id} is in the namespace {old.namespace!r} and {new_id} in {new.namespace!r}. "
            "A memory is superseded within its namespace: add the new one there."
        )
    if old_id == new_id:
        raise BadInput(f"{old_id} cannot supersede itself.")
    if feedback.leads_to(connection, new_id, old_id):
        raise BadInput(
            f"{new_id} is itself superseded by {old_id}: a cycle would leave nothing true. "
            "See the chain: memstore history ID"
        )
    if new.retracted_at is not None:
        raise BadInput(f"{new_id} was retracted: it holds instead of nothing. Add it anew.")
    times, begins = memories.times_of(connection, row), memories.times_of(connection, new_row)
    end = begins.starts_at if at is None else at
    _check_end(old_id, times, end)
    same = old.superseded_by == new_id
    if times.valid_to is not None and not (same and at is not None):
        end = min(times.valid_to, end)  # what ended before stays ended: the link adds no time
    if same and times.valid_to == end and key is None:
        return
    memories.update_memory(connection, row, valid_to=end, superseded_by=new_id)
    log.append_event(
        connection,
        old_id,
        log.SUPERSEDE,
        now=now,
        at=end,
        payload={
            "by": new_id,
            "before": old.superseded_by,
            "valid_to": [_iso(times.valid_to), _iso(end)],
        },
        idempotency_key=key,
    )


def retract(
    opened: OpenStore, memory_id: str, *, reason: str, idempotency_key: str | None, now: int
) -> Memory:
    """Take back a memory that was never true; see `MemoryStore.retract`."""
    opened.check_writable()
    key = drafts.check_string(idempotency_key, "idempotency_key")
    why = drafts.check_text(reason, "reason")
    with writing(opened.engine, opened.path) as connection:
        row, item = one(connection, drafts.check_id(memory_id))
        known = _repeated(connection, key, memory_id, log.RETRACT)
        fresh = item.retracted_at is None
        if known is None and (fresh or key is not None):
            if fresh:
                links.uncount(connection, row)
                memories.update_memory(connection, row, expired_at=now)
            log.append_event(
                connection,
                memory_id,
                log.RETRACT,
                now=now,
                payload={"reason": why},
                idempotency_key=key,
            )
        return one(connection, memory_id)[1]


def set_importance(
    opened: OpenStore, memory_id: str, importance: float, *, idempotency_key: str | None, now: int
) -> Memory:
    """Say how much a memory matters; see `MemoryStore.set_importance`."""
    opened.check_writable()
    key = drafts.check_string(idempotency_key, "idempotency_key")
    value = drafts.check_number(importance, "importance", -1.0, 1.0)
    with writing(opened.engine, opened.path) as connection:
        row, item = one(connection, drafts.check_id(memory_id))
        known = _repeated(connection, key, memory_id, log.IMPORTANCE)
        if known is None and (item.importance != value or key is not None):
            memories.update_memory(connection, row, importance=value)
            log.append_event(
                connection,
                memory_id,
                log.IMPORTANCE,
                now=now,
                payload={"importance": [item.importance, value]},
                idempotency_key=key,
            )
        return one(connection, memory_id)[1]


def set_source(
    opened: OpenStore,
    name: str,
    *,
    reliability: float | None,
    vote_weight: float | None,
    now: int,
) -> Source:
    """Say how far a source is believed; see `MemoryStore.set_source`."""
    opened.check_writable()
    if drafts.check_string(name, "name") is None:
        raise BadInput("name is None. Give the name memories and votes call the source by.")
    if reliability is None and vote_weight is None:
        raise BadInput("Say what changes: reliability=, vote_weight=, or both; each from 0 to 1.")
    prior, weight = (
        None if value is None else drafts.check_number(value, called, 0.0, 1.0)
        for value, called in ((reliability, "reliability"), (vote_weight, "vote_weight"))
    )
    with writing(opened.engine, opened.path) as connection:
        id_ = memories.source_id(connection, name)
        assert id_ is not None
        before = feedback.source_reliability(connection, id_)
        after = Reliability(
            before.prior if prior is None else prior, before.vote if weight is None else weight
        )
        if after != before:
            feedback.write_reliability(connection, id_, after, now=now)
            recount(connection, feedback.believing(connection, id_))
        return next(item for item in _sources(connection) if item.name == name)


def sources(opened: OpenStore) -> tuple[Source, ...]:
    """Return all sources; see `MemoryStore.sources`."""
    with reading(opened.engine, opened.path) as connection:
        return tuple(_sources(connection))


def _sources(connection: Connection) -> list[Source]:
    return [
        Source(name=name, reliability=known.prior, vote_weight=known.vote, memories=count)
        for name, known, count in feedback.named_sources(connection)
    ]


def _repeated(
    connection: Connection,
    key: str | None,
    memory_id: str,
    verb: str,
    *,
    source: str | None = None,
    by: str | None = None,
) -> dict[str, Any] | None:
    """Return the payload of the same call made before under this key, None if it is new.

    Args:
        source: of a vote.
        by: the memory that supersedes; None for a text.
    """
    earlier = None if key is None else feedback.repeated(connection, key)
    if earlier is None:
        return None
    if (earlier.memory_id, earlier.verb, earlier.source) != (memory_id, verb, source) or by not in (
        None,
        earlier.payload.get("by"),
    ):
        # of another memory no more is said: it may be in a namespace that is not the caller's
        other = "another memory"
        if earlier.memory_id == memory_id:
            told = f" of {earlier.source!r}" if earlier.source else ""
            other = f"memory {memory_id}{told}"
        raise BadInput(
            f"idempotency_key {key!r} was used before, to {earlier.verb} {other}. Give every call "
            "its own key; repeat one only to repeat the call."
        )
    return earlier.payload


def _iso(time: int | None) -> str | None:
    return None if time is None else iso(from_microseconds(time))
