"""The cognitive pass over one query's candidates: relevance, time, trust, entities, importance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from memstore.catalog import links
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.entities import query_ngrams
from memstore.scoring import components
from memstore.scoring.cognitive import COMPONENTS, Adjustment, adjust
from memstore.scoring.profiles import PROFILES, Profile
from memstore.store.candidates import Judged, Ranked
from memstore.store.requests import Request
from memstore.store.snapshot import SnapshotView
from memstore.types import Part

_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True, slots=True, eq=False)
class Assessed:
    """What the pass made of one list; arrays are (memories,), in the list's order.

    `semantic` is log-odds, or raw scores of a scorer without a calibration. `values` and `reasons`
    say per component what it found of each memory.
    """

    judged: Judged
    profile: Profile
    semantic: NDArray[np.float64]
    adjusted: Adjustment
    columns: dict[str, NDArray[Any]]
    values: dict[str, NDArray[np.float64]]
    reasons: dict[str, list[str]]

    @property
    def scores(self) -> NDArray[np.float64]:
        return self.adjusted.scores

    def order(self) -> NDArray[np.int64]:
        """Return the places in the list, best first; of equal ones the newest first."""
        keys = (self.columns["id"], -self.columns["t_ref"], -self.semantic, -self.scores)
        return np.lexsort(keys)

    def parts(self, place: int) -> list[Part]:
        """Return what a memory's score is the sum of."""
        why = self.judged.scorer.why(float(self.judged.ranked.scores[place]))
        parts = [Part(name="semantic", nats=float(self.semantic[place]), why=why)]
        for name in COMPONENTS:
            nats = float(self.adjusted.parts[name][place])
            if nats != 0.0:
                parts.append(
                    Part(
                        name=name,
                        nats=nats,
                        why=self.reasons[name][place],
                        value=float(self.values[name][place]),
                        weight=getattr(self.profile, name),
                    )
                )
        return parts


class CognitivePass:
    """What is known of a query besides its candidates.

    Args:
        memories: number of memories in the searched namespaces.
        text: of the query.
    """

    def __init__(
        self,
        connection: Connection,
        view: SnapshotView,
        request: Request,
        namespaces: Sequence[int],
        memories: int,
        text: str,
    ) -> None:
        self._connection = connection
        self._view = view
        self._request = request
        self._memories = memories
        self.flags: list[str] = []
        self._entities = (
            links.find_entities(connection, query_ngrams(text), namespaces)
            if request.profile.cap > 0
            else {}
        )

    def assess(self, judged: Judged, *, like: Assessed | None = None) -> Assessed:
        """Score one list.

        Args:
            like: a list it is to be compared with: its profile holds, and nothing is flagged.
        """
        ranked = judged.ranked
        columns = self._columns(ranked)
        profile = self._request.profile if like is None else like.profile
        if judged.scorer.calibrate is None and like is None:
            # raw similarities are no log-odds: adding nats to them would be a silent guess
            self.flags.append("uncalibrated")
            profile = PROFILES["semantic"]
        semantic = judged.scorer.semantic(ranked.scores)
        degenerate = like is None and len(semantic) >= 3 and float(np.std(semantic)) < 1e-9
        if degenerate and profile.cap > 0 and self._distinct_texts(ranked) >= 3:
            self.flags.append("semantic_degenerate")
            profile = PROFILES["semantic"]
        values, reasons = self._components(ranked, columns, profile)
        return Assessed(
            judged=judged,
            profile=profile,
            semantic=semantic,
            adjusted=adjust(semantic, values, profile),
            columns=columns,
            values=values,
            reasons=reasons,
        )

    def _distinct_texts(self, ranked: Ranked) -> int:
        rows = rows_of(self._view, ranked)
        condition = among(memory.c.row, rows)
        return len(set(self._connection.scalars(select(memory.c.text).where(condition))))

    def _columns(self, ranked: Ranked) -> dict[str, NDArray[Any]]:
        """Return the candidates' columns, in their order, fetched in one query."""
        rows = rows_of(self._view, ranked)
        names = ("id", "t_ref", "t_end", "half_life_s", "alpha", "beta", "importance")
        found = {
            row.row: row
            for row in self._connection.execute(
                select(memory.c.row, *(memory.c[name] for name in names)).where(
                    among(memory.c.row, rows)
                )
            )
        }
        columns = {name: [getattr(found[row], name) for row in rows] for name in names}
        return {
            "id": np.array(columns["id"], dtype=np.str_),
            **{name: np.array(columns[name], dtype=np.float64) for name in names[1:]},
        }

    def _components(
        self, ranked: Ranked, columns: dict[str, NDArray[Any]], profile: Profile
    ) -> tuple[dict[str, NDArray[np.float64]], dict[str, list[str]]]:
        as_of = self._request.moment
        time_of = np.where(
            np.isnan(columns["t_end"]), columns["t_ref"], np.minimum(columns["t_end"], as_of)
        )
        age = (as_of - time_of) / _DAY
        half_life = np.where(
            np.isnan(columns["half_life_s"]),
            profile.half_life_days,
            columns["half_life_s"] / 86_400,
        )
        shared, names = self._shared_entities(ranked)
        mentions = np.array([count for _, count in self._entities.values()], dtype=np.float64)
        values = {
            "currency": components.currency(age, half_life),
            "trust": components.trust(columns["alpha"], columns["beta"]),
            "entity": components.entity_coverage(shared, mentions, self._memories),
            "importance": columns["importance"],
        }
        confidence = 10 * columns["alpha"] / (columns["alpha"] + columns["beta"])
        reasons = {
            "currency": [
                f"{max(a, 0.0):.0f} days old, half-life {h:.0f} days"
                for a, h in zip(age, half_life, strict=True)
            ],
            "trust": [f"confidence {value:.1f} of 10" for value in confidence],
            "entity": names,
            "importance": [f"set to {value:g}" for value in columns["importance"]],
        }
        return values, reasons

    def _shared_entities(self, ranked: Ranked) -> tuple[NDArray[np.bool_], list[str]]:
        rows = rows_of(self._view, ranked)
        mentioned = links.entity_ids(self._connection, rows) if self._entities else {}
        shared = np.zeros((len(rows), len(self._entities)), dtype=np.bool_)
        names = []
        for position, row in enumerate(rows):
            found = mentioned.get(row, set())
            shared[position] = [entity_id in found for entity_id in self._entities]
            names.append(
                "mentions "
                + ", ".join(name for id_, (name, _) in self._entities.items() if id_ in found)
            )
        return shared, names


def rows_of(view: SnapshotView, ranked: Ranked) -> list[int]:
    """Return the numbers of the memories' rows."""
    rows: list[int] = view.columns["row"][ranked.positions].tolist()
    return rows
