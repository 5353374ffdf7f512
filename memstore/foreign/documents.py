"""What the formats share: JSON and JSON lines, paths of namespaces, keys, and what is left over."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, BinaryIO

from memstore.errors import BadInput
from memstore.json_input import json_lines, not_utf8, parse_json
from memstore.settings import MAX_LINE_BYTES
from memstore.times import to_microseconds

MAX_FILE_BYTES = MAX_LINE_BYTES  # one value may be the whole file, and is read as a whole
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

    The namespace is relative: the path of nobody's memories is empty. `unplaced` says why the
    namespace is unknown; such a memory can be stored only where the caller gives one.
    """

    line: int | None
    place: str
    fields: Mapping[str, Any] | BadInput
    unplaced: BadInput | None = None


def read_whole(file: BinaryIO) -> bytes:
    """Return the content of a file.

    Raises:
        BadInput: it cannot be read, or has more than MAX_FILE_BYTES.
    """
    try:
        content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadInput(f"the file cannot be read: {error.strerror}.") from error
    if len(content) > MAX_FILE_BYTES:
        raise BadInput(f"the file has more than {MAX_FILE_BYTES:,} bytes. Split it.")
    return content


def documents(content: bytes) -> list[Document]:
    """Return the JSON values of a file: one of the whole, or one a line, a BadInput for a line
    that has none; nothing for a file of blank lines.

    Raises:
        BadInput: it is neither.
    """
    try:
        text = content.decode("utf-8-sig")
        if not text.strip():
            return []
        return [Document(None, parse_json(text))]
    except UnicodeDecodeError as error:
        refused = not_utf8(error)
    except ValueError as error:
        refused = BadInput(f"not JSON: {error}.")
    found = [Document(number, value) for number, value in json_lines(io.BytesIO(content))]
    objects = sum(isinstance(item.value, dict) for item in found)
    if objects <= len(found) / 2:  # no lines of JSON, but one value over many that was refused
        raise refused
    return found


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


def changed_at(created: Any, updated: Any) -> Any:
    """Return since when an item says what it says now: when it was updated after its creation.

    What it said before that is in no export. None: since it was created.

    Raises:
        BadInput: `updated` is no time.

    >>> changed_at("2026-03-02T09:00:00Z", "2026-03-05T10:00:00Z")
    '2026-03-05T10:00:00Z'
    """
    if updated is None:
        return None
    # a zone for both where they name none: only their order matters here
    end = to_microseconds(updated, name="updated_at", timezone=UTC)
    try:
        start = to_microseconds(created, name="created_at", timezone=UTC)
    except BadInput:  # unknown, or a mere month
        return updated
    return updated if end > start else None


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
