"""JSON that comes from outside: of bounded size and depth, and with one meaning.

Python's own reader takes `NaN`, lets the last of two equal names win, and goes as deep as the
stack: three ways in which one program accepts what the next one reads otherwise, or breaks on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NoReturn

from memstore.errors import BadInput
from memstore.settings import MAX_JSON_DEPTH, MAX_LINE_BYTES

_SKIPPED_BYTES = 1 << 20  # of a line that is too long, at once


def parse_json(written: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        ValueError: it is none, is nested too deep, holds NaN or an infinity, gives a name twice in
            one object, or has an integer of thousands of digits.
    """
    try:
        value = _DECODER.decode(written)
    except RecursionError:
        raise _too_deep(MAX_JSON_DEPTH) from None
    check_nesting(value)
    return value


def json_lines(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Yield line number and value of each line that is not blank, a BadInput if it has none.

    A line that is too long is passed over, not held in memory.
    """
    for number, raw in enumerate(bounded_lines(file), start=1):
        if raw is None:
            yield number, too_long()
            continue
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if not line:
                continue
            value = parse_json(line)
        except UnicodeDecodeError as error:
            value = not_utf8(error)
        except ValueError as error:
            value = BadInput(f"not a JSON object: {error}.")
        yield number, value


def too_long() -> BadInput:
    """Return the error for a line that `bounded_lines` did not read."""
    return BadInput(f"the line has more than {MAX_LINE_BYTES:,} bytes. Split it.")


def not_utf8(error: UnicodeDecodeError) -> BadInput:
    """Return the error for bytes that are no UTF-8."""
    byte = error.object[error.start]
    return BadInput(f"not UTF-8: byte 0x{byte:02x} at position {error.start}. Convert it to UTF-8.")


def check_nesting(
    value: Any, depth: int = MAX_JSON_DEPTH, most_characters: float = math.inf
) -> None:
    """Refuse values nested too deep, or that would take more characters as JSON, without writing
    them: what a caller gives may contain itself, or one list a thousand times.

    Raises:
        ValueError: see above.
    """
    characters = 0
    level = [value]
    for _ in range(depth + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += item.keys()
                below += item.values()
                characters += len(item)
            elif isinstance(item, (list, tuple)):
                below += item
            characters += len(item) if isinstance(item, str) else 1
            # each of what is below takes a character at least
            if characters + len(below) > most_characters:
                raise ValueError(
                    f"it takes more than {most_characters:,} characters as JSON, which is the limit"
                )
        if not below:
            return
        level = below
    raise _too_deep(depth)


def bounded_lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield the lines of a file; None for one that is too long, which is passed over unread."""
    while line := file.readline(MAX_LINE_BYTES + 1):
        if len(line) <= MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while (line := file.readline(_SKIPPED_BYTES)) and not line.endswith(b"\n"):
            pass
        yield None


def _too_deep(depth: int) -> ValueError:
    return ValueError(f"it is nested more than {depth} levels deep")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = _first_repeated(name for name, _ in pairs)
        raise ValueError(
            f"it gives the name {twice!r:.80} twice, and which one is meant is unknown"
        )
    return found


def _first_repeated(names: Iterable[str]) -> str | None:
    """Return the first name that was there before, None if none was."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


_DECODER = json.JSONDecoder(parse_constant=_no_number, object_pairs_hook=_object)
