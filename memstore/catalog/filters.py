"""What `where` means: a mapping in, one SQL condition out.

    {"source": "crm", "metadata.topic": {"in": ["billing", "tax"]}, "confidence": {"gte": 6},
     "entity": "Ana", "or": [{...}, {...}], "not": {...}}

All entries must hold. A bare value means `eq`; None means "not set". A comparison with something
that is not set, or of another kind (a number against a string), is false; `ne` and `nin` are the
opposites of `eq` and `in`, hence true there. `contains` is a substring of a string or a member of
a list. `entity` holds when one of the memory's entities has the name, is an alias of it, or what
it is an alias of, in the memory's namespace.

`metadata.a.b` is the value of "b" in the mapping "a". Whole numbers beyond 64 bits are compared as
floats, because SQLite knows no others.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    tuple_,
    union_all,
)

from memstore.catalog.aliases import aliased_names, related_names, stands_for
from memstore.catalog.sql import among
from memstore.catalog.tables import (
    entity,
    memory,
    memory_entity,
    namespace,
    source,
)
from memstore.errors import BadInput
from memstore.periods import parse_period
from memstore.times import to_microseconds

OPERATORS = ("eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "exists", "contains")
MAX_DEPTH = 20
MAX_CONDITIONS = 500  # SQLite parses no expression deeper than 1000; values of an `in` count not

_TEXT: dict[str, ColumnElement[Any]] = {
    "id": memory.c.id,
    "key": memory.c.key,
    "kind": memory.c.kind,
    "session": memory.c.session,
    "title": memory.c.title,
    "text": memory.c.text,
    "superseded_by": memory.c.superseded_by,
    # correlated with the memory alone: the statement around them may join the same tables
    "source": select(source.c.name)
    .where(source.c.id == memory.c.source_id)
    .correlate(memory)
    .scalar_subquery(),
    "namespace": select(namespace.c.path)
    .where(namespace.c.id == memory.c.namespace_id)
    .correlate(memory)
    .scalar_subquery(),
}
_NUMBERS: dict[str, ColumnElement[Any]] = {
    "confidence": 10.0 * memory.c.alpha / (memory.c.alpha + memory.c.beta),
    "importance": memory.c.importance,
    "uses": memory.c.use_count,
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
        BadInput: an unknown field or operator, with the known ones; a value of the wrong kind; a
            filter nested too deep or with too many conditions.
    """
    return _Compiler(canonical).all_of({} if where is None else where, depth=0)


class _Compiler:
    def __init__(self, canonical: Callable[[str], str]) -> None:
        self._canonical = canonical
        self._conditions = 0

    def all_of(self, where: Any, depth: int) -> ColumnElement[bool]:
        if not isinstance(where, Mapping):
            raise BadInput(
                "A filter is a mapping such as {'source': 'crm'}; "
                f"this is {type(where).__name__}: {where!r}."
            )
        if depth > MAX_DEPTH:
            raise BadInput(f"The filter is nested more than {MAX_DEPTH} deep. Flatten it.")
        conditions = [self._entry(name, value, depth) for name, value in where.items()]
        return and_(true(), *conditions)

    def _entry(self, name: Any, value: Any, depth: int) -> ColumnElement[bool]:
        if name in ("or", "and"):
            if not _is_list(value) or not value:
                raise BadInput(f"{name!r} in a filter takes a list of filters, not {value!r}.")
            parts = [self.all_of(part, depth + 1) for part in value]
            return or_(*parts) if name == "or" else and_(*parts)
        if name == "not":
            return not_(self.all_of(value, depth + 1))
        if isinstance(value, Mapping) and value:
            operations = dict(value)
        elif isinstance(value, Mapping):
            raise BadInput(
                f"The filter on {name!r} is empty. Known operators: {', '.join(OPERATORS)}."
            )
        else:
            operations = {"eq": value}
        return and_(
            *(self._compare(name, operator, operand) for operator, operand in operations.items())
        )

    def _compare(self, name: Any, operator: Any, operand: Any) -> ColumnElement[bool]:
        if operator not in OPERATORS:
            raise BadInput(
                f"Filter operator {operator!r} on {name!r} is unknown. "
                f"Known operators: {', '.join(OPERATORS)}."
            )
        compare = self._field(name)
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise BadInput(
                f"The filter has more than {MAX_CONDITIONS} conditions. To look for many values of "
                "one field use 'in'."
            )
        if operator in ("in", "nin") and not _is_list(operand):
            raise BadInput(f"{operator!r} on {name!r} takes a list of values, not {operand!r}.")
        if operator == "exists" and not isinstance(operand, bool):
            raise BadInput(f"'exists' on {name!r} takes true or false, not {operand!r}.")
        if operator in ("ne", "nin"):
            return not_(compare(name, "eq" if operator == "ne" else "in", operand))
        return compare(name, operator, operand)

    def _field(self, name: Any) -> Callable[[str, str, Any], ColumnElement[bool]]:
        if name == "entity":
            return self._entity
        if isinstance(name, str) and name.startswith("metadata.") and len(name) > len("metadata."):
            return _metadata
        if name in _TEXT:
            return _text
        if name in _NUMBERS:
            return _number
        if name in _TIMES:
            return _time
        raise BadInput(f"Filter field {name!r} is unknown. Known fields: {', '.join(FIELDS)}.")

    def _entity(self, name: str, operator: str, operand: Any) -> ColumnElement[bool]:
        linked = (
            select(memory_entity.c.memory_row)
            .where(memory_entity.c.memory_row == memory.c.row)
            .correlate(memory)
        )
        if operator == "exists":
            return linked.exists() if operand else not_(linked.exists())
        if operator not in ("eq", "in", "contains"):
            raise BadInput(
                f"{operator!r} on 'entity' means nothing. Known operators there: eq, ne, in, nin, "
                "contains, exists."
            )
        asked = operand if operator == "in" else [operand]
        names = [_string(value, name) for value in asked if value is not None]
        periods = [period for value in names if (period := parse_period(value)) is not None]
        canons = [*map(self._canonical, names), *(period.canonical for period in periods)]
        found = _mentions_one_of(canons)
        return or_(found, not_(linked.exists())) if None in asked else found


