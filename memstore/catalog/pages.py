"""What queries showed, where pages are logged, and what was said of the hits afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, literal, select

from memstore.catalog.checksums import check
from memstore.catalog.log import (
    CONFIRM,
    CONTRADICT,
    JOINED_SOURCE,
    REINFORCE,
    checked_source,
    payload,
)
from memstore.catalog.sql import among
from memstore.catalog.tables import event, page, source


@dataclass(frozen=True, slots=True)
class PageRow:
    """A page; `profile` is the label of the weights, `at` in UTC microseconds.

    `hits` are in their order, each an id with its `rank`, its `semantic` log-odds (None without
    any) and the `values` of its components. `currency` is the weight that the words of the query
    gave to currency, None where the profile's counted.
    """

    id: str
    query_hash: str
    at: int
    profile: str
    hits: Sequence[Mapping[str, Any]]
    currency: float | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of a hit of a page; `source` is the name of who said it, if it has one."""

    page: str
    memory_id: str
    verb: str
    source: str | None
    session: str | None


def insert_pages(connection: Connection, rows: Sequence[PageRow]) -> None:
    """Store pages."""
    connection.execute(
        insert(page),
        [
            {
                "id": row.id,
                "query_hash": row.query_hash,
                "session": row.session,
                "at": row.at,
                "profile": row.profile,
                "hits": json.dumps({"currency": row.currency, "hits": list(row.hits)}),
            }
            for row in rows
        ],
    )


def erase_pages(connection: Connection, memory_ids: Iterable[str]) -> int:
    """Delete the pages that showed one of these memories; return how many."""
    hits = func.json_each(page.c.hits, "$.hits").table_valued("value", name="hit")
    shown = func.json_extract(hits.c.value, "$.id")
    erased = connection.execute(
        delete(page).where(
            select(literal(1)).select_from(hits).where(among(shown, memory_ids)).exists()
        )
    )
    return erased.rowcount


def pages_of(connection: Connection, profile: str) -> list[PageRow]:
    """Return the pages that a profile's own weights made, shipped or learned, by time."""
    beginning = f"{profile}@v"
    rows = connection.execute(
        select(page)
        .where(func.substr(page.c.profile, 1, len(beginning)) == beginning)
        .order_by(page.c.at, page.c.id)
    )
    found = []
    for row in rows:
        check(page, row)
        if not row.profile.endswith("+weights"):
            content = json.loads(row.hits)
            hits, currency = content["hits"], content["currency"]
            found.append(
                PageRow(row.id, row.query_hash, row.at, row.profile, hits, currency, row.session)
            )
    return found


def said_of_pages(connection: Connection) -> list[Said]:
    """Return all feedback that names a page, in the order it was recorded."""
    named = func.json_extract(event.c.payload, "$.page")
    rows = connection.execute(
        select(event, *JOINED_SOURCE)
        .outerjoin(source, source.c.id == event.c.source_id)
        .where(event.c.verb.in_((REINFORCE, CONFIRM, CONTRADICT)), named.is_not(None))
        .order_by(event.c.id)
    )
    return [
        Said(payload(row)["page"], row.memory_id, row.verb, row.source_name, row.session)
        for row in map(checked_source, rows)
    ]
