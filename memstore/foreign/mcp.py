"""The `memory.jsonl` of the Model Context Protocol's reference memory server: a knowledge graph.

An observation becomes a memory of its entity, whose name is its title; a relation one of both.

Source: @modelcontextprotocol/server-memory 2026.8.31, dist/index.js (`saveGraph`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from memstore.errors import BadInput
from memstore.foreign.documents import Document, Entry, key_of, metadata_of, relation, string

LISTS = ("entities",)
_KNOWN = {"type", "name", "entityType", "observations"}
_RELATED = {"type", "from", "to", "relationType"}


def recognises(value: Any) -> bool:
    """Whether a value is an entity or a relation, or the whole graph."""
    if not isinstance(value, dict):
        return False
    if value.get("type") == "entity":
        return {"name", "observations"} <= value.keys()
    return {"entities", "relations"} <= value.keys() or (
        value.get("type") == "relation" and value.keys() >= _RELATED
    )


def entries(document: Document) -> Iterator[Entry]:
    """Yield the memories of a line, or of a whole graph as the server's `read_graph` returns it."""
    value = document.value
    if isinstance(value, dict) and "type" not in value and "entities" in value:
        for name, kind in (("entities", "entity"), ("relations", "relation")):
            items = value.get(name)
            for number, item in enumerate(items if isinstance(items, list) else (), start=1):
                typed = {**item, "type": kind} if isinstance(item, dict) else item
                yield from _entries(document.line, f"{kind} {number}", typed)
        return
    yield from _entries(document.line, "", value)


def _entries(line: int | None, place: str, item: Any) -> Iterator[Entry]:
    try:
        kind = _type(item)
        if kind == "relation":
            yield Entry(line, place, _relation(item))
        else:
            yield from _observations(line, place, item)
    except BadInput as error:
        yield Entry(line, place, error)


def _type(item: Any) -> str:
    if not isinstance(item, dict):
        raise BadInput(f"an entry is an object, not {type(item).__name__}.")
    if item.get("type") not in ("entity", "relation"):
        raise BadInput(f"type is {item.get('type')!r:.60}; known are 'entity' and 'relation'.")
    return string(item, "type")


def _observations(line: int | None, place: str, item: dict[str, Any]) -> Iterator[Entry]:
    name, kind = string(item, "name"), item.get("entityType")
    told = item.get("observations")
    if not isinstance(told, list):
        raise BadInput(f"observations is {told!r:.60}; it must be a list.")
    more = {field: item[field] for field in item if field not in _KNOWN}
    common = {
        "entities": [name],
        "metadata": metadata_of({"entity": name, "entity_type": kind}, more, "mcp"),
    }
    if not told:  # that there is such an entity is said nowhere else
        text = name if kind is None else f"{name}: {kind}"
        yield Entry(line, place, {**common, "text": text, "key": key_of(name, name)})
    for number, text in enumerate(told, start=1):
        where = f"{place}, observation {number}" if place else f"observation {number}"
        if isinstance(text, str):
            fields = {**common, "text": text, "title": name, "key": key_of(name, name, text)}
            yield Entry(line, where, fields)
        else:
            yield Entry(line, where, BadInput(f"it is {text!r:.60}; it must be a string."))


def _relation(item: dict[str, Any]) -> dict[str, Any]:
    fields = relation(string(item, "from"), string(item, "relationType"), string(item, "to"))
    more = {field: item[field] for field in item if field not in _RELATED}
    return {**fields, "metadata": metadata_of(fields["metadata"], more, "mcp")}
