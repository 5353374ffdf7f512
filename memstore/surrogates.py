"""Lone surrogates: Python strings may hold them, UTF-8 and so every tokenizer may not."""

import re
from typing import Final

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def replace_surrogates(text: str) -> str:
    """Return the text with each lone surrogate replaced, so that positions stay the same.

    >>> replace_surrogates("a\\ud800b") == "a\\ufffdb"
    True
    """
    return _SURROGATE.sub("\ufffd", text)
