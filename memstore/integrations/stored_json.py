"""JSON values in memories, exactly as they were given and of any size.

Metadata alone hold less: their names are sorted, they have no NUL and no half of a surrogate pair,
and take a mebibyte. So a value lies in them as JSON text; one that is too long for that lies in
parts, which are memories of a namespace beside the one they serve, and which no query finds.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from memstore import BadInput, MemoryNotFound, MemoryStore, NewMemory
from memstore.json_input import check_nesting

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""As `valid_from` and `valid_to`: a memory that holds at no time, so that no query finds it."""

_INLINE_CHARACTERS = 250_000  # with its quotes escaped and names beside it, below metadata's limit
_PART_CHARACTERS = 500_000  # escaped, at most twice as many
_SURROGATE = re.compile("[\ud800-\udfff]")

Kept = Mapping[str, Any]
"""What metadata hold of a value: its JSON text as `json`, or the keys of its `parts`."""


class PartsGone(MemoryNotFound):
    """A part of a value is not there: mostly because somebody put another value in its place."""


def write_json(value: Any, name: str, *, allow_nan: bool = False) -> str:
    """Return a value as JSON text.

    Args:
        name: what the value is called in the error message.
        allow_nan: whether it may hold NaN and infinities, which Python alone reads.

    Raises:
        BadInput: it is not made of JSON's types, a name in it is no string (which would come back
            as one), or it is nested too deep.
    """
    try:
        check_nesting(value)  # first: writing what contains itself might not end
        written = json.dumps(value, ensure_ascii=False, allow_nan=allow_nan)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(
            f"{name} cannot be written as JSON: {error}. Give strings, numbers, true, false, None, "
            "lists, and mappings with strings as names."
        ) from error
    _check_names(value, name)
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", written)


def keep(written: str, namespace: str) -> tuple[dict[str, Any], list[NewMemory]]:
    """Return what a memory's metadata hold of a value, and the parts to be stored with it."""
    if len(written) <= _INLINE_CHARACTERS:
        return {"json": written}, []
    pieces = [
        written[start : start + _PART_CHARACTERS]
        for start in range(0, len(written), _PART_CHARACTERS)
    ]
    value = uuid.uuid4().hex
    parts = [
        NewMemory(
            text=f"Part {number} of {len(pieces)} of a value too long for one memory.",
            namespace=_beside(namespace),
            key=f"{value}-{number}",
            valid_from=NEVER,
            valid_to=NEVER,
            entities=[],
            metadata={"part": piece},
        )
        for number, piece in enumerate(pieces, start=1)
    ]
    return {"parts": [part.key for part in parts]}, parts


def read_kept(store: MemoryStore, kept: Kept, namespace: str) -> Any:
    """Return the value that metadata hold, read together from its parts if it has any.

    Raises:
        PartsGone: one of them is not there.
    """
    if "json" in kept:
        return json.loads(kept["json"])
    try:
        parts = [store.get_by_key(key, namespace=_beside(namespace)) for key in kept["parts"]]
    except MemoryNotFound as error:
        raise PartsGone(f"A part of a stored value is gone: {error}") from error
    return json.loads("".join(part.metadata["part"] for part in parts))


def forget_parts(store: MemoryStore, kept: Iterable[Kept], namespace: str) -> None:
    """Forget the parts of values that were removed or replaced; those that are gone are passed
    over.
    """
    keys = [key for one in kept for key in one.get("parts", ())]
    if keys:
        store.forget(where={"key": {"in": keys}}, namespace=_beside(namespace))


def readable(text: str) -> str | None:
    """Return a text as a memory may have it: without NUL and halves of surrogate pairs. None if
    nothing in it is to be seen.
    """
    clean = _SURROGATE.sub("\ufffd", text.replace("\0", " "))
    seen = any(character.isprintable() and not character.isspace() for character in clean)
    return clean if seen else None


def _beside(namespace: str) -> str:
    return f"{namespace}%parts"  # not below: it must be no part of what is read there


def _check_names(value: Any, name: str) -> None:
    level = [value]
    while level:
        mappings = [item for item in level if isinstance(item, dict)]
        for item in mappings:
            for key in item:
                if not isinstance(key, str):
                    raise BadInput(f"{name} has the name {key!r} in it; JSON's names are strings.")
        lists = [item for item in level if isinstance(item, (list, tuple))]
        level = [below for item in mappings for below in item.values()]
        level += [below for item in lists for below in item]
