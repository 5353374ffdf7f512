"""Long texts and other namespaces take nothing away from what a query may find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memstore import MemoryStore, Settings
from memstore.encoders import QueryVectors
from memstore.encoders.hashed import HashedEncoder
from memstore.store import retrieval

BOOKS = 3
NOTES = 60
CROWDED = Settings(passage_tokens=40, overlap_tokens=0)


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 2,300 passages, nearly all of three books, and sixty notes; sealed."""
    path = tmp_path_factory.mktemp("crowded") / "store"
    with MemoryStore.open(path, encoder="hashed", settings=CROWDED) as store:
        for book in range(BOOKS):
            store.add(
                " ".join(
                    f"Ana walked to market number{line + book * 9999} and bought apples pears."
                    for line in range(2500)
                ),
                key=f"book{book}",
            )
        store.add_many([f"Ana walked once to a place{n} with nothing" for n in range(NOTES)])
        store.compact()
        assert store.stats().passages > retrieval.SMALL
    return path


@pytest.mark.parametrize("settings", [{}, {"exact": 1}, {"exhaustive": 0, "nprobe": 1}])
@pytest.mark.parametrize("limit", [1, 10, BOOKS + NOTES])
def test_long_texts_leave_room_for_all_other_memories(
    crowded: Path, settings: dict[str, int], limit: int
) -> None:
    with MemoryStore.open(crowded, settings=settings) as store:
        found = store.query("Ana walked to market and bought apples", limit=limit).hits
        assert len(found) == limit
        assert [hit.memory.key for hit in found[:BOOKS]] != [None] * min(limit, BOOKS)
        assert len({hit.memory.id for hit in found}) == limit


class _Contrasting(HashedEncoder):
    """Weighs query tokens by how far their best match stands out, as the bundled encoder does."""

    def encode_queries(self, texts: list[str]) -> list[QueryVectors]:  # type: ignore[override]
        return [
            QueryVectors(
                vectors=query.vectors,
                factors=query.factors,
                contrast=True,
                tokens=query.tokens,
                truncated=query.truncated,
            )
            for query in super().encode_queries(texts)
        ]


def test_what_tokens_weigh_in_a_namespace_does_not_depend_on_others(tmp_path: Path) -> None:
    def notes(namespace: str, count: int, with_needle: range) -> list[dict[str, str]]:
        return [
            {
                "text": f"note{n} topic{n % 90} word{n % 31} {'needle' * (n in with_needle)}",
                "namespace": namespace,
            }
            for n in range(count)
        ]

    with MemoryStore.open(tmp_path / "store", encoder=_Contrasting()) as store:
        store.add_many(notes("other", 4000, range(0, 4000, 9)))
        store.add_many(notes("mine", retrieval.SMALL + 200, range(777, 778)))
        store.compact()
        crowded = store.query("topic7 word3 needle", namespace="mine", explain=True).hits[0]
    with MemoryStore.open(tmp_path / "alone", encoder=_Contrasting()) as store:
        store.add_many(notes("mine", retrieval.SMALL + 200, range(777, 778)))
        store.compact()
        alone = store.query("topic7 word3 needle", namespace="mine", explain=True).hits[0]
    weights = [[match.weight for match in hit.token_matches] for hit in (crowded, alone)]
    assert len(weights[0]) == 3
    np.testing.assert_allclose(*weights, atol=0.06)  # codecs and samples differ
