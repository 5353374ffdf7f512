"""Scripts that write no spaces between words, so that words of others can be found beside them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Kana and Han: every character counts as a word, and a string of them as a phrase. Korean has
# spaces, but none between a name and its particle.
_UNSPACED: Final = re.compile(
    "([\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
    "|(?<=[0-9A-Za-z])(?=[\uac00-\ud7a3])"
)


def spaced(text: str) -> str:
    """Return a text in compatible characters (NFKC), with spaces between words that have none.

    >>> spaced("ＥＲＲ-4031です")
    'ERR-4031 で  す '
    """
    if text.isascii():
        return text
    return _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", text))
