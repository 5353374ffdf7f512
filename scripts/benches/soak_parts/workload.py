"""A seeded mix of everything a long-lived process does with a store, and what must come of it."""

import random
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from memstore import MemoryStore, StoreLocked

WORDS = 5_000
SPACES = 20
KEYS = 200
BATCH = 25


class Workload:
    """Operations by name. `expected` is every memory that was not forgotten, and its number."""

    def __init__(self, store: MemoryStore, *, memories: int, seed: int) -> None:
        self.store, self.memories = store, memories
        self.random = random.Random(seed)
        self.expected: dict[str, int] = {}
        self.ids: list[str] = []  # of `expected`, in no order: chosen from by chance
        self.place: dict[str, int] = {}
        self.number = 0
        self.uses: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = defaultdict(list)  # since the last sample
        self.done: Counter[str] = Counter()
        self.locked = 0

    def step(self) -> None:
        """Do one operation; the number of memories is held once it is reached."""
        full = len(self.ids) >= self.memories
        weights = {
            "add": 10,
            "add_many": 0 if full else 12,
            "supersede": 3,
            "query": 20,
            "query_filtered": 4,
            "query_explained": 2,
            "query_as_of": 2,
            "list_page": 2,
            "get": 8,
            "update": 5,
            "feedback": 5,
            "forget": 13 if full else 2,  # as many as are added
            "entities": 1,
        }
        (name,) = self.random.choices([*weights], [*weights.values()])
        self.run(name)

    def run(self, name: str) -> None:
        operation: Callable[[], object] = getattr(self, name)
        began = time.perf_counter()
        operation()
        self.seconds[name].append(time.perf_counter() - began)
        self.done[name] += 1

    def text(self) -> tuple[str, dict[str, int]]:
        self.number += 1
        common = [f"word{int(WORDS * self.random.random() ** 3)}" for _ in range(14)]
        name = f"Person{self.random.randrange(500)}"
        return f"n{self.number} {name} {' '.join(common)}", {"n": self.number}

    def space(self) -> str:
        return f"team/{self.random.randrange(SPACES)}"

    def keep(self, id_: str, number: int) -> None:
        self.place[id_] = len(self.ids)
        self.ids.append(id_)
        self.expected[id_] = number

    def drop(self, id_: str) -> None:
        place, last = self.place.pop(id_), self.ids.pop()
        if last != id_:
            self.ids[place] = last
            self.place[last] = place
        del self.expected[id_]
        self.uses.pop(id_, None)

    def any_id(self) -> str:
        return self.random.choice(self.ids)

    def add(self) -> None:
        text, metadata = self.text()
        memory = self.store.add(text, namespace=self.space(), metadata=metadata)
        self.keep(memory.id, metadata["n"])

    def add_many(self) -> None:
        drafts = []
        for _ in range(BATCH):
            text, metadata = self.text()
            drafts.append({"text": text, "namespace": self.space(), "metadata": metadata})
        for memory in self.store.add_many(drafts):
            self.keep(memory.id, memory.metadata["n"])

    def supersede(self) -> None:
        text, metadata = self.text()
        key = f"key{self.random.randrange(KEYS)}"
        memory = self.store.add(text, namespace="team/keys", key=key, metadata=metadata)
        self.keep(memory.id, metadata["n"])

    def words(self) -> str:
        return " ".join(f"word{int(WORDS * self.random.random() ** 3)}" for _ in range(4))

    def query(self) -> None:
        self.store.query(self.words(), namespace=self.random.choice(["*", self.space()]))

    def query_filtered(self) -> None:
        least = self.random.randrange(self.number)
        self.store.query(self.words(), namespace="*", where={"metadata.n": {"gte": least}})

    def query_explained(self) -> None:
        self.store.query(self.words(), namespace=self.space(), explain=True)

    def query_as_of(self) -> None:
        self.store.query(self.words(), namespace="*", as_of="2030-01-01T00:00:00Z")

    def list_page(self) -> None:
        self.store.list(namespace=self.space(), limit=50)

    def get(self) -> None:
        id_ = self.any_id()
        assert self.store.get(id_).metadata["n"] == self.expected[id_]

    def update(self) -> None:
        id_ = self.any_id()
        text, metadata = self.text()
        self.store.update(id_, text=text, metadata=metadata)
        self.expected[id_] = metadata["n"]

    def feedback(self) -> None:
        id_ = self.any_id()
        self.uses[id_] = self.store.reinforce(id_).uses

    def forget(self) -> None:
        id_ = self.any_id()
        self.store.forget(id_)
        self.drop(id_)

    def entities(self) -> None:
        self.store.entities(namespace="*", limit=20)

    def purge(self) -> None:
        id_ = self.any_id()
        self.drop(id_)
        for _ in range(20):
            try:
                self.store.forget(id_, purge=True)
                break
            except StoreLocked:  # the other process reads: old pages stay in the log for now
                self.locked += 1

    def compact(self) -> None:
        with suppress(StoreLocked):  # it is sealed in the background just now
            self.store.compact()

    def backup(self) -> None:
        target = Path(f"{self.store.path}.backup")
        self.store.backup(target)
        shutil.rmtree(target)

    def reconcile(self) -> list[str]:
        """Return what the store says otherwise than it was told."""
        found: dict[str, int] = {}
        uses: dict[str, int] = {}
        cursor = None
        while True:
            page = self.store.list(namespace="*", limit=1000, cursor=cursor)
            for memory in page.memories:
                found[memory.id] = memory.metadata["n"]
                uses[memory.id] = memory.uses
            cursor = page.cursor
            if cursor is None:
                break
        wrong = [f"{len(self.expected.keys() - found.keys())} memories are lost"]
        wrong += [f"{len(found.keys() - self.expected.keys())} memories came back"]
        same = self.expected.keys() & found.keys()
        wrong += [f"{sum(found[id_] != self.expected[id_] for id_ in same)} memories differ"]
        wrong += [f"{sum(uses.get(id_) != n for id_, n in self.uses.items())} uses differ"]
        return [item for item in wrong if not item.startswith("0 ")]
