"""Items of LangGraph as memories: what of an item becomes which field."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from langgraph.store.base import PutOp, get_text_at_path

from memstore import BadInput, Memory, MemoryStore, NewMemory
from memstore.integrations.langgraph.filters import OWN_FIELD, can_name, copied
from memstore.integrations.langgraph.names import key_of, path_of
from memstore.integrations.stored_json import NEVER, findable, keep, read_kept, write_json
from memstore.times import iso

WHOLE = "$"
"""The path of all of a value."""

_NOT_INDEXED = "(an item that is not indexed)"


@dataclass(frozen=True, slots=True)
class Draft:
    """An item to be put, checked; None as its text if there is nothing to find it by."""

    text: str | None
    copied: dict[str, Any]
    own: dict[str, Any]
    parts: list[NewMemory]
    ttl: float | None

    def fields(self, created: datetime, now: datetime) -> dict[str, Any]:
        """Return the fields of the item's memory as of when it is put.

        Without a text it holds at no time, so that no query of any door finds it.
        """
        expiry = expiry_after(self.ttl, now)
        text = self.text or _NOT_INDEXED
        put = {"ttl": self.ttl, "created_at": iso(created), "text": _digest(text)}
        return {
            "text": text,
            "entities": None if self.text else [],
            "occurred_at": now,
            "valid_from": None if self.text else expiry or NEVER,
            "valid_to": expiry if self.text else expiry or NEVER,
            "metadata": {**self.copied, OWN_FIELD: {**self.own, **put}},
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
    path = path_of(tuple(op.namespace), root)
    own, parts = keep(write_json(value, what), path, OWN_FIELD)
    text = _text_of(value, fields if op.index is None else op.index or ())
    own["field"] = _field_of(value, text)
    copies, are_all = copied(value, but=own["field"])
    if not are_all:
        own["partial"] = True
    return Draft(text, copies, own, parts, op.ttl)


def content(memory: Memory, store: MemoryStore, labels: tuple[str, ...]) -> dict[str, Any]:
    """Return what a memory's item is made of, in the namespace of these labels.

    Where another door has changed the text or the metadata, the value says so too: the text in the
    field that was it, or as its `text` where several were.

    Raises:
        PartsGone: a part of its value is not there.
    """
    own = own_field(memory)
    try:
        value: Any = None if own is None else read_kept(store, memory, OWN_FIELD)
    except ValueError:  # no JSON: another door wrote it after all
        value = None
    if own is None or not isinstance(value, dict):
        value = {**memory.metadata, "text": memory.text}
    else:
        value.update({name: item for name, item in memory.metadata.items() if name != OWN_FIELD})
        if own["text"] != _digest(memory.text):
            value[own["field"]] = memory.text
    return {
        "value": value,
        "key": memory.id if memory.key is None else key_of(memory.key),
        "namespace": labels,
        "created_at": created_at(memory),
        "updated_at": updated_at(memory),
    }


def own_field(memory: Memory) -> Mapping[str, Any] | None:
    """Return what this door keeps in a memory's metadata; None in one that another door stored."""
    own = memory.metadata.get(OWN_FIELD)
    if not isinstance(own, Mapping) or not own.keys() & {"json", "parts"}:
        return None
    return own if own.keys() >= {"ttl", "created_at", "field", "text"} and _sound(own) else None


def _sound(own: Mapping[str, Any]) -> bool:
    """Return whether this door may have written it: another one can write anything."""
    try:
        at = datetime.fromisoformat(own["created_at"])
    except (TypeError, ValueError):
        return False
    ttl = own["ttl"]
    kept = [own["json"]] if "json" in own else own["parts"]
    return (
        at.tzinfo is not None
        and (ttl is None or (isinstance(ttl, (int, float)) and not isinstance(ttl, bool)))
        and isinstance(kept, list)
        and all(isinstance(text, str) for text in (own["field"], own["text"], *kept))
    )


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
    return findable("\n".join(texts))


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
    return fields[0] if len(fields) == 1 and can_name(fields[0]) else "text"


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
