"""Storing memories.

Splitting, encoding and entity extraction happen outside any transaction, because they take most of
the time; then one transaction makes text, metadata, entities, events and vectors durable together.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from memstore.catalog import links, log, memories, vectors
from memstore.catalog.engine import reading, writing
from memstore.catalog.feedback import (
    Reliability,
    leads_to,
    reliabilities,
    source_reliability,
)
from memstore.catalog.memories import MemoryRow
from memstore.catalog.sessions import SessionTails
from memstore.catalog.vectors import PassageVectors
from memstore.entities import EntityLink, lowercase_words, memory_entities
from memstore.errors import BadInput
from memstore.scoring.evidence import posterior
from memstore.store.drafts import Draft, reference_time
from memstore.store.encoding import Encodings, Written
from memstore.store.ids import new_id
from memstore.store.opening import OpenStore
from memstore.times import from_microseconds, iso
from memstore.types import Memory


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of a draft: its memory's row, whether it is new, and how many it replaced."""

    row: int
    added: bool
    superseded: int = 0


@dataclass(frozen=True, slots=True)
class Ready:
    """What `prepare` made: position → the entities of a draft that was not there; None if all were.

    `holding_at`: see `_unchanged`.
    """

    links: dict[int, tuple[EntityLink, ...]]
    encodings: Encodings | None
    holding_at: int | None


def microseconds_now() -> int:
    """Return the present in UTC microseconds."""
    return time.time_ns() // 1000


def store_drafts(opened: OpenStore, drafts: Sequence[Draft], *, now: int) -> list[Stored]:
    """Store drafts in one transaction, in order; those already there stay untouched.

    Raises:
        BadInput: two of them have the same key in the same namespace.
    """
    ready = prepare(opened, drafts, None)
    with writing(opened.engine, opened.path) as connection:
        return _store_all(opened, connection, drafts, ready, now)


def store_and_load(opened: OpenStore, drafts: Sequence[Draft], *, now: int) -> list[Memory]:
    """Store drafts and return their memories; those that are there and still hold stay untouched.

    What has ended since is stored anew, unless it says itself when it was true: it is being said
    of now. (A file that is read again by `ingest` says nothing new.)

    Raises:
        BadInput: two of them have the same key in the same namespace.
    """
    ready = prepare(opened, drafts, now)
    with writing(opened.engine, opened.path) as connection:
        return store_prepared(opened, connection, drafts, ready, now=now)


def store_prepared(
    opened: OpenStore, connection: Connection, drafts: Sequence[Draft], ready: Ready, *, now: int
) -> list[Memory]:
    """Store drafts in a transaction of the caller's, as `store_and_load` does in its own.

    Args:
        ready: what `prepare` made of them, before the transaction.
    """
    stored = _store_all(opened, connection, drafts, ready, now)
    found = memories.load_rows(connection, [item.row for item in stored])
    return [found[item.row] for item in stored]


def _store_all(
    opened: OpenStore, connection: Connection, drafts: Sequence[Draft], ready: Ready, now: int
) -> list[Stored]:
    if ready.encodings is not None:
        opened.check_encoder(connection, ready.encodings.encoder, ready.encodings.settings)
    # again: another process may have been faster
    present = memories.stored_contents(connection, {draft.content_hash for draft in drafts})
    namespaces = {
        path: memories.namespace_id(connection, path)
        for path in dict.fromkeys(draft.namespace for draft in drafts)
    }
    # those alone: what is there already must not fail over a source that was damaged since
    others = [
        draft
        for draft in drafts
        if (namespaces[draft.namespace], draft.content_hash) not in present
    ]
    sources = _Sources(connection, {draft.source for draft in others})
    # as the session is now: others may have told, or forgotten, something in it meanwhile
    tails = SessionTails(connection, opened.session_context)
    keys = {draft.key for draft in drafts if draft.key is not None}
    taken = memories.taken_keys(connection, namespaces.values(), keys)
    first: dict[tuple[int, str], int] = {}  # where a content comes first among the drafts
    numbers: dict[int, int] = {}  # position → row, of those that come first
    new: dict[int, _New] = {}
    for position, draft in enumerate(drafts):
        namespace = namespaces[draft.namespace]
        content = namespace, draft.content_hash
        if first.setdefault(content, position) != position:
            continue
        if content in present:
            known = _unchanged(connection, namespace, draft, ready.holding_at)
            if known is not None:
                numbers[position] = known
                continue
        if ready.encodings is None or position not in ready.links:
            raise BadInput(
                f"The memory {draft.text[:60]!r} was forgotten by another process while this call "
                "ran. Run it again to store it anew."
            )
        context = tails.before(draft.namespace, draft.session, namespace)
        passages = ready.encodings.of(Written(draft.text, draft.title, context))
        row = _row(draft, namespace, sources, now)
        superseded = 0
        if (namespace, row.key) in taken:
            row, superseded = _take_place(connection, row, now)
        new[position] = _New(row, passages, ready.links[position], superseded)
        tails.follow(draft.namespace, draft.session, draft.text)
    numbers |= zip(new, _insert(connection, [*new.values()], now), strict=True)
    stored = []
    for position, draft in enumerate(drafts):
        number = numbers[first[namespaces[draft.namespace], draft.content_hash]]
        item = new.get(position)
        superseded = 0 if item is None else item.superseded
        stored.append(Stored(number, added=item is not None, superseded=superseded))
    return stored


