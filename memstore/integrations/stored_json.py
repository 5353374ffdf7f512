"""JSON values in memories, exactly as they were given and of any size.

Metadata alone hold less: their names are sorted, they have no NUL and no half of a surrogate pair,
and take a mebibyte. So a value lies in them as JSON text, below the name of the door that keeps it;
one that is too long for that lies in parts, which are memories of a namespace below the one they
serve, so that they go with it, and which no query finds.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from memstore import BadInput, Memory, MemoryNotFound, MemoryStore, NewMemory
from memstore.integrations.listing import newest_first
from memstore.json_input import check_nesting
from memstore.settings import MAX_NAMESPACE_CHARACTERS
from memstore.times import iso

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""As `valid_from` and `valid_to`: a memory that holds at no time, so that no query finds it."""

_INLINE_CHARACTERS = 250_000  # with its quotes escaped and names beside it, below metadata's limit
_PART_CHARACTERS = 500_000  # escaped, at most twice as many
_PARTS = "/%parts"  # no label of LangGraph's becomes this
IN_PARTS: Mapping[str, Any] = {"namespace": {"contains": _PARTS}}
"""The filter for parts."""

_UNDER_WAY = timedelta(hours=1)  # in which parts may wait for the memory that names them
_FORGOTTEN_AT_ONCE = 500  # 20,000 take a minute, in which nobody else can write
_PAUSE_SECONDS = 0.12  # between these: who waits for SQLite's lock tries it every 0.1 seconds
_READ_CHARACTERS = 20_000  # of a text: some 5,000 tokens, which take seconds to encode
_DATA = re.compile(
    "[!-~]{1001,}"
)  # an image, a key: a thousand letters without a space say nothing
_SURROGATE = re.compile("[\ud800-\udfff]")


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


def keep(written: str, namespace: str, door: str) -> tuple[dict[str, Any], list[NewMemory]]:
    """Return what the metadata of a memory of a namespace hold of a value, and the parts to be
    stored with it.

    Raises:
        BadInput: it takes parts, and the namespace is too long for one below it.
    """
    if len(written) <= _INLINE_CHARACTERS:
        return {"json": written}, []
    below = namespace + _PARTS
    if len(below) > MAX_NAMESPACE_CHARACTERS:
        raise BadInput(
            f"A value takes {len(written):,} characters as JSON, and those above "
            f"{_INLINE_CHARACTERS:,} take a namespace of at most "
            f"{MAX_NAMESPACE_CHARACTERS - len(_PARTS)} characters; {namespace!r:.40} has "
            f"{len(namespace)}. Give a shorter one."
        )
    pieces = [
        written[start : start + _PART_CHARACTERS]
        for start in range(0, len(written), _PART_CHARACTERS)
    ]
    value = uuid.uuid4().hex
    parts = [
        NewMemory(
            text=f"Part {number} of {len(pieces)} of a value too long for one memory.",
            namespace=below,
            key=f"{door}:{value}-{number}",
            valid_from=NEVER,
            valid_to=NEVER,
            entities=[],
            metadata={"part": piece},
        )
        for number, piece in enumerate(pieces, start=1)
    ]
    return {"parts": [part.key for part in parts]}, parts


def read_kept(store: MemoryStore, memory: Memory, door: str) -> Any:
    """Return the value that a memory keeps, read together from its parts if it has any.

    Raises:
        PartsGone: one of them is not there.
    """
    kept = memory.metadata[door]
    if "json" in kept:
        return json.loads(kept["json"])
    below = memory.namespace + _PARTS
    try:
        parts = [store.get_by_key(key, namespace=below) for key in kept["parts"]]
    except MemoryNotFound as error:
        raise PartsGone(f"A part of a stored value is gone: {error}") from error
    return json.loads("".join(part.metadata["part"] for part in parts))


def forget_parts(store: MemoryStore, memories: Iterable[Memory], door: str) -> None:
    """Forget the parts of values that were removed or replaced; those that are gone are passed
    over.
    """
    keys: dict[str, list[str]] = {}
    for memory in memories:
        keys.setdefault(memory.namespace, []).extend(_part_keys(memory, door))
    for namespace, some in keys.items():
        if some:
            store.forget(where={"key": {"in": some}}, namespace=namespace + _PARTS)


def forget_with_parts(
    store: MemoryStore, memories: Sequence[Memory], door: str, where: Mapping[str, Any]
) -> int:
    """Forget those of some memories that a filter still lets in, and the parts of their values;
    return how many that were. Between some hundred and the next, others can write.
    """
    gone = 0
    for start in range(0, len(memories), _FORGOTTEN_AT_ONCE):
        if start:
            time.sleep(_PAUSE_SECONDS)
        some = memories[start : start + _FORGOTTEN_AT_ONCE]
        still = {**where, "id": {"in": [memory.id for memory in some]}}
        ids = set(store.forget(where=still, namespace="*").ids)
        forget_parts(store, [memory for memory in some if memory.id in ids], door)
        gone += len(ids)
    return gone


def sweep_parts(store: MemoryStore, namespace: str, door: str, now: datetime) -> None:
    """Forget parts that no memory of a namespace or below it names: those that a kill has left, or
    whose memory was forgotten alone.
    """
    where = {f"metadata.{door}.parts": {"exists": True}}
    named = [
        key for memory in newest_first(store, namespace, where) for key in _part_keys(memory, door)
    ]
    orphans = {
        **IN_PARTS,
        "key": {"contains": f"{door}:", "nin": named},
        "recorded_at": {"lte": iso(now - _UNDER_WAY)},
    }
    store.forget(where=orphans, namespace=namespace)


def findable(text: str) -> str | None:
    """Return what of a text a memory is to be found by: its beginning, and no data that somebody
    has written as letters, such as an image. None if nothing is left to be seen.
    """
    return readable(_DATA.sub(" ", text)[:_READ_CHARACTERS])


def readable(text: str) -> str | None:
    """Return a text as a memory may have it: without NUL and halves of surrogate pairs. None if
    nothing in it is to be seen.
    """
    clean = _SURROGATE.sub("\ufffd", text.replace("\0", " "))
    seen = any(character.isprintable() and not character.isspace() for character in clean)
    return clean if seen else None


def _part_keys(memory: Memory, door: str) -> list[str]:
    kept = memory.metadata.get(door)
    keys = kept.get("parts") if isinstance(kept, Mapping) else None
    # somebody else may have written something of that name
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


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
