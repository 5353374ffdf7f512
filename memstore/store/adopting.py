"""Imports of what other memories have exported: drafts as of an ingest, stored like them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import tzinfo
from typing import BinaryIO

from memstore.errors import BadInput
from memstore.foreign import FORMATS, Entry, entries
from memstore.settings import DEFAULT_NAMESPACE
from memstore.store import drafts
from memstore.store.export_files import Source, opened_twice
from memstore.store.ingesting import Item, Origin, store_items
from memstore.store.opening import OpenStore
from memstore.types import ImportReport, IngestReport


def adopt(
    opened: OpenStore,
    source: Source,
    form: str,
    *,
    namespace: str | None,
    timezone: tzinfo | None,
    wrote: Callable[[int], None],
) -> ImportReport:
    """Store what another memory has exported; see `MemoryStore.import_`."""
    told = 0

    def batch_done(report: IngestReport) -> None:
        nonlocal told
        wrote(report.added - told)
        told = report.added

    opened.check_writable()
    if form not in FORMATS:
        raise BadInput(f"Format {form!r} is unknown. Known: {', '.join(FORMATS)}.")
    if namespace is not None:
        drafts.check_namespace(namespace)
    with opened_twice(source, scratch=opened.path) as (file, name):
        report = store_items(
            opened,
            _items(file, name, form, namespace, timezone),
            batch_size=opened.settings.batch_size,
            strict=False,
            progress=batch_done,
        )
    return ImportReport(
        added=report.added,
        unchanged=report.unchanged,
        superseded=report.superseded,
        errors=report.errors,
    )


def _items(
    file: BinaryIO, name: str, form: str, namespace: str | None, timezone: tzinfo | None
) -> Iterator[Item]:
    try:
        for entry in entries(file, form, rooted=namespace is not None):
            origin = Origin(name, entry.line)
            try:
                yield origin, drafts.draft(_fields(entry, namespace), timezone=timezone)
            except BadInput as error:
                place = f"{entry.place}: " if entry.place else ""
                yield origin, origin.error(f"{place}{error}")
    except BadInput as error:  # of the file as a whole
        raise BadInput(f"{name}: {error}") from error


def _fields(entry: Entry, root: str | None) -> dict[str, object]:
    if isinstance(entry.fields, BadInput):
        raise entry.fields
    path = "/".join(filter(None, [root, entry.fields.get("namespace")]))
    return {**entry.fields, "namespace": path or DEFAULT_NAMESPACE}
