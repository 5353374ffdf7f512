"""A purge leaves nothing of a memory: every byte of every file of the store is searched for it.

What to search for is taken from the store before the purge, less what living memories hold as well.
Set MEMSTORE_TORTURE=1 for many more stores, and for a kill at every step.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import memstore
from memstore import MemoryNotFound, MemoryStore, Settings
from memstore.catalog import feedback, links, log
from memstore.encoders import DocumentText
from memstore.encoders.hashed import HashedEncoder
from memstore.entities import canonical
from memstore.index import Codec, quantize
from memstore.store import forgetting, index_files, sealing, sealing_rules

TORTURE = os.environ.get("MEMSTORE_TORTURE") == "1"
STORES = 300 if TORTURE else 3
KILLS = 10_000 if TORTURE else 4

WINDOW = 12  # bytes of a text, a hash or a vector that may not be left; fewer occur by chance
ALIKE = 0.95  # words are random directions in 32 dimensions: any two are far from it

ENCODER = HashedEncoder()
BATCH = Settings(log_pages=True, session_context=2, passage_tokens=12, overlap_tokens=2)


@dataclass
class Told:
    """All that was ever said of one memory: `texts` are encoded too."""

    texts: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    spelled: list[str] = field(default_factory=list)  # names that others may spell differently


@dataclass
class Life:
    """A store that went through much, and what was told to it: memory id → that."""

    store: MemoryStore
    chance: random.Random
    told: dict[str, Told] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)  # forgotten

    def word(self) -> str:
        return self.chance.choice(["qué", "Übel", "zeb", "MIX"]) + "".join(
            self.chance.choices("abcdefghijklmnopqrstuvwxyz", k=11)
        )

    def text(self) -> str:
        shared = self.chance.sample(["tea", "pot", "of", "Ana", "cello", "Lisbon"], 3)
        own = [self.word() for _ in range(self.chance.choice([1, 3, 30]))]
        return " ".join(self.chance.sample([*shared, *own], len(shared) + len(own)))

    def living(self) -> str | None:
        return self.chance.choice(sorted(self.told.keys() - self.gone) or [""]) or None

    def add(self) -> None:
        told = Told([self.text(), self.word()])
        told.names = [self.word() for _ in range(8)]
        title, speaker = told.texts[1], told.names[0]
        name = self.chance.choice(["thunderfigtree", "ThunderFigTree", "THUNDERFIGTREE"])
        told.spelled = [name]
        key = self.chance.choice([None, told.names[1], "shared key"])
        given = {
            "text": told.texts[0],
            "title": self.chance.choice([None, title]),
            "key": key,
            "session": self.chance.choice([None, told.names[2], "shared session"]),
            "namespace": self.chance.choice(["default", f"team/{told.names[3]}"]),
            "source": self.chance.choice([None, told.names[4], "crm"]),
            "metadata": {told.names[5]: [told.names[6], 3]},
            "entities": self.chance.choice([None, [told.names[7], name, "Ana"]]),
            "speaker": self.chance.choice([None, speaker]),
            "confidence": self.chance.choice([None, 7.0]),
        }
        [memory] = self.store.add_many([given])
        told.texts.append(memory.text)
        self.told[memory.id] = told

    def update(self) -> None:
        if id_ := self.living():
            text, source, name = self.text(), self.word(), self.word()
            memory = self.store.update(
                id_, text=text, source=source, metadata={"note": name}, entities=[name, "Bruno"]
            )
            self.told[id_].texts += [text, memory.text]
            self.told[id_].names += [source, name]
            self.store.set_source(source, reliability=0.8)

    def supersede(self) -> None:
        if id_ := self.living():
            key, text = self.word(), self.text()
            self.told[id_].names.append(key)
            try:
                memory = self.store.supersede(id_, text, idempotency_key=key)
            except memstore.BadInput:
                return  # it was superseded before
            # the key and the namespace are the old one's
            self.told[memory.id] = Told([text], list(self.told[id_].names))

    def feedback(self) -> None:
        if id_ := self.living():
            told, page = self.told[id_], None
            if self.chance.random() < 0.7:
                page = self.store.query(told.texts[0], namespace="*").page
            words = [self.word() for _ in range(4)]
            told.names += words
            self.store.reinforce(id_, session=words[0], page=page, idempotency_key=words[1])
            self.store.confirm(id_, source=words[2], page=page)
            self.store.set_source(words[2], vote_weight=0.5)
            if self.chance.random() < 0.3:
                self.store.retract(id_, reason=words[3])

    def alias(self) -> None:
        if id_ := self.living():
            names = self.store.get(id_).entities
            own = [name for name in names if name in self.told[id_].names]
            if own:
                alias = self.word()
                self.told[id_].names.append(alias)
                self.store.alias(alias, of=own[0])

    def forget(self) -> None:
        if id_ := self.living():
            self.store.forget(id_)
            self.gone.add(id_)

    def seal(self) -> None:
        sealing.seal_if_due(replace(self.store._opened, settings=Settings(hot_tokens=0)), now=0)

    def compact(self) -> None:
        self.store.compact()

    def live(self, steps: int) -> None:
        common = [self.add] * 6 + [self.update] * 2 + [self.feedback, self.alias, self.supersede]
        rare = [self.forget, self.seal, self.seal, self.compact]
        self.add()
        for _ in range(steps):
            self.chance.choice([*common, *rare])()


class Traces:
    """What may not be found once some memories are purged."""

    def __init__(self, life: Life, purged: Iterable[str]) -> None:
        self.purged = set(purged)
        path = life.store.path
        with closing(sqlite3.connect(path / "memstore.db")) as db:
            rows = {id_: row for row, id_ in db.execute("SELECT row, id FROM memory")}
            hashes = dict(db.execute("SELECT id, content_hash FROM memory"))
            kept_texts = db.execute("SELECT id, text, title FROM memory").fetchall()
        gone = [told for id_, told in life.told.items() if id_ in self.purged]
        kept = [told for id_, told in life.told.items() if id_ not in self.purged]
        # what is kept may hold any of its earlier texts in its events
        held = [text for told in kept for text in _strings(told)]
        for id_, *texts in kept_texts:
            held += [text for text in texts if text is not None and id_ not in self.purged]
        alive = _windows(_written(held))
        self.windows = {
            window
            for told in gone
            for text in _strings(told)
            for form in _forms(text)
            for window in _windows(form)
        } - alive
        for id_ in self.purged:
            self.windows |= _windows(hashes[id_].encode()) | _windows(bytes.fromhex(hashes[id_]))
        self.vectors = _vectors(text for told in gone for text in told.texts)
        others = _vectors(
            " ".join(filter(None, item[1:])) for item in kept_texts if item[0] not in self.purged
        )
        if len(others):
            self.vectors = self.vectors[(self.vectors @ others.T).max(axis=1) < ALIKE]
        codes, _ = quantize(self.vectors)
        self.windows |= {window for row in codes for window in _windows(row.tobytes())}
        self.windows |= _sealed_rows(path, {rows[id_] for id_ in self.purged})

    def found(self, path: Path) -> list[str]:
        """Return which of them are in which file, and which vectors can be decoded."""
        told = []
        for file in path.rglob("*"):
            if file.is_file():
                left = self.windows & _windows(file.read_bytes())
                told += [f"{file.name}: {window!r}" for window in left]
        for place, vectors in _decodable(path):
            if len(vectors) and len(self.vectors):
                near = (vectors @ self.vectors.T).max()
                told += [f"{place}: a vector at cosine {near:.4f}"] if near > ALIKE else []
        with closing(sqlite3.connect(path / "memstore.db")) as db:
            pages = [hits for (hits,) in db.execute("SELECT hits FROM page")]
        return told + [f"page: {id_}" for id_ in self.purged for hits in pages if id_ in hits]


def _strings(told: Told) -> list[str]:
    words = [word for text in told.texts for word in text.split()]
    return [*told.texts, *words, *told.names, *told.spelled]


def _forms(text: str) -> set[bytes]:
    """Return the bytes that a text may be written as."""
    found = set()
    for form in (text, text.lower(), canonical(text) or text):
        found |= {form.encode(), json.dumps(form)[1:-1].encode(), form.encode("utf-16-le")}
    return found


def _written(texts: Iterable[str]) -> bytes:
    return b"\0".join(form for text in texts for form in _forms(text))


def _windows(content: bytes) -> set[bytes]:
    return {content[first : first + WINDOW] for first in range(len(content) - WINDOW + 1)}


def _vectors(texts: Iterable[str]) -> NDArray[np.float32]:
    """Return the vector of every word, (words, dim), each once."""
    words = {word for text in texts for word in text.split()}
    rows = ENCODER.encode_documents([DocumentText(word) for word in sorted(words)])
    return np.concatenate([np.empty((0, ENCODER.identity.dim), np.float32), *rows])


def _sealed_rows(path: Path, rows: set[int]) -> set[bytes]:
    """Return the residuals of memories' tokens that no other memory has too."""
    own: set[bytes] = set()
    others: set[bytes] = set()
    for folder in (path / "index").glob("segment-*"):
        residuals = np.load(folder / "residuals.npy")
        owner = np.repeat(np.load(folder / "passages.npy")[:, 1], np.load(folder / "lengths.npy"))
        for row, item in zip(owner.tolist(), residuals, strict=True):
            (own if row in rows else others).update(_windows(item.tobytes()))
    return own - others


