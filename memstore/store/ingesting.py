"""Files, folders and iterables become memories: read line by line, stored batch by batch.

A batch is one transaction, and what is stored already is recognised by key and content: an ingest
that was killed goes on where it stopped when it is run again, and adds nothing twice.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo
from os import PathLike
from pathlib import Path
from typing import Any

from memstore.errors import BadInput
from memstore.json_input import json_lines, not_utf8
from memstore.settings import DEFAULT_NAMESPACE, MAX_LINE_BYTES
from memstore.store.drafts import Draft, check_kind, check_namespace, draft
from memstore.store.opening import OpenStore
from memstore.store.writing import microseconds_now, store_drafts
from memstore.types import IngestReport, LineError

Source = str | PathLike[str] | Iterable[str | PathLike[str]] | Iterable[Mapping[str, Any]]

FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "text", ".md": "markdown"}

# JSONL field → field of a memory; everything else goes into its metadata
_RENAMED = {"id": "key", "timestamp": "occurred_at", "scope": "namespace"}
_KEPT = (
    "text",
    "key",
    "title",
    "occurred_at",
    "namespace",
    "session",
    "source",
    "speaker",
    "confidence",
    "valid_from",
    "valid_to",
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an input stood, for error messages. `line` is None for a whole file."""

    file: str
    line: int | None

    def error(self, message: str) -> LineError:
        return LineError(file=self.file, line=self.line, message=message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What inputs get that do not say it themselves."""

    namespace: str = DEFAULT_NAMESPACE
    source: str | None = None
    kind: str | None = None
    timezone: tzinfo | None = None
    format: str | None = None


Item = tuple[Origin, Draft | LineError | None]  # None: the same as an earlier one


def ingest(
    opened: OpenStore,
    source: Source,
    *,
    defaults: Defaults,
    batch_size: int,
    strict: bool,
    progress: Callable[[IngestReport], None] | None,
) -> IngestReport:
    """Store what a source holds; see `MemoryStore.ingest`."""
    opened.check_writable()
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise BadInput(f"batch_size is {batch_size!r}; give a whole number of at least 1.")
    check_namespace(defaults.namespace)
    check_kind(defaults.kind)
    if defaults.format is not None and defaults.format not in FORMATS.values():
        known = ", ".join(sorted(set(FORMATS.values())))
        raise BadInput(f"Format {defaults.format!r} is unknown. Known: {known}.")
    if isinstance(source, (list, tuple)):  # a mistyped path is said before the others are stored
        for path in source:
            if isinstance(path, (str, PathLike)) and not Path(path).exists():
                raise _missing(path)
    items = read(source, defaults)
    return store_items(opened, items, batch_size=batch_size, strict=strict, progress=progress)


def store_items(
    opened: OpenStore,
    items: Iterator[Item],
    *,
    batch_size: int,
    strict: bool,
    progress: Callable[[IngestReport], None] | None,
) -> IngestReport:
    """Store drafts batch by batch, and report the errors between them."""
    began = time.monotonic()
    items = _distinct(items)
    if strict:
        items = iter(_all_or_nothing(items))
    counted = {"added": 0, "unchanged": 0, "superseded": 0}
    errors: list[LineError] = []

    def report() -> IngestReport:
        seconds = time.monotonic() - began
        return IngestReport(**counted, errors=tuple(errors), seconds=seconds)

    for batch in _batches(items, batch_size):
        errors += [item for _, item in batch if isinstance(item, LineError)]
        counted["unchanged"] += sum(item is None for _, item in batch)
        drafts = [item for _, item in batch if isinstance(item, Draft)]
        for stored in store_drafts(opened, drafts, now=microseconds_now()):
            counted["added" if stored.added else "unchanged"] += 1
            counted["superseded"] += stored.superseded
        if progress is not None:
            progress(report())
    return report()


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _all_or_nothing(items: Iterator[Item]) -> list[Item]:
    read_all = list(items)
    errors = [item for _, item in read_all if isinstance(item, LineError)]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise BadInput(f"{errors[0]}{more}. Nothing was stored, because strict was asked for.")
    return read_all


def _distinct(items: Iterator[Item]) -> Iterator[Item]:
    """Turn the second use of a key into an error, or into None where the content is the same,
    wherever batches are cut.
    """
    seen: dict[tuple[str, str], tuple[Origin, str]] = {}
    for origin, item in items:
        if not isinstance(item, Draft) or item.key is None:
            yield origin, item
            continue
        first = seen.setdefault((item.namespace, item.key), (origin, item.content_hash))
        if first[0] is origin:
            yield origin, item
        elif first[1] == item.content_hash:
            yield origin, None
        else:
            place = first[0].file if first[0].line is None else f"{first[0].file}:{first[0].line}"
            yield (
                origin,
                origin.error(
                    f"key {item.key!r} was used for other content at {place}. Give each its own "
                    "key, or ingest the versions separately, the oldest first."
                ),
            )


def read(source: Source, defaults: Defaults) -> Iterator[Item]:
    """Yield a draft or an error for every memory of a source.

    Raises:
        BadInput: the source itself is unusable: a path that does not exist or of unknown kind.
    """
    if isinstance(source, (str, PathLike)) and not str(source).strip():
        raise BadInput("The path is empty. Give a .jsonl, .txt or .md file, or a folder.")
    if isinstance(source, (str, PathLike)):
        yield from _read_path(Path(source), defaults)
        return
    if isinstance(source, (Mapping, bytes)) or not isinstance(source, Iterable):
        raise BadInput(f"Cannot ingest one {type(source).__name__}: give paths or mappings.")
    for number, item in enumerate(source, start=1):
        if isinstance(item, (str, PathLike)):
            yield from _read_path(Path(item), defaults)
        else:
            origin = Origin("item", number)
            yield origin, _parsed(item, origin, defaults)


def _read_path(path: Path, defaults: Defaults) -> Iterator[Item]:
    if path.is_dir():
        yield from _read_folder(path, defaults)
    elif path.is_file() or path.is_fifo():
        yield from _read_file(path, defaults)
    else:
        raise _missing(path)


def _missing(path: str | PathLike[str]) -> BadInput:
    return BadInput(f"{path} does not exist. Give a .jsonl, .txt or .md file, or a folder.")


def _read_folder(folder: Path, defaults: Defaults) -> Iterator[Item]:
    """Yield what the files below a folder hold, in order of path; hidden ones are passed over."""
    unreadable: list[OSError] = []
    files = []
    for place, folders, names in os.walk(folder, onerror=unreadable.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [Path(place, name) for name in names if not name.startswith(".")]
    for error in unreadable:
        origin = Origin(str(error.filename), None)
        yield origin, origin.error(f"the folder cannot be read: {error.strerror}.")
    for file in sorted(files):
        if file.suffix.lower() in FORMATS and file.is_file():
            yield from _read_file(file, defaults)


def _read_file(path: Path, defaults: Defaults) -> Iterator[Item]:
    kind = defaults.format or FORMATS.get(path.suffix.lower())
    if kind is None:
        raise BadInput(
            f"{path} is of an unknown kind ({path.suffix or 'no suffix'}). Say what it is: "
            "format='jsonl', 'text' or 'markdown' (--format)."
        )
    try:
        if kind == "jsonl":
            yield from _read_jsonl(path, defaults)
            return
        origin = Origin(str(path), None)
        with path.open("rb") as file:
            content = file.read(MAX_LINE_BYTES + 1)
        if len(content) > MAX_LINE_BYTES:
            most = f"{MAX_LINE_BYTES:,} bytes"
            yield origin, origin.error(f"the file has more than {most}. Split it.")
            return
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield origin, origin.error(str(not_utf8(error)))
        return
    except OSError as error:
        origin = Origin(str(path), None)
        yield origin, origin.error(f"cannot be read: {error.strerror}.")
        return
    # the whole path: by its name alone, one README.md would supersede another
    item = {"text": text, "key": path.absolute().as_posix()}
    title = _first_heading(text) if kind == "markdown" else None
    if title is not None:
        item["title"] = title
    yield origin, _parsed(item, origin, defaults)


def _read_jsonl(path: Path, defaults: Defaults) -> Iterator[Item]:
    with path.open("rb") as lines:
        for number, item in json_lines(lines):
            origin = Origin(str(path), number)
            if isinstance(item, BadInput):
                yield origin, origin.error(str(item))
            else:
                yield origin, _parsed(item, origin, defaults)


def _first_heading(text: str) -> str | None:
    for line in text.splitlines():
        if line.strip():
            title = line.lstrip("#").strip()
            return title[:200] if line.startswith("#") and title else None
    return None


def _parsed(item: Any, origin: Origin, defaults: Defaults) -> Draft | LineError:
    if not isinstance(item, Mapping):
        return origin.error(f"a memory is a JSON object with a text, not {type(item).__name__}.")
    try:
        return draft(_fields(item, defaults), timezone=defaults.timezone)
    except BadInput as error:
        return origin.error(str(error))


def _fields(item: Mapping[str, Any], defaults: Defaults) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "namespace": defaults.namespace,
        "source": defaults.source,
        "kind": defaults.kind,
    }
    metadata: dict[str, Any] = {}
    given = item.get("metadata")
    if given is not None:
        if not isinstance(given, Mapping):
            raise BadInput(f"metadata is {type(given).__name__}; give an object.")
        metadata.update(given)
    for name, value in item.items():
        field = _RENAMED.get(name, name)
        if name == "metadata" or (value is None and field in _KEPT):
            continue
        if field not in _KEPT:
            metadata[str(name)] = value
        elif name in _RENAMED and item.get(field) is not None:
            metadata[str(name)] = value  # `key` and `id` both given: the exact name wins
        else:
            fields[field] = _key(value) if field == "key" else value
    return {**fields, "metadata": metadata}


def _key(value: Any) -> Any:
    """Return a key; numbers, common as ids in data sets, as their decimal form."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
