"""Lines to ingest: accepted or refused one by one, as `json.loads` reads each of them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

from fuzz.scratch import new_folder
from fuzz.strict_json import strict_value
from memstore.cli.lines import json_lines
from memstore.errors import BadInput
from memstore.store.drafts import Draft
from memstore.store.ingesting import Defaults, read
from memstore.times import zone
from memstore.types import LineError

MUTATIONS = 800
LONGEST = 1024
_NAMES = {
    *("text", "key", "title", "occurred_at", "namespace", "session", "source", "speaker"),
    *("confidence", "valid_from", "valid_to"),
}
_OTHER_NAMES = {"id": "key", "timestamp": "occurred_at", "scope": "namespace"}
TOKENS = tuple(name.encode() for name in (*sorted(_NAMES), *_OTHER_NAMES, "metadata", "\ufeff"))
_FOLDER = new_folder()
_DEFAULTS = Defaults(format="jsonl", timezone=zone("UTC"), source="fuzz")


def check(data: bytes) -> None:
    path = _FOLDER / "lines"
    path.write_bytes(data)
    expected = list(_values(data))
    found = list(read(path, _DEFAULTS))
    assert [origin.line for origin, _ in found] == [number for number, _ in expected]
    for (_, item), (_, value) in zip(found, expected, strict=True):
        if not isinstance(value, Mapping):
            assert isinstance(item, LineError)
        elif isinstance(item, Draft):
            _check_draft(item, value)
        else:
            assert isinstance(item, LineError)
            assert not _plain(value)
    for (number, value), (line, wanted) in zip(json_lines(io.BytesIO(data)), expected, strict=True):
        assert number == line
        assert isinstance(value, BadInput) == (wanted is _NO_JSON)
        assert wanted is _NO_JSON or json.dumps(value) == json.dumps(wanted)


_NO_JSON = object()


def _values(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield what each line is that is not blank."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if text:
                yield number, strict_value(text)
        except (ValueError, RecursionError):
            yield number, _NO_JSON


def _check_draft(found: Draft, value: Mapping[str, Any]) -> None:
    """The text is as given, and everything that is no field of a memory is in its metadata."""
    assert found.text.endswith(value["text"])
    key = value.get("key") if value.get("key") is not None else value.get("id")
    assert found.key == (None if key is None else str(key))
    assert found.source == ("fuzz" if value.get("source") is None else value["source"])
    extra = {
        name: value[name] for name in value if name not in {*_NAMES, *_OTHER_NAMES, "metadata"}
    }
    for name, field in _OTHER_NAMES.items():
        if value.get(name) is not None and value.get(field) is not None:
            extra[name] = value[name]
    written = {**(value.get("metadata") or {}), **extra}
    assert found.metadata == json.dumps(written, ensure_ascii=False, sort_keys=True)


def _plain(value: Mapping[str, Any]) -> bool:
    """Whether nothing can be wrong with a memory: it has nothing but a short text."""
    return set(value) == {"text"} and isinstance(value["text"], str) and value["text"].isalnum()
