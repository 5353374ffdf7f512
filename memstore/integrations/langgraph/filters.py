"""Filters of LangGraph: what they mean, and how much of them the store can be asked for.

They mean what `InMemoryStore` takes them for. What that one breaks on is no match here: ordering a
value that is missing or of another kind.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

OWN_FIELD = "langgraph"
"""The name in a memory's metadata under which this door keeps what is its own."""

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_OPERATORS = ("$eq", "$ne", *_ORDERS)
_COPIED_CHARACTERS = 128  # of a string that is copied to be filtered by: no text is that short
_ALL_COPIED_CHARACTERS = 100_000  # of one item: beside its JSON, far below metadata's limit
_MOST_CONDITIONS = 400  # of the store's 500; the others are for what is an item at all
_EXACT = 2**53  # whole numbers up to here are the same in Python, JSON and SQLite
_NOT_IN_A_FILTER = re.compile("[\0\ud800-\udfff]")


def copied(value: Mapping[str, Any], but: str) -> tuple[dict[str, Any], bool]:
    """Return the numbers, truth values and short strings of a value: what metadata have a copy of,
    so that the store can filter by it. And whether these are all: a value may have any number.

    Args:
        but: the field that the memory's text is, which another door may correct.
    """
    found: dict[str, Any] = {}
    left = _ALL_COPIED_CHARACTERS
    for name, item in value.items():
        if name == but or not (_can_ask(name) and _can_copy(item)):
            continue
        left -= len(json.dumps([name, item]))
        if left < 0:
            return found, False
        found[name] = item
    return found, True


def check_filter(filter: Mapping[str, Any]) -> None:  # noqa: A002  # LangGraph's name
    """Refuse an operator that does not exist, wherever it is.

    Raises:
        ValueError: as LangGraph's own stores do, but before anything is compared.
    """
    for wanted in filter.values():
        _check_operators(wanted)


def matches(value: Any, filter: Mapping[str, Any]) -> bool:  # noqa: A002
    """Say whether a value, or a mapping in it, has what a filter asks for."""
    return isinstance(value, Mapping) and all(
        _compare(value.get(name), wanted) for name, wanted in filter.items()
    )


def pushed(filter: Mapping[str, Any]) -> list[dict[str, Any]]:  # noqa: A002
    """Return the store's conditions for a filter. What they leave out does not match; what they let
    in is to be compared.
    """
    conditions: list[dict[str, Any]] = []
    names: list[str] = []
    left = _MOST_CONDITIONS
    for name, wanted in filter.items():
        operations = wanted if _has_operators(wanted) else {"$eq": wanted}
        for operation, operand in operations.items():
            condition = _condition(name, operation, operand)
            if condition is None:
                continue
            left -= len(condition.get("or", (condition,)))
            if left >= 0:
                conditions.append(condition)
                names.append(name)
    if not conditions:
        return []
    not_copied = [
        {f"metadata.{OWN_FIELD}.partial": True},
        {f"metadata.{OWN_FIELD}.field": {"in": names}},
    ]
    return [{"or": [{"and": conditions}, *not_copied]}]


def can_name(name: Any) -> bool:
    """Say whether a name may be kept in metadata, and is short enough for it."""
    return (
        isinstance(name, str)
        and len(name) <= _COPIED_CHARACTERS
        and not _NOT_IN_A_FILTER.search(name)
    )


def _condition(name: Any, operation: str, operand: Any) -> dict[str, Any] | None:
    if not _can_ask(name):
        return None
    field = f"metadata.{name}"
    if operand is None and operation == "$eq":
        return {field: {"exists": False}}  # or it is of a kind that is not copied
    if not _can_copy(operand) or (isinstance(operand, (int, float)) and abs(operand) > _EXACT):
        return None
    if operation == "$eq":
        return {field: {"in": _equal(operand)}}
    if operation == "$ne":
        return {field: {"nin": _equal(operand)}}
    if isinstance(operand, str):
        return None  # longer strings are not copied, and come behind or before it too
    order = _ORDERS[operation]
    truths = [{field: truth} for truth in (True, False) if order(truth, operand)]
    ordered = {field: {operation.removeprefix("$"): float(operand)}}
    strings = {field: {"gte": ""}}  # "4.5" is a number to LangGraph
    return {"or": [ordered, *truths, strings]}


def _equal(operand: Any) -> list[Any]:
    """Return what Python takes for equal: True is 1."""
    if not isinstance(operand, str) and operand in (0, 1):
        return [int(operand), bool(operand)]
    return [operand]


def _can_ask(name: Any) -> bool:
    return (
        isinstance(name, str)
        and name not in (OWN_FIELD, "text", "")
        and not ("." in name or '"' in name or _NOT_IN_A_FILTER.search(name))
    )


def _can_copy(item: Any) -> bool:
    if isinstance(item, str):
        return len(item) <= _COPIED_CHARACTERS and not _NOT_IN_A_FILTER.search(item)
    return isinstance(item, int) or (isinstance(item, float) and math.isfinite(item))


def _has_operators(wanted: Any) -> bool:
    return isinstance(wanted, Mapping) and any(
        isinstance(name, str) and name.startswith("$") for name in wanted
    )


def _check_operators(wanted: Any) -> None:
    if _has_operators(wanted):
        unknown = [name for name in wanted if name not in _OPERATORS]
        if unknown:
            raise ValueError(
                f"Unsupported operator: {unknown[0]!r}. A filter knows {', '.join(_OPERATORS)}."
            )
    elif isinstance(wanted, Mapping):
        check_filter(wanted)
    elif isinstance(wanted, (list, tuple)):
        for item in wanted:
            _check_operators(item)


def _compare(item: Any, wanted: Any) -> bool:
    if _has_operators(wanted):
        return all(_holds(item, name, operand) for name, operand in wanted.items())
    if isinstance(wanted, Mapping):
        return matches(item, wanted)
    if isinstance(wanted, (list, tuple)):
        return (
            isinstance(item, (list, tuple))
            and len(item) == len(wanted)
            and all(map(_compare, item, wanted))
        )
    return bool(item == wanted)


def _holds(item: Any, operation: str, operand: Any) -> bool:
    if operation == "$eq":
        return bool(item == operand)
    if operation == "$ne":
        return bool(item != operand)
    order = _ORDERS[operation]
    first, second = _number(item), _number(operand)
    if first is not None and second is not None:
        return order(first, second)
    return isinstance(item, str) and isinstance(operand, str) and order(item, operand)


def _number(item: Any) -> float | None:
    """Return what LangGraph takes for a number, strings such as "4.5" too."""
    if not isinstance(item, (int, float, str)) or (
        isinstance(item, str) and len(item) > _COPIED_CHARACTERS
    ):
        return None
    try:
        return float(item)
    except (ValueError, OverflowError):
        return None
