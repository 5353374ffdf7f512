"""Changed inputs: of bytes, and of the values in JSON, one value or one a line."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from random import Random
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**400, 0.5, 1e308, -0.0, 5e-324),
    *(float("nan"), float("inf"), "", " ", "a", "\0", "\ud800", "é", "1", "2026", "x" * 70),
    *("2026-02-30", "9999-12-31T23:59:59.999999-14:00", "0001-01-01T00:00:00+14:00", "unknown"),
    *([], {}, [[]], [None], {"": None}, {"a": {"b": [1, "c"]}}),
)


def mutate(data: bytes, rng: Random, tokens: Sequence[bytes] = ()) -> bytes:
    """Return the input with a few changes, most often one or two."""
    for _ in range(min(8, 1 + int(rng.expovariate(1)))):
        changed = mutate_json(data, rng, tokens) if rng.random() < 0.6 else None
        data = _mutate_bytes(data, rng, tokens) if changed is None else changed
    return data


def mutate_json(data: bytes, rng: Random, tokens: Sequence[bytes] = ()) -> bytes | None:
    """Return the input with one change to a value in one of its lines, None if that is no JSON."""
    lines = data.split(b"\n")
    number = rng.randrange(len(lines))
    try:
        value = json.loads(lines[number])
    except (ValueError, RecursionError):
        return None
    places = list(_places(value))[:500]
    words = [token.decode() for token in tokens]
    if not places:
        value = _other(rng, words)
    else:
        container, key = rng.choice(places)
        _change(container, key, rng, words)
    lines[number] = json.dumps(value, ensure_ascii=rng.random() < 0.5).encode(errors="replace")
    return b"\n".join(lines)


def _places(value: Any) -> Any:
    """Yield each container in a value with each of its keys or positions."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _other(rng: Random, words: Sequence[str]) -> Any:
    return rng.choice(words) if words and rng.random() < 0.4 else copy.deepcopy(rng.choice(VALUES))


def _change(container: Any, key: Any, rng: Random, words: Sequence[str]) -> None:
    kind = rng.randrange(6)
    if kind == 0:
        del container[key]
    elif kind == 1:
        container[key] = [container[key], _other(rng, words)]
    elif kind == 2:
        container[key] = {rng.choice(words) if words else "a": container[key]}
    elif kind == 3 and isinstance(container, dict):
        name = _other(rng, words)
        container[name if isinstance(name, str) else str(name)] = container.pop(key)
    elif kind == 4:
        added = copy.deepcopy(rng.choice([container[key], _other(rng, words)]))
        if isinstance(container, dict):
            container[rng.choice(words) if words else "b"] = added
        else:
            container.insert(key, added)
    else:
        container[key] = _other(rng, words)


def _mutate_bytes(data: bytes, rng: Random, tokens: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    end = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 32)))
    kind = rng.randrange(6)
    if kind == 0:
        return data[:at] + data[end:]
    if kind == 1:
        return data[:at] + rng.randbytes(end - at) + data[end:]
    if kind == 2:
        return data[:at] + rng.randbytes(rng.choice((1, 2, 8))) + data[at:]
    if kind == 3:
        return data[:end] + data[at:end] + data[end:]
    if kind == 4 and at < end:
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
    token = rng.choice(tokens) if tokens else b"\xff\xff\xff\x7f"
    return data[:at] + token + data[rng.choice((at, end)) :]
