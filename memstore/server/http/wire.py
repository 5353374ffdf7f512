"""Values as they go over the wire: the fields of the public dataclasses, as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from memstore.times import iso
from memstore.types import Memory


def to_json(value: Any) -> bytes:
    """Return a value as JSON: times as ISO-8601 with Z, durations in seconds, and memories with
    their `version`, which is no field of theirs.
    """
    written = json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return written.encode()


def _plain(value: Any) -> Any:
    names = _names(type(value))
    if names:
        plain = {name: _plain(getattr(value, name)) for name in names}
        if isinstance(value, Memory):
            plain["version"] = value.version
        return plain
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value


def _names(kind: type) -> tuple[str, ...]:
    if kind not in _FIELDS:
        known = dataclasses.is_dataclass(kind)
        _FIELDS[kind] = tuple(item.name for item in dataclasses.fields(kind)) if known else ()
    return _FIELDS[kind]


_FIELDS: dict[type, tuple[str, ...]] = {}  # a list of memories asks for the same thousands of times
