"""What JSON memstore may accept, said a second time with `json.loads` alone: targets compare."""

from __future__ import annotations

import json
from typing import Any

from memstore.settings import MAX_JSON_DEPTH


def strict_value(text: str) -> Any:
    """Return the value of a text, within the limits that no two programs read differently.

    Raises:
        ValueError: it is no JSON, has a name twice or a number that JSON has not, or is too deep.
        RecursionError: it is much too deep.
    """
    value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    if _depth(value) > MAX_JSON_DEPTH:
        raise ValueError("too deep")
    return value


def _refuse(name: str) -> None:
    raise ValueError(name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name twice")
    return dict(pairs)


def _depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value
    return 1 + max(map(_depth, inside), default=0) if isinstance(value, (dict, list)) else 0
