"""Files of other memories, read as what `NewMemory` takes: nothing here knows of a store.

`entries(file, format)` yields what a file holds, one memory after another, those that cannot be
understood as a BadInput in their place. Ids become keys, who a memory is of its namespace, and what
has no field here goes into the metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from memstore.errors import BadInput
from memstore.foreign import langgraph, mcp, mem0
from memstore.foreign.documents import Document, Entry, documents, listed, read_whole


@dataclass(frozen=True, slots=True)
class _Format:
    """How a format is read. `lists` are the names of lists of which a document may consist."""

    recognises: Callable[[Any], bool]
    entries: Callable[[Document], Iterator[Entry]]
    lists: tuple[str, ...]

    def of_this(self, value: Any) -> bool:
        """Whether a value is of this format, be it an export of an empty memory."""
        return self.recognises(value) or not any(listed(Document(None, value), *self.lists))


_FORMATS: Mapping[str, _Format] = {
    "mem0": _Format(mem0.recognises, mem0.entries, mem0.LISTS),
    "mcp": _Format(mcp.recognises, mcp.entries, mcp.LISTS),
    "langgraph": _Format(langgraph.recognises, langgraph.entries, langgraph.LISTS),
}
FORMATS = tuple(_FORMATS)
_LOOKED_AT = 64 * 1024 * 1024  # bytes of a file of unknown format


def entries(file: BinaryIO, form: str, *, rooted: bool = False) -> Iterator[Entry]:
    """Yield the memories of a file.

    Args:
        rooted: the caller has a namespace for all of them, so that those whose own is unknown
            have one too; otherwise they are a BadInput.

    Raises:
        BadInput: the format is unknown, or the file as a whole is not of it.
    """
    if form not in _FORMATS:
        raise BadInput(f"Format {form!r} is unknown. Known: {', '.join(FORMATS)}.")
    found = documents(read_whole(file))
    values = [item.value for item in found if not isinstance(item.value, BadInput)]
    if found and not any(map(_FORMATS[form].of_this, values)):
        raise BadInput(f"The file does not look like one of {form}: no entry has its fields.")
    for document in found:
        if isinstance(document.value, BadInput):
            yield Entry(document.line, "", document.value)
            continue
        for entry in _FORMATS[form].entries(document):
            if entry.unplaced is None or rooted:
                yield entry
            else:
                yield Entry(entry.line, entry.place, entry.unplaced)


def recognised(file: BinaryIO) -> str | None:
    """Return the format that a file is recognisably of, None for none of them."""
    try:
        found = documents(file.read(_LOOKED_AT))
    except BadInput:
        return None
    for document in found:
        for name, form in _FORMATS.items():
            if not isinstance(document.value, BadInput) and form.recognises(document.value):
                return name
    return None


__all__ = ["FORMATS", "Entry", "entries", "recognised"]
