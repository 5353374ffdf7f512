"""Spans that a pattern recognises: addresses, paths, identifiers, quoted titles, dates, money.

Every repetition is bounded or possessive and every pattern begins at a left boundary, so the time
is linear in the text whatever it holds. A pattern runs only where a character it needs occurs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from memstore.entities.words import STOP_WORDS, is_common, words
from memstore.periods import DAY

# Uppercase and titlecase letters of the scripts that have case, below the astral planes.
UPPER = "".join(
    chr(point)
    for block in (range(0x41, 0x2E00), range(0xA640, 0xA800))
    for point in block
    if chr(point).isupper() or chr(point).istitle()
)

# Without "it", "me", "no", "in" and the like: "so cool.it was" is a missing space, not an address.
_DOMAIN_ENDS = (
    "com|org|net|edu|gov|io|ai|dev|app|co|info|biz|uk|de|fr|es|nl|pl|eu|ca|au|jp|cn|br|ch|se|xyz"
)
_MONTHS = (
    "Jan(?:uary|\\.)?|Feb(?:ruary|\\.)?|Mar(?:ch|\\.)?|Apr(?:il|\\.)?|May|June?|July?|Aug(?:ust|\\.)?|"
    "Sept?(?:ember|\\.)?|Oct(?:ober|\\.)?|Nov(?:ember|\\.)?|Dec(?:ember|\\.)?|january|february|april|"
    "june|july|august|september|october|november|december"
)
_YEAR = r"(?:1[5-9]|2[01])\d\d"
_DATE = re.compile(
    rf"(?<![\w/.-])(?:{_YEAR}-\d\d?-\d\d?(?:T\d\d:\d\d(?::\d\d)?)?"
    rf"|\d\d?[/.]\d\d?[/.](?:{_YEAR}|\d\d)"
    rf"|{DAY}(?: of)? (?:{_MONTHS})(?:,? {_YEAR})?"
    rf"|(?:{_MONTHS}) (?:the )?{DAY}(?:,? {_YEAR})?"
    rf"|(?:{_MONTHS}),? {_YEAR})(?![\w-]|[/.]\d)"
)
_PRICE = re.compile(
    r"(?<!\w)[$€£¥₹] ?\d{1,15}(?:,\d{3}){0,6}(?:\.\d{1,2})?"
    r"(?: ?(?:k|K|m|M|bn|million|billion|thousand))?(?!\w)"
)
_AMOUNT = re.compile(
    r"(?<![\w.,])\d{1,15}(?:,\d{3}){0,6}(?:\.\d{1,2})?(?: (?:thousand|million|billion))?"
    r" ?(?:dollars?|euros?|pounds|USD|EUR|GBP|€)(?!\w)"
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w+-][\w.+-]{0,63}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,4}(?![\w@])")
_HANDLE = re.compile(r"(?<![\w@./])@[A-Za-z_][\w-]{0,38}(?<!-)(?![\w@(-]|\.\w)")
_TAG = re.compile(r"(?<![\w#&/])#(?=\w{0,60}[^\W\d_])\w{2,60}(?![\w#])")
_URL = re.compile(r"(?<!\w)(?:https?|ftp|file)://[^\s<>\"'`]{1,2000}")
_DOMAIN = re.compile(
    r"(?<![\w@./:-])(?:[A-Za-z0-9-]{1,63}\.){1,5}"
    rf"(?:{_DOMAIN_ENDS})(?![\w(-]|\.\w)(?:/[^\s<>\"'`]{{0,2000}})?"
)
_VERSION = re.compile(
    r"(?<![\w.-])(?:[vV]\d{1,4}(?:\.\d{1,6}){0,3}|\d{1,4}\.\d{1,6}\.\d{1,6}(?:\.\d{1,6})?)"
    r"(?:-?(?:alpha|beta|rc|dev|post)[.\d]{0,6})?(?<!\.)(?![\w-]|\.\d)"
)
_UNIX_PATH = re.compile(r"(?<![\w./~:\\-])(?:~|\.{1,2})?(?:/[\w.@+-]{1,100}){1,30}+/?(?![\w/])")
_RELATIVE_PATH = re.compile(
    r"(?<![\w./~:\\@-])[\w-][\w.-]{0,99}+(?:/[\w.@+-]{1,100}){1,30}+(?![\w/])"
)
_WINDOWS_PATH = re.compile(r"(?<!\w)[A-Za-z]:\\(?:[^\\\s:*?\"<>|]{1,100}\\?){1,30}+")
_EXTENSIONS = (
    "py|js|ts|tsx|jsx|json|jsonl|yaml|yml|toml|md|txt|csv|tsv|html|css|sql|db|sh|c|h|cpp|rs|go|java|"
    "rb|php|pdf|docx?|xlsx?|pptx?|png|jpe?g|gif|svg|mp3|mp4|wav|zip|gz|ini|cfg|conf|log|lock|ipynb"
)
_FILE = re.compile(
    rf"(?<![\w./\\@-])[\w-]{{1,80}}(?:\.[\w-]{{1,40}}){{0,3}}\.(?:{_EXTENSIONS})(?![\w/(-])"
)
_FILE_END = re.compile(rf"\.(?:{_EXTENSIONS})\Z")
_CAMEL = re.compile(r"(?<![\w@#])[A-Za-z][a-z0-9]*+(?:[A-Z]++[a-z0-9]*+)++(?!\w)")
_HUMP = re.compile(r"[a-z][A-Z]")
_SURNAME = re.compile(r"(?:Mc|Mac|De|Di|Du|La|Le|Van|Fitz|O)[A-Z][a-z]+")
_SNAKE = re.compile(
    r"(?<![\w@#/.])_{0,2}[A-Za-z][A-Za-z0-9]*+(?:_{1,2}[A-Za-z0-9]++)++_{0,2}(?!\w)"
)
_QUOTED = re.compile(
    rf"[\"“„]([{UPPER}\d][^\"“”„\n]{{1,78}})[\"”]|«\s?([{UPPER}\d][^«»\n]{{1,78}}?)\s?»"
    r"|《([^《》\n]{1,40})》"
    rf"|(?<!\w)['‘]([{UPPER}][^'‘’\n\"]{{1,78}})['’](?!\w)"
)
_CODE = re.compile(r"[{}()=<>$_\\|/;]|\A\W*\d[\W\d]*\Z")
_HEX_COLOUR = re.compile(r"#(?:[0-9a-fA-F]{3}){1,2}")
_INNER_WORDS = words("a an and at by de for from in la of on or the to vs with")
_TRAILING_MARKS = ".,;:!?)]}'\"…»”’*_"
# What ends a sentence around a span rather than the span itself.
_NOT_IN_LABEL = {"URL": _TRAILING_MARKS, "PATH": _TRAILING_MARKS, "TITLE": ".,;:"}


@dataclass(frozen=True, slots=True)
class _Pattern:
    label: str
    triggers: str | tuple[str, ...]  # the pattern only matches texts that hold one of these
    expression: re.Pattern[str]
    accept: Callable[[str], bool] = lambda _: True


def _is_path(span: str) -> bool:
    """Two levels or more, or a file name; "/Compton" in "Gardena /Compton" is neither."""
    return span.count("/") > 1 or span[0] in "~." or _FILE_END.search(span) is not None


def _is_relative_path(span: str) -> bool:
    """Only with a file ending: "and/or" and "he/she/they" are words."""
    return _FILE_END.search(span) is not None


def _is_identifier(span: str) -> bool:
    return _HUMP.search(span) is not None and _SURNAME.fullmatch(span) is None


def _is_title(span: str) -> bool:
    """Title case throughout and not a remark: "A Day in Paris", but not "Thanks" or "Oh No"."""
    parts = span.split()
    if _CODE.search(span) or (span[-1] in "!?" and all(map(_is_ordinary, parts))):
        return False
    if len(parts) > 12 or not all(
        word[0].isupper() or not word[0].isalpha() or word.casefold() in _INNER_WORDS
        for word in parts
    ):
        return False
    return not all(word.casefold().strip(_TRAILING_MARKS) in STOP_WORDS for word in parts) and not (
        len(parts) == 1 and _is_ordinary(parts[0])
    )


def _is_ordinary(word: str) -> bool:
    return is_common(word.casefold().strip(_TRAILING_MARKS))


_PATTERNS = (
    _Pattern("URL", ":", _URL),
    _Pattern("URL", ".", _DOMAIN),
    _Pattern("EMAIL", "@", _EMAIL),
    _Pattern("HANDLE", "@", _HANDLE),
    _Pattern("TAG", "#", _TAG, lambda span: _HEX_COLOUR.fullmatch(span) is None),
    _Pattern("PATH", "/", _UNIX_PATH, _is_path),
    _Pattern("PATH", "/", _RELATIVE_PATH, _is_relative_path),
    _Pattern("PATH", "\\", _WINDOWS_PATH),
    _Pattern("PATH", ".", _FILE),
    _Pattern("IDENTIFIER", "_", _SNAKE),
    _Pattern("TITLE", "\"“„«《'‘", _QUOTED, _is_title),
    _Pattern("MONEY", "$€£¥₹", _PRICE),
    _Pattern("MONEY", ("dollar", "euro", "pounds", "USD", "EUR", "GBP", "€"), _AMOUNT),
)
_DIGIT_PATTERNS = (
    _Pattern("DATE", "", _DATE),
    _Pattern("VERSION", "", _VERSION),
)
_DIGIT = re.compile(r"\d")
_CAMEL_PATTERN = _Pattern("IDENTIFIER", "", _CAMEL, _is_identifier)


def find(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and label of each span that a pattern recognises; they may overlap."""
    patterns = [p for p in _PATTERNS if any(trigger in text for trigger in p.triggers)]
    if _DIGIT.search(text):
        patterns.extend(_DIGIT_PATTERNS)
    if _HUMP.search(text):
        patterns.append(_CAMEL_PATTERN)
    for pattern in patterns:
        for match in pattern.expression.finditer(text):
            start, end = match.span(match.lastindex or 0)
            trailing = _NOT_IN_LABEL.get(pattern.label, "")
            while end > start and text[end - 1] in trailing:
                end -= 1
            if end > start and pattern.accept(text[start:end]):
                yield start, end, pattern.label
