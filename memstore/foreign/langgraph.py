"""LangGraph: items of a `BaseStore`, as `Item.dict()` and the platform's API write them.

Source: langgraph-checkpoint 4.3.2, langgraph/store/base/__init__.py (`Item`, `SearchItem`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from memstore.errors import BadInput
from memstore.foreign.documents import (
    Document,
    Entry,
    changed_at,
    listed,
    metadata_of,
    path_of,
    string,
)

LISTS = ("items",)
_TEXTS = ("text", "content", "data", "memory", "page_content", "value")
_KNOWN = {"namespace", "key", "value", "created_at", "createdAt"}
_NO_PARTS = "%28%29"  # no part is escaped to this; an empty path would be ("default",)'s
_OF_A_SEARCH = {"score"}  # says how it was found, and nothing of the item


def recognises(value: Any) -> bool:
    """Whether a value is an item of a store, or holds some."""
    return any(
        isinstance(item, dict) and {"namespace", "key", "value"} <= item.keys()
        for _, item in listed(Document(None, value), *LISTS)
    )


def entries(document: Document) -> Iterator[Entry]:
    """Yield the items of a document as memories."""
    for place, item in listed(document, *LISTS):
        try:
            yield Entry(document.line, place, _memory(item))
        except BadInput as error:
            yield Entry(document.line, place, error)


def _memory(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise BadInput(f"an item is an object, not {type(item).__name__}.")
    space, value = item.get("namespace"), item.get("value")
    if not isinstance(space, list) or not all(isinstance(part, str) for part in space):
        raise BadInput(f"namespace is {space!r:.60}; it must be a list of strings.")
    if not isinstance(value, dict):
        raise BadInput(f"value is {type(value).__name__}; it must be an object.")
    text, rest = _text(value)
    more = {name: item[name] for name in item if name not in _KNOWN | _OF_A_SEARCH}
    created = item.get("created_at", item.get("createdAt"))
    updated = item.get("updated_at", item.get("updatedAt"))
    return {
        "text": text,
        "key": string(item, "key"),
        "namespace": path_of(space) if space else _NO_PARTS,
        "occurred_at": created,
        "valid_from": changed_at(created, updated),
        "metadata": metadata_of(rest, more, "langgraph"),
    }


def _text(value: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return what reads as the text of a value, be it one level down, and the rest of the value;
    the value as JSON where nothing does.
    """
    for name in _TEXTS:
        found = value.get(name)
        rest = {other: value[other] for other in value if other != name}
        if isinstance(found, str) and found.strip():
            return found, rest
        if not isinstance(found, dict):
            continue
        for inner in _TEXTS:  # as LangMem nests it: {"kind": …, "content": {"content": …}}
            text = found.get(inner)
            if isinstance(text, str) and text.strip():
                others = {other: found[other] for other in found if other != inner}
                return text, {**rest, **({name: others} if others else {})}
    return json.dumps(value, ensure_ascii=False), dict(value)
