"""An export to import: refused as BadInput, or a whole store, which exports the same again."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

from fuzz.scratch import new_folder
from memstore import MemoryStore
from memstore.errors import BadInput
from memstore.store.export_files import parsed
from memstore.store.exported_memories import exported_memory

MUTATIONS = 60
LONGEST = 8192
TOKENS = tuple(
    name.encode()
    for name in (
        *("id", "namespace", "key", "session", "title", "text", "metadata", "kind", "source"),
        *("recorded_at", "occurred_at", "t_end", "observed_at", "valid_from", "valid_to"),
        *("expired_at", "precision", "superseded_by", "half_life_seconds", "prior", "importance"),
        *("entities_given", "content_hash", "entities", "events", "canon", "display", "label"),
        *("role", "verb", "at", "idempotency_key", "details", "format", "version", "memories"),
        *("sources", "aliases", "name", "said", "reliability", "vote_weight", "alias"),
        *("day", "month", "unknown", "confirm", "contradict", "update", "retract", "given"),
        "2026-03-02T09:00:00Z",
    )
)
_FOLDER = new_folder()


def check(data: bytes) -> None:
    path = _FOLDER / "export.jsonl"
    path.write_bytes(data)
    header, *lines = data.split(b"\n")
    refused = None
    try:
        parsed(header, path.name, 1)
        for number, line in enumerate(lines, start=2):
            if line.strip():
                exported_memory({**parsed(line, path.name, number), "place": f"line {number}"})
    except BadInput as error:
        refused = str(error)
    if refused is not None:  # the same words, and most are refused: no store for each of them
        return
    first, second = (_FOLDER / name for name in ("first.mem", "second.mem"))
    try:
        exported = _imported(path, first)
    except BadInput:
        return
    again = _FOLDER / "again.jsonl"
    again.write_bytes(exported)
    assert _imported(again, second) == exported


@cache
def _empty() -> Path:
    folder = _FOLDER / "empty.mem"
    MemoryStore.open(folder, encoder="hashed").close()
    return folder


def _imported(path: Path, folder: Path) -> bytes:
    """Import into a new store, which has to be whole then, and return its export."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_empty(), folder)
    out = folder / "out.jsonl"
    with MemoryStore.open(folder, encoder="hashed") as store:
        store.import_(path)
        assert store.verify().findings == ()
        store.query("Ana", namespace="*")
        store.export(out)
    return out.read_bytes()
