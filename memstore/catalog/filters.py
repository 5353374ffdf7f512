"""What `where` means: a mapping in, one SQL condition out.

    {"source": "crm", "metadata.topic": {"in": ["billing", "tax"]}, "confidence": {"gte": 6},
     "entity": "Ana", "or": [{...}, {...}], "not": {...}}

All entries must hold. A bare value means `eq`; None means "not set". A comparison with something
that is not set, or of another kind (a number against a string), is false; `ne` and `nin` are the
opposites of `eq` and `in`, hence true there. `contains` is a substring of a string or a member of
a list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)

from memstore.catalog.tables import (
    entity,
    entity_alias,
    memory,
    memory_entity,
    namespace,
    source,
)
from memstore.errors import BadInput
from memstore.times import to_microseconds

OPERATORS = ("eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "exists", "contains")
MAX_DEPTH = 20

_TEXT: dict[str, ColumnElement[Any]] = {
    "id": memory.c.id,
    "key": memory.c.key,
    "session": memory.c.session,
    "title": memory.c.title,
    "text": memory.c.text,
    "superseded_by": memory.c.superseded_by,
    "source": select(source.c.name).where(source.c.id == memory.c.source_id).scalar_subquery(),
    "namespace": select(namespace.c.path)
    .where(namespace.c.id == memory.c.namespace_id)
    .scalar_subquery(),
}
_NUMBERS: dict[str, ColumnElement[Any]] = {
    "confidence": 10.0 * memory.c.alpha / (memory.c.alpha + memory.c.beta),
    "importance": memory.c.importance,
}
_TIMES: dict[str, ColumnElement[Any]] = {
    "occurred_at": memory.c.occurred_at,
    "recorded_at": memory.c.recorded_at,
    "valid_from": memory.c.valid_from,
    "valid_to": memory.c.valid_to,
}
FIELDS = (*_TEXT, *_NUMBERS, *_TIMES, "entity", "metadata.NAME")


def compile_filter(
    where: Mapping[str, Any] | None, *, canonical: Callable[[str], str]
) -> ColumnElement[bool]:
    """Return the SQL condition of a filter; None and the empty mapping are always true.

    Args:
        canonical: an entity's name as it is compared.

    Raises:
        BadInput: an unknown field or operator, with the known ones; a value of the wrong kind.
    """
    return _all_of(where or {}, canonical, depth=0)


def _all_of(where: Any, canonical: Callable[[str], str], depth: int) -> ColumnElement[bool]:
    if not isinstance(where, Mapping):
        raise BadInput(
            f"A filter is a mapping such as {{'source': 'crm'}}; this is {type(where).__name__}."
        )
    if depth > MAX_DEPTH:
        raise BadInput(f"The filter is nested more than {MAX_DEPTH} deep. Flatten it.")
    conditions = [_entry(name, value, canonical, depth) for name, value in where.items()]
    return and_(true(), *conditions)


def _entry(
    name: Any, value: Any, canonical: Callable[[str], str], depth: int
) -> ColumnElement[bool]:
    if name in ("or", "and"):
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise BadInput(f"{name!r} in a filter takes a list of filters, not {value!r}.")
        parts = [_all_of(part, canonical, depth + 1) for part in value]
        return or_(*parts) if name == "or" else and_(*parts)
    if name == "not":
        return not_(_all_of(value, canonical, depth + 1))
    if isinstance(value, Mapping) and value:
        operations = dict(value)
    elif isinstance(value, Mapping):
        raise BadInput(f"The filter on {name!r} is empty. Known operators: {', '.join(OPERATORS)}.")
    else:
        operations = {"eq": value}
    for operator in operations:
        if operator not in OPERATORS:
            raise BadInput(
                f"Filter operator {operator!r} on {name!r} is unknown. "
                f"Known operators: {', '.join(OPERATORS)}."
            )
    return and_(
        *(_compare(name, operator, operand, canonical) for operator, operand in operations.items())
    )


def _compare(
    name: Any, operator: str, operand: Any, canonical: Callable[[str], str]
) -> ColumnElement[bool]:
    if operator in ("ne", "nin"):
        positive = "eq" if operator == "ne" else "in"
        return not_(_compare(name, positive, operand, canonical))
    if operator == "in":
        if not isinstance(operand, Sequence) or isinstance(operand, str):
            raise BadInput(f"'in' on {name!r} takes a list of values, not {operand!r}.")
        return or_(false(), *(_compare(name, "eq", value, canonical) for value in operand))
    if operator == "exists" and not isinstance(operand, bool):
        raise BadInput(f"'exists' on {name!r} takes true or false, not {operand!r}.")
    if name == "entity":
        return _entity(operator, operand, canonical)
    if isinstance(name, str) and name.startswith("metadata.") and len(name) > len("metadata."):
        return _metadata(name, operator, operand)
    if name in _TEXT:
        return _text(name, operator, operand)
    if name in _NUMBERS or name in _TIMES:
        return _ordered(name, operator, operand)
    raise BadInput(f"Filter field {name!r} is unknown. Known fields: {', '.join(FIELDS)}.")


def _set_or_not(column: ColumnElement[Any], operator: str, operand: Any) -> Any:
    """Return the condition for `exists` and for equality with None, else None."""
    if operator == "exists":
        return column.is_not(None) if operand else column.is_(None)
    if operator == "eq" and operand is None:
        return column.is_(None)
    return None


def _apply(column: ColumnElement[Any], operator: str, operand: Any) -> ColumnElement[bool]:
    operations: dict[str, Callable[[], ColumnElement[bool]]] = {
        "eq": lambda: column == operand,
        "gt": lambda: column > operand,
        "gte": lambda: column >= operand,
        "lt": lambda: column < operand,
        "lte": lambda: column <= operand,
        # instr, not LIKE: it has no wildcards to escape and tells upper from lower case
        "contains": lambda: func.instr(column, operand) > 0,
    }
    # NULL compares to NULL, and NOT NULL would drop the row from a negation
    return func.coalesce(operations[operator](), literal(0)) == 1


def _text(name: str, operator: str, operand: Any) -> ColumnElement[bool]:
    column = _TEXT[name]
    special = _set_or_not(column, operator, operand)
    if special is not None:
        return special  # type: ignore[no-any-return]
    if not isinstance(operand, str):
        raise BadInput(f"{name!r} is text; the filter compares it with {operand!r}.")
    return _apply(column, operator, operand)


def _ordered(name: str, operator: str, operand: Any) -> ColumnElement[bool]:
    column = _NUMBERS[name] if name in _NUMBERS else _TIMES[name]
    special = _set_or_not(column, operator, operand)
    if special is not None:
        return special  # type: ignore[no-any-return]
    if operator == "contains":
        raise BadInput(f"'contains' is for text and lists; {name!r} is neither.")
    if name in _TIMES:
        if not isinstance(operand, (str, datetime)):
            raise BadInput(f"{name!r} is a time; the filter compares it with {operand!r}.")
        return _apply(column, operator, to_microseconds(operand, name=f"the filter on {name}"))
    if isinstance(operand, bool) or not isinstance(operand, (int, float)):
        raise BadInput(f"{name!r} is a number; the filter compares it with {operand!r}.")
    return _apply(column, operator, _storable(operand))


def _storable(number: int | float) -> int | float:
    """Return the number as SQLite can hold it: integers beyond 64 bits become floats."""
    return number if -(2**63) <= number < 2**63 or isinstance(number, float) else float(number)


def _entity(operator: str, operand: Any, canonical: Callable[[str], str]) -> ColumnElement[bool]:
    linked = select(memory_entity.c.memory_row).where(memory_entity.c.memory_row == memory.c.row)
    if operator == "exists":
        return linked.exists() if operand else not_(linked.exists())
    if operator not in ("eq", "contains") or not isinstance(operand, str):
        raise BadInput(
            f"'entity' takes a name, or 'in' with a list of names; "
            f"not {operator!r} with {operand!r}."
        )
    canon = canonical(operand)
    alias = select(entity_alias.c.entity_id).where(entity_alias.c.alias == canon)
    named = select(entity.c.id).where(or_(entity.c.canon == canon, entity.c.id.in_(alias)))
    return linked.where(memory_entity.c.entity_id.in_(named)).exists()


def _metadata(name: str, operator: str, operand: Any) -> ColumnElement[bool]:
    keys = name.split(".")[1:]
    if any(key == "" or '"' in key for key in keys):
        raise BadInput(f"Filter field {name!r} has an empty part or a quotation mark in its path.")
    path = "$" + "".join(f'."{key}"' for key in keys)
    kind = func.coalesce(func.json_type(memory.c.metadata, path), "null")
    value = func.json_extract(memory.c.metadata, path)
    if operator == "exists":
        return kind != "null" if operand else kind == "null"
    if operand is None:
        if operator == "eq":
            return kind == "null"
        raise BadInput(f"{operator!r} on {name!r} needs a value. To test for absence use 'exists'.")
    if operator == "contains":
        return _metadata_contains(path, kind, value, operand)
    if isinstance(operand, bool):
        if operator != "eq":
            raise BadInput(f"{operator!r} on {name!r} cannot order true and false.")
        return kind == ("true" if operand else "false")
    if isinstance(operand, (int, float)):
        operand = _storable(operand)
        return and_(kind.in_(("integer", "real")), _apply(value, operator, operand))
    if isinstance(operand, str):
        return and_(kind == "text", _apply(value, operator, operand))
    raise BadInput(
        f"The filter on {name!r} compares it with {operand!r}. Compare with a string, a number, "
        "true, false or null; look into a list with 'contains'."
    )


def _metadata_contains(
    path: str, kind: ColumnElement[str], value: ColumnElement[Any], operand: Any
) -> ColumnElement[bool]:
    each = func.json_each(memory.c.metadata, path).table_valued("value", "type", name="member")
    if isinstance(operand, bool):
        member = each.c.type == ("true" if operand else "false")
    elif isinstance(operand, (int, float)):
        member = and_(each.c.type.in_(("integer", "real")), each.c.value == _storable(operand))
    elif isinstance(operand, str):
        member = and_(each.c.type == "text", each.c.value == operand)
    else:
        raise BadInput(f"'contains' takes a string, a number or true/false, not {operand!r}.")
    in_list = and_(kind == "array", select(literal(1)).select_from(each).where(member).exists())
    if not isinstance(operand, str):
        return in_list
    return or_(and_(kind == "text", _apply(value, "contains", operand)), in_list)
