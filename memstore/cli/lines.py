"""Standard input: a line of it that cannot be read is an error in its place."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from memstore.errors import BadInput
from memstore.json_input import json_lines, not_utf8
from memstore.settings import MAX_LINE_BYTES
from memstore.types import LineError

# how the store names the n-th mapping it is given: "item:3: …" and "… at item:3. …"
_ITEM = re.compile(r"(^| at )item:(\d+)(?=[:.] )")


def standard_input() -> BinaryIO:
    """Return standard input, or say that there is none."""
    if sys.stdin is None:
        raise BadInput("Standard input is closed.")
    return sys.stdin.buffer


def standard_input_text() -> str:
    """Return all of standard input, which is UTF-8 whatever the locale."""
    content = standard_input().read(MAX_LINE_BYTES + 1)
    if len(content) > MAX_LINE_BYTES:
        raise BadInput(f"Standard input has more than {MAX_LINE_BYTES:,} bytes. Split it.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(error) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


class StandardInput:
    """The memories of JSONL on standard input, which remembers the line each of them stood in.

    Args:
        strict: refuse everything when a line is bad, instead of keeping it in `errors`.
    """

    def __init__(self, *, strict: bool) -> None:
        self._lines = json_lines(standard_input())
        self._strict = strict
        self._numbers: list[int] = []
        self.errors: list[LineError] = []

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        for number, value in self._lines:
            if isinstance(value, Mapping):
                self._numbers.append(number)
                yield value
                continue
            # never handed on: the store would take a string for a path and read that file
            kind = type(value).__name__
            reason = (
                str(value)
                if isinstance(value, BadInput)
                else f"a memory is a JSON object with a text, not {kind}."
            )
            error = LineError(file="<stdin>", line=number, message=reason)
            if self._strict:
                raise BadInput(f"{error} Nothing was stored, because strict was asked for.")
            self.errors.append(error)

    def all_errors(self, found: Iterable[LineError]) -> tuple[LineError, ...]:
        """Return the errors of the store, which counts memories, and its own, in line order."""
        own = [
            LineError(file="<stdin>", line=self._line(item.line), message=self.named(item.message))
            for item in found
        ]
        return tuple(sorted([*own, *self.errors], key=lambda error: error.line or 0))

    def named(self, message: str) -> str:
        """Return a message of the store with lines in place of items."""
        return _ITEM.sub(lambda item: f"{item[1]}<stdin>:{self._line(int(item[2]))}", message)

    def _line(self, item: int | None) -> int | None:
        return None if item is None else self._numbers[item - 1]
