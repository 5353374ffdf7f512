"""What a caller gives becomes a draft: checked, normalised, ready to be stored. Nothing is written.

Every rule about a single memory's fields is here, so that `add`, `ingest`, `update` and `import_`
refuse the same things with the same words.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta, tzinfo
from typing import Any

from memstore.errors import BadInput
from memstore.json_input import check_nesting
from memstore.periods import parse_period
from memstore.scoring.half_lives import KIND_HALF_LIVES
from memstore.settings import (
    MAX_KEY_CHARACTERS,
    MAX_METADATA_DEPTH,
    MAX_NAMESPACE_CHARACTERS,
    MAX_TEXT_CHARACTERS,
)
from memstore.times import from_microseconds, iso, to_microseconds
from memstore.types import NewMemory, TimePrecision, When

UNKNOWN_TIME = "unknown"  # as `occurred_at`: nobody knows when it happened
_MAX_METADATA_CHARACTERS = 1024 * 1024
_MAX_HALF_LIFE = timedelta(days=3_650_000)  # `timedelta.max` in seconds does not come back
_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp")  # control and format characters, separators
_JSON_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # escaped, behind no escaping backslash
_FIELDS = {field.name for field in dataclasses.fields(NewMemory)}


@dataclass(frozen=True, slots=True)
class Occurrence:
    """When something happened, in UTC microseconds: from `start` on, and before `end` where only
    the day, month or year is known.
    """

    start: int | None = None
    end: int | None = None
    precision: TimePrecision = "instant"


@dataclass(frozen=True, slots=True)
class Draft:
    """A checked memory that is not stored yet; times in UTC microseconds. `prior` is 0 to 1.

    `content_hash` is the SHA-256 of everything the caller gave, the namespace apart.
    """

    text: str
    namespace: str
    key: str | None
    session: str | None
    title: str | None
    kind: str | None
    speaker: str | None
    occurred: Occurrence
    valid_from: int | None
    valid_to: int | None
    half_life_s: float | None
    confidence: float | None
    importance: float
    source: str | None
    metadata: str
    entities: tuple[str, ...] | None
    content_hash: str

    @property
    def prior(self) -> float | None:
        """What its writer gives it, 0 to 1; None for the reliability of its source."""
        return prior(self.confidence)


def prior(confidence: float | None) -> float | None:
    """Return a confidence of 0 to 10 as a share."""
    return None if confidence is None else confidence / 10.0


def draft(new: NewMemory | Mapping[str, Any] | str, *, timezone: tzinfo | None = None) -> Draft:
    """Check one memory.

    Raises:
        BadInput: the first thing that is wrong with it, by name and value.
    """
    if isinstance(new, str):
        new = NewMemory(text=new)
    elif isinstance(new, Mapping):
        unknown = [str(name) for name in new if name not in _FIELDS]
        if unknown:
            raise BadInput(
                f"Unknown field {unknown[0]!r} of a memory. Known: {', '.join(sorted(_FIELDS))}."
            )
        if "text" not in new:
            raise BadInput("A memory needs a text.")
        new = NewMemory(**new)
    elif not isinstance(new, NewMemory):
        raise BadInput(f"A memory is a NewMemory, a mapping or a string; not {type(new).__name__}.")

    text = check_text(new.text)
    speaker = check_string(new.speaker, "speaker")
    if speaker is not None and not text.startswith(f"{speaker}:"):
        text = check_text(f"{speaker}: {text}")
    occurred = check_occurrence(new.occurred_at, timezone)
    valid_from = check_time(new.valid_from, "valid_from", timezone)
    valid_to = check_time(new.valid_to, "valid_to", timezone)
    check_interval(valid_from, valid_to)
    kind = check_kind(new.kind)
    content: dict[str, Any] = {
        "text": text,
        "key": check_string(new.key, "key", MAX_KEY_CHARACTERS),
        "session": check_string(new.session, "session", MAX_KEY_CHARACTERS),
        "title": check_string(new.title, "title", MAX_KEY_CHARACTERS),
        "speaker": speaker,
        "occurred_at": occurred.start,
        "valid_from": valid_from,
        "valid_to": valid_to,
        "half_life_s": check_half_life(new.half_life),
        "confidence": check_confidence(new.confidence),
        "importance": check_number(new.importance, "importance", -1.0, 1.0),
        "source": check_string(new.source, "source"),
        "metadata": check_metadata(new.metadata),
        "entities": check_entities(new.entities),
    }
    # what a memory can do without is hashed only where it is given: hashes of others stay
    more = [kind] if kind is not None else []
    more += [occurred.precision] if occurred.precision != "instant" else []
    hashed = json.dumps([*content.values(), *more], ensure_ascii=False, separators=(",", ":"))
    del content["occurred_at"]
    return Draft(
        namespace=check_namespace(new.namespace),
        content_hash=hashlib.sha256(hashed.encode()).hexdigest(),
        kind=kind,
        occurred=occurred,
        **content,
    )


def check_text(text: Any, name: str = "text") -> str:
    """Return the text, or say why it cannot be stored."""
    if not isinstance(text, str):
        raise BadInput(f"{name} is {type(text).__name__}; give a string.")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise BadInput(
            f"{name} has {len(text):,} characters; the limit is {MAX_TEXT_CHARACTERS:,}. Split it."
        )
    _check_characters(text, name)
    if not any(unicodedata.category(character) not in _INVISIBLE for character in text):
        raise BadInput(f"{name} is empty. Give at least one visible character.")
    return text


def check_string(value: Any, name: str, limit: int = MAX_KEY_CHARACTERS) -> str | None:
    """Return an optional short string, or say why it cannot be stored."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadInput(f"{name} is {type(value).__name__}; give a string.")
    if not value.strip():
        raise BadInput(f"{name} is empty. Leave it out, or give it a value.")
    if len(value) > limit:
        raise BadInput(f"{name} has {len(value):,} characters; the limit is {limit:,}.")
    _check_characters(value, name)
    return value


