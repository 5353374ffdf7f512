"""The files in which callers of colbert-ai keep the texts of their passages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memstore.errors import BadInput
from memstore.json_input import parse_json


def read_texts(path: Path) -> dict[int, str]:
    """Return pid → text of a collection: a `.json` file, or tab-separated lines as colbert-ai's.

    A JSON file is a list by pid, or an object from pid to text. A line is `pid<TAB>text`, with a
    title behind that if any, which goes in front as colbert-ai puts it: `title | text`.

    Raises:
        BadInput: the file cannot be read, or is no such collection; the message names the line.
    """
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path} is not UTF-8: byte 0x{error.object[error.start]:02x} at position "
            f"{error.start}. Convert it to UTF-8."
        ) from error
    return _of_json(path, content) if path.suffix == ".json" else _of_lines(path, content)


def _of_json(path: Path, content: str) -> dict[int, str]:
    try:
        value: Any = parse_json(content)
    except ValueError as error:
        raise BadInput(f"{path} is no JSON: {error}.") from error
    if not isinstance(value, list | Mapping):
        raise BadInput(f"{path} holds no list of texts, and no object from pid to text.")
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
    texts: dict[int, str] = {}
    for key, text in pairs:
        pid = _pid(str(key))
        if pid is None or not isinstance(text, str):
            raise BadInput(f"{path} has {key!r}: {text!r:.60}; give a text for each pid.")
        texts[pid] = text
    return texts


def _of_lines(path: Path, content: str) -> dict[int, str]:
    texts: dict[int, str] = {}
    # not splitlines(), which also splits at characters that a text may hold
    for number, line in enumerate(content.replace("\r\n", "\n").split("\n"), start=1):
        if not line.strip():
            continue
        key, *parts = line.strip("\r ").split("\t")
        # colbert-ai lets the first line be a header, and has its text as passage 0 all the same
        pid = number - 1 if key == "id" else _pid(key)
        if pid is None or not parts:
            raise BadInput(
                f"{path}:{number}: no passage's number, tab and text. Write a line per passage: "
                "0<TAB>The text of the first one."
            )
        if pid in texts:
            raise BadInput(f"{path}:{number}: passage {pid} has a text in an earlier line.")
        texts[pid] = f"{parts[1]} | {parts[0]}" if len(parts) > 1 else parts[0]
    return texts


def _pid(key: str) -> int | None:
    return int(key) if key.isdecimal() and key.isascii() and len(key) < 19 else None
