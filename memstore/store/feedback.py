"""What users and judges say of stored memories: one event feeds one component.

Every verb is one transaction: an event, and the columns that are a cache of the events.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from memstore.catalog import feedback, log, memories
from memstore.catalog.engine import reading, writing
from memstore.catalog.feedback import Reliability
from memstore.errors import BadInput
from memstore.store import drafts
from memstore.store.changing import one
from memstore.store.counters import recount
from memstore.store.opening import OpenStore
from memstore.store.writing import store_and_load
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
        if _repeated(connection, key, memory_id, verb) is None:
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
        earlier = _repeated(connection, key, old_id, log.SUPERSEDE)
        if earlier is not None:
            return one(connection, earlier["by"])[1]
        known = memories.live_rows(connection, [new])
    if not known and len(new) == len(old_id) and " " not in new:
        one_like_it = new.isalnum() and new.isupper()
        if one_like_it:  # an id that is mistyped must not become a memory's text
            raise BadInput(
                f"There is no memory {new!r}. Give the id of a memory that is there, or a text."
            )
    if not known:
        # the new memory ends the old one by their key, or below if there is none
        text = NewMemory(
            text=new,
            namespace=old.namespace,
            key=old.key,
            kind=old.kind,
            occurred_at=None if moment is None else from_microseconds(moment),
        )
        new = store_and_load(opened, [drafts.draft(text)], now=now)[0].id
    with writing(opened.engine, opened.path) as connection:
        if _repeated(connection, key, old_id, log.SUPERSEDE) is None:
            _link(connection, old_id, new, moment, key, now)
        return one(connection, new)[1]


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
    if old_id == new_id or feedback.leads_to(connection, new_id, old_id):
        raise BadInput(
            f"{new_id} is itself superseded by {old_id}: a cycle would leave nothing true. "
            "See the chain: memstore history ID"
            if old_id != new_id
            else f"{old_id} cannot supersede itself."
        )
    times, begins = memories.times_of(connection, row), memories.times_of(connection, new_row)
    end = begins.starts_at if at is None else at
    if end < times.starts_at:
        raise BadInput(
            f"{old_id} begins {_iso(times.starts_at)} and would end before that, "
            f"{_iso(end)}. Say when it ended: at=…, or change when it began: update."
        )
    # what ended before stays ended: the link adds no time
    end = end if times.valid_to is None else min(times.valid_to, end)
    if old.superseded_by == new_id and times.valid_to == end:
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
        if known is None and item.retracted_at is None:
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
        if known is None and item.importance != value:
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
    connection: Connection, key: str | None, memory_id: str, verb: str
) -> dict[str, Any] | None:
    """Return the payload of the same call made before under this key, None if it is new."""
    earlier = None if key is None else feedback.repeated(connection, key)
    if earlier is None:
        return None
    other_id, other_verb, payload = earlier
    if (other_id, other_verb) != (memory_id, verb):
        raise BadInput(
            f"idempotency_key {key!r} was used before, to {other_verb} memory {other_id}. "
            "Give every call its own key; repeat one only to repeat the call."
        )
    return payload


def _iso(time: int | None) -> str | None:
    return None if time is None else iso(from_microseconds(time))
