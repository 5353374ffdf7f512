"""One of many processes on a store: `reader` or `writer`, the path, a log file, a seed, seconds.

Each writes only memories of its own namespace, and logs what it was told: one JSON line per
observation or change, with the moments (of a clock that all processes share) between which it took
place. What must hold within one answer is checked here, what must hold between processes by the
test that reads the logs.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from memstore import Memory, MemoryNotFound, MemoryStore, NewMemory, StoreLocked

HOT_TOKENS = 400
# all memories there will ever be are scored exactly: a miss is none of the approximation's
SETTINGS = {"hot_tokens": HOT_TOKENS, "proposals": 0, "candidates": 5000}


def clock() -> float:
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def text_of(word: str, version: int) -> str:
    return f"{word}v{version} is what {word} says at version {version}"


def check_memory(memory: Memory) -> tuple[str, int]:
    """Return a memory's word and version, which its text, metadata and entities agree on."""
    word, version = memory.metadata["word"], memory.metadata["version"]
    assert memory.text == text_of(word, version), memory
    given = () if "i" in word else (f"Entity {word}",)  # an ingested line names none
    assert memory.entities == given, memory
    return word, version


class Worker:
    def __init__(self, path: Path, log: TextIO, seed: int) -> None:
        self.path, self.log, self.random, self.seed = path, log, random.Random(seed), seed
        self.tallies: dict[str, list[float]] = {}

    @contextlib.contextmanager
    def said(self, **what: Any) -> Iterator[dict[str, Any]]:
        """Log what happens inside the block, with when it began and when it had ended."""
        began = clock()
        yield what
        ended = clock()
        self.tallies.setdefault(what["op"], []).append(ended - began)
        self.log.write(json.dumps({**what, "began": began, "ended": ended}) + "\n")

    def run(self, seconds: float) -> None:
        end = clock() + seconds
        steps = self.steps()
        names, weights = list(steps), [steps[name][0] for name in steps]
        for name in names:  # each kind at least once, whatever chance says
            steps[name][1]()
        while clock() < end:
            steps[self.random.choices(names, weights)[0]][1]()

    def steps(self) -> dict[str, tuple[float, Any]]:
        raise NotImplementedError


