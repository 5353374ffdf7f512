"""`where` as JSON: refused as BadInput, or SQL that finds what the oracle in Python finds."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from catalog.filter_oracle import ALIASES, Name, canonical, fields_of, holds
from sqlalchemy import Connection

from fuzz.scratch import new_folder
from memstore.catalog import memories
from memstore.catalog.aliases import add_alias
from memstore.catalog.engine import open_engine
from memstore.catalog.filters import OPERATORS, compile_filter
from memstore.catalog.links import link_entities
from memstore.catalog.memories import MemoryRow
from memstore.catalog.migrate import bring_up_to_date
from memstore.errors import BadInput

MUTATIONS = 400
LONGEST = 1024
_FIELDS = (
    *("id", "key", "session", "title", "text", "superseded_by", "source", "namespace"),
    *("confidence", "importance", "occurred_at", "recorded_at", "valid_from", "valid_to"),
    *("entity", "metadata.a", "metadata.a.b", "metadata.n", "metadata.list"),
)
_VALUES = ("crm", "ana", "Bob", "2026-03-02", "1970-01-02T00:00:00Z", "2026", "team", "m1")
TOKENS = tuple(word.encode() for word in (*_FIELDS, *OPERATORS, "or", "and", "not", *_VALUES))

_METADATA: tuple[dict[str, Any], ...] = (
    {},
    {"a": {"b": "crm"}, "n": 1, "list": ["crm", 1, True]},
    {"a": "a%b_c", "n": 1.0, "list": []},
    {"a": None, "n": 2**53 + 1, "list": [None, {"b": 1}]},
    {"a": True, "n": -0.0, "list": "crm"},
    {"a": {"b": {"c": 1}}, "n": "1", "list": [2**63, 1e308]},
    {"": 1, "a b": 2, "é": "É", "a.b": 3},
)


def check(data: bytes) -> None:
    try:
        where = json.loads(data)
    except (ValueError, RecursionError):
        return
    connection, stored = _memories()
    try:
        condition = compile_filter(where, canonical=canonical)
    except BadInput:
        return
    found = memories.matching_rows(connection, condition)
    assert found == [row for row, fields in stored.items() if holds(where or {}, fields)]


@cache
def _memories() -> tuple[Connection, dict[int, dict[str, Any]]]:
    """Return some dozens of memories: as rows that are never committed, and as the oracle's."""
    folder = new_folder()
    bring_up_to_date(folder, lock_timeout=5.0)
    connection = open_engine(folder, lock_timeout=5.0).connect()
    connection.begin()
    for alias, canon in ALIASES.items():
        add_alias(connection, memories.namespace_id(connection, "team"), alias, canon)
    entities = {}
    for number in range(36):
        row = _store(connection, number)
        name = ("ana", "robert", "bob", "2026-03-02", "2026")[number % 5]
        entities[row] = {name} if number % 3 else set()
        namespace = memories.namespace_id(connection, _namespace(number))
        link_entities(connection, [(row, namespace, [Name(canon) for canon in entities[row]])])
    return connection, fields_of(connection, entities)


def _namespace(number: int) -> str:
    return ("default", "team", "team/ana", "teams")[number % 4]


def _store(connection: Connection, number: int) -> int:
    def some(*values: Any) -> Any:
        return values[number % len(values)]

    day = 86_400_000_000
    row = MemoryRow(
        id=f"m{number}",
        namespace_id=memories.namespace_id(connection, _namespace(number)),
        key=some(None, "crm", f"key {number}"),
        session=some(None, "a", "A", "ana"),
        title=some("crm", None),
        text=some("Bob", "a%b", "é", "crm crm", "2026"),
        content_hash="hash",
        metadata=json.dumps(some(*_METADATA), ensure_ascii=False, sort_keys=True),
        source_id=memories.source_id(connection, some(None, "crm", "CRM")),
        recorded_at=some(0, day, -1),
        occurred_at=some(None, day, 0, -day),
        valid_from=some(None, 0),
        valid_to=some(None, None, day),
        half_life_s=None,
        prior=None,
        alpha=some(1.0, 1.6, 0.0),
        beta=some(1.0, 0.4, 2.0),
        importance=some(0.0, 0.5, -1.0, 1.0),
        entities_given=False,
        t_ref=0,
        superseded_by=some(None, None, "m1"),
    )
    [number] = memories.insert_memories(connection, [row])
    return number
