"""What a long-lived process keeps in memory."""

import pytest

from memstore.catalog.engine import reading
from memstore.store import snapshot


def test_a_snapshot_gives_back_the_rows_that_died(store, monkeypatch):
    monkeypatch.setattr(snapshot, "_SPARE", 5)
    kept = store.add("Bruno plays chess.").id
    changed = store.add("Ana moved to Lisbon.").id
    sizes = []
    for n in range(30):
        store.update(changed, importance=n / 30)
        assert {hit.memory.id for hit in store.query("Ana Bruno").hits} == {kept, changed}
        opened = store._opened
        with reading(opened.engine, opened.path) as connection:
            sizes.append(len(opened.snapshot.refresh(connection).columns))
    assert max(sizes) <= 2 * 2 + 5
    assert store.query("Lisbon").hits[0].memory.importance == pytest.approx(29 / 30)