def _decodable(path: Path) -> Iterable[tuple[str, NDArray[np.float32]]]:
    """Yield every token vector and centroid that the files hold, whether the database names them
    or not.
    """
    with closing(sqlite3.connect(path / "memstore.db")) as db:
        for codes, scales in db.execute("SELECT codes, scales FROM hot_vector"):
            values = np.frombuffer(codes, np.int8).reshape(-1, ENCODER.identity.dim)
            yield "hot", values * np.frombuffer(scales, "<f4")[:, None]
    for codec_folder in (path / "index").glob("codec-*"):
        named = ("centroids", "cutoffs", "weights")
        arrays = [np.load(codec_folder / f"{name}.npy").astype(np.float32) for name in named]
        codec = Codec(*arrays)
        yield codec_folder.name, codec.centroids
        for folder in (path / "index").glob("segment-*"):
            codes = np.load(folder / "codes.npy")
            if len(codes) and codes.max() < len(codec.centroids):
                yield folder.name, codec.decode(codes, np.load(folder / "residuals.npy"))


def _leave_behind(path: Path) -> None:
    """Leave what a seal that was killed leaves: folders that the database does not name."""
    for folder in [*(path / "index").glob("*-0*")]:
        shutil.copytree(folder, folder.with_name(folder.name.replace("-0", "-9")))


