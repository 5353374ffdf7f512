"""The ways to answer that are compared: a reranker, or none, with a profile."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from memstore.errors import BadInput
from memstore.scoring.profiles import resolve
from memstore.store.rerankers import FAILURES, check_rerank

if TYPE_CHECKING:
    from memstore.store import MemoryStore

OnRerankError = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class Arm:
    """A reranker's name (`none` without one) and a profile's."""

    reranker: str
    profile: str

    def __str__(self) -> str:
        return f"{self.reranker} {self.profile}"


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


def combined(rerankers: Sequence[str], profiles: Sequence[str]) -> list[Arm]:
    """Return every reranker with every profile, each pair once.

    Raises:
        BadInput: a name is unknown; nothing was loaded.
    """
    arms = [Arm(*pair) for pair in itertools.product(rerankers, profiles)]
    _check_names(arms)
    return list(dict.fromkeys(arms))


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
        resolve(arm.profile)
        check_rerank(arm.reranker)
