"""The ways to answer that are compared: a reranker, or none, with a profile or a formula."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from memstore.errors import BadInput
from memstore.scoring.cognitive import COMPONENTS
from memstore.scoring.profiles import Profile, resolve
from memstore.store.rerankers import FAILURES, check_rerank
from memstore.types import Temporal

if TYPE_CHECKING:
    from memstore.store import MemoryStore

OnRerankError = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class Arm:
    """A reranker's name (`none` without one) and a profile's.

    Args:
        weights: that replace some of the profile's, with `name` to tell them apart.
        formula: of others, that orders the candidates instead of the profile.
        setting: what was done to the store before it was asked.
    """

    reranker: str
    profile: str
    weights: tuple[tuple[str, float], ...] = ()
    name: str | None = None
    formula: str | None = None
    setting: str | None = None

    def __str__(self) -> str:
        return f"{self.reranker} {self.label}"

    @property
    def label(self) -> str:
        """What is compared under one reranker: profile, weights or formula, and setting."""
        name = self.formula or self.name or self.profile
        return name if self.setting is None else f"{name}, {self.setting}"

    @property
    def temporal(self) -> Temporal:
        """`none` where currency was taken away: a word such as "now" would bring it back."""
        return "none" if ("currency", 0.0) in self.weights else "auto"

    @property
    def resolved(self) -> Profile:
        """The profile with the weights."""
        return resolve(self.profile, dict(self.weights) or None)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An arm that could not be measured, and why."""

    arm: Arm
    reason: str


@dataclass(frozen=True, slots=True)
class OpenArms:
    """The arms to measure, in order, and those whose reranker cannot be used.

    `parameters` are the weights of each reranker, by its name: 0 if it has none of its own, None
    where nobody can count them.
    """

    ready: tuple[Arm, ...]
    parameters: dict[str, int | None]
    left_out: tuple[LeftOut, ...] = ()


def combined(
    rerankers: Sequence[str], profiles: Sequence[str], *, ablate: bool = False
) -> list[Arm]:
    """Return every reranker with every profile, each pair once.

    Args:
        ablate: behind each profile with components, also the profile without each of them, and
            with each of them alone.

    Raises:
        BadInput: a name is unknown; nothing was loaded.
    """
    arms = [Arm(*pair) for pair in itertools.product(rerankers, profiles)]
    _check_names(arms)
    if ablate:
        arms = [one for arm in arms for one in (arm, *_ablated(arm))]
    return list(dict.fromkeys(arms))


def _ablated(arm: Arm) -> list[Arm]:
    """Return an arm without each of its components, then with each of them alone."""
    profile = arm.resolved
    # components that have no weight anyway change nothing
    heavy = [name for name in COMPONENTS if getattr(profile, name) > 0 and profile.cap > 0]
    if len(heavy) < 2:
        return []
    without = [
        Arm(arm.reranker, arm.profile, ((name, 0.0),), f"{arm.profile} -{name}") for name in heavy
    ]
    alone = [
        Arm(
            arm.reranker,
            arm.profile,
            tuple((other, 0.0) for other in heavy if other != name),
            f"{arm.profile} only {name}",
        )
        for name in heavy
    ]
    return [*without, *alone]


def open_arms(
    store: MemoryStore, arms: Sequence[Arm], *, on_rerank_error: OnRerankError = "raise"
) -> OpenArms:
    """Open the rerankers of all arms, each once.

    Args:
        on_rerank_error: `raise`, or `skip` to leave out the arms whose reranker cannot be opened.

    Raises:
        BadInput: a name is unknown.
        RerankerUnavailable, KeyRefused, MissingExtra: a reranker cannot be used here.
    """
    if on_rerank_error not in ("raise", "skip"):
        raise BadInput(f"on_rerank_error is {on_rerank_error!r}; give 'raise' or 'skip'.")
    _check_names(arms)
    parameters: dict[str, int | None] = {}
    failures: dict[str, str] = {}
    for name in dict.fromkeys(arm.reranker for arm in arms):
        try:
            reranker = store.reranker(name)
        except FAILURES as error:
            if on_rerank_error == "raise":
                raise
            failures[name] = str(error)
        else:
            parameters[name] = 0 if reranker is None else reranker.parameters
    return OpenArms(
        ready=tuple(arm for arm in arms if arm.reranker in parameters),
        parameters=parameters,
        left_out=tuple(
            LeftOut(arm, failures[arm.reranker]) for arm in arms if arm.reranker in failures
        ),
    )


def _check_names(arms: Sequence[Arm]) -> None:
    for arm in arms:
        _ = arm.resolved
        check_rerank(arm.reranker)
