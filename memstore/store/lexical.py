"""What a query names exactly, and which passages hold it: evidence beside that of the vectors.

What a term says depends on how many memories of the searched namespaces hold it, and on nothing
that is stored elsewhere, filtered out or not valid. Terms that too many hold are given up as soon
as that is known, so that a query costs the same however common its words are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memstore.catalog import full_text
from memstore.entities.words import is_common
from memstore.index import distinct
from memstore.index.segments import Ids
from memstore.scoring.lexical import (
    FEWEST,
    INNER,
    WEIGHTS,
    Term,
    information,
    most_holders,
    stands_alone,
    terms_of,
)
from memstore.store.snapshot import SnapshotView, Space

_SHOWN = 5  # terms in a reason
_UNFILTERED = 512  # holders in the whole store up to which asking for a namespace costs more


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A term, the passages that hold it, and what each of these says, in nats of information."""

    term: Term
    passage_ids: Ids
    information: NDArray[np.float64]


class Evidence:
    """Which passages hold what a query names, and how far that speaks for them, and against others.

    Shapes: passage_ids (passages,), ascending; words and exact (passages,), nats of information.
    """

    def __init__(self, matches: Sequence[Match] = ()) -> None:
        self._matches = matches
        self.passage_ids: Ids = distinct(
            np.concatenate([np.empty(0, dtype=np.int64), *(item.passage_ids for item in matches)])
        )
        self.words = np.zeros(len(self.passage_ids))
        self.exact = np.zeros(len(self.passage_ids))
        for item in matches:
            kind = self.exact if item.term.exact else self.words
            kind[np.searchsorted(self.passage_ids, item.passage_ids)] += item.information
        self.most = float(np.max(self.words + self.exact, initial=0.0))

    def __len__(self) -> int:
        return len(self.passage_ids)

    def held(self, passage_ids: Ids) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the information in the rare words, and in what is exact, of some passages."""
        if not len(self):
            return np.zeros(len(passage_ids)), np.zeros(len(passage_ids))
        places = np.minimum(np.searchsorted(self.passage_ids, passage_ids), len(self) - 1)
        known = self.passage_ids[places] == passage_ids
        return np.where(known, self.words[places], 0.0), np.where(known, self.exact[places], 0.0)

    def nats(self, passage_ids: Ids) -> NDArray[np.float64]:
        """Return what to add to the log-odds of some passages, in their order."""
        return WEIGHTS.nats(*self.held(passage_ids), self.most)

    def why(self, passage_id: int) -> str:
        """Return what a passage holds, in words."""
        held = [item.term for item in self._matches if passage_id in item.passage_ids]
        if not held:
            return f"without {_listed([item.term.text for item in self._matches])}"
        exact = [term.text for term in held if term.exact]
        rare = [term.text for term in held if not term.exact]
        kinds = (("exact", exact), ("rare", rare))
        return "; ".join(f"{kind}: {_listed(texts)}" for kind, texts in kinds if texts)


NO_EVIDENCE = Evidence()


class Lexicon:
    """The passages of one space by their words.

    Args:
        path: the namespace that the space is of, with all below it; None if that is everything.
    """

    def __init__(
        self, driver: sqlite3.Connection, view: SnapshotView, space: Space, path: str | None
    ) -> None:
        self._driver = driver
        self._view = view
        self._space = space
        self._path = None if space.everything else path
        self._memories = int(np.count_nonzero(space.known))
        hot_ids = view.hot.passage_ids[space.hot]
        order = np.argsort(hot_ids, kind="stable")
        self._hot_ids, self._hot_owners = hot_ids[order], view.hot.owners[space.hot][order]

    def evidence(self, query: str) -> Evidence:
        """Return what the passages hold of a query."""
        found = (self._match(term) for term in terms_of(query, is_common))
        return Evidence([match for match in found if match is not None])

    def _match(self, term: Term) -> Match | None:
        memories = max(self._memories, FEWEST) if term.exact else self._memories
        holders = self._holders(term.text, most_holders(memories))
        if holders is None:
            return None
        ids, owners = holders
        says = np.full(len(ids), information(memories, len(distinct(owners))))
        if term.exact:
            alone = {
                id_
                for id_, text in full_text.contents(self._driver, ids.tolist())
                if stands_alone(term.text, text)
            }
            whole = np.isin(ids, list(alone))
            says *= INNER
            if alone:
                says[whole] = information(memories, len(distinct(owners[whole])))
        return Match(term, ids, says)

    def _holders(self, text: str, most: int) -> tuple[Ids, NDArray[np.int64]] | None:
        """Return the passages of the space that hold a string, with the positions of their
        memories; None if nothing holds it, or more than `most` memories.
        """
        at_once = max(most + 1, _UNFILTERED // 2)
        cursor = full_text.holders(self._driver, text)
        ids = owners = np.empty(0, dtype=np.int64)
        read, filtered = 0, self._path is None
        while rows := cursor.fetchmany(at_once):
            read += len(rows)
            more, theirs = self._known([row for (row,) in rows])
            ids, owners = np.concatenate([ids, more]), np.concatenate([owners, theirs])
            if len(distinct(owners)) > most:
                return None
            if read >= _UNFILTERED and not filtered:  # most holders are elsewhere
                cursor, filtered = full_text.holders(self._driver, text, self._path), True
                ids = owners = ids[:0]
        return (ids, owners) if len(ids) else None

    def _known(self, passage_ids: Sequence[int]) -> tuple[Ids, NDArray[np.int64]]:
        """Return those passages that are in the space, and the positions of their memories."""
        wanted = np.array(passage_ids, dtype=np.int64)
        found, owners = [wanted[:0]], [wanted[:0]]
        if len(self._hot_ids):
            places = np.searchsorted(self._hot_ids, wanted)
            places = np.minimum(places, len(self._hot_ids) - 1)
            places = places[self._hot_ids[places] == wanted]
            found.append(self._hot_ids[places])
            owners.append(self._hot_owners[places])
        for base, segment in self._view.sealed.parts():
            slots = segment.slots_of(wanted)
            slots = slots[self._space.sealed[base + slots]]
            found.append(segment.passage_ids[slots])
            owners.append(self._view.sealed.owners[base + slots])
        return np.concatenate(found), np.concatenate(owners)


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:_SHOWN]) + (" …" if len(texts) > _SHOWN else "")