def _answers(store: MemoryStore) -> list[str]:
    hits = store.query("tea", namespace="*", limit=1000, now="2100-01-01T00:00:00Z").hits
    return [hit.memory.id for hit in hits]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "agent.mem"
    MemoryStore.open(path, encoder=ENCODER, settings=BATCH).close()
    return path


@settings(max_examples=STORES)
@example(seed=1, steps=24, share=1.0)
@given(
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(4, 60 if TORTURE else 24),
    share=st.sampled_from([0.0, 0.2, 0.6, 1.0]),
)
def test_nothing_of_purged_memories_is_in_any_file_whatever_the_store_went_through(
    empty_store: Path, seed: int, steps: int, share: float
) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = shutil.copytree(empty_store, Path(folder) / "agent.mem")
        store = MemoryStore.open(path, settings=BATCH)
        life = Life(store, chance)
        life.live(steps)
        ids = sorted(life.told)
        purged = chance.sample(ids, max(1, round(share * len(ids))))
        traces = Traces(life, purged)
        assert traces.found(store.path)  # else nothing was looked for
        with MemoryStore.open(store.path) as other:
            other.query("tea", namespace="*")
            _leave_behind(store.path)
            tried = store.forget(purged, purge=True, dry_run=True)
            report = store.forget(purged, purge=True)
            assert traces.found(store.path) == []
            assert _answers(other) == _answers(store)
        assert {**report.removed, **tried.removed} == report.removed
        assert report.removed["memories"] == len(purged)
        assert store.verify().clean
        store.close()
        assert traces.found(path) == []


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Traces]:
    """A store in which a purge has everything to erase that there is, and what that is."""
    path = tmp_path_factory.mktemp("eventful") / "agent.mem"
    with MemoryStore.open(path, encoder=ENCODER, settings=BATCH) as store:
        life = Life(store, random.Random(4))
        life.live(40)
        named = ["WalnutQuartzOne", "Mangrovefigone"]
        first = store.add("Quartzzebra left the word", entities=named)
        life.told[first.id] = Told(["Quartzzebra left the word"], [*named, "Papayaquartzname"])
        store.alias("Papayaquartzname", of="Mangrovefigone")
        store.add_many({"text": f"tea {n} number{n}", "source": "crm"} for n in range(60))
        store.compact()
        for step in (life.feedback, life.update, life.forget, life.add, life.seal, life.add):
            step()
        purged = list(life.told)
        kept = store.add("the same name in other letters", entities=["WALNUTQUARTZONE"])
        life.told[kept.id] = Told(["the same name in other letters"], ["WALNUTQUARTZONE"])
        traces = Traces(life, purged)
    _leave_behind(path)
    return path, traces


NOTHING: dict[str, tuple[Any, str, Any]] = {
    "events": (log, "erase_events", 0),
    "pages": (forgetting, "erase_pages", 0),
    "aliases": (forgetting, "drop_unused_aliases", 0),
    "names": (forgetting, "_erase_unused_names", (0, 0)),
    "beliefs": (feedback, "erase_reliabilities", 0),
    "spellings": (links, "respell", None),
    "segments and centroids": (forgetting, "erase_deleted", (0, 0)),
    "centroids": (sealing._Maintenance, "_replace_telling", False),
    "old folders": (index_files, "remove_unnamed", None),
    "old pages": (forgetting, "_rewrite", None),
}


