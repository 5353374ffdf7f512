"""The cognitive pass over one query's candidates: relevance, time, use, trust, entities."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from memstore.catalog import feedback
from memstore.catalog.scoring_columns import ScoringColumns
from memstore.catalog.sql import among
from memstore.catalog.tables import memory
from memstore.scoring import components
from memstore.scoring.cognitive import COMPONENTS, Adjustment, adjust
from memstore.scoring.half_lives import KIND_HALF_LIVES, half_life_days
from memstore.scoring.intent import Intent, read_intent
from memstore.scoring.near_duplicates import DEPTH, newest_first
from memstore.scoring.profiles import PROFILES, Profile
from memstore.store.candidate_columns import read_columns, recent_use_times
from memstore.store.candidates import Judged, Ranked
from memstore.store.counters import NOTHING_SAID
from memstore.store.lexical import Evidence
from memstore.store.query_entities import QueryEntities
from memstore.store.requests import Request
from memstore.store.snapshot import SnapshotView
from memstore.times import from_microseconds
from memstore.types import Part, TemporalCue

INVALID_PENALTY = 4.0  # nats, outside the cap (cognitive-scoring, 4.3)
_DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """What each component found of each memory; arrays are (memories,)."""

    columns: ScoringColumns
    values: dict[str, NDArray[np.float64]]
    age_days: NDArray[np.float64]
    half_life_days: NDArray[np.float64]
    last_use_days: NDArray[np.float64]
    covered: NDArray[np.float64]  # (memories, entities of the query)


@dataclass(frozen=True, eq=False)
class Assessed:
    """What the pass made of one list; arrays are (memories,), in the list's order.

    `semantic` is log-odds, or raw scores of a scorer without a calibration; `relevance` is that and
    the evidence of what the query names. `penalties` are of memories that do not hold, `shifts` of
    near-duplicates that changed places.
    """

    judged: Judged
    profile: Profile
    semantic: NDArray[np.float64]
    relevance: NDArray[np.float64]
    adjusted: Adjustment
    findings: Findings
    statuses: NDArray[np.str_]
    penalties: NDArray[np.float64]
    shifts: NDArray[np.float64]
    explain: Explainer

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """Final scores, in nats."""
        more = self.penalties + self.shifts
        # where nothing is added nothing changes: even -0.0 + 0.0 would change a bit
        return np.where(more == 0.0, self.adjusted.scores, self.adjusted.scores + more)

    def order(self) -> NDArray[np.int64]:
        """Return the places in the list, best first; of equal ones the newest first."""
        return self._by(-self.findings.columns.t_ref, -self.relevance, -self.scores)

    @cached_property
    def semantic_ranks(self) -> NDArray[np.int64]:
        """Return where each memory would be by relevance alone, from 1 on."""
        ranks = np.empty(len(self.relevance), dtype=np.int64)
        order = self._by(-self.findings.columns.t_ref, -self.relevance)
        ranks[order] = np.arange(1, len(order) + 1)
        return ranks

    def _by(self, *keys: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the places by the last key, of equal ones by the one before, in the end by id."""
        if len(set(keys[-1].tolist())) == len(keys[-1]):
            # strings take longer to sort than all else
            return np.argsort(keys[-1])
        return np.lexsort((np.array(self.findings.columns.ids), *keys))

    def parts(self, place: int) -> list[Part]:
        """Return what a memory's score is the sum of."""
        why = self.judged.scorer.why(float(self.judged.ranked.scores[place]))
        parts = [Part(name="semantic", nats=float(self.semantic[place]), why=why)]
        lexical = float(self.judged.ranked.evidence[place])
        if lexical != 0.0:
            passage_id = int(self.judged.ranked.passage_ids[place])
            parts.append(Part(name="lexical", nats=lexical, why=self.explain.named(passage_id)))
        for name in COMPONENTS:
            nats = float(self.adjusted.parts[name][place])
            if nats != 0.0:
                parts.append(
                    Part(
                        name=name,
                        nats=nats,
                        why=self.explain.why(name, self.findings, place),
                        value=float(self.findings.values[name][place]),
                        weight=getattr(self.profile, name),
                    )
                )
        if self.penalties[place] != 0.0:
            status = str(self.statuses[place])
            parts.append(Part(name="invalid", nats=float(self.penalties[place]), why=status))
        if self.shifts[place] != 0.0:
            newer = "is newer than" if self.shifts[place] > 0 else "is older than"
            why = f"{newer} a memory that says nearly the same"
            parts.append(Part(name="newest_wins", nats=float(self.shifts[place]), why=why))
        return parts