def _insert(connection: Connection, new: Sequence[_New], now: int) -> list[int]:
    """Store memories and return their rows."""
    rows = [item.row for item in new]
    numbers = memories.insert_memories(connection, rows)
    pairs = [*zip(numbers, new, strict=True)]
    vectors.insert_passages(connection, {number: item.passages for number, item in pairs})
    links.link_entities(
        connection, [(number, item.row.namespace_id, item.links) for number, item in pairs]
    )
    log.append_added(connection, [(row.id, row.source_id) for row in rows], now=now)
    return numbers


def check_distinct_keys(drafts: Iterable[Draft]) -> None:
    """Refuse two memories of one call with the same key: which of them is newer is unknowable."""
    seen = set()
    for draft in drafts:
        if draft.key is None:
            continue
        if (draft.namespace, draft.key) in seen:
            raise BadInput(
                f"Key {draft.key!r} occurs twice in one call (namespace {draft.namespace!r}). "
                "Give each memory its own key, or store the versions in separate calls, the oldest "
                "first."
            )
        seen.add((draft.namespace, draft.key))


def prepare(opened: OpenStore, drafts: Sequence[Draft], holding_at: int | None) -> Ready:
    """Return position → everything to be stored, for the drafts that are not there yet."""
    opened.check_writable()
    check_distinct_keys(drafts)
    if len(drafts) == 1 and drafts[0].session is None:
        # A lone memory is mostly new: whether it is there already is asked when it is stored.
        # Asking here too costs a millisecond each time, to save encoding now and then.
        new = {0: drafts[0]}
        contexts: dict[int, tuple[str, ...]] = {0: ()}
        participants = {0: _own_name(drafts[0])}
    else:
        with reading(opened.engine, opened.path) as connection:
            new, contexts, participants = _look_up(opened, connection, drafts, holding_at)
    if not new:
        return Ready({}, None, holding_at)
    encodings = Encodings(
        opened.encoder,
        opened.vector_settings,
        [Written(draft.text, draft.title, contexts[position]) for position, draft in new.items()],
    )
    found = {
        position: memory_entities(
            draft.text,
            extractor=opened.extractor,
            speaker=draft.speaker,
            given=draft.entities,
            participants=participants[position],
            # of this text alone: words of others would let entities depend on what comes in
            # the same batch, and a list of words seen would keep words of purged texts
            common_words=lowercase_words(draft.text),
        )
        for position, draft in new.items()
    }
    return Ready(found, encodings, holding_at)


def _look_up(
    opened: OpenStore, connection: Connection, drafts: Sequence[Draft], holding_at: int | None
) -> tuple[dict[int, Draft], dict[int, tuple[str, ...]], dict[int, frozenset[str]]]:
    """Return, by position, the drafts that are not there yet, what precedes each in its session,
    and who has spoken there.
    """
    paths = {draft.namespace for draft in drafts}
    namespaces = {path: memories.find_namespace(connection, path) for path in paths}
    # the second of two equal drafts is not new either: how an ingest is cut into batches
    # must not decide what counts as context
    first: dict[tuple[str, str], int] = {}
    present = memories.stored_contents(connection, {draft.content_hash for draft in drafts})
    new = {
        position: draft
        for position, draft in enumerate(drafts)
        if first.setdefault((draft.namespace, draft.content_hash), position) == position
        and (
            (namespaces[draft.namespace], draft.content_hash) not in present
            or _unchanged(connection, namespaces[draft.namespace], draft, holding_at) is None
        )
    }
    tails = SessionTails(connection, opened.session_context)
    contexts = {}
    for position, draft in new.items():
        namespace = namespaces[draft.namespace]
        contexts[position] = tails.before(draft.namespace, draft.session, namespace)
        tails.follow(draft.namespace, draft.session, draft.text)
    return new, contexts, _participants(connection, new, namespaces)


def _own_name(draft: Draft) -> frozenset[str]:
    return frozenset(() if draft.speaker is None else (draft.speaker,))


@dataclass(frozen=True, slots=True)
class _New:
    """A memory to be stored, and how many it replaces."""

    row: MemoryRow
    passages: tuple[PassageVectors, ...]
    links: tuple[EntityLink, ...]
    superseded: int


