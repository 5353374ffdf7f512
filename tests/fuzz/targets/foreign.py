"""An export of another memory: refused as BadInput, or entries that a store takes or names.

The first byte chooses the format, whether the caller gives a namespace, and whether a store is made
of it (128); the rest is the file.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from fuzz.scratch import new_folder
from fuzz.strict_json import strict_value
from memstore import MemoryStore
from memstore.errors import BadInput
from memstore.foreign import FORMATS, entries, recognised
from memstore.store.drafts import draft
from memstore.times import zone

MUTATIONS = 400
LONGEST = 2048
TOKENS = tuple(
    name.encode()
    for name in (
        *("id", "memory", "results", "relations", "metadata", "created_at", "updated_at", "score"),
        *("app_id", "user_id", "agent_id", "run_id", "expiration_date", "next", "source"),
        *("relationship", "target", "destination", "type", "entity", "relation", "name"),
        *("entityType", "observations", "entities", "from", "to", "relationType", "namespace"),
        *("key", "value", "items", "text", "content", "createdAt", "updatedAt", "default"),
        *("2026-03-02T09:00:00Z", "2026-03-02", "2026-03-02T09:00:00", "a/b", "%28%29"),
    )
)
_FOLDER = new_folder()
_ZONE = zone("UTC")


def check(data: bytes) -> None:
    choice, content = (data[0], data[1:]) if data else (0, b"")
    form = FORMATS[choice % len(FORMATS)]
    root = "root" if choice & 64 else None
    form_found = recognised(io.BytesIO(content))
    assert form_found is None or form_found in FORMATS
    try:
        found = list(entries(io.BytesIO(content), form, rooted=root is not None))
    except BadInput:
        found = []
    assert form_found is not None or all(isinstance(entry.fields, BadInput) for entry in found)
    if any(not isinstance(entry.fields, BadInput) for entry in found):
        assert _has_one_meaning(content)
    drafts = 0
    for entry in found:
        if not isinstance(entry.fields, BadInput):
            # without one it would go where everybody's goes; that of an item of () is none either
            assert form == "mcp" or root or entry.fields["namespace"] is not None
            assert form != "langgraph" or entry.fields["namespace"]
            drafts += _can_be_stored(entry.fields, root)
    if choice & 128:
        _check_store(content, form, root, drafts)


def _can_be_stored(fields: Mapping[str, Any], root: str | None) -> bool:
    """Whether a store takes the fields of an entry; if so, with its text and a key."""
    path = "/".join(filter(None, [root, fields.get("namespace")])) or "default"
    try:
        made = draft({**fields, "namespace": path}, timezone=_ZONE)
    except BadInput:
        return False
    assert made.text == fields["text"]
    assert made.key is not None
    return True


def _has_one_meaning(content: bytes) -> bool:
    """Whether a file, or a line of it, is JSON within the limits that no two programs read
    differently.
    """
    for written in (content, *content.split(b"\n")):
        try:
            strict_value(written.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            continue
        else:
            return True
    return False


@cache
def _empty() -> Path:
    folder = _FOLDER / "empty.mem"
    MemoryStore.open(folder, encoder="hashed").close()
    return folder


def _check_store(content: bytes, form: str, root: str | None, drafts: int) -> None:
    """A store takes what could be a memory, once, and is whole then."""
    folder = _FOLDER / "store.mem"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_empty(), folder)
    with MemoryStore.open(folder, encoder="hashed") as store:
        try:
            report = store.import_(io.BytesIO(content), format=form, namespace=root, timezone="UTC")
        except BadInput:
            assert not drafts
            return
        assert report.added <= drafts
        assert bool(report.added) == bool(drafts)
        again = store.import_(io.BytesIO(content), format=form, namespace=root, timezone="UTC")
        assert (again.added, again.errors) == (0, report.errors)
        assert store.verify().findings == ()