def _check_characters(value: str, name: str) -> None:
    if "\0" in value:
        raise BadInput(
            f"{name} has a NUL character at position {value.index(chr(0))}. Remove it: "
            "such text is usually binary data, or decoded with the wrong encoding."
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"{name} has half of a surrogate pair at position {error.start}, which is no "
            "character. Decode the text as UTF-8 with errors='replace'."
        ) from error


def check_namespace(value: Any, *, allow_all: bool = False) -> str:
    """Return a namespace path, or say what is wrong with it; `*` only where reading allows it."""
    path = check_string(value, "namespace", MAX_NAMESPACE_CHARACTERS)
    if path is None:
        raise BadInput("namespace is None. Leave it out for 'default'.")
    if path == "*" and allow_all:
        return path
    if "*" in path or any(part.strip() in ("", ".", "..") for part in path.split("/")):
        raise BadInput(
            f"namespace {path!r} is not a path such as 'team/ana': parts between '/', none of them "
            "empty, '.', '..' or with a '*'."
        )
    return path


def check_time(value: When | None, name: str, timezone: tzinfo | None = None) -> int | None:
    """Return UTC microseconds of an optional time."""
    return None if value is None else to_microseconds(value, name=name, timezone=timezone)


def check_occurrence(value: When | None, timezone: tzinfo | None = None) -> Occurrence:
    """Return when something happened: an instant, or a day, month or year (in `timezone`, else in
    UTC), or "unknown".
    """
    if isinstance(value, str):
        if value.strip().lower() == UNKNOWN_TIME:
            return Occurrence(precision="unknown")
        period = parse_period(value, timezone=UTC if timezone is None else timezone)
        if period is not None:
            return Occurrence(period.start, period.end, period.precision)
    return Occurrence(check_time(value, "occurred_at", timezone))


def check_kind(value: Any) -> str | None:
    """Return an optional kind of memory, which says how fast it ages."""
    kind = check_string(value, "kind")
    if kind is not None and kind not in KIND_HALF_LIVES:
        raise BadInput(f"kind {kind!r} is unknown. Known: {', '.join(KIND_HALF_LIVES)}.")
    return kind


