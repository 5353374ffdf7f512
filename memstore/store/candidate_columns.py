"""What is known of candidates when a query looks at them: now, or at an earlier `known_at`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from memstore.catalog import feedback, memories, scoring_columns
from memstore.catalog.scoring_columns import ScoringColumns
from memstore.scoring.evidence import RECENT_USES, unpack_uses
from memstore.store.counters import NOTHING_SAID, believed_sources, replayed
from memstore.store.drafts import reference_time

_REPLAYED = ("prior", "importance", "observed_at")


def read_columns(
    connection: Connection, rows: Sequence[int], known_at: int | None
) -> ScoringColumns:
    """Return the columns of candidates, in the order of `rows`.

    Args:
        known_at: trust, use and importance as the event log had them then; None for all of it.
    """
    columns = scoring_columns.read(connection, rows)
    if known_at is not None:
        _replay(connection, columns, rows, known_at)
    return columns


def recent_use_times(columns: ScoringColumns, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return when these were used most recently, (places, RECENT_USES), NaN where they were not."""
    times = np.full((len(places), RECENT_USES), np.nan)
    for row, place in enumerate(places.tolist()):
        recent = unpack_uses(columns.use_rings[place])
        times[row, : len(recent)] = recent
    return times


def _replay(
    connection: Connection, columns: ScoringColumns, rows: Sequence[int], known_at: int
) -> None:
    """Put back what was recorded later."""
    said = feedback.said(connection, columns.ids, until=known_at)
    items = list(feedback.trusted(connection, rows))
    reliabilities = feedback.reliabilities(
        connection, believed_sources(items, said), until=known_at
    )
    earlier = feedback.earlier_values(connection, columns.ids, _REPLAYED, known_at=known_at)
    places = {id_: place for place, id_ in enumerate(columns.ids)}
    for cached in items:
        place, before = places[cached.id], earlier.get(cached.id, {})
        if "importance" in before:
            columns.importance[place] = before["importance"]
        if "observed_at" in before:
            times = memories.times_of(connection, cached.row)
            reference = reference_time(
                occurred_at=times.occurred_at,
                valid_from=times.valid_from,
                observed_at=feedback.moment(before, "observed_at"),
                recorded_at=times.recorded_at,
                precision=times.precision,
            )
            columns.t_ref[place] = np.nan if reference is None else reference
        then = replayed(
            dataclasses.replace(cached, prior=before.get("prior", cached.prior)),
            said.get(cached.id, NOTHING_SAID),
            reliabilities,
        )
        columns.alpha[place], columns.beta[place] = then.alpha, then.beta
        columns.use_count[place] = then.use_count
        columns.first_use_at[place] = np.nan if then.first_use_at is None else then.first_use_at
        columns.use_rings[place] = then.use_ring