@pytest.mark.parametrize("left_out", [None, *NOTHING])
def test_each_thing_a_purge_erases_would_be_found_if_it_did_not(
    eventful: tuple[Path, Traces],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    left_out: str | None,
) -> None:
    path, traces = eventful
    path = shutil.copytree(path, tmp_path / "agent.mem")
    if left_out is not None:
        place, name, answer = NOTHING[left_out]
        monkeypatch.setattr(place, name, lambda *_, **__: answer)
    with MemoryStore.open(path) as store:
        store.forget(sorted(traces.purged), purge=True)
        found = traces.found(path)
        assert (found == []) is (left_out is None), found[:5]


@pytest.mark.parametrize("few", [16, 3])
@pytest.mark.parametrize("before", ["updated", "forgotten"])
def test_the_centroid_of_a_text_that_was_merged_away_before_its_purge_goes_too(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, few: int
) -> None:
    """However many other passages have come to share it."""
    path = shutil.copytree(empty_store, tmp_path / "agent.mem")
    monkeypatch.setattr(sealing_rules, "_FEW_PASSAGES", few)
    with MemoryStore.open(path) as store:
        life = Life(store, random.Random(1))
        secret = store.add("quartzzebra mangrovefig")
        store.add("tea pot")
        store.compact()  # of so few vectors, each is a centroid
        store.add_many(f"word{n} other{n}" for n in range(25))  # too few for another codec
        life.seal()
        if before == "updated":
            store.update(secret.id, text="nothing to hide")
        else:
            store.forget(secret.id)
        store.compact()
        secrets = _vectors(["quartzzebra mangrovefig"])
        codec = [vectors for place, vectors in _decodable(path) if place.startswith("codec")]
        assert (secrets @ codec[0].T).max() > ALIKE
        [codes] = [np.load(file) for file in (path / "index").glob("segment-*/codes.npy")]
        assert np.bincount(codes)[np.unique(codes)].min() >= 3
        store.forget(secret.id, purge=True)
        assert store.verify().clean
        assert len(_answers(store)) == 26
    for place, vectors in _decodable(path):
        assert (vectors @ secrets.T).max(initial=0.0) < ALIKE, place
    assert b"dropped_centroids" not in (path / "memstore.db").read_bytes()


# Purges a copy of a store again and again, each time in a process that is killed one step later: a
# step is whatever reaches the disk, and each commit.
KILLED = """
import contextlib, os, shutil, sys
from memstore import MemoryStore
from memstore.store import forgetting, sealing
original, folder, most, *ids = sys.argv[1:]
last, steps = 0, 0
def step(*_):
    global steps
    steps += 1
    if steps == last:
        os.kill(os.getpid(), 9)
def hook(event, arguments):
    if event == "open" and isinstance(arguments[2], int):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            step()
    elif event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"):
        step()
def stepping(writing):
    @contextlib.contextmanager
    def stepped(*arguments):
        with writing(*arguments) as connection:
            yield connection
            step()  # everything is written, nothing is committed
        step()
    return stepped
def purge(point):
    global last, steps
    path = shutil.copytree(original, f"{folder}/{point}")
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with MemoryStore.open(path) as store:
        forgetting.writing, sealing.writing = map(stepping, (forgetting.writing, sealing.writing))
        rewrite = forgetting.rewrite
        forgetting.rewrite = lambda *all, **named: (step(), rewrite(*all, **named), step())[1]
        sys.addaudithook(hook)
        last, steps = point, 0
        store.forget(ids, purge=True)
        total, last = steps, 0
    with open(f"{folder}/total", "w") as file:
        file.write(str(total))
    os._exit(0)
assert purge(0) == 0
total, most = int(open(f"{folder}/total").read()), int(most)
points = {1 + round(n * (total - 1) / (most - 1)) for n in range(most)}
for point in sorted(points) if most < total else range(1, total + 1):
    assert purge(point) == -9, point
    print(point, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")
def test_a_purge_that_was_killed_anywhere_is_finished_by_the_same_purge(
    eventful: tuple[Path, Traces], tmp_path: Path
) -> None:
    path, traces = eventful
    source = str(Path(memstore.__file__).resolve().parent.parent)
    ids = sorted(traces.purged)
    process = subprocess.run(
        [sys.executable, "-c", KILLED, path, tmp_path, str(KILLS), *ids],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    points = process.stdout.split()
    assert len(points) >= 4
    states = set()
    for point in points:
        with MemoryStore.open(tmp_path / point) as store:
            answers = traces.purged.intersection(_answers(store))
            states.add(len(answers) > 0)
            assert not answers or store.verify().clean
            store.forget(ids, purge=True)
            assert traces.found(store.path) == []
            assert store.verify().clean
            for id_ in ids:
                assert [event.verb for event in store.history(id_)] == ["purge"]
                with pytest.raises(MemoryNotFound):
                    store.get(id_)
        shutil.rmtree(tmp_path / point)
    assert states == {True, False}  # before its commit and after it
