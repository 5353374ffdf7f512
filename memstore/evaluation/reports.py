"""Everything that one data set is measured for: arms, links, stress sets, calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from memstore.errors import BadInput
from memstore.evaluation.arms import Arm, OpenArms
from memstore.evaluation.calibration import Calibrated, calibration_of
from memstore.evaluation.comparing import Progress, compare
from memstore.evaluation.comparison import Comparison, joined
from memstore.evaluation.disturbed_metadata import (
    adversarial_metadata,
    no_metadata,
    random_metadata,
)
from memstore.evaluation.flips import observe_flips
from memstore.evaluation.future_leaks import future_leaks
from memstore.evaluation.injected_updates import injected_updates
from memstore.evaluation.linking import link
from memstore.evaluation.stress import Bench, Stress
from memstore.evaluation.supersession import DEPTH, observe_pairs
from memstore.evaluation.temporary_store import temporary_copy
from memstore.evaluation.unreliable_sources import unreliable_sources

if TYPE_CHECKING:
    from memstore.evaluation.datasets import Dataset
    from memstore.store import MemoryStore

STRESSES: Final[dict[str, Callable[[Bench], Stress]]] = {
    "updates": injected_updates,
    "sources": unreliable_sources,
    "random-metadata": random_metadata,
    "adversarial-metadata": adversarial_metadata,
    "no-metadata": no_metadata,
    "future-leaks": future_leaks,
}
LINKS: Final = ("none", "oracle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured besides the arms.

    Args:
        links: `none`, and `oracle` for the profiles once more in a store that was told which
            memories replace which.
        stress: names of `STRESSES`.
        calibration: whether probabilities are compared with the judgements.
    """

    links: tuple[str, ...] = ("none",)
    stress: tuple[str, ...] = ()
    calibration: bool = False

    def __post_init__(self) -> None:
        for names, known in ((self.links, LINKS), (self.stress, tuple(STRESSES))):
            for name in names:
                if name not in known:
                    raise BadInput(f"{name!r} is unknown. Known: {', '.join(known)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came out for one data set; `links` is how many the oracle gave, None without one."""

    dataset: str
    comparison: Comparison
    links: int | None = None
    stressed: tuple[Stress, ...] = ()
    calibrated: tuple[Calibrated, ...] = ()


def measure(
    store: MemoryStore,
    dataset: Dataset,
    arms: OpenArms,
    plan: Plan,
    *,
    namespace: str,
    now: datetime | None,
    seed: int,
    progress: Progress | None = None,
    **how: Any,
) -> Report:
    """Measure all that a plan says on one data set, whose memories the store holds.

    The store itself is not changed; copies of it are.

    Args:
        how: further arguments of `compare`.
    """
    now = now or datetime.now(UTC)
    same: Mapping[str, Any] = {
        "namespace": namespace,
        "now": now,
        "seed": seed,
        "progress": progress,
        "encode_seconds": {},  # shared: a linked store is asked the same questions
        **how,
    }
    comparison, links = _compare_linked(store, dataset, arms, plan, same)
    asked = comparison.questions
    bench = Bench(
        store=store,
        questions=asked,
        arms=_with_semantic(arms),
        namespace=namespace,
        now=now,
        seed=seed,
        how=how,
        progress=progress,
    )
    calibrated = (
        calibration_of(
            store,
            asked,
            list(arms.parameters),
            rerank_depth=how.get("rerank_depth"),
            namespace=namespace,
            now=now,
            progress=progress,
        )
        if plan.calibration
        else []
    )
    return Report(
        dataset=dataset.name,
        comparison=comparison,
        links=links,
        stressed=tuple(STRESSES[name](bench) for name in plan.stress),
        calibrated=tuple(calibrated),
    )


def _compare_linked(
    store: MemoryStore, dataset: Dataset, arms: OpenArms, plan: Plan, same: Mapping[str, Any]
) -> tuple[Comparison, int | None]:
    """Return the arms' answers, and the number of links that the oracle gave."""
    pairs = dataset.pairs
    if pairs:
        depth = max(DEPTH, same.get("limit", DEPTH))
        same = {**same, "limit": depth, "observe": [partial(observe_pairs, pairs)]}
    own = dataclasses.replace(arms, ready=tuple(a for a in arms.ready if a.formula is None))
    comparisons, links = [], None
    # without pairs there is nothing to link
    for setting in plan.links if pairs else ("none",):
        if setting == "none":
            found = compare(store, dataset.questions, arms, **same)
            comparisons.append(_with_flips(store, found, same))
            continue
        with temporary_copy(store) as copy:
            links = link(copy, pairs, dataset.questions, namespace=same["namespace"])
            comparisons.append(compare(copy, dataset.questions, own, setting="linked", **same))
    return joined(comparisons), links


def _with_flips(store: MemoryStore, comparison: Comparison, same: Mapping[str, Any]) -> Comparison:
    arms = [item.arm for item in comparison.measured]
    if all(arm.formula is None for arm in arms):
        return comparison
    return comparison.with_further(
        observe_flips(
            store,
            comparison.questions,
            arms,
            namespace=comparison.namespace,
            now=comparison.now,
            progress=same["progress"],
        )
    )


def _with_semantic(arms: OpenArms) -> OpenArms:
    """Return the arms with, for every reranker, the profile that no metadata can move, first."""
    plain = [Arm(reranker, "semantic") for reranker in arms.parameters]
    others = [arm for arm in arms.ready if arm not in plain]
    return dataclasses.replace(arms, ready=(*plain, *others))