class CognitivePass:
    """What is known of a query besides its candidates.

    Args:
        profile: the weights, before what the query says of time.
        starts: when each memory of the searched namespaces begins to hold, (memories,).
        text: of the query.
        valid: which memories hold at the time asked for, (memories of the view,).
        spreading: as of the settings.
        evidence: which passages hold what the query names.
    """

    def __init__(
        self,
        connection: Connection,
        view: SnapshotView,
        request: Request,
        profile: Profile,
        namespaces: Sequence[int],
        starts: NDArray[np.int64],
        text: str,
        valid: NDArray[np.bool_],
        spreading: float,
        evidence: Evidence,
    ) -> None:
        self._connection = connection
        self._view = view
        self._request = request
        self._valid = valid
        self.intent: Intent = read_intent(
            text, temporal=request.temporal, profile=profile, moment=request.moment
        )
        self._profile = dataclasses.replace(profile, currency=self.intent.currency)
        self.flags: list[str] = []
        self._entities = QueryEntities(
            connection,
            text if profile.cap > 0 and profile.entity > 0 else "",
            namespaces,
            starts=starts,
            known_at=request.known_at,
            spreading=spreading,
        )
        self._explainer = Explainer(connection, self._entities, request.known_at, evidence)

    @property
    def temporal(self) -> TemporalCue | None:
        """What the query says of time, None if nothing."""
        kind, cue, suggested = self.intent.kind, self.intent.cue, self.intent.suggested_as_of
        if kind is None or cue is None:
            return None
        as_of = None if suggested is None else from_microseconds(suggested)
        return TemporalCue(kind=kind, cue=cue, suggested_as_of=as_of)

    def assess(self, judged: Judged, *, like: Assessed | None = None) -> Assessed:
        """Score one list.

        Args:
            like: a list it is to be compared with: its profile holds, and nothing is flagged.
        """
        ranked = judged.ranked
        rows = rows_of(self._view, ranked)
        columns = read_columns(self._connection, rows, self._request.known_at)
        profile = self._profile if like is None else like.profile
        if judged.scorer.calibrate is None and like is None:
            # raw similarities are no log-odds: adding nats to them would be a silent guess
            self.flags.append("uncalibrated")
            profile = PROFILES["semantic"]
        semantic = judged.scorer.semantic(ranked.scores)
        # where nothing is added nothing changes: even -0.0 + 0.0 would change a bit
        relevance = np.where(ranked.evidence == 0.0, semantic, semantic + ranked.evidence)
        if like is None and profile.cap > 0 and self._degenerate(relevance, rows):
            self.flags.append("semantic_degenerate")
            profile = PROFILES["semantic"]
        findings = self._findings(columns, rows, profile)
        statuses = self._statuses(ranked)
        adjusted = adjust(relevance, findings.values, profile)
        invalid = self._request.include_invalid and like is None
        penalties = np.where((statuses != "current") & invalid, -INVALID_PENALTY, 0.0)
        return Assessed(
            judged=judged,
            profile=profile,
            semantic=semantic,
            relevance=relevance,
            adjusted=adjusted,
            findings=findings,
            statuses=statuses,
            penalties=penalties,
            shifts=np.zeros(len(rows))
            if like is not None
            else self._shifts(adjusted.scores + penalties, columns, rows),
            explain=self._explainer,
        )

    def _degenerate(self, relevance: NDArray[np.float64], rows: Sequence[int]) -> bool:
        """Whether all candidates are equally relevant, though they say different things."""
        if len(relevance) < 3 or float(np.std(relevance)) >= 1e-9:
            return False
        texts = select(memory.c.text).where(among(memory.c.row, rows))
        return len(set(self._connection.scalars(texts))) >= 3

    def _statuses(self, ranked: Ranked) -> NDArray[np.str_]:
        places = ranked.positions
        begun = self._view.columns["start"][places] <= self._request.moment
        status: NDArray[np.str_] = np.where(
            self._valid[places], "current", np.where(begun, "ended", "upcoming")
        )
        return status

    def _shifts(
        self, scores: NDArray[np.float64], columns: ScoringColumns, rows: Sequence[int]
    ) -> NDArray[np.float64]:
        shifts = np.zeros(len(scores))
        if not self._request.newest_wins:
            return shifts
        best = np.argsort(-scores, kind="stable")[:DEPTH]
        condition = among(memory.c.row, [rows[place] for place in best.tolist()])
        texts = dict(
            self._connection.execute(select(memory.c.row, memory.c.text).where(condition)).all()
        )
        shifts[best] = newest_first(
            scores[best], columns.t_ref[best], [texts[rows[place]] for place in best.tolist()]
        )
        if shifts.any():
            self.flags.append("near_duplicate_guard")
        return shifts

    def _findings(self, columns: ScoringColumns, rows: Sequence[int], profile: Profile) -> Findings:
        as_of = self._request.moment
        # a coarse date ages from its end: during 2026, "2026" is no day old
        time_of = np.where(np.isnan(columns.t_end), columns.t_ref, np.minimum(columns.t_end, as_of))
        age = np.maximum((as_of - time_of) / _DAY, 0.0)
        half_life = half_life_days(
            columns.half_life_s,
            _half_lives_of(columns.kinds),
            profile.half_life_days,
        )
        mass, last_use = self._uses(columns)
        covered = self._entities.covered(rows, columns)
        return Findings(
            columns=columns,
            values={
                "currency": components.currency(age, half_life),
                "use": components.use(mass),
                "trust": components.trust(columns.alpha, columns.beta),
                "entity": self._entities.coverage(covered),
                "importance": columns.importance,
            },
            age_days=age,
            half_life_days=half_life,
            last_use_days=last_use,
            covered=covered,
        )

    def _uses(self, columns: ScoringColumns) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return each memory's use mass and the days since its last use, inf without one."""
        mass, last = np.zeros(len(columns)), np.full(len(columns), np.inf)
        used = np.flatnonzero(columns.use_count)  # few are
        known_at = self._request.now if self._request.known_at is None else self._request.known_at
        ages = (known_at - recent_use_times(columns, used)) / _DAY
        later = ages < 0  # of a `now` in the past
        ages[later] = np.nan
        counts = np.maximum(columns.use_count[used] - np.count_nonzero(later, axis=1), 0.0)
        first_ages = (known_at - columns.first_use_at[used]) / _DAY
        mass[used] = components.use_mass(ages, counts, first_ages)
        last[used] = np.fmin.reduce(ages, axis=1, initial=np.inf)
        return mass, last


