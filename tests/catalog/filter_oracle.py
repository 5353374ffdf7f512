"""What a filter means, written down once more in plain Python: an oracle for the SQL."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from memstore.catalog import memories
from memstore.periods import parse_period

ALIASES = {"bob": "robert"}  # in "team" and below
TEXT_FIELDS = [
    "id",
    "key",
    "kind",
    "session",
    "title",
    "text",
    "superseded_by",
    "source",
    "namespace",
]
NUMBER_FIELDS = ["confidence", "importance"]
TIME_FIELDS = ["occurred_at", "recorded_at", "valid_from", "valid_to"]


@dataclass(frozen=True)
class Name:
    """An entity of a memory, as the catalog takes it."""

    canon: str
    label: str | None = None
    role: str = "given"

    @property
    def display(self) -> str:
        return self.canon.title()


def canonical(name: str) -> str:
    return name.casefold()


def holds(where: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether a memory, as a mapping of its fields, meets a filter."""
    return all(entry(name, value, found) for name, value in where.items())


def entry(name: str, value: Any, found: dict[str, Any]) -> bool:
    if name == "or":
        return any(holds(part, found) for part in value)
    if name == "and":
        return all(holds(part, found) for part in value)
    if name == "not":
        return not holds(value, found)
    operations = value if isinstance(value, dict) else {"eq": value}
    return all(compare(name, operator, operand, found) for operator, operand in operations.items())


def compare(name: str, operator: str, operand: Any, found: dict[str, Any]) -> bool:
    if operator == "ne":
        return not compare(name, "eq", operand, found)
    if operator == "nin":
        return not compare(name, "in", operand, found)
    if operator == "in":
        return any(compare(name, "eq", value, found) for value in operand)
    if name == "entity":
        names = found["entity"]
        if operator == "exists":
            return bool(names) == operand
        if operand is None:
            return not names
        aliases = ALIASES if f"{found['namespace']}/".startswith("team/") else {}
        period = parse_period(operand)
        asked = {canonical(operand)} if period is None else {canonical(operand), period.canonical}
        linked = {aliases.get(canon, canon) for canon in names}
        return not linked.isdisjoint(aliases.get(canon, canon) for canon in asked)
    value = value_of(name, found)
    if operator == "exists":
        return (value is not None) == operand
    if operator == "contains":
        if isinstance(value, list):
            return any(equal(member, operand) for member in value)
        return isinstance(value, str) and isinstance(operand, str) and operand in value
    if operator == "eq":
        return value is None if operand is None else equal(value, operand)
    if name in TIME_FIELDS and isinstance(operand, str):
        operand = datetime.fromisoformat(operand.strip())
    if kind(value) != kind(operand) or kind(value) not in ("number", "text", "time"):
        return False
    value, operand = comparable(value), comparable(operand)
    return {
        "gt": value > operand,
        "gte": value >= operand,
        "lt": value < operand,
        "lte": value <= operand,
    }[operator]


def value_of(name: str, found: dict[str, Any]) -> Any:
    if not name.startswith("metadata."):
        return found[name]
    value = found["metadata"]
    for key in name.split(".")[1:]:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return {str: "text", datetime: "time"}.get(type(value), "other")


def comparable(value: Any) -> Any:
    """Whole numbers beyond 64 bits are compared as floats."""
    if not isinstance(value, int) or -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def equal(value: Any, operand: Any) -> bool:
    if isinstance(value, datetime) and isinstance(operand, str):
        operand = datetime.fromisoformat(operand.strip())
    same_kind = kind(value) == kind(operand) != "other"
    return same_kind and comparable(value) == comparable(operand)


def fields_of(connection: Connection, entities: Mapping[int, set[str]]) -> dict[int, Any]:
    """Return row → the fields that a filter may ask for, of memories with these entities."""
    return {
        row: {name: getattr(item, name) for name in (*TEXT_FIELDS, *NUMBER_FIELDS, *TIME_FIELDS)}
        | {"metadata": item.metadata, "entity": entities[row]}
        for row, item in memories.load_rows(connection, list(entities)).items()
    }