class Reader(Worker):
    def __init__(self, store: MemoryStore, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.store = store
        self.known: list[Memory] = []

    def steps(self) -> dict[str, tuple[float, Any]]:
        return {
            "list": (4, self.list),
            "query": (6, self.query),
            "get": (4, self.get),
            "versions": (3, self.versions),
            "pairs": (3, self.pairs),
            "history": (2, self.history),
            "entities": (1, self.entities),
            "stats": (1, self.stats),
            "export": (0.2, self.export),
            "backup": (0.2, self.backup),
        }

    def list(self) -> None:
        namespace = self.random.choice(["w0", "w1"])
        with self.said(op="list", namespace=namespace) as what:
            page = self.store.list(namespace=namespace, limit=10_000)
            what["seen"] = {item.id: check_memory(item)[1] for item in page.memories}
        self.known = list(page.memories) or self.known

    def query(self) -> None:
        if not self.known:
            return
        wanted = self.random.choice(self.known)
        word, version = check_memory(wanted)
        with self.said(op="query", id=wanted.id, version=version) as what:
            hits = self.store.query(f"{word}v{version}", namespace="*", limit=3).hits
            found = {hit.memory.id: check_memory(hit.memory)[1] for hit in hits}
            for hit in hits:
                assert hit.passage.text == hit.memory.text[hit.passage.start : hit.passage.end]
            what["seen"] = found
            what["holds"] = wanted.key is None

    def get(self) -> None:
        if not self.known:
            return
        wanted = self.random.choice(self.known)
        with (
            self.said(op="get", id=wanted.id, seen={}) as what,
            contextlib.suppress(MemoryNotFound),
        ):
            what["seen"] = {wanted.id: check_memory(self.store.get(wanted.id))[1]}

    def versions(self) -> None:
        """Of the versions of a key exactly one is the current one."""
        keys = [item.key for item in self.known if item.key is not None]
        if not keys:
            return
        key = self.random.choice(keys)
        found = self.store.list(namespace="*", where={"key": key}, limit=1000).memories
        current = [item for item in found if item.superseded_by is None]
        if found:  # else it was purged meanwhile
            assert len(current) == 1, found
            assert current[0].valid_to is None, found
            assert all(item.valid_to is not None for item in found if item is not current[0]), found

    def pairs(self) -> None:
        """What is stored by one call is all there or not there."""
        pairs = [item.metadata["pair"] for item in self.known if "pair" in item.metadata]
        if not pairs:
            return
        where = {"metadata.pair": self.random.choice(pairs)}
        found = self.store.list(namespace="*", where=where).memories
        assert len(found) in (0, 2), found
        assert len({check_memory(item)[1] for item in found}) <= 1, found

    def history(self) -> None:
        if not self.known:
            return
        with contextlib.suppress(MemoryNotFound):
            events = self.store.history(self.random.choice(self.known).id)
            verbs = [event.verb for event in events]
            assert verbs[0] == "add" or verbs == ["purge"], verbs

    def entities(self) -> None:
        assert all(item.memories >= 1 for item in self.store.entities(namespace="*", limit=50))

    def stats(self) -> None:
        stats = self.store.stats()
        assert stats.passages >= stats.hot_passages

    def export(self) -> None:
        target = self.path.parent / f"export-{self.seed}.jsonl"
        with self.said(op="export", seen={}) as what:
            self.store.export(target)
            _, *lines, manifest = target.read_text().splitlines()
            for line in map(json.loads, lines):
                what["seen"][line["id"]] = line["metadata"]["version"]
            assert json.loads(manifest)["manifest"]["memories"] == len(lines)
        target.unlink()

    def backup(self) -> None:
        target = self.path.parent / f"backup-{self.seed}"
        try:
            with self.said(op="backup", seen={}) as what:
                self.store.backup(target)
                with MemoryStore.open(target, read_only=True, settings=SETTINGS) as copy:
                    report = copy.verify()
                    assert report.clean, report.findings
                    page = copy.list(namespace="*", limit=10_000)
                    what["seen"] = {item.id: check_memory(item)[1] for item in page.memories}
                    for item in self.random.sample(page.memories, min(3, len(page.memories))):
                        if item.valid_to is None:
                            word, version = check_memory(item)
                            hits = copy.query(f"{word}v{version}", namespace="*", limit=1).hits
                            assert hits[0].memory == item
        except StoreLocked:  # documented: others seal, compact and back up all the time
            self.tallies.setdefault("backup locked", []).append(0.0)
        finally:
            shutil.rmtree(target, ignore_errors=True)


class Writer(Worker):
    def __init__(self, store: MemoryStore, namespace: str, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.store, self.namespace = store, namespace
        self.count = 0
        self.singles: dict[str, tuple[str, int]] = {}  # id → word and version
        self.pairs: list[list[str]] = []
        self.keyed: dict[str, list[str]] = {}
        self.files: list[list[dict[str, Any]]] = []

    def steps(self) -> dict[str, tuple[float, Any]]:
        return {
            "add": (6, self.add),
            "add_many": (3, self.add_many),
            "ingest": (1, self.ingest),
            "supersede": (4, self.supersede),
            "update": (4, self.update),
            "feedback": (3, self.feedback),
            "forget": (2, self.forget),
            "compact": (0.3, self.compact),
            "verify": (0.2, self.verify),
            "purge": (0.3, self.purge),
        }

    def new(self, version: int = 1, word: str | None = None, **metadata: Any) -> NewMemory:
        self.count += 1
        word = word or f"{self.namespace}n{self.count}"
        return NewMemory(
            text=text_of(word, version),
            namespace=self.namespace,
            metadata={"word": word, "version": version, **metadata},
            entities=[f"Entity {word}"],
        )

    def store_all(self, drafts: list[NewMemory]) -> list[Memory]:
        with self.said(op="add") as what:
            stored = self.store.add_many(drafts)
            what["stored"] = {item.id: item.metadata["version"] for item in stored}
        return stored

    def add(self) -> None:
        (memory,) = self.store_all([self.new()])
        self.singles[memory.id] = check_memory(memory)
        hit = self.store.query(memory.text, namespace=self.namespace, limit=1).hits[0]
        assert hit.memory == memory, (hit.memory, memory)

    def add_many(self) -> None:
        pair = f"{self.namespace}p{self.count}"
        stored = self.store_all([self.new(pair=pair), self.new(pair=pair)])
        self.pairs.append([item.id for item in stored])

    def ingest(self) -> None:
        drafts = [self.new(word=f"{self.namespace}i{self.count}") for _ in range(5)]
        inputs = [
            {
                "text": draft.text,
                "namespace": draft.namespace,
                "metadata": dict(draft.metadata or {}),
            }
            for draft in drafts
        ]
        with self.said(op="add") as what:
            report = self.store.ingest(inputs, batch_size=2)
            assert report.added == 5, report
            assert not report.errors, report
            again = self.store.ingest(inputs)
            assert (again.added, again.unchanged) == (0, 5), again
            for draft in drafts:
                word = (draft.metadata or {})["word"]
                (memory,) = self.store.list(
                    namespace=self.namespace, where={"metadata.word": word}
                ).memories
                self.singles[memory.id] = check_memory(memory)
            what["stored"] = dict.fromkeys([*self.singles][-5:], 1)

    def supersede(self) -> None:
        key = f"{self.namespace}k{self.random.randrange(5)}"
        versions = self.keyed.setdefault(key, [])
        draft = self.new(len(versions) + 1, word=f"{key}x{self.count}")
        with self.said(op="add") as what:
            memory = self.store.add(
                draft.text,
                namespace=self.namespace,
                key=key,
                metadata=draft.metadata,
                entities=draft.entities,
            )
            what["stored"] = {memory.id: len(versions) + 1}
        if versions:
            assert self.store.get(versions[-1]).superseded_by == memory.id
        versions.append(memory.id)

    def update(self) -> None:
        if not self.singles:
            return
        id_ = self.random.choice([*self.singles])
        word, version = self.singles[id_]
        with self.said(op="update", id=id_, version=version + 1):
            self.store.update(
                id_,
                text=text_of(word, version + 1),
                metadata={"word": word, "version": version + 1},
            )
        self.singles[id_] = (word, version + 1)

    def feedback(self) -> None:
        if not self.singles:
            return
        id_ = self.random.choice([*self.singles])
        verb = self.random.choice(["reinforce", "confirm", "contradict"])
        with self.said(op=verb, id=id_):
            if verb == "reinforce":
                self.store.reinforce(id_)
            else:
                getattr(self.store, verb)(id_, source=self.namespace)

    def doomed(self) -> list[str]:
        if self.pairs and self.random.random() < 0.5:
            return self.pairs.pop(self.random.randrange(len(self.pairs)))
        if self.singles:
            id_ = self.random.choice([*self.singles])
            del self.singles[id_]
            return [id_]
        return []

    def forget(self) -> None:
        ids = self.doomed()
        if ids:
            with self.said(op="forget", ids=ids):
                self.store.forget(ids)

    def purge(self) -> None:
        ids = self.doomed()
        if not ids:
            return
        with self.said(op="forget", ids=ids) as what:
            what["tries"] = 0
            while True:
                what["tries"] += 1
                try:
                    self.store.forget(ids, purge=True)
                    break
                except StoreLocked:  # documented: others read, or seal; but they are gone already
                    left = self.store.list(namespace="*", limit=10_000).memories
                    assert not {item.id for item in left} & {*ids}
                    if what["tries"] == 20:  # readers that take turns may never all be done
                        break

    def compact(self) -> None:
        try:
            with self.said(op="compact"):
                self.store.compact()
        except StoreLocked:  # documented: the other writer is at it
            self.tallies.setdefault("compact locked", []).append(0.0)

    def verify(self) -> None:
        try:
            with self.said(op="verify"):
                report = self.store.verify()
                assert report.clean, report.findings
        except StoreLocked:
            self.tallies.setdefault("verify locked", []).append(0.0)


def main(kind: str, path: Path, log: Path, seed: int, seconds: float) -> None:
    read_only = kind == "reader" and seed % 2 == 1
    with (
        log.open("w") as file,
        MemoryStore.open(path, read_only=read_only, settings=SETTINGS) as store,
    ):
        worker: Worker
        if kind == "reader":
            worker = Reader(store, path, file, seed)
        else:
            worker = Writer(store, f"w{seed}", path, file, seed)
        worker.run(seconds)
        file.write(
            json.dumps(
                {
                    "op": "done",
                    "tallies": {
                        name: [len(times), max(times)] for name, times in worker.tallies.items()
                    },
                }
            )
            + "\n"
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