def _half_lives_of(kinds: Sequence[str | None]) -> NDArray[np.float64]:
    """Return the half-life of each kind in days, NaN where there is none."""
    found = np.full(len(kinds), np.nan)
    for kind in KIND_HALF_LIVES.keys() & set(kinds):
        places = [place for place, item in enumerate(kinds) if item == kind]
        found[places] = KIND_HALF_LIVES[kind]
    return found


class Explainer:
    """Says why a component found what it found; asked only for the hits that are shown."""

    def __init__(
        self,
        connection: Connection,
        entities: QueryEntities,
        known_at: int | None,
        evidence: Evidence,
    ) -> None:
        self._connection = connection
        self._entities = entities
        self._known_at = known_at
        self._evidence = evidence

    def named(self, passage_id: int) -> str:
        """Return what of the query a passage holds, in words."""
        return self._evidence.why(passage_id)

    def why(self, component: str, findings: Findings, place: int) -> str:
        """Return it in words."""
        said = {
            "currency": self._currency,
            "use": self._use,
            "trust": self._trust,
            "entity": self._entity,
            "importance": self._importance,
        }
        return said[component](findings, place)

    def _currency(self, findings: Findings, place: int) -> str:
        age, half_life = findings.age_days[place], findings.half_life_days[place]
        return f"{age:.0f} days old, half-life {half_life:.0f} days"

    def _use(self, findings: Findings, place: int) -> str:
        count = int(findings.columns.use_count[place])
        last = max(findings.last_use_days[place], 0.0)
        return f"used {count} time{'s' * (count != 1)}, last {last:.0f} days ago"

    def _trust(self, findings: Findings, place: int) -> str:
        columns = findings.columns
        alpha, beta = columns.alpha[place], columns.beta[place]
        found = feedback.said(self._connection, [columns.ids[place]], until=self._known_at)
        votes = list(found.get(columns.ids[place], NOTHING_SAID).votes.values())
        confidence = f"confidence {10 * alpha / (alpha + beta):.1f} of 10"
        if not votes:
            return confidence
        return f"{sum(votes)} confirm, {len(votes) - sum(votes)} contradict: {confidence}"

    def _entity(self, findings: Findings, place: int) -> str:
        return self._entities.why(findings.covered[place])

    def _importance(self, findings: Findings, place: int) -> str:
        return f"set to {findings.columns.importance[place]:g}"


def rows_of(view: SnapshotView, ranked: Ranked) -> list[int]:
    """Return the numbers of the memories' rows."""
    rows: list[int] = view.columns["row"][ranked.positions].tolist()
    return rows