def check_interval(valid_from: int | None, valid_to: int | None) -> None:
    """Refuse an interval that ends before it begins."""
    if valid_from is not None and valid_to is not None and valid_to < valid_from:
        start, end = (iso(from_microseconds(time)) for time in (valid_from, valid_to))
        raise BadInput(f"valid_to ({end}) is before valid_from ({start}). Correct one of them.")


def reference_time(
    *,
    occurred_at: int | None,
    valid_from: int | None,
    observed_at: int | None,
    recorded_at: int,
    precision: str = "instant",
) -> int | None:
    """Return the time from which a memory's age counts: the first of these that is known.

    When it was recorded says nothing of what happened at an unknown time.

    >>> reference_time(occurred_at=None, valid_from=5, observed_at=7, recorded_at=9)
    5
    """
    known = (occurred_at, valid_from, observed_at)
    last = None if precision == "unknown" else recorded_at
    return next((time for time in known if time is not None), last)


def check_number(value: Any, name: str, low: float, high: float) -> float:
    """Return a finite number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadInput(f"{name} is {value!r}; give a number from {low:g} to {high:g}.")
    if not low <= value <= high:  # false for NaN too
        raise BadInput(f"{name} is {value!r}; it must be from {low:g} to {high:g}.")
    return float(value)


def check_confidence(value: Any) -> float | None:
    """Return an optional confidence, 0 to 10."""
    return None if value is None else check_number(value, "confidence", 0.0, 10.0)


def check_half_life(value: Any) -> float | None:
    """Return seconds of an optional half-life."""
    if value is None:
        return None
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise BadInput(
            f"half_life is {value!r}; give a positive timedelta, e.g. timedelta(days=90)."
        )
    if value > _MAX_HALF_LIFE:
        raise BadInput(
            f"half_life is {value.days:,} days; the limit is {_MAX_HALF_LIFE.days:,}, "
            "with which a memory hardly ages."
        )
    return value.total_seconds()


def check_metadata(
    value: Any,
    name: str = "metadata",
    limit: int = _MAX_METADATA_CHARACTERS,
    depth: int = MAX_METADATA_DEPTH,
) -> str:
    """Return the metadata as JSON text with sorted keys."""
    if value is None:
        return "{}"
    if not isinstance(value, Mapping):
        raise BadInput(f"{name} is {type(value).__name__}; give a mapping of names to values.")
    for key in value:
        if not isinstance(key, str):
            raise BadInput(f"{name} has the key {key!r}; JSON keys are strings.")
    try:
        check_nesting(dict(value), depth, limit)  # writing it first might never end
    except ValueError as error:
        raise BadInput(f"{name}: {error}. Put long content into the text.") from error
    try:
        written = json.dumps(dict(value), ensure_ascii=False, sort_keys=True, allow_nan=False)
        written.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"{name} cannot be written as JSON: {error}.") from error
    if _JSON_NUL.search(written):
        raise BadInput(f"{name} has a NUL character. Remove it: SQLite would cut the value there.")
    if len(written) > limit:
        raise BadInput(
            f"{name} takes {len(written):,} characters as JSON; the limit is {limit:,}. "
            "Put long content into the text."
        )
    return written


def check_entities(value: Any) -> tuple[str, ...] | None:
    """Return the caller's entities; None lets the store extract them."""
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise BadInput(f"entities is {value!r}; give a list of names.")
    names = tuple(check_string(name, "an entity") for name in value)
    if None in names:
        raise BadInput("an entity is None. Leave it out, or give its name.")
    return tuple(name for name in names if name is not None)


def check_id(value: Any) -> str:
    """Return a memory's id as it may be looked up, whether or not there is such a memory."""
    if not isinstance(value, str):
        raise BadInput(f"A memory's id is {value!r}; give the string that `Memory.id` holds.")
    _check_characters(value, "id")
    return value
