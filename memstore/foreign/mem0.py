"""mem0: what `Memory.get_all()` and the platform's API return, as JSON or JSON lines.

Source: mem0ai 2.2.1, mem0/memory/main.py (`_get_all_from_vector_store`, `_payload_is_expired`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from memstore.errors import BadInput
from memstore.foreign.documents import (
    Document,
    Entry,
    listed,
    metadata_of,
    path_of,
    relation,
    string,
)

_SCOPES = {"app_id": "app", "user_id": "user", "agent_id": "agent", "run_id": "run"}
_KNOWN = {*_SCOPES, "id", "memory", "metadata", "created_at", "expiration_date"}
_OF_A_SEARCH = {"score"}  # says how it was found, and nothing of the memory


def recognises(value: Any) -> bool:
    """Whether a value is one of mem0, or holds some."""
    return any(
        isinstance(item, dict) and {"id", "memory"} <= item.keys()
        for _, item in listed(Document(None, value), "results")
    )


def entries(document: Document) -> Iterator[Entry]:
    """Yield the memories of a document, and the relations of its graph as memories."""
    value = document.value
    for place, item in listed(document, "results"):
        yield Entry(document.line, place, _understood(_memory, item))
    if not isinstance(value, dict):
        return
    relations = value.get("relations")
    for number, item in enumerate(relations if isinstance(relations, list) else (), start=1):
        yield Entry(document.line, f"relation {number}", _understood(_relation, item))
    if value.get("next"):
        yield Entry(
            document.line,
            "",
            BadInput(
                f"this is one page of several: the next one is {value['next']!r:.200}. Save the "
                "other pages, and import them too."
            ),
        )


def _understood(read: Any, item: Any) -> Mapping[str, Any] | BadInput:
    if not isinstance(item, dict):
        return BadInput(f"an entry is an object, not {type(item).__name__}.")
    try:
        fields: Mapping[str, Any] = read(item)
    except BadInput as error:
        return error
    return fields


def _memory(item: dict[str, Any]) -> dict[str, Any]:
    given = item.get("metadata") or {}
    if not isinstance(given, dict):
        raise BadInput(f"metadata is {type(given).__name__}; give an object.")
    more = {name: item[name] for name in item if name not in _KNOWN | _OF_A_SEARCH}
    parts = []
    for name, label in _SCOPES.items():
        if item.get(name) is not None:
            parts += [label, string(item, name)]
    return {
        "text": string(item, "memory"),
        "key": string(item, "id"),
        "namespace": path_of(parts),
        "occurred_at": item.get("created_at"),
        "valid_to": _end(item.get("expiration_date")),
        "metadata": metadata_of(given, more, "mem0"),
    }


def _end(expiration: Any) -> Any:
    """Return the time at which a memory has expired: a date's day is the last one it holds."""
    if not isinstance(expiration, str):
        return expiration
    try:
        last = date.fromisoformat(expiration)
        return f"{last + timedelta(days=1)}T00:00:00Z"
    except (ValueError, OverflowError):  # no date: a time
        return expiration


def _relation(item: dict[str, Any]) -> dict[str, Any]:
    end = "target" if "target" in item else "destination"
    return relation(string(item, "source"), string(item, "relationship"), string(item, end))