class _Sources:
    """The sources of a batch, looked up at once; one that is new is created when it is needed."""

    def __init__(self, connection: Connection, names: Collection[str | None]) -> None:
        self._connection = connection
        ids = memories.known_sources(connection, names)
        believed = reliabilities(connection, ids.values()) if ids else {}
        self._found: dict[str | None, tuple[int | None, Reliability]] = {
            name: (number, believed[number]) for name, number in ids.items()
        }

    def of(self, name: str | None) -> tuple[int | None, Reliability]:
        """Return the id of a source, and how far it is believed."""
        if name not in self._found:
            number = memories.source_id(self._connection, name)
            self._found[name] = number, source_reliability(self._connection, number)
        return self._found[name]


def _participants(
    connection: Connection, drafts: dict[int, Draft], namespaces: dict[str, int | None]
) -> dict[int, frozenset[str]]:
    """Return who has spoken in each draft's session so far, the draft's own speaker included."""
    speakers: dict[tuple[str, str], frozenset[str]] = {}
    found: dict[int, frozenset[str]] = {}
    for position, draft in drafts.items():
        own = _own_name(draft)
        if draft.session is None:
            found[position] = own
            continue
        place = (draft.namespace, draft.session)
        if place not in speakers:
            namespace = namespaces[draft.namespace]
            known = (
                links.session_speakers(connection, namespace, draft.session)
                if namespace is not None
                else ()
            )
            speakers[place] = frozenset(known)
        speakers[place] |= own
        found[position] = speakers[place]
    return found


def _unchanged(
    connection: Connection, namespace: int | None, draft: Draft, holding_at: int | None
) -> int | None:
    """Return the row of the memory that a draft was stored as before, None if it was not.

    Args:
        holding_at: only a memory counts that was not retracted, and where the draft says no time
            of its own, that has not ended by then; None if all count.
    """
    if namespace is None:
        return None
    timeless = draft.occurred.start is None and draft.valid_from is None
    return memories.unchanged(
        connection,
        namespace,
        draft.content_hash,
        # a keyed memory that was corrected since stays corrected when its file is read again
        text=draft.text if draft.key is None else None,
        retracted_too=holding_at is None,
        holding_at=holding_at if timeless else None,
        own_end=draft.valid_to,
    )


def _row(draft: Draft, namespace: int, sources: _Sources, now: int) -> MemoryRow:
    """Return a new memory as it is stored, its key apart from all others."""
    source, reliability = sources.of(draft.source)
    prior = draft.prior
    alpha, beta = posterior(reliability.prior if prior is None else prior)
    return MemoryRow(
        id=new_id(now),
        namespace_id=namespace,
        key=draft.key,
        session=draft.session,
        title=draft.title,
        text=draft.text,
        content_hash=draft.content_hash,
        metadata=draft.metadata,
        kind=draft.kind,
        source_id=source,
        recorded_at=now,
        occurred_at=draft.occurred.start,
        valid_from=draft.valid_from,
        valid_to=draft.valid_to,
        half_life_s=draft.half_life_s,
        prior=prior,
        alpha=alpha,
        beta=beta,
        importance=draft.importance,
        t_ref=reference_time(
            occurred_at=draft.occurred.start,
            valid_from=draft.valid_from,
            observed_at=None,
            recorded_at=now,
            precision=draft.occurred.precision,
        ),
        t_end=draft.occurred.end,
        t_precision=draft.occurred.precision,
        entities_given=draft.entities is not None,
    )


def _take_place(connection: Connection, new: MemoryRow, now: int) -> tuple[MemoryRow, int]:
    """Fit a memory among the versions of its key, which there are: it ends its predecessor,
    and one that arrives late ends where its successor begins. Supersession works through validity
    alone.
    """
    assert new.key is not None
    versions = memories.versions(connection, new.namespace_id, new.key)
    start = next(
        time for time in (new.valid_from, new.occurred_at, new.recorded_at) if time is not None
    )
    before = [version for version in versions if version.start <= start]
    after = [version for version in versions if version.start > start]
    following = after[0].id if after else None
    if before and following is not None and leads_to(connection, following, before[-1].id):
        following = None  # someone linked the later one back: a cycle would leave nothing true
    if before:
        old = before[-1]
        end = start if old.valid_to is None else min(old.valid_to, start)
        memories.update_memory(connection, old.row, valid_to=end, superseded_by=new.id)
        log.append_event(
            connection,
            old.id,
            "supersede",
            now=now,
            at=start,
            payload={
                "by": new.id,
                "before": old.superseded_by,
                "valid_to": [_iso(old.valid_to), _iso(end)],
            },
        )
    if after:
        end = after[0].start if new.valid_to is None else min(new.valid_to, after[0].start)
        new = replace(new, valid_to=end, superseded_by=following)
    return new, len(before[-1:])


def _iso(time: int | None) -> str | None:
    return None if time is None else iso(from_microseconds(time))
