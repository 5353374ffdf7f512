"""Instants: ISO-8601 or aware datetimes in, int64 UTC microseconds inside, aware UTC out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from memstore.errors import BadInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(value: datetime | str, *, name: str, timezone: tzinfo | None = None) -> int:
    """Return the instant as UTC microseconds since 1970.

    Args:
        value: an aware datetime, or an ISO-8601 string with an offset.
        name: what the value is called in the error message.
        timezone: taken for values that carry no offset; without it they are refused, because
            guessing a zone silently shifts every age and validity interval.

    Raises:
        BadInput: not a time, no offset, or outside the years 1 to 9999 in UTC.

    >>> to_microseconds("1970-01-01T01:00:00+01:00", name="occurred_at")
    0
    """
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise BadInput(
                f"{name} is {value!r}, which is no ISO-8601 time. Write it as 2026-03-02T09:00:00Z."
            ) from error
    elif isinstance(value, datetime):
        parsed = value
    else:
        kind = "date" if isinstance(value, date) else type(value).__name__
        raise BadInput(
            f"{name} is {value!r} ({kind}). Give an aware datetime or a string such as "
            "2026-03-02T09:00:00Z."
        )
    if parsed.tzinfo is None or parsed.utcoffset() is None:
        if timezone is None:
            raise BadInput(
                f"{name} is {str(value)!r}, which has no UTC offset. Add one (…Z or …+02:00), "
                "or say which zone such times are in (ingest: timezone='UTC', --timezone UTC)."
            )
        parsed = parsed.replace(tzinfo=timezone)
    try:
        return (parsed.astimezone(UTC) - _EPOCH) // _MICROSECOND
    except OverflowError as error:
        raise BadInput(f"{name} is {str(value)!r}: outside the years 1 to 9999 in UTC.") from error


def from_microseconds(value: int) -> datetime:
    """Return the aware UTC datetime of an instant.

    >>> from_microseconds(0).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return _EPOCH + value * _MICROSECOND


def iso(value: datetime) -> str:
    """Return the shortest ISO-8601 form in UTC, with Z.

    >>> iso(from_microseconds(0))
    '1970-01-01T00:00:00Z'
    """
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name such as `UTC` or `Europe/Lisbon`.

    Raises:
        BadInput: the name is unknown on this machine.
    """
    if name.upper() == "UTC":
        return UTC  # minimal systems ship no zone database
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: "Europe" is a folder
        raise BadInput(
            f"Time zone {name!r} is unknown. Use a name such as UTC or Europe/Lisbon."
        ) from error
