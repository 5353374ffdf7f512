"""What a filter looks like, as JSON Schema: for clients, and for what tests them.

It says what `memstore.catalog.filters` accepts, but for two numbers: at most 20 levels and 500
conditions.
"""

from __future__ import annotations

from typing import Any

NAME = "Where"
_TEXT = {"type": "string", "pattern": "^[^\\u0000]*$"}
_NUMBER = {"type": "number"}
_TIME = {"type": "string", "format": "date-time"}
_FLAG = {"type": "boolean"}
_NOTHING = {"type": "null"}


def filter_schema(reference: str) -> dict[str, Any]:
    """Return the schema of a filter.

    Args:
        reference: what stands for the schema itself, which it contains.
    """
    itself = {"$ref": reference}
    text = _condition(equal=[_TEXT], ordered=[_TEXT], contains=[_TEXT])
    number = _condition(equal=[_NUMBER], ordered=[_NUMBER])
    time = _condition(equal=[_TIME], ordered=[_TIME])
    entity = _condition(equal=[_TEXT], contains=[_TEXT])
    any_value = _condition(
        equal=[_TEXT, _NUMBER, _FLAG], ordered=[_TEXT, _NUMBER], contains=[_TEXT, _NUMBER, _FLAG]
    )
    fields = {
        **dict.fromkeys(("id", "key", "session", "title", "text", "superseded_by"), text),
        **dict.fromkeys(("source", "namespace", "kind"), text),
        **dict.fromkeys(("confidence", "importance", "uses"), number),
        **dict.fromkeys(("occurred_at", "recorded_at", "valid_from", "valid_to"), time),
        "entity": entity,
    }
    several = {"type": "array", "items": itself, "minItems": 1}
    return {
        "title": NAME,
        "type": "object",
        "description": "All entries must hold. A bare value means `eq`, null that nothing is set.",
        "properties": {**fields, "and": several, "or": several, "not": itself},
        "patternProperties": {'^metadata(\\.[^."\\u0000]+)+$': any_value},
        "additionalProperties": False,
        "examples": [{"source": "crm", "metadata.topic": {"in": ["billing", "tax"]}}],
    }


def _condition(
    *,
    equal: list[dict[str, Any]],
    ordered: list[dict[str, Any]] | None = None,
    contains: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return what may be asked of a field: a bare value, or operators with their operands."""
    one = {"anyOf": [*equal, _NOTHING]}
    some = {"type": "array", "items": one}
    operators = {"eq": one, "ne": one, "in": some, "nin": some, "exists": _FLAG}
    if ordered is not None:
        bound = {"anyOf": ordered}
        operators |= {"gt": bound, "gte": bound, "lt": bound, "lte": bound}
    if contains is not None:
        operators["contains"] = {"anyOf": contains}
    by_operator = {
        "type": "object",
        "properties": operators,
        "additionalProperties": False,
        "minProperties": 1,
    }
    return {"anyOf": [*equal, _NOTHING, by_operator]}
