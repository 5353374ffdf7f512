"""What the generated requests must be told that JSON Schema has no words for.

Loaded by `st run` (SCHEMATHESIS_HOOKS); see `test_http_schemathesis.py`. No check is left out and
no failure dropped: these make requests that are meant to be right so in fact.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable
from typing import Any

import schemathesis

RULES = {
    "If-Match": "a version the memory has",
    "Idempotency-Key": "a key is used for one request",
    "valid_to": "not before valid_from",
    "observed_at": "together with refresh, and in the past",
    "at": "a use lies in the past, and a memory ends after its beginning",
    "metadata": "has no NUL, however deep",
    "times": "in the years 1 to 9999 in UTC, whatever their offset",
    "of": "an alias is another name",
    "body of /v1/ingest": "lines of JSON objects with a text, where all must be good",
    "timezone": "the name of one",
    "limit": "so many hits of all queries of a batch together",
    "namespace": "is given where a filter says what to forget, by who may forget everywhere",
}
LINE = '{"text": "Ana moved to Lisbon.", "id": "ana.city"}\n'


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@schemathesis.hook
def before_load_schema(context: Any, schema: dict[str, Any]) -> None:
    """Take two fields of a filter in place of fifteen, each with all its operators: those of the
    others are alike, and make 6,000 requests.
    """
    if os.environ.get("MEMSTORE_TORTURE"):
        return
    where = schema["components"]["schemas"]["Where"]
    for name in list(where["properties"]):
        if name not in ("occurred_at", "not"):
            del where["properties"][name]
    where["properties"]["not"] = {"type": "object", "maxProperties": 0}
    del where["patternProperties"]


@schemathesis.hook
def before_call(context: Any, case: Any, arguments: dict[str, Any]) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for name in case.headers or {}:
        if name.lower() == "idempotency-key":
            case.headers[name] = str(uuid.uuid4())
        elif name.lower() == "if-match":
            case.headers[name] = "*"
        elif name.lower() == "if-none-match":
            case.headers[name] = '"0123456789abcdef"'
    if case.query:
        case.query |= each_text(dict(case.query), within_years)
    if "timezone" in (case.query or {}):
        case.query["timezone"] = "Europe/Lisbon"
    if case.path == "/v1/ingest":
        case.body = LINE
    case.body = body = each_text(case.body, within_years)
    if isinstance(body, dict):
        for item in (body, *body.get("memories", ())):
            follow_rules(item, case.path)


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """Change all texts of a value, names included."""
    if isinstance(value, dict):
        return {change(name): each_text(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [each_text(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def without_nul(text: str) -> str:
    return text.replace("\0", "")


def within_years(text: str) -> str:
    return re.sub("^9999-", "9998-", re.sub("^0001-", "0002-", text))


def follow_rules(item: dict[str, Any], path: str) -> None:
    if "metadata" in item:
        item["metadata"] = each_text(item["metadata"], without_nul)
    if "texts" in item and "limit" in item:
        item["limit"] = min(item["limit"], 2000 // len(item["texts"]))
    if path.endswith("/forget") and "where" in item and item.get("namespace") is None:
        item["namespace"] = "*"
    if path.endswith("/aliases"):
        item["of"] = f"{item['name']} the other"
    if item.get("valid_from") is not None:
        item["valid_to"] = item["valid_from"]
    elif item.get("valid_to") is not None:
        item["valid_from"] = item["valid_to"]
    if path.endswith("/confirm") and item.get("observed_at") is not None:
        item["refresh"] = True
        item["observed_at"] = "2020-02-02T02:02:02Z"
    if path.endswith("/reinforce") and item.get("at") is not None:
        item["at"] = "2020-02-02T02:02:02Z"
