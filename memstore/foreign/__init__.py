"""Files of other memories, read as what `NewMemory` takes: nothing here knows of a store.

`entries(file, format)` yields what a file holds, one memory after another, those that cannot be
understood as a BadInput in their place. Ids become keys, who a memory is of its namespace, and what
has no field here goes into the metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

from memstore.errors import BadInput
from memstore.foreign import langgraph, mcp, mem0
from memstore.foreign.documents import Document, Entry, documents

Reader = Callable[[Document], Iterator[Entry]]
_READERS: Mapping[str, tuple[Callable[[Any], bool], Reader]] = {
    "mem0": (mem0.recognises, mem0.entries),
    "mcp": (mcp.recognises, mcp.entries),
    "langgraph": (langgraph.recognises, langgraph.entries),
}
FORMATS = tuple(_READERS)
_LOOKED_AT = 64 * 1024 * 1024  # bytes of a file of unknown format


def entries(file: BinaryIO, form: str) -> Iterator[Entry]:
    """Yield the memories of a file.

    Raises:
        BadInput: the format is unknown, or the file as a whole is not of it.
    """
    if form not in _READERS:
        raise BadInput(f"Format {form!r} is unknown. Known: {', '.join(FORMATS)}.")
    recognises, reader = _READERS[form]
    found = list(documents(file.read()))
    values = [item.value for item in found if not isinstance(item.value, BadInput)]
    if not any(map(recognises, values)) and not _nothing(values):
        raise BadInput(f"The file does not look like one of {form}: no entry has its fields.")
    for document in found:
        if isinstance(document.value, BadInput):
            yield Entry(document.line, "", document.value)
        else:
            yield from reader(document)


def recognised(file: BinaryIO) -> str | None:
    """Return the format that a file is recognisably of, None for none of them."""
    try:
        for document in documents(file.read(_LOOKED_AT)):
            for form, (recognises, _) in _READERS.items():
                if not isinstance(document.value, BadInput) and recognises(document.value):
                    return form
    except BadInput:
        return None
    return None


def _nothing(values: list[Any]) -> bool:
    """Whether a file that could be read holds no memory: an export of an empty memory."""
    return all(not value or value in ({"results": []}, {"items": []}) for value in values)


__all__ = ["FORMATS", "Entry", "entries", "recognised"]
