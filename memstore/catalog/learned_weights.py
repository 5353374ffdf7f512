"""Learned weights of profiles: all versions, and which of them count."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from memstore.catalog.checksums import check
from memstore.catalog.log import LEARN, STORE, append_event, read_setting, write_setting
from memstore.catalog.sql import inserted
from memstore.catalog.tables import weights

_ACTIVE = "weights"  # the setting: profile -> version; a profile that is not there is as shipped


@dataclass(frozen=True, slots=True)
class WeightsRow:
    """One version; `parent` is the version it was learned from, None for the shipped weights."""

    version: int
    profile: str
    weights: Mapping[str, float]
    parent: int | None
    evidence: Mapping[str, Any]
    created_at: int


def active_versions(connection: Connection) -> dict[str, int]:
    """Return profile → version of those whose learned weights count."""
    return dict(read_setting(connection, _ACTIVE) or {})


def find_weights(connection: Connection, version: int) -> WeightsRow | None:
    """Return one version, None if there is none."""
    row = connection.execute(select(weights).where(weights.c.version == version)).one_or_none()
    return None if row is None else _row(row)


def list_weights(connection: Connection) -> list[WeightsRow]:
    """Return all versions, oldest first."""
    return [_row(row) for row in connection.execute(select(weights).order_by(weights.c.version))]


def insert_weights(
    connection: Connection,
    *,
    profile: str,
    learned: Mapping[str, float],
    parent: int | None,
    evidence: Mapping[str, Any],
    now: int,
) -> int:
    """Store new weights and return their version; they count only once they are activated."""
    values = {
        "profile": profile,
        "weights": json.dumps(dict(learned)),
        "parent": parent,
        "evidence": json.dumps(dict(evidence)),
        "created_at": now,
    }
    return inserted(connection.execute(insert(weights), values))


def restore_weights(connection: Connection, row: WeightsRow) -> None:
    """Store weights that another store has learned, under the version they had there."""
    connection.execute(
        insert(weights),
        {
            "version": row.version,
            "profile": row.profile,
            "weights": json.dumps(dict(row.weights)),
            "parent": row.parent,
            "evidence": json.dumps(dict(row.evidence)),
            "created_at": row.created_at,
        },
    )


def activate(connection: Connection, profile: str, version: int | None, *, now: int) -> None:
    """Make a version the one that counts for a profile, or with None the shipped weights."""
    active = active_versions(connection)
    before = active.pop(profile, None)
    if version is not None:
        active[profile] = version
    write_setting(connection, _ACTIVE, active)
    payload = {"profile": profile, "version": [before, version]}
    append_event(connection, STORE, LEARN, now=now, payload=payload)


def _row(row: Any) -> WeightsRow:
    check(weights, row)
    learned, evidence = json.loads(row.weights), json.loads(row.evidence)
    return WeightsRow(row.version, row.profile, learned, row.parent, evidence, row.created_at)
