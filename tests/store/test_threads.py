"""Many threads over one open store."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from memstore import BadInput, MemoryNotFound, MemoryStore, StoreLocked

SECONDS = 3.0


class Threads:
    """Threads that repeat something until all are told to end; what goes wrong in one is kept."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.problems: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def repeat(self, work: Callable[[], object]) -> None:
        def run() -> None:
            try:
                while not self.done.is_set():
                    work()
            except BaseException as error:  # any error is what these tests are about
                self.problems.append(error)

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def join(self) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


def test_threads_that_do_everything_at_once_see_committed_states_and_lose_nothing(
    store_path: Path,
) -> None:
    stored: set[str] = set()
    forgotten: set[str] = set()
    doomed: set[str] = set()  # being forgotten
    counts: Counter[str] = Counter()
    store = MemoryStore.open(store_path, settings={"hot_tokens": 200})
    threads = Threads()

    def writes(name: str) -> Callable[[], None]:
        source = random.Random(name)

        def write() -> None:
            number = counts[name] = counts[name] + 1
            pair = store.add_many(
                [
                    {"text": f"tea {name}{number} {side}", "metadata": {"pair": f"{name}{number}"}}
                    for side in ("left", "right")
                ]
            )
            own = [memory.id for memory in pair]
            (hit,) = store.query(f"{name}{number} left", limit=1).hits
            assert hit.memory.id == own[0], hit
            stored.update(own)
            if source.random() < 0.3:
                doomed.update(own)
                store.forget(own)
                forgotten.update(own)

        return write

    def query() -> None:
        expected, gone = set(stored), set(forgotten)
        first, second = store.query_many(["tea"] * 2, limit=1000)
        assert first.hits == second.hits
        found = {hit.memory.id for hit in first.hits}
        assert not found & gone
        assert not expected - found - doomed
        pairs = Counter(hit.memory.metadata["pair"] for hit in first.hits)
        assert set(pairs.values()) <= {2}, pairs

    def look() -> None:
        expected, gone = set(stored), set(forgotten)
        found = {memory.id for memory in store.list(limit=10_000).memories}
        assert not found & gone
        assert not expected - found - doomed
        for id_ in [*gone][:3]:
            with pytest.raises(MemoryNotFound):
                store.get(id_)

    def maintain() -> None:
        for act in (store.compact, store.rebuild, store.verify):
            try:
                report = act()
                assert act != store.verify or report.clean, report
                counts[act.__name__] += 1
            except StoreLocked:  # documented: someone seals, or wrote meanwhile
                counts["locked"] += 1
            time.sleep(0.05)

    with store:
        for work in (writes("a"), writes("b"), writes("c"), query, query, query, look, maintain):
            threads.repeat(work)
        time.sleep(SECONDS)
        threads.join()
        assert threads.problems == []
        assert min(counts[name] for name in ("a", "b", "c", "compact", "verify")) >= 1, counts
        left = {memory.id for memory in store.list(limit=10_000).memories}
        assert left == stored - forgotten
        report = store.verify()
        assert report.clean, report.findings
        store.rebuild()  # nobody writes now: it must come through
        hits = store.query("tea", limit=1000).hits
        assert {hit.memory.id for hit in hits} == left


@pytest.mark.parametrize("round_", range(4))
def test_closing_while_other_threads_work_is_a_typed_error_there_and_loses_nothing(
    store_path: Path, round_: int
) -> None:
    store = MemoryStore.open(store_path, settings={"hot_tokens": 50})
    threads, stored = Threads(), []

    def add() -> None:
        stored.append(store.add(f"tea number {len(stored)}").id)

    for work in (add, lambda: store.query("tea"), store.list, store.compact):
        threads.repeat(work)
    while len(stored) < 1 + round_:
        assert threads.problems == []
        time.sleep(0.005)
    store.close()
    assert not (store_path / "memstore.db-wal").exists()  # no connection is left
    threads.join()
    assert {type(error) for error in threads.problems} == {BadInput}, threads.problems
    assert all("is closed" in str(error) for error in threads.problems), threads.problems
    with MemoryStore.open(store_path) as again:
        assert {memory.id for memory in again.list().memories} == set(stored)
        assert again.verify().clean
