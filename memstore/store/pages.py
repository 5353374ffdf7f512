"""Logging what a query showed, where the setting `log_pages` is on: what weights are learned from.

A page holds no text: the query as a hash, and ids.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

from memstore.catalog.engine import writing
from memstore.catalog.pages import PageRow, insert_pages
from memstore.errors import StoreLocked, StoreUnwritable
from memstore.scoring.cognitive import COMPONENTS
from memstore.scoring.profiles import Profile
from memstore.store.cognitive_pass import Assessed
from memstore.store.ids import new_id
from memstore.store.opening import OpenStore
from memstore.types import Hit, QueryResult

_PATIENCE = 0.05  # seconds that an answer may wait for the write lock


def page_of(
    text: str, hits: Sequence[Hit], first: Assessed, profile: Profile, *, now: int
) -> PageRow:
    """Return what there is to log of an answer.

    Args:
        first: the list whose scores can be compared; hits of others have no log-odds.
        profile: the weights before the query's words of time changed that of currency.
        now: UTC microseconds; not the `now` of the query, which may be a pretence.
    """
    place_of = {id_: place for place, id_ in enumerate(first.findings.columns.ids)}
    calibrated = first.judged.scorer.calibrate is not None
    shown = []
    for hit in hits:
        place = place_of.get(hit.memory.id)
        shown.append(
            {
                "id": hit.memory.id,
                "rank": hit.rank,
                "semantic": float(first.relevance[place])
                if calibrated and place is not None
                else None,
                "values": {}
                if place is None
                else {name: float(first.findings.values[name][place]) for name in COMPONENTS},
            }
        )
    fixed = first.profile.currency != profile.currency
    return PageRow(
        id=new_id(now),
        query_hash=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        at=now,
        profile=first.profile.label,
        hits=shown,
        currency=first.profile.currency if fixed else None,
    )


def logged(
    opened: OpenStore, results: Sequence[QueryResult], pages: Sequence[PageRow]
) -> list[QueryResult]:
    """Store the pages of results and return these with their pages' ids.

    An answer never fails or waits for it: where pages cannot be stored, it says so by a flag.
    """
    try:
        opened.check_writable()
        with writing(opened.engine, opened.path, wait=_PATIENCE) as connection:
            insert_pages(connection, pages)
    except (StoreLocked, StoreUnwritable):
        return [
            dataclasses.replace(result, flags=(*result.flags, "page_not_logged"))
            for result in results
        ]
    return [
        dataclasses.replace(result, page=page.id)
        for result, page in zip(results, pages, strict=True)
    ]
