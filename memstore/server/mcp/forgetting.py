"""Forgetting in two steps where an agent says what, not which: first shown, then confirmed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from memstore import BadInput, Memory, MemoryStore
from memstore.server.mcp.arguments import ForgetArguments
from memstore.server.mcp.fencing import NOTICE, fence
from memstore.server.mcp.results import ForgetResult, Forgettable, memory_element, shortened
from memstore.server.scope import Scope

_MOST = 1000  # memories that one filter may forget
_SHOWN = 50  # of these


def forget(store: MemoryStore, scope: Scope, asked: ForgetArguments) -> tuple[ForgetResult, str]:
    """Forget memories by their ids, or, once that was confirmed, those that match.

    The confirmation is a digest of what was shown: where something else matches by then, or one of
    them was changed, nothing is forgotten, and what matches now is shown.
    """
    scope.check_writable()
    by_match = asked.query is not None or asked.where is not None
    if by_match == (asked.ids is not None):
        raise BadInput("Say which memories to forget: either ids, or a query or filter.")
    if not by_match:
        ids = [scope.memory(store, id_).id for id_ in dict.fromkeys(asked.ids or [])]
        if not ids:
            raise BadInput("ids is empty. Give the id of a memory at least.")
        return _forgotten(store, ids, asked.purge)
    found = _matching(store, scope, asked)
    confirm = _digest(found, asked.purge)
    if found and asked.confirm == confirm:
        return _forgotten(store, [memory.id for memory in found], asked.purge)
    result = ForgetResult(
        forgotten=[],
        would_forget=[
            Forgettable(id=memory.id, text=shortened(memory.text)) for memory in found[:_SHOWN]
        ],
        count=len(found),
        confirm=confirm if found else None,
        notice=NOTICE if found else None,
    )
    if not found:
        return result, "Nothing was forgotten: nothing matches."
    changed = "What matches has changed since. " if asked.confirm is not None else ""
    shown = [memory_element(memory, shortened(memory.text)) for memory in found[:_SHOWN]]
    return result, (
        f"{changed}Nothing was forgotten yet. To forget all {len(found)} that match, call again "
        f"with confirm={confirm!r}; to forget some, with their ids. {fence('memories', shown)}"
    )


def _forgotten(store: MemoryStore, ids: Sequence[str], purge: bool) -> tuple[ForgetResult, str]:
    report = store.forget(ids, purge=purge)
    done = "Purged" if report.purged else "Forgotten"
    result = ForgetResult(forgotten=list(report.ids), count=len(report.ids))
    return result, f"{done}: {', '.join(report.ids)}"


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


def _digest(found: Sequence[Memory], purge: bool) -> str:
    versions = sorted(f"{memory.id}:{memory.version}" for memory in found)
    return hashlib.sha256(repr((versions, purge)).encode()).hexdigest()[:12]