def _mentions_one_of(canons: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that a memory mentions one of these entities or an alias of it."""
    # independent of the memory: SQLite finds the few that do once, and does not look at each
    plain = select(memory_entity.c.memory_row).where(
        memory_entity.c.entity_id.in_(
            select(entity.c.id).where(
                among(entity.c.canon, canons), entity.c.canon.not_in(aliased_names())
            )
        )
    )
    asked = func.json_each(json.dumps(canons)).table_valued("value")
    meant = select(stands_for(asked.c.value, namespace.c.path)).correlate(namespace)
    related = select(entity.c.id).where(entity.c.canon.in_(related_names(canons)))
    places = (
        select(namespace.c.id, entity.c.id)
        .join_from(namespace, entity, entity.c.id.in_(related))
        .where(stands_for(entity.c.canon, namespace.c.path).in_(meant))
    )
    linked = memory.alias("linked")
    # + 0: from an entity to its memories, not through all of the namespace
    place = tuple_(linked.c.namespace_id + 0, memory_entity.c.entity_id)
    aliased = (
        select(memory_entity.c.memory_row)
        .join(linked, linked.c.row == memory_entity.c.memory_row)
        .where(memory_entity.c.entity_id.in_(related), place.in_(places))
    )
    return memory.c.row.in_(union_all(plain, aliased))


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray))


def _string(value: Any, name: str) -> str:
    """Return a string that SQLite can be asked for."""
    if not isinstance(value, str):
        raise BadInput(f"{name!r} is text; the filter compares it with {value!r}.")
    # SQLite's JSON functions end a string at a NUL, so it would match what it should not
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise BadInput(
            f"The filter compares {name!r} with {value!r}, which has a NUL or half of a surrogate "
            "pair: no stored text has. Decode it as UTF-8 with errors='replace'."
        )
    return value


def _true(condition: ColumnElement[Any]) -> ColumnElement[bool]:
    # NULL compares to NULL, and NOT NULL would drop the row from a negation
    return func.coalesce(condition, literal(0)) == 1


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
    return _true(operations[operator]())


def _column(
    column: ColumnElement[Any],
    name: str,
    operator: str,
    operand: Any,
    checked: Callable[[Any, str], Any],
    listed: Callable[[Sequence[Any]], Select[Any]],
) -> ColumnElement[bool]:
    """Return the condition on a column, whose NULL means "not set"."""
    if operator == "exists":
        return column.is_not(None) if operand else column.is_(None)
    if operator == "eq" and operand is None:
        return column.is_(None)
    if operator == "in":
        values = [checked(value, name) for value in operand if value is not None]
        found = _true(column.in_(listed(values)))
        return or_(column.is_(None), found) if None in operand else found
    return _apply(column, operator, checked(operand, name))


def _text(name: str, operator: str, operand: Any) -> ColumnElement[bool]:
    return _column(_TEXT[name], name, operator, operand, _string, _strings)


def _number(name: str, operator: str, operand: Any) -> ColumnElement[bool]:
    _refuse_contains(name, operator)
    return _column(_NUMBERS[name], name, operator, operand, _checked_number, _numbers)


def _time(name: str, operator: str, operand: Any) -> ColumnElement[bool]:
    _refuse_contains(name, operator)
    return _column(_TIMES[name], name, operator, operand, _checked_time, _numbers)


def _refuse_contains(name: str, operator: str) -> None:
    if operator == "contains":
        raise BadInput(f"'contains' is for text and lists; {name!r} is neither.")


def _checked_number(value: Any, name: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadInput(f"{name!r} is a number; the filter compares it with {value!r}.")
    return _storable(value)


def _checked_time(value: Any, name: str) -> int:
    if not isinstance(value, (str, datetime)):
        raise BadInput(f"{name!r} is a time; the filter compares it with {value!r}.")
    return to_microseconds(value, name=f"the filter on {name}")


def _storable(number: int | float) -> int | float:
    """Return the number as SQLite can hold it: whole numbers beyond 64 bits become floats."""
    if isinstance(number, float) or -(2**63) <= number < 2**63:
        return number
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _strings(values: Sequence[str]) -> Select[Any]:
    """Return the strings as rows: one bound parameter, however many there are."""
    each = func.json_each(json.dumps(values)).table_valued("value")
    return select(each.c.value)


def _numbers(values: Sequence[int | float]) -> Select[Any]:
    """Return the numbers as rows; NaN equals nothing and is left out."""
    written = [
        # JSON has no infinity, but reads too large a number as one
        f"{'-' * (value < 0)}9e999" if math.isinf(value) else repr(value)
        for value in map(_storable, values)
        if not math.isnan(value)
    ]
    each = func.json_each(f"[{','.join(written)}]").table_valued("value")
    return select(each.c.value)


def _metadata(name: str, operator: str, operand: Any) -> ColumnElement[bool]:
    keys = [_string(key, name) for key in name.split(".")[1:]]
    if any(key == "" or '"' in key for key in keys):
        raise BadInput(f"Filter field {name!r} has an empty part or a quotation mark in its path.")
    # SQLite compares the keys as they are written in the JSON text, escapes included
    path = "$" + "".join(f".{json.dumps(key, ensure_ascii=False)}" for key in keys)
    kind = func.coalesce(func.json_type(memory.c.metadata, path), "null")
    value = func.json_extract(memory.c.metadata, path)
    if operator == "exists":
        return kind != "null" if operand else kind == "null"
    if operator == "in":
        return _metadata_in(name, kind, value, operand)
    if operator == "contains":
        return _metadata_contains(name, path, kind, value, operand)
    if operand is None:
        if operator == "eq":
            return kind == "null"
        raise BadInput(f"{operator!r} on {name!r} needs a value. To test for absence use 'exists'.")
    if isinstance(operand, bool):
        if operator != "eq":
            raise BadInput(f"{operator!r} on {name!r} cannot order true and false.")
        return kind == ("true" if operand else "false")
    if isinstance(operand, (int, float)):
        numeric = kind.in_(("integer", "real"))
        return and_(numeric, _apply(value, operator, _storable(operand)))
    if isinstance(operand, str):
        return and_(kind == "text", _apply(value, operator, _string(operand, name)))
    raise _wrong_operand(name, operand)


def _wrong_operand(name: str, operand: Any) -> BadInput:
    return BadInput(
        f"The filter on {name!r} compares it with {operand!r}. Compare with a string, a number, "
        "true, false or null; look into a list with 'contains'."
    )


def _metadata_in(
    name: str, kind: ColumnElement[str], value: ColumnElement[Any], operands: Sequence[Any]
) -> ColumnElement[bool]:
    kinds: list[str] = []
    strings: list[str] = []
    numbers: list[int | float] = []
    for operand in operands:
        if operand is None:
            kinds.append("null")
        elif isinstance(operand, bool):
            kinds.append("true" if operand else "false")
        elif isinstance(operand, (int, float)):
            numbers.append(operand)
        elif isinstance(operand, str):
            strings.append(_string(operand, name))
        else:
            raise _wrong_operand(name, operand)
    found: list[ColumnElement[bool]] = [kind.in_(sorted(set(kinds)))] if kinds else []
    if strings:
        found.append(and_(kind == "text", _true(value.in_(_strings(strings)))))
    if numbers:
        numeric = kind.in_(("integer", "real"))
        found.append(and_(numeric, _true(value.in_(_numbers(numbers)))))
    return or_(false(), *found)


def _metadata_contains(
    name: str,
    path: str,
    kind: ColumnElement[str],
    value: ColumnElement[Any],
    operand: Any,
) -> ColumnElement[bool]:
    each = func.json_each(memory.c.metadata, path).table_valued("value", "type", name="member")
    if isinstance(operand, bool):
        member = each.c.type == ("true" if operand else "false")
    elif isinstance(operand, (int, float)):
        member = and_(each.c.type.in_(("integer", "real")), each.c.value == _storable(operand))
    elif isinstance(operand, str):
        member = and_(each.c.type == "text", each.c.value == _string(operand, name))
    else:
        raise BadInput(
            f"'contains' on {name!r} takes a string, a number or true/false, not {operand!r}."
        )
    in_list = and_(kind == "array", select(literal(1)).select_from(each).where(member).exists())
    if not isinstance(operand, str):
        return in_list
    return or_(and_(kind == "text", _apply(value, "contains", operand)), in_list)
