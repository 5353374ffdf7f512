"""Learning a profile's weights from logged pages, and going back to earlier ones."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection

from memstore.catalog import learned_weights, pages
from memstore.catalog.engine import reading, writing
from memstore.catalog.learned_weights import WeightsRow
from memstore.catalog.log import CONTRADICT
from memstore.errors import BadInput
from memstore.scoring.cognitive import COMPONENTS
from memstore.scoring.learning import Condition, Shown, evidence, fit_weights, gains, split
from memstore.scoring.profiles import PROFILES, Profile, resolve
from memstore.store.active_weights import active_profile
from memstore.store.guarding import Check, own_checks, question_check
from memstore.store.judged_questions import Guard, check_questions
from memstore.store.opening import OpenStore
from memstore.times import from_microseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedWeights:
    """One version of a profile's weights, in nats per unit of a component.

    `parent` is the version it was learned from, None for the shipped weights. `active` says whether
    queries with the profile use it.
    """

    version: int
    profile: str
    weights: Mapping[str, float]
    parent: int | None
    evidence: Mapping[str, Any]
    created_at: datetime
    active: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnReport:
    """What the logged pages speak for, and whether that was enough.

    `conditions` are what an update needs, each with the value found; only if all hold is it
    `accepted`, and then `version` is in use (None after a dry run). `gain` is the mean rise of
    nDCG@10 on the latest pages. `guards` are the measures before and after of what must not get
    worse; `notes` say which of them this store has nothing for.
    """

    profile: str
    accepted: bool
    version: int | None
    pages: int
    weights_before: Mapping[str, float]
    weights: Mapping[str, float]
    gain: float
    conditions: tuple[Condition, ...]
    guards: Mapping[str, tuple[float, float]]
    notes: tuple[str, ...] = ()

    @property
    def unmet(self) -> tuple[Condition, ...]:
        """The conditions that do not hold."""
        return tuple(condition for condition in self.conditions if not condition.holds)


def learn(
    opened: OpenStore,
    *,
    profile: str,
    guards: Sequence[Guard],
    seed: int,
    dry_run: bool,
    now: int,
    progress: Callable[[str], None] | None = None,
) -> LearnReport:
    """Fit weights to the logged pages and use them if the evidence suffices; see
    `MemoryStore.learn`.
    """
    if not dry_run:
        opened.check_writable()
    shipped = _learnable(profile)
    given = [(guard.name, check_questions(guard.questions)) for guard in guards]
    with reading(opened.engine, opened.path) as connection:
        current = active_profile(connection, shipped)
        shown = _shown(connection, shipped)
    earlier, held = split(shown)
    learned = fit_weights(earlier, shipped=shipped, current=current)
    checks: list[Check] = []
    notes: list[str] = []
    if learned != current:  # else there is nothing that could get worse
        candidate = dataclasses.replace(learned, learned=0)
        made, notes = own_checks(opened, seed=seed, now=now)
        made += [question_check(name, asked) for name, asked in given]
        for check in made:
            if progress is not None:
                progress(check.name)
            checks.append(check.measured(opened, current, candidate, now=now))
    else:
        notes.append("the pages speak for no other weights: no guard set was asked")
    found = evidence(
        shown,
        current=current,
        learned=learned,
        drops={check.name: check.drop for check in checks},
        seed=seed,
    )
    report = LearnReport(
        profile=profile,
        accepted=found.holds,
        version=None,
        pages=len(earlier) + len(held),
        weights_before=weights_of(current),
        weights=weights_of(learned),
        gain=float(np.mean(gains(held, current, learned))) if held else 0.0,
        conditions=found.conditions,
        guards={check.name: (check.before, check.after) for check in checks},
        notes=tuple(notes),
    )
    if dry_run or not found.holds:
        return report
    with writing(opened.engine, opened.path) as connection:
        if active_profile(connection, shipped) != current:
            raise BadInput(
                f"Other weights of {profile!r} were put to use meanwhile. Nothing was changed; "
                "learn again."
            )
        version = learned_weights.insert_weights(
            connection,
            profile=profile,
            learned=report.weights,
            parent=current.learned,
            evidence={
                "seed": seed,
                "pages": report.pages,
                "gain": report.gain,
                "conditions": {item.name: item.value for item in found.conditions},
                "guards": dict(report.guards),
            },
            now=now,
        )
        learned_weights.activate(connection, profile, version, now=now)
    return dataclasses.replace(report, version=version)


def _learnable(profile: str) -> Profile:
    shipped = resolve(profile)
    if shipped.cap == 0:
        known = ", ".join(name for name, other in PROFILES.items() if other.cap > 0)
        raise BadInput(f"Profile {profile!r} has no weights to learn. Learn one of {known}.")
    return shipped


def weights_of(profile: Profile) -> dict[str, float]:
    """Return the weights that are learned, by component."""
    return {name: getattr(profile, name) for name in COMPONENTS}


def _shown(connection: Connection, profile: Profile) -> list[Shown]:
    """Return the logged pages of a profile, with what was said of their hits."""
    said = defaultdict(list)
    for item in pages.said_of_pages(connection):
        said[item.page].append(item)
    found = []
    for page in pages.pages_of(connection, profile.name):
        hits = [hit for hit in page.hits if hit["semantic"] is not None]
        if len(hits) < 2 or page.id not in said:
            continue
        place_of = {hit["id"]: place for place, hit in enumerate(hits)}
        used, rejected = np.zeros((2, len(hits)), dtype=np.bool_)
        voices: list[str | None] = [None] * len(hits)
        session = page.session
        for item in said[page.id]:
            session = session or item.session or item.source
            if (place := place_of.get(item.memory_id)) is None:
                continue
            if item.verb == CONTRADICT:
                rejected[place] = True
                continue
            used[place] = True
            voices[place] = item.source or item.session
        semantic = np.array([hit["semantic"] for hit in hits])
        values = np.array([[hit["values"][name] for name in COMPONENTS] for hit in hits])
        if page.currency is not None:  # the query's words weighed it, no learned weight does
            semantic = semantic + page.currency * values[:, 0]
            values[:, 0] = 0.0
        found.append(
            Shown(
                query=page.query_hash,
                session=session,
                at=page.at,
                semantic=semantic,
                values=values,
                ranks=np.array([hit["rank"] for hit in hits]),
                used=used,
                rejected=rejected,
                sources=tuple(voices),
            )
        )
    return found


def versions(opened: OpenStore) -> tuple[LearnedWeights, ...]:
    """Return all learned weights, oldest first."""
    with reading(opened.engine, opened.path) as connection:
        active = set(learned_weights.active_versions(connection).values())
        rows = learned_weights.list_weights(connection)
    return tuple(_version(row, active=row.version in active) for row in rows)


def _version(row: WeightsRow, *, active: bool) -> LearnedWeights:
    return LearnedWeights(
        version=row.version,
        profile=row.profile,
        weights=row.weights,
        parent=row.parent,
        evidence=row.evidence,
        created_at=from_microseconds(row.created_at),
        active=active,
    )


def use(opened: OpenStore, version: int | None, *, profile: str, now: int) -> None:
    """Score with a version of a profile's weights, or with the shipped ones; see
    `MemoryStore.use_weights`.
    """
    opened.check_writable()
    _learnable(profile)
    if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
        raise BadInput(f"version is {version!r}; give a number, or None for the shipped weights.")
    with writing(opened.engine, opened.path) as connection:
        row = None if version is None else learned_weights.find_weights(connection, version)
        if version is not None and (row is None or row.profile != profile):
            known = learned_weights.list_weights(connection)
            own = ", ".join(str(item.version) for item in known if item.profile == profile)
            raise BadInput(
                f"There are no learned weights {version} of profile {profile!r}. Known: "
                f"{own or 'none'}; None stands for the shipped ones."
            )
        if learned_weights.active_versions(connection).get(profile) != version:
            learned_weights.activate(connection, profile, version, now=now)
