"""Namespaces and keys of LangGraph as memstore has them, and back: no two become one."""

from __future__ import annotations

import re

from langgraph.store.base import MatchCondition

from memstore import BadInput

_IN_A_PATH = re.compile("[%/*\ud800-\udfff]")
_IN_A_KEY = re.compile("[%\0\ud800-\udfff]")
_REFUSED_IN_A_KEY = re.compile("[\0\ud800-\udfff]")
_ESCAPED = re.compile("%u([0-9A-F]{4})|%([0-9A-F]{2})")
_KEY_PREFIX = "langgraph:"
_EMPTY = f"{_KEY_PREFIX}%"  # a percent sign that escapes nothing


def check_root(root: str) -> str:
    """Return the namespace that all others are below of."""
    if not isinstance(root, str) or not root or "*" in root:
        raise BadInput(f"root is {root!r}; give a namespace such as 'langgraph' or 'team/agents'.")
    return root


def path_of(labels: tuple[str, ...], root: str) -> str:
    """Return the path of a namespace.

    What means something in a path is escaped in a label.

    >>> path_of(("users", "ana/7"), "langgraph")
    'langgraph/users/ana%2F7'
    """
    return "/".join([root, *(_escaped(label, _IN_A_PATH) for label in labels)])


def labels_of(path: str, root: str) -> tuple[str, ...] | None:
    """Return the namespace of a path; None for one that another door has made and that is no
    namespace's: nothing could be got from there.

    >>> labels_of("langgraph/users/ana%2F7", "langgraph")
    ('users', 'ana/7')
    >>> labels_of("langgraph/50%", "langgraph")
    """
    below = path.removeprefix(root).removeprefix("/")
    labels = tuple(_unescaped(part) for part in below.split("/")) if below else ()
    return labels if path_of(labels, root) == path else None


def stored_key(key: str) -> str:
    """Return a memory's key for an item's: the same, unless memstore would refuse it or it could
    be mistaken for one that is escaped.
    """
    accepted = key.strip() and not _REFUSED_IN_A_KEY.search(key)
    if accepted and not key.startswith(_KEY_PREFIX):
        return key
    if not key:
        return _EMPTY
    return _KEY_PREFIX + _escaped(key, _IN_A_KEY)


def key_of(stored: str) -> str:
    """Return an item's key for a memory's."""
    if not stored.startswith(_KEY_PREFIX):
        return stored
    return "" if stored == _EMPTY else _unescaped(stored.removeprefix(_KEY_PREFIX))


def meets(labels: tuple[str, ...], condition: MatchCondition) -> bool:
    """Say whether a namespace begins or ends as asked; `*` is any one label."""
    path = tuple(condition.path)
    if condition.match_type == "prefix":
        part = labels[: len(path)]
    elif condition.match_type == "suffix":
        part = labels[len(labels) - len(path) :] if len(path) <= len(labels) else ()
    else:
        raise BadInput(f"match_type is {condition.match_type!r}; give 'prefix' or 'suffix'.")
    return len(part) == len(path) and all(
        wanted in ("*", label) for label, wanted in zip(part, path, strict=True)
    )


def _escaped(text: str, special: re.Pattern[str]) -> str:
    if text.isspace():  # which memstore takes for nothing
        return _code(text[0]) + text[1:]
    return special.sub(lambda found: _code(found[0]), text)


def _code(character: str) -> str:
    number = ord(character)
    return f"%{number:02X}" if number < 0x80 else f"%u{number:04X}"


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
