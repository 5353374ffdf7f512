"""Items of LangGraph as memories: what of an item becomes which field."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from langgraph.store.base import PutOp, get_text_at_path

from memstore import BadInput, Memory, MemoryStore, NewMemory
from memstore.integrations.langgraph.filters import OWN_FIELD, copied
from memstore.integrations.langgraph.names import key_of, labels_of
from memstore.integrations.stored_json import NEVER, keep, read_kept, readable, write_json
from memstore.times import iso

WHOLE = "$"
"""The path of all of a value."""

_NOT_INDEXED = "(an item that is not indexed)"


@dataclass(frozen=True, slots=True)
class Draft:
    """An item to be put, checked; None as its text if there is nothing to find it by."""

    text: str | None
    field: str
    copied: dict[str, Any]
    kept: dict[str, Any]
    parts: list[NewMemory]
    ttl: float | None

    def fields(self, created: datetime, now: datetime) -> dict[str, Any]:
        """Return the fields of the item's memory as of when it is put.

        Without a text it holds at no time, so that no query of any door finds it.
        """
        expiry = expiry_after(self.ttl, now)
        text = self.text or _NOT_INDEXED
        own = {"ttl": self.ttl, "created_at": iso(created), "field": self.field}
        return {
            "text": text,
            "entities": None if self.text else [],
            "occurred_at": now,
            "valid_from": None if self.text else expiry or NEVER,
            "valid_to": expiry if self.text else expiry or NEVER,
            "metadata": {
                **self.copied,
                OWN_FIELD: {**self.kept, **own, "text": _digest(text)},
            },
        }


def draft(op: PutOp, fields: Sequence[str], root: str) -> Draft:
    """Return an item to be put.

    Args:
        fields: the paths that are read for the text where the put names none.

    Raises:
        BadInput: the value is no JSON, or the time to live no time.
    """
    what = f"The value of key {op.key!r} in {tuple(op.namespace)}"
    if not isinstance(op.value, Mapping):
        raise BadInput(f"{what} is {type(op.value).__name__}; give a mapping of names to JSON.")
    expiry_after(op.ttl, datetime.now(UTC))
    value = dict(op.value)
    kept, parts = keep(write_json(value, what), root)
    text = _text_of(value, fields if op.index is None else op.index or ())
    return Draft(text, _field_of(value, text), copied(value), kept, parts, op.ttl)


def content(memory: Memory, store: MemoryStore, root: str) -> dict[str, Any]:
    """Return what a memory's item is made of.

    Where another door has changed the text, the value says so too: in the field that was the text,
    or as its `text` where several were.

    Raises:
        PartsGone: a part of its value is not there.
    """
    own = own_field(memory)
    if own is None:  # of another door
        value: Any = {**memory.metadata, "text": memory.text}
    else:
        value = read_kept(store, own, root)
        if own["text"] != _digest(memory.text):
            value[own["field"]] = memory.text
    return {
        "value": value,
        "key": memory.id if memory.key is None else key_of(memory.key),
        "namespace": labels_of(memory.namespace, root),
        "created_at": created_at(memory),
        "updated_at": updated_at(memory),
    }


def own_field(memory: Memory) -> Mapping[str, Any] | None:
    """Return what this door keeps in a memory's metadata; None in one that another door stored."""
    own = memory.metadata.get(OWN_FIELD)
    if not isinstance(own, Mapping) or not own.keys() & {"json", "parts"}:
        return None
    return own if own.keys() >= {"ttl", "created_at", "field", "text"} else None


def created_at(memory: Memory) -> datetime:
    """Return when an item was first put."""
    own = own_field(memory)
    return memory.recorded_at if own is None else datetime.fromisoformat(own["created_at"])


def updated_at(memory: Memory) -> datetime:
    """Return when an item was last put: that it was is what happened at `occurred_at`."""
    if own_field(memory) is None or memory.occurred_at is None:
        return memory.recorded_at
    return memory.occurred_at


def expiry_after(ttl: float | None, now: datetime) -> datetime | None:
    """Return when an item with so many minutes to live expires; None if it does not.

    Raises:
        BadInput: it is no number, is negative, or ends after the year 9999.
    """
    if ttl is None:
        return None
    try:
        lifetime = timedelta(minutes=ttl)
        expiry = now + lifetime
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInput(
            f"ttl is {ttl!r}: {error}. Give minutes, or None for an item that does not expire."
        ) from error
    if lifetime < timedelta(0):
        raise BadInput(f"ttl is {ttl!r}. Give minutes from now on; to delete an item, delete it.")
    return expiry


def _text_of(value: Mapping[str, Any], paths: Sequence[str]) -> str | None:
    texts = [
        text
        for path in paths
        for text in (_lines(value) if path == WHOLE else get_text_at_path(value, path))
    ]
    return readable("\n".join(texts))


def _lines(value: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing in a value, by its name where there are several: as JSON, they
    take half again as many tokens and are found no better.
    """
    found = list(_things(value))
    return [text for _, text in found] if len(found) == 1 else [": ".join(one) for one in found]


def _things(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, below in value.items():
            yield from _things(below, f"{path}.{name}" if path else name)
    elif isinstance(value, (list, tuple)):
        for below in value:
            yield from _things(below, path)
    elif value is not None:
        yield path, str(value)


def _field_of(value: Mapping[str, Any], text: str | None) -> str:
    """Return the name of the one field that a text is; `text` where several were read."""
    fields = [name for name, item in value.items() if text is not None and item == text]
    return fields[0] if len(fields) == 1 else "text"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
