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
    changed_at,
    listed,
    metadata_of,
    path_of,
    relation,
    string,
)

LISTS = ("results", "relations")
_SCOPES = {"app_id": "app", "user_id": "user", "agent_id": "agent", "run_id": "run"}
_KNOWN = {*_SCOPES, "id", "memory", "metadata", "created_at", "expiration_date"}
_RELATED = {*_SCOPES, "source", "relationship", "target", "destination"}
_OF_A_SEARCH = {"score"}  # says how it was found, and nothing of the memory
_TOLD = 3  # namespaces in an error


def recognises(value: Any) -> bool:
    """Whether a value is one of mem0, or holds some, or relations of its graph."""
    return any(
        isinstance(item, dict) and {"id", "memory"} <= item.keys() for _, item in _results(value)
    ) or any(
        isinstance(item, dict) and {"source", "relationship"} <= item.keys()
        for item in _relations(value)
    )


def entries(document: Document) -> Iterator[Entry]:
    """Yield the memories of a document, and the relations of its graph as memories."""
    value = document.value
    for place, item in _results(value):
        yield Entry(document.line, place, _understood(_memory, item))
    yield from _placed_relations(document)
    if isinstance(value, dict) and value.get("next"):
        yield Entry(
            document.line,
            "",
            BadInput(
                f"this is one page of several: the next one is {value['next']!r:.200}. Save the "
                "other pages, and import them too."
            ),
        )


def _results(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield place and value of the memories of a document; one of relations alone has none."""
    alone = isinstance(value, dict) and not value.keys() & {"results", "id", "memory"}
    if not (alone and isinstance(value.get("relations"), list)):
        yield from listed(Document(None, value), "results")


def _relations(value: Any) -> list[Any]:
    """Return the relations of a document's graph."""
    relations = value.get("relations") if isinstance(value, dict) else None
    return relations if isinstance(relations, list) else []


def _placed_relations(document: Document) -> Iterator[Entry]:
    """Yield the relations of a document, in the namespace that all its memories share if they name
    none: whose they are is said nowhere else.
    """
    spaces = {_namespace_if_known(item) for _, item in _results(document.value)}
    shared = next(iter(spaces)) if len(spaces) == 1 else None
    why = _why_unplaced(spaces)
    for number, item in enumerate(_relations(document.value), start=1):
        place, fields = f"relation {number}", _understood(_relation, item)
        if isinstance(fields, BadInput) or "namespace" in fields:
            yield Entry(document.line, place, fields)
        elif shared is not None:
            yield Entry(document.line, place, {**fields, "namespace": shared})
        else:
            yield Entry(document.line, place, fields, unplaced=BadInput(why))


def _namespace_if_known(item: Any) -> str | None:
    try:
        return _namespace(item) if isinstance(item, dict) else None
    except BadInput:
        return None


def _why_unplaced(spaces: set[str | None]) -> str:
    named = sorted(repr(space) if space else "one without ids" for space in spaces - {None})
    told = ", ".join([*named[:_TOLD], *(["…"] if len(named) > _TOLD else [])])
    return (
        "whose relation this is is unknown: it has no user_id, and the memories beside it are not "
        f"all known to be of one namespace ({told or 'none is known'}). Import an export of one "
        "user alone, or say below which namespace all of this file goes: --namespace PATH."
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
    return {
        "text": string(item, "memory"),
        "key": string(item, "id"),
        "namespace": _namespace(item),
        "occurred_at": item.get("created_at"),
        "valid_from": changed_at(item.get("created_at"), item.get("updated_at")),
        "valid_to": _end(item.get("expiration_date")),
        "metadata": metadata_of(given, more, "mem0"),
    }


def _namespace(item: dict[str, Any]) -> str:
    parts = []
    for name, label in _SCOPES.items():
        if item.get(name) is not None:
            parts += [label, string(item, name)]
    return path_of(parts)


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
    fields = relation(string(item, "source"), string(item, "relationship"), string(item, end))
    more = {name: item[name] for name in item if name not in _RELATED | _OF_A_SEARCH}
    namespace = _namespace(item)
    return {
        **fields,
        "metadata": metadata_of(fields["metadata"], more, "mem0"),
        **({"namespace": namespace} if namespace else {}),
    }
