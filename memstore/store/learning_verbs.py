"""The methods of `MemoryStore` that fit its numbers to its own data: `calibrating`, `learning`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from memstore.errors import BadInput
from memstore.settings import DEFAULT_PROFILE
from memstore.store import drafts
from memstore.store.opened_verbs import OpenedVerbs
from memstore.store.requests import check_count
from memstore.store.rerankers import NO_RERANKER, OWN_VECTORS, check_rerank, choose
from memstore.store.writing import microseconds_now

if TYPE_CHECKING:
    from memstore.rerank import Reranker
    from memstore.store.calibrating import CalibrationReport
    from memstore.store.judged_questions import Guard, JudgedQuestion
    from memstore.store.learning import LearnedWeights, LearnReport

# imported where they are called: an optimiser's code is nothing that a query should load


class LearningVerbs(OpenedVerbs):
    """Nothing here happens by itself: a store is calibrated and learns when it is told to."""

    def calibrate(
        self,
        *,
        questions: Sequence[JudgedQuestion | Mapping[str, Any]] | None = None,
        namespace: str = "*",
        rerank: str | Reranker | None = None,
        seed: int = 0,
        limit: int = 256,
        dry_run: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> CalibrationReport:
        """Fit how raw scores become log-odds of relevance to this store; its queries then use it.

        The order by relevance alone stays exactly as it is. Doing it again replaces the fit.

        Args:
            questions: with known answers: mappings with `text`, `relevant` (keys or ids, or a
                mapping of them to grades) and optionally `namespace`, `now` and `as_of`. Without
                any, questions are made of the store's own memories.
            namespace: of questions that have none themselves; where questions are made from.
            rerank: the reranker whose scores are calibrated; by default those of the encoder.
            seed: of the questions that are made, and of the cross-validation.
            limit: most questions.
            dry_run: only say how well it would fit.
            progress: called with the number of questions asked since the last call.

        Raises:
            BadInput: there are too few questions or memories to fit anything, or the scores say
                nothing of relevance.
        """
        from memstore.store.calibrating import calibrate
        from memstore.store.judged_questions import check_questions

        opened = self._opened
        check_count(limit, "limit", None)
        chosen = check_rerank(rerank)
        if chosen in (None, NO_RERANKER, OWN_VECTORS):
            chosen = NO_RERANKER
        return calibrate(
            opened,
            None if questions is None else check_questions(questions),
            namespace=drafts.check_namespace(namespace, allow_all=True),
            choice=choose(opened, chosen, skip=False),
            seed=_seed(seed),
            limit=limit,
            dry_run=dry_run,
            now=microseconds_now(),
            progress=progress,
        )

    def calibrations(self) -> tuple[CalibrationReport, ...]:
        """Return the calibrations that were fitted in this store, by scorer."""
        from memstore.store.calibrating import stored

        return stored(self._opened)

    def learn(
        self,
        *,
        profile: str = DEFAULT_PROFILE,
        guards: Sequence[Guard] = (),
        seed: int = 0,
        dry_run: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> LearnReport:
        """Fit a profile's weights to what was used of the pages that queries showed.

        Pages are logged where the setting `log_pages` is on; `reinforce`, `confirm` and
        `contradict` with a `page` say what was used of them. New weights are put to use only if
        all conditions of the report hold. The cap is never learned.

        Args:
            guards: questions whose nDCG@10 must not drop, besides those made of the store itself.
            seed: of the bootstrap, and of the questions that are made.
            dry_run: only say what would be learned.
            progress: called with the name of each guard set before it is asked.

        Raises:
            BadInput: no such profile, one without weights, or a guard that judges nothing.
        """
        from memstore.store.learning import learn

        return learn(
            self._opened,
            profile=profile,
            guards=guards,
            seed=_seed(seed),
            dry_run=dry_run,
            now=microseconds_now(),
            progress=progress,
        )

    def learned_weights(self) -> tuple[LearnedWeights, ...]:
        """Return all weights that were learned in this store, oldest first."""
        from memstore.store.learning import versions

        return versions(self._opened)

    def use_weights(self, version: int | None, *, profile: str = DEFAULT_PROFILE) -> None:
        """Score with a version of a profile's learned weights from now on; None: with the shipped.

        Raises:
            BadInput: the profile has no such version.
        """
        from memstore.store.learning import use

        use(self._opened, version, profile=profile, now=microseconds_now())


def _seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise BadInput(f"seed is {seed!r}; give a whole number of at least 0.")
    return seed
