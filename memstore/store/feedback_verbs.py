"""The verbs of `MemoryStore` that say something of a stored memory. What they do: `feedback`."""

from __future__ import annotations

from memstore.store import feedback
from memstore.store.opened_verbs import OpenedVerbs
from memstore.store.writing import microseconds_now
from memstore.types import Memory, Source, When


class FeedbackVerbs(OpenedVerbs):
    """One event feeds one component; nothing else is touched, and searching says nothing.

    Every verb takes an `idempotency_key`: the same call under the same key again changes nothing
    and returns the memory as it is; another call under it is refused. Each raises MemoryNotFound
    if no memory has the id, and BadInput for a value that cannot be accepted.
    """

    def reinforce(
        self,
        id: str,  # noqa: A002  # the name of the public contract
        *,
        at: When | None = None,
        session: str | None = None,
        page: str | None = None,
        idempotency_key: str | None = None,
    ) -> Memory:
        """Say that a memory was used: it helped to answer. Feeds `use`, and nothing else.

        Args:
            at: when; now by default.
            session: of the agent. Uses within ten minutes of each other in one session are one.
            page: `QueryResult.page` of the query that showed it; weights are learned from these.
        """
        return feedback.reinforce(
            self._opened,
            id,
            at=at,
            session=session,
            page=page,
            idempotency_key=idempotency_key,
            now=microseconds_now(),
        )

    def confirm(
        self,
        id: str,  # noqa: A002
        *,
        source: str,
        refresh: bool = False,
        observed_at: When | None = None,
        page: str | None = None,
        idempotency_key: str | None = None,
    ) -> Memory:
        """Say that a source holds a memory to be true. Feeds `trust`.

        Args:
            source: who says so. One vote per source counts, the last one.
            refresh: it was seen to hold still: unless it is known when it happened, its age counts
                from `observed_at`, by default now.
            page: as for `reinforce`.
        """
        return feedback.vote(
            self._opened,
            id,
            confirms=True,
            source=source,
            refresh=refresh,
            observed_at=observed_at,
            page=page,
            idempotency_key=idempotency_key,
            now=microseconds_now(),
        )

    def contradict(
        self,
        id: str,  # noqa: A002
        *,
        source: str,
        page: str | None = None,
        idempotency_key: str | None = None,
    ) -> Memory:
        """Say that a source holds a memory to be false. Feeds `trust`; it stays valid.

        Args:
            source: who says so. One vote per source counts, the last one.
            page: as for `reinforce`.
        """
        return feedback.vote(
            self._opened,
            id,
            confirms=False,
            source=source,
            page=page,
            idempotency_key=idempotency_key,
            now=microseconds_now(),
        )

    def supersede(
        self,
        old_id: str,
        new_id_or_text: str,
        *,
        at: When | None = None,
        idempotency_key: str | None = None,
    ) -> Memory:
        """Say that another memory holds now instead of an old one, and return the new one.

        The old one stops being valid where the new one begins, and is found before that with
        `as_of`. Nothing else of it changes.

        Args:
            new_id_or_text: a memory that is there, or the text of one to be added, in the same
                namespace and under the same key.
            at: when the old one ended, and a text began to hold; by default when the new one
                begins.

        Raises:
            BadInput: the new one is superseded by the old one already, is in another namespace, or
                the old one would end before it begins.
        """
        new = feedback.supersede(
            self._opened,
            old_id,
            new_id_or_text,
            at=at,
            idempotency_key=idempotency_key,
            now=microseconds_now(),
        )
        self._wrote(1)
        return new

    def retract(
        self,
        id: str,  # noqa: A002
        *,
        reason: str,
        idempotency_key: str | None = None,
    ) -> Memory:
        """Say that a memory was never true: no query finds it, whatever its `as_of`, unless it asks
        what was known before now (`known_at`). It stays listed, with its history.
        """
        return feedback.retract(
            self._opened,
            id,
            reason=reason,
            idempotency_key=idempotency_key,
            now=microseconds_now(),
        )

    def set_importance(
        self,
        id: str,  # noqa: A002
        importance: float,
        *,
        idempotency_key: str | None = None,
    ) -> Memory:
        """Say how much a memory matters, from -1 to 1; 1 pins it, 0 says nothing."""
        return feedback.set_importance(
            self._opened,
            id,
            importance,
            idempotency_key=idempotency_key,
            now=microseconds_now(),
        )

    def set_source(
        self, name: str, *, reliability: float | None = None, vote_weight: float | None = None
    ) -> Source:
        """Say how far a source is believed. It counts for all it has written and voted, past too.

        Args:
            reliability: 0 to 1, the trust that its memories begin with where their writer gave no
                confidence; 0.5 by default.
            vote_weight: 0 to 1, how much its vote counts; 1 by default.
        """
        return feedback.set_source(
            self._opened,
            name,
            reliability=reliability,
            vote_weight=vote_weight,
            now=microseconds_now(),
        )

    def sources(self) -> tuple[Source, ...]:
        """Return all who wrote memories or voted, and how far each is believed."""
        return feedback.sources(self._opened)
