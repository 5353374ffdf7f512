"""What scoring needs of candidates, as arrays in their order: one statement, however many."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, func, select

from memstore.catalog.sql import bare_rows
from memstore.catalog.tables import memory

Numbers = NDArray[np.float64]

_asked = func.json_each(bindparam("rows")).table_valued("key", "value")
# built once: building it takes longer than running it; not sorted by SQLite, which takes a fifth
_statement = (
    select(
        _asked.c.key,
        memory.c.id,
        memory.c.kind,
        memory.c.use_ring,
        memory.c.t_ref,
        memory.c.t_end,
        memory.c.half_life_s,
        memory.c.alpha,
        memory.c.beta,
        memory.c.use_count,
        memory.c.first_use_at,
        memory.c.importance,
    )
    .select_from(_asked)
    .join(memory, memory.c.row == _asked.c.value)
)


@dataclass(slots=True)
class ScoringColumns:
    """Columns of memories, (memories,); times in UTC microseconds, NaN where a value is not set.

    `kinds` and `use_rings` hold what is stored, or None.
    """

    ids: list[str]
    kinds: list[str | None]
    use_rings: list[bytes | None]
    t_ref: Numbers
    t_end: Numbers
    half_life_s: Numbers
    alpha: Numbers
    beta: Numbers
    use_count: Numbers
    first_use_at: Numbers
    importance: Numbers

    def __len__(self) -> int:
        return len(self.ids)


def read(connection: Connection, rows: Sequence[int]) -> ScoringColumns:
    """Return the columns of memories, in the order of `rows`."""
    found = bare_rows(connection, _statement, {"rows": json.dumps(rows)})
    columns = [*zip(*found, strict=True)] or [()] * len(_statement.selected_columns)
    places, ids, kinds, rings, *numbers = columns
    if places != tuple(range(len(rows))):  # nothing obliges SQLite to keep their order
        found.sort(key=lambda row: row[0])
        places, ids, kinds, rings, *numbers = zip(*found, strict=True)
    return ScoringColumns(list(ids), list(kinds), list(rings), *map(_numbers, numbers))


def _numbers(column: Sequence[float | None]) -> Numbers:
    """Return a column with NaN for None: most have either no None or nothing else, and finding that
    out takes a fifth of what numpy takes to convert None.
    """
    missing = column.count(None)
    if missing == len(column):
        return np.full(len(column), np.nan)
    if not missing:
        return np.fromiter(cast("Sequence[float]", column), np.float64, len(column))
    return np.array(column, dtype=np.float64)
