"""Forgetting in two steps where an agent says what, not which: first shown, then confirmed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from memstore import BadInput, Memory, MemoryNotFound, MemoryStore, VersionConflict
from memstore.server.mcp.arguments import ForgetArguments
from memstore.server.mcp.fencing import NOTICE, fence
from memstore.server.mcp.results import (
    ForgetResult,
    Forgettable,
    brief,
    memory_element,
    shortened,
)
from memstore.server.mcp.validity import begins, ended
from memstore.server.scope import Scope
from memstore.types import Filter

_MOST = 1000  # memories that one filter may forget
_SHOWN = 50  # of these

Earlier = Mapping[str, Sequence[Memory]]


def forget(store: MemoryStore, scope: Scope, asked: ForgetArguments) -> tuple[ForgetResult, str]:
    """Forget memories with their earlier versions: by their ids, or, once that was confirmed, those
    that match.

    The confirmation is a digest of what was shown: where something else matches by then, or one of
    them was changed, nothing is forgotten, and what matches now is shown.
    """
    scope.check_writable()
    by_match = asked.query is not None or asked.where is not None
    if by_match == (asked.ids is not None):
        raise BadInput("Say which memories to forget: either ids, or a query or filter.")
    if not by_match:
        named = [scope.memory(store, id_) for id_ in dict.fromkeys(asked.ids or [])]
        if not named:
            raise BadInput("ids is empty. Give the id of a memory at least.")
        together = _all(named, _earlier(store, scope, named))
        gone = [memory.id for memory in together]
        store.forget(gone, purge=asked.purge)
        return _done(gone, asked.purge, earlier=len(together) - len(named))
    found = _matching(store, scope, asked)
    earlier = _earlier(store, scope, found)
    together = _all(found, earlier)
    if found and asked.confirm == _digest(together, asked.purge):
        gone, kept = _forget_unchanged(store, together)
        if asked.purge and gone:
            store.forget(gone, purge=True)
        return _done(gone, asked.purge, earlier=len(together) - len(found), kept=kept)
    return _shown(asked, found, earlier)


def _shown(
    asked: ForgetArguments, found: Sequence[Memory], earlier: Earlier
) -> tuple[ForgetResult, str]:
    """Return what would be forgotten, and how to say that it shall."""
    if not found:
        further = "Nothing was forgotten: nothing matches."
        return ForgetResult(forgotten=[], would_forget=[], count=0, next=further), further
    together = _all(found, earlier)
    confirm = _digest(together, asked.purge)
    said = []
    if asked.confirm == _digest(together, not asked.purge):
        said.append(f"The confirmation was of a call with purge={str(not asked.purge).lower()}.")
    elif asked.confirm is not None:
        said.append("What matches has changed since.")
    said.append("Nothing was forgotten yet.")
    if asked.query is None:
        said.append(f"The filter matches {len(found)}.")
    else:
        said.append(f"The {len(found)} nearest, best first; some may not be about it.")
    if found[_SHOWN:]:
        said.append(f"Not shown of them: {len(found) - _SHOWN}.")
    if len(together) > len(found):
        said.append(f"Earlier versions that go with them: {len(together) - len(found)}.")
    said.append(
        f"To forget all {len(found)}, call again with confirm={confirm!r}; to forget some, with "
        "their ids."
    )
    further = " ".join(said)
    shown = found[:_SHOWN]
    result = ForgetResult(
        forgotten=[],
        would_forget=[
            Forgettable(
                **brief(memory, shortened(memory.text)),
                earlier_versions=len(earlier.get(memory.id, ())) or None,
            )
            for memory in shown
        ],
        count=len(found),
        confirm=confirm,
        next=further,
        notice=NOTICE,
    )
    elements = [
        memory_element(
            memory,
            shortened(memory.text),
            earlier_versions=str(len(earlier.get(memory.id, ())) or ""),
        )
        for memory in shown
    ]
    return result, f"{further} {fence('memories', elements)}"


def _forget_unchanged(
    store: MemoryStore, memories: Sequence[Memory]
) -> tuple[list[str], list[str]]:
    """Forget those that are as they were shown; return their ids, and those of others."""
    gone, kept = [], []
    for memory in memories:
        try:
            store.forget(memory.id, if_version=memory.version)
        except (VersionConflict, MemoryNotFound):  # by another, while this waited for its turn
            kept.append(memory.id)
        else:
            gone.append(memory.id)
    return gone, kept


def _done(
    gone: Sequence[str], purged: bool, *, earlier: int, kept: Sequence[str] = ()
) -> tuple[ForgetResult, str]:
    further = []
    if earlier:
        further.append(f"Earlier versions among them: {earlier}.")
    if kept:
        further.append(f"Changed by somebody else meanwhile, and left as it is: {', '.join(kept)}.")
    said = f"{'Purged' if purged else 'Forgotten'}: {', '.join(gone) or 'nothing'}"
    result = ForgetResult(forgotten=list(gone), count=len(gone), next=" ".join(further) or None)
    return result, ". ".join(part for part in (said, result.next) if part)


def _matching(store: MemoryStore, scope: Scope, asked: ForgetArguments) -> list[Memory]:
    namespace = scope.to_read()
    if asked.query is not None:
        answer = store.query(asked.query, namespace=namespace, where=asked.where, limit=asked.limit)
        return [hit.memory for hit in answer.hits]
    if not asked.where:
        raise BadInput("An empty filter would forget everything. Say what the memories have.")
    page = store.list(namespace=namespace, where=asked.where, limit=_MOST)
    if page.cursor is not None:
        raise BadInput(f"The filter matches more than {_MOST} memories. Narrow it.")
    return list(page.memories)


def _earlier(store: MemoryStore, scope: Scope, found: Sequence[Memory]) -> Earlier:
    """Return of each memory the earlier versions: those under its key in its namespace, and those
    that it superseded, with theirs.
    """
    of = {memory.id: memory for memory in found}  # of each id the memory whose version it is
    versions: dict[str, list[Memory]] = {}
    ahead = list(found)
    while ahead:
        behind = []
        latest_last = sorted(ahead, key=begins)
        keyed = {(memory.namespace, memory.key): memory for memory in latest_last if memory.key}
        where = [
            {"superseded_by": {"in": [memory.id for memory in ahead]}},
            {"key": {"in": sorted({key for _, key in keyed})}},
        ]
        for memory in _listed(store, scope, {"or": where if keyed else where[:1]}):
            later = keyed.get((memory.namespace, memory.key or ""))
            if memory.superseded_by in of:
                newest = of[memory.superseded_by]
            elif later is not None and begins(memory) <= begins(later):
                newest = of[later.id]
            else:
                continue
            if not (ended(memory) or memory.retracted_at):
                continue  # it holds still: what was to replace it was only planned
            if memory.id not in of:
                of[memory.id] = newest
                versions.setdefault(newest.id, []).append(memory)
                behind.append(memory)
        ahead = behind
    return versions


def _listed(store: MemoryStore, scope: Scope, where: Filter) -> Iterator[Memory]:
    cursor = None
    while True:
        page = store.list(namespace=scope.to_read(), where=where, limit=_MOST, cursor=cursor)
        yield from page.memories
        if (cursor := page.cursor) is None:
            return


def _all(found: Sequence[Memory], earlier: Earlier) -> list[Memory]:
    """Return what goes with what is forgotten, that first."""
    return [*(memory for versions in earlier.values() for memory in versions), *found]


def _digest(memories: Sequence[Memory], purge: bool) -> str:
    versions = sorted(f"{memory.id}:{memory.version}" for memory in memories)
    return hashlib.sha256(repr((versions, purge)).encode()).hexdigest()[:12]
