"""What the formats share: JSON and JSON lines, paths of namespaces, keys, and what is left over."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from memstore.errors import BadInput

_KEY_CHARACTERS = 200  # of a readable beginning
_REFUSED = re.compile(r"[%/*\x00-\x1f\x7f]")  # in a part of a namespace; % is what escapes


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON value of a file; `line` counts from 1, None where the file is one value."""

    line: int | None
    value: Any


@dataclass(frozen=True, slots=True)
class Entry:
    """A memory as fields of NewMemory, or why it is none. `place` says where in the line or file.

    The namespace is relative: the path of nobody's memories is empty.
    """

    line: int | None
    place: str
    fields: Mapping[str, Any] | BadInput


def documents(content: bytes) -> Iterator[Document]:
    """Yield the JSON values of a file: one of the whole, or one a line.

    Raises:
        BadInput: it is neither.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8: byte 0x{content[error.start]:02x} at {error.start}.") from error
    value = _value(text)
    if not isinstance(value, BadInput):
        yield Document(None, value)
        return
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    found = [Document(number, _value(line)) for number, line in lines]
    if text.lstrip().startswith("[") or not any(isinstance(item.value, dict) for item in found):
        raise value  # an array that was cut off, or no JSON at all
    yield from found


def _value(text: str) -> Any:
    """Return the value of a text, or why it has none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also an integer of 5,000 digits
        return BadInput(f"not JSON: {error}.")


def listed(document: Document, *names: str) -> Iterator[tuple[str, Any]]:
    """Yield place and value of the items of a document: a list, an object that holds one under one
    of the names, or a single item.
    """
    value = document.value
    for name in names:
        if isinstance(value, dict) and isinstance(value.get(name), list):
            value = value[name]
            break
    if isinstance(value, list):
        yield from ((f"item {number}", item) for number, item in enumerate(value, start=1))
    else:
        yield "", value


def path_of(parts: Iterable[str]) -> str:
    """Return a namespace of parts that may hold any character; different parts, different paths.

    >>> path_of(["users", "a/b", "50%"]), path_of([".."])
    ('users/a%2Fb/50%25', '%2E%2E')
    """
    escaped = []
    for part in parts:
        safe = _REFUSED.sub(lambda found: f"%{ord(found[0]):02X}", part)
        if safe.strip() in ("", ".", ".."):
            safe = "".join(f"%{byte:02X}" for byte in part.encode(errors="surrogatepass"))
        if not safe:
            raise BadInput("a part of the namespace is empty.")
        escaped.append(safe)
    return "/".join(escaped)


def key_of(readable: str, *content: str) -> str:
    """Return a key for what has no id of its own: how it reads, and the hash of all it says."""
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return f"{readable[:_KEY_CHARACTERS]}#{digest[:16]}"


def string(item: Mapping[str, Any], name: str) -> str:
    """Return a string of an item that must have it."""
    value = item.get(name)
    if not isinstance(value, str):
        raise BadInput(f"{name} is {value!r:.60}; it must be a string.")
    return value


def metadata_of(given: Mapping[str, Any], more: Mapping[str, Any], tool: str) -> dict[str, Any]:
    """Return metadata with other fields beside it; one that is taken gets the tool's name first."""
    metadata = dict(given)
    for name, value in more.items():
        if value is None:
            continue
        free = name
        while free in metadata:
            free = f"{tool}_{free}"
        metadata[free] = value
    return metadata


def relation(start: str, verb: str, end: str) -> dict[str, Any]:
    """Return the memory that two entities are related."""
    text = f"{start} {verb} {end}"
    return {
        "text": text,
        "key": key_of(text, start, verb, end),
        "entities": [start, end],
        "metadata": {"from": start, "relation": verb, "to": end},
    }
