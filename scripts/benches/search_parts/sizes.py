"""What is measured at one number of passages, in steps; a step that was done is not repeated."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search_parts import vectors as vectors_
from search_parts.peers import (
    COLBERT_AI,
    FAST_PLAID,
    MEMSTORE,
    NUMPY,
    STORE,
    Driver,
    Library,
    PeerFailed,
)
from search_parts.rows import (
    Row,
    add_rows,
    build_row,
    megabytes,
    memory_fields,
    query_row,
    size_row,
    time_target,
)
from search_parts.timing import Found, Timing, alone, alternate, tune_fast_plaid, tune_memstore

SYNTHETIC_FROM = 500_000  # passages: their vectors would take 8 GB and more
SHORTENED_FROM = 50_000  # passages: one round, as each search takes long enough
CHECKED_QUERIES = 3
TUNING_QUERIES = 40
OVERLAP_TOLERANCE = 0.005
OPENED = 3  # fresh processes
TARGET_OVERLAP = 0.94  # up to 20,000 passages


@dataclass(frozen=True)
class Plan:
    """What one run does."""

    make: vectors_.Make
    peers: Mapping[str, Library]
    parts: Sequence[str]
    folder: Path
    queries: int
    rounds: int
    seed: int
    peer_builds: int
    adds: int
    keep: bool


class Size:
    """One number of passages in a folder of its own."""

    def __init__(self, plan: Plan, passages: int) -> None:
        self.plan = plan
        self.passages = passages
        self.folder = plan.folder / str(passages)
        self.data = self.folder / "data"
        self.index = self.folder / "index"
        (self.folder / "steps").mkdir(parents=True, exist_ok=True)

    @property
    def _rounds(self) -> int:
        return self.plan.rounds if self.passages <= SHORTENED_FROM else 1

    @property
    def synthetic(self) -> bool:
        return self.passages >= SYNTHETIC_FROM

    def rows(self) -> Iterator[Row]:
        """Measure, yielding each result; what fails is said and left out."""
        peers = {} if self.synthetic else self.plan.peers
        yield from self._step("prepare", self._prepare)
        yield from self._step("search memstore", self._search_alone)
        if not self.synthetic:
            yield from self._step("search numpy", self._search_numpy)
        for name in peers:
            yield from self._step(f"export {name}", lambda name=name: self._export(name))
        if "colbert-ai" in peers:
            for threads in (1, 2):
                yield from self._step(
                    f"search colbert-ai {threads}",
                    lambda threads=threads: self._search_colbert_ai(threads),
                )
        if "fast-plaid" in peers:
            yield from self._step("search fast-plaid", self._search_fast_plaid)
        if "open" in self.plan.parts:
            for library in (MEMSTORE, *peers.values()):
                yield from self._step(
                    f"open {library.name}", lambda library=library: self._open(library)
                )
        if "build" in self.plan.parts and self.passages <= self.plan.peer_builds:
            for name in peers:
                yield from self._step(f"build {name}", lambda name=name: self._build_peer(name))
        if "add" in self.plan.parts and self.passages <= self.plan.adds:
            yield from self._step("add memstore", self._add_store)
            for name in peers:
                yield from self._step(f"add {name}", lambda name=name: self._add_peer(name))
        if not self.plan.keep:
            shutil.rmtree(self.folder)

    def _step(self, name: str, measure: Callable[[], Sequence[Row]]) -> Iterator[Row]:
        path = self.folder / "steps" / f"{name.replace(' ', '-')}.json"
        if not path.exists():
            began = time.perf_counter()
            try:
                rows = measure()
            except (PeerFailed, OSError) as error:  # OSError: what a failed step did not write
                print(f"{name} at {self.passages} passages left out: {error}", file=sys.stderr)
                return
            took = time.perf_counter() - began
            print(f"{self.passages} passages, {name}: {took:.1f} s", file=sys.stderr)
            path.write_text(json.dumps(rows))
        for row in json.loads(path.read_text()):
            bench = {"bench": f"search.{row.pop('bench')}", "passages": self.passages}
            yield {**bench, **row}

    def _driver(self, library: Library, *, threads: int = 1) -> Driver:
        return Driver(library, self.folder, threads=threads)

    def _fresh(self, path: Path) -> Path:
        """Return a path where nothing is: an interrupted step may have left something."""
        if path.exists():
            shutil.rmtree(path)
        return path

    def _saved(self, step: str) -> list[Row]:
        rows: list[Row] = json.loads((self.folder / "steps" / f"{step}.json").read_text())
        return rows

    def _prepared(self, bench: str) -> Row:
        return next(row for row in self._saved("prepare") if row["bench"] == bench)

    # what everything else needs

    def _prepare(self) -> list[Row]:
        """Make the data and our index, and check that it finds what numpy finds."""
        given = self.plan.make()
        self._fresh(self.data)
        self._fresh(self.index)
        if self.synthetic:
            arguments = (self.passages, self.plan.queries, self.plan.seed)
            tokens = vectors_.write_synthetic_index(self.index, self.data, given, *arguments)
            size = sum(path.stat().st_size for path in self.index.rglob("*") if path.is_file())
            kind = f"{len(given.lengths)} passages, repeated with other codes"
            return [size_row("memstore", size, tokens, data=kind)]
        vectors_.write_size(self.data, given, self.passages, self.plan.queries, self.plan.seed)
        tokens = int(np.load(self.data / "lengths.npy").sum())
        copies = max(0, self.passages - len(given.lengths))
        with self._driver(MEMSTORE) as driver:
            built = driver("build", data=str(self.data), index=str(self.index))
            memory = driver("memory")
        with self._driver(MEMSTORE) as driver:
            driver("open", index=str(self.index))
            numbers = list(range(min(CHECKED_QUERIES, self.plan.queries)))
            checked = driver("check", data=str(self.data), numbers=numbers)
        kind = f"{copies} copies with noise {vectors_.NOISE}" if copies else "as given"
        return [
            {"bench": "check", "equals": "numpy over decoded vectors, at full depth", **checked},
            build_row("memstore", built, memory, None, self.passages),
            size_row("memstore", built["bytes"], tokens, data=kind),
        ]

    def _export(self, name: str) -> list[Row]:
        target = self._fresh(self.folder / name)
        with self._driver(MEMSTORE) as driver:
            places = {"index": self.index, "data": self.data, "folder": target}
            driver("export", kind=name, **{key: str(path) for key, path in places.items()})
        return []

    @property
    def _numbers(self) -> list[int]:
        return list(range(len(np.load(self.data / "query_lengths.npy"))))

    # searching

    def _search_alone(self) -> list[Row]:
        with self._driver(MEMSTORE) as ours:
            ours("open", index=str(self.index))
            timing = alone(ours, str(self.data), self._numbers, 3 * self._rounds)
            memory, depths = ours("memory"), ours("depths")
        row = query_row("memstore, alone", 1, timing, None)
        return [
            {**row, **depths, **time_target(self.passages)},
            {"bench": "memory", "peer": "memstore", **memory_fields(memory)},
        ]

    def _search_numpy(self) -> list[Row]:
        with self._driver(MEMSTORE) as ours, self._driver(NUMPY) as exact:
            ours("open", index=str(self.index))
            exact("open", index=str(self.data))
            numbers = self._numbers
            mine, theirs = alternate(ours, exact, str(self.data), numbers, 1)
            memory = exact("memory")
        truth = theirs.found
        (self.folder / "truth.json").write_text(json.dumps(list(truth.items())))
        (self.folder / "mine.json").write_text(json.dumps(list(mine.found.items())))
        own = query_row("memstore", 1, mine, truth)
        if self.passages <= 20_000:
            own["target"] = f"overlap >= {TARGET_OVERLAP}"
        return [
            own,
            query_row(NUMPY.name, 1, theirs, truth, mine),
            {"bench": "memory", "peer": NUMPY.name, **memory_fields(memory)},
        ]

    @property
    def _truth(self) -> Found:
        return dict(json.loads((self.folder / "truth.json").read_text()))

    def _search_colbert_ai(self, threads: int) -> list[Row]:
        rows = []
        with self._driver(MEMSTORE) as ours, self._driver(COLBERT_AI, threads=threads) as peer:
            ours("open", index=str(self.index))
            peer("open", index=str(self.folder / "colbert-ai"))
            for k in (10, 100):
                mine, theirs = alternate(
                    ours, peer, str(self.data), self._numbers, self._rounds, k=k
                )
                row = query_row(f"colbert-ai k={k}", threads, theirs, self._truth, mine)
                rows.append(row)
                if (k, threads) == (10, 1):
                    rows.append(self._at_equal_overlap(ours, peer, theirs.overlap(self._truth)))
            if threads == 1:
                memory = peer("memory")
                rows.append({"bench": "memory", "peer": "colbert-ai", **memory_fields(memory)})
        return rows

    def _at_equal_overlap(self, ours: Driver, peer: Driver, wanted: float) -> Row:
        """Compare colbert-ai's k=10 with ours going only as deep as its overlap needs."""
        data, numbers, truth = str(self.data), self._numbers, self._truth
        depths, reached = tune_memstore(ours, data, numbers, truth, wanted)
        mine, theirs = alternate(ours, peer, data, numbers, self._rounds, own=depths, k=10)
        row = query_row("colbert-ai k=10, equal overlap", 1, theirs, truth, mine)
        own = {f"memstore_{name}": depth for name, depth in depths.items()}
        own["memstore_overlap"] = round(mine.overlap(truth), 4)
        return {**row, **own, "reached_overlap": reached, "target": "ratio >= 15"}

    def _search_fast_plaid(self) -> list[Row]:
        truth, numbers = self._truth, self._numbers
        mine_found = Timing(found=dict(json.loads((self.folder / "mine.json").read_text())))
        tuning = numbers[:TUNING_QUERIES]
        own = Timing(found={number: mine_found.found[number] for number in tuning})
        with self._driver(MEMSTORE) as ours, self._driver(FAST_PLAID) as peer:
            ours("open", index=str(self.index))
            peer("open", index=str(self.folder / "fast-plaid"))
            mine, theirs = alternate(ours, peer, str(self.data), numbers, self._rounds)
            rows = [query_row("fast-plaid defaults", 1, theirs, truth, mine)]
            wanted = own.overlap(truth) - OVERLAP_TOLERANCE
            options, reached = tune_fast_plaid(
                peer, str(self.data), tuning, truth, wanted, self.passages
            )
            mine, theirs = alternate(ours, peer, str(self.data), numbers, self._rounds, **options)
            row = query_row("fast-plaid tuned", 1, theirs, truth, mine)
            rows.append({**row, **options, "reached_overlap": reached, "target": "ratio >= 30"})
            memory = peer("memory")
            rows.append({"bench": "memory", "peer": "fast-plaid", **memory_fields(memory)})
        return rows

    # opening, building, adding

    def _open(self, library: Library) -> list[Row]:
        """Time fresh processes up to their first result; files may be in the system's cache."""
        place = self.index if library is MEMSTORE else self.folder / library.name
        imported, first = [], []
        for _ in range(OPENED):
            began = time.perf_counter()
            with self._driver(library) as driver:
                driver("versions")
                imported.append(time.perf_counter() - began)
                driver("open", index=str(place))
                driver("search", data=str(self.data), numbers=[0])
                first.append(time.perf_counter() - began)
        return [
            {
                "bench": "open",
                "peer": library.name,
                "imported_s": round(statistics.median(imported), 3),
                "first_result_s": round(statistics.median(first), 3),
            }
        ]

    def _build_peer(self, name: str) -> list[Row]:
        """Let a peer build from the same vectors, between two builds of ours."""
        library = self.plan.peers[name]
        own = self._prepared("build")["cpu_s"]
        target = self._fresh(self.folder / f"{name}-own")
        with self._driver(library) as driver:
            built = driver("build", data=str(self.data), index=str(target))
            memory = driver("memory")
        again = self._fresh(self.folder / "index-again")
        with self._driver(MEMSTORE) as driver:
            later = driver("build", data=str(self.data), index=str(again))["cpu_s"]
        shutil.rmtree(again)
        tokens = self._prepared("size")["tokens"]
        row = build_row(name, built, memory, (own + later) / 2, self.passages)
        rows = [row, size_row(name, built["bytes"], tokens)]
        with self._driver(MEMSTORE) as ours, self._driver(library) as peer:
            ours("open", index=str(self.index))
            peer("open", index=built["path"])
            mine, theirs = alternate(ours, peer, str(self.data), self._numbers, 1)
        rows.append(query_row(f"{name}, own build, defaults", 1, theirs, self._truth, mine))
        shutil.rmtree(target)
        return rows

    def _add_store(self) -> list[Row]:
        store = self._fresh(self.folder / "store")
        places = {"data": str(self.data), "store": str(store)}
        with self._driver(STORE) as driver:
            filled = driver("fill", **places)
        first = []
        for _ in range(OPENED):
            began = time.perf_counter()
            with self._driver(STORE) as driver:
                driver("first_result", **places)
                first.append(time.perf_counter() - began)
        with self._driver(STORE) as driver:
            took = driver("add", **places)
            memory = driver("memory")
        shutil.rmtree(store)
        return [
            *add_rows("memstore", took, None),
            {
                "bench": "open",
                "peer": STORE.name,
                "first_result_s": round(statistics.median(first), 3),
            },
            {
                "bench": "store",
                "peer": STORE.name,
                "fill_s": round(filled["wall_s"], 2),
                "mb": megabytes(filled["bytes"]),
                **memory_fields(memory),
            },
        ]

    def _add_peer(self, name: str) -> list[Row]:
        copy = self._fresh(self.folder / f"{name}-copy")
        with self._driver(self.plan.peers[name]) as driver:
            took = driver("add", data=str(self.data), index=str(self.folder / name), copy=str(copy))
        own = {row["added"]: row["durable_ms"] for row in self._own_adds()}
        return add_rows(name, took, own)

    def _own_adds(self) -> list[Row]:
        try:
            saved = self._saved("add-memstore")
        except FileNotFoundError:  # it failed, which was said
            return []
        return [row for row in saved if row["bench"] == "add"]
