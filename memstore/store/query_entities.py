"""Which entities of the store a query names, and which candidates mention them.

A date in a query counts as an entity: of a memory that happened then, and of one whose text names
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from memstore.catalog import graph
from memstore.catalog.scoring_columns import ScoringColumns
from memstore.entities import longest_names, query_ngrams
from memstore.periods import find_periods
from memstore.scoring.components import entity_coverage, npmi
from memstore.scoring.dates import happened_within


class QueryEntities:
    """The entities a query names, among those that the searched namespaces know.

    Args:
        starts: when each memory of these namespaces begins to hold, (memories,), in UTC
            microseconds.
        spreading: share of an entity that a memory covers which mentions its strongest neighbour
            instead; less for weaker ones, 0 for none (cognitive-scoring, 6).
    """

    def __init__(
        self,
        connection: Connection,
        text: str,
        namespaces: Sequence[int],
        *,
        starts: NDArray[np.int64],
        known_at: int | None,
        spreading: float,
    ) -> None:
        self._connection = connection
        self._namespaces = namespaces
        self._memories = len(starts)
        self._known_at = known_at
        self._spreading = spreading
        dates = {found.period.canonical: found.period for found in find_periods(text)}
        groups = graph.find_entities(
            connection, [*query_ngrams(text), *dates], namespaces, known_at=known_at
        )
        names = longest_names(text, {name for group in groups for name in group.asked})
        self._groups = [group for group in groups if not group.asked.isdisjoint((*names, *dates))]
        inside = {
            date: int(np.count_nonzero((starts >= period.start) & (starts < period.end)))
            for date, period in dates.items()
        }
        self._dates = {date: dates[date] for date, count in inside.items() if count}
        self._mentions = [float(group.memories) for group in self._groups]
        self._mentions += [float(inside[date]) for date in self._dates]
        self._names = [group.name for group in self._groups] + list(self._dates)

    def covered(self, rows: Sequence[int], columns: ScoringColumns) -> NDArray[np.float64]:
        """Return how far each memory covers each entity, (memories, entities), 0 to 1."""
        covered = np.zeros((len(rows), len(self._names)))
        if self._groups:
            named = len(self._groups)
            covered[:, :named] = graph.mentions(self._connection, rows, self._groups)
            self._spread(covered, rows)
        for column, period in enumerate(self._dates.values(), start=len(self._groups)):
            covered[:, column] = happened_within(
                columns.t_ref, columns.t_end, period.start, period.end
            )
        return covered

    def _spread(self, covered: NDArray[np.float64], rows: Sequence[int]) -> None:
        for column, met in enumerate(self._neighbours):
            if met:
                beside = graph.mentions(self._connection, rows, [item.group for item in met])
                strengths = np.array([item.strength for item in met])
                related = self._spreading * (beside * strengths).max(axis=1)
                covered[:, column] = np.maximum(covered[:, column], related)

    @cached_property
    def _neighbours(self) -> list[list[graph.Met]]:
        """The strongest neighbours of each entity; none where nothing is spread."""
        if self._spreading == 0.0:
            return []
        return [
            graph.neighbours(
                self._connection,
                group,
                self._namespaces,
                strength=partial(self._strength, group.memories),
                known_at=self._known_at,
            )
            for group in self._groups
        ]

    def _strength(
        self, own: int, together: NDArray[np.int64], other: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        return npmi(
            together.astype(np.float64),
            np.full(len(other), float(own)),
            other.astype(np.float64),
            self._memories,
        )

    def coverage(self, covered: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the entity component, (memories,)."""
        return entity_coverage(covered, np.array(self._mentions), self._memories)

    def why(self, covered: NDArray[np.float64]) -> str:
        """Return which of the entities one memory covers, in words; (entities,)."""
        shares = list(zip(self._names, covered.tolist(), strict=True))
        named, dated = shares[: len(self._groups)], shares[len(self._groups) :]
        said = {
            "mentions": [name for name, share in named if share == 1.0],
            "mentions what is mentioned with": [name for name, share in named if 0 < share < 1],
            "happened in": [date for date, share in dated if share],
        }
        return "; ".join(f"{how} {', '.join(names)}" for how, names in said.items() if names)
