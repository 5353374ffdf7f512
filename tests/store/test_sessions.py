"""What precedes a memory in its session is in its vectors: in those of each, always the same."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore import EncoderUnavailable, MemoryStore
from memstore.encoders import DocumentText, EncoderIdentity
from memstore.encoders.hashed import HashedEncoder
from memstore.index import quantize
from memstore.maxsim import TokenVectors
from memstore.store.opening import OpenStore


class ContextEncoder(HashedEncoder):
    """Every vector of a text tells a little of each word before the text, and of their order."""

    @property
    def identity(self) -> EncoderIdentity:
        return dataclasses.replace(super().identity, session_context=2)

    def encode_documents(
        self, documents: Sequence[DocumentText], *, progress: Callable[[int], None] | None = None
    ) -> list[TokenVectors]:
        results = []
        for document in documents:
            [own] = super().encode_documents([DocumentText(document.text)])
            for place, text in enumerate([*document.context, document.before[-40:]]):
                if not text.strip():
                    continue
                [before] = super().encode_documents([DocumentText(text)])
                own = own + (0.1 + 0.1 * place) * before.sum(axis=0)
            results.append((own / np.linalg.norm(own, axis=1, keepdims=True)).astype(np.float32))
        return results


ENCODER = ContextEncoder()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    with MemoryStore.open(tmp_path / "agent.mem", encoder=ENCODER) as opened:
        yield opened


def _vectors(store: MemoryStore) -> dict[str, tuple[tuple[int, int], ...]]:
    """Return id → checksum and size of the vectors of each passage, all of which are hot."""
    with contextlib.closing(sqlite3.connect(store.path / "memstore.db")) as connection:
        rows = connection.execute(
            "SELECT memory.id, hot_vector.checksum, tokens FROM memory "
            "JOIN passage ON memory_row = row "
            "JOIN hot_vector ON passage_id = passage.id ORDER BY row, ordinal"
        ).fetchall()
    found: dict[str, tuple[tuple[int, int], ...]] = {}
    for id_, checksum, tokens in rows:
        found[id_] = (*found.get(id_, ()), (checksum, tokens))
    return found


def _tell(store: MemoryStore, *texts: str, session: str = "s") -> list[str]:
    return [store.add(text, session=session).id for text in texts]


def _verbs(store: MemoryStore, ids: Sequence[str]) -> list[list[str]]:
    return [[event.verb for event in store.history(id_)] for id_ in ids]


_STEP = st.tuples(
    st.sampled_from(
        ["add", "add_many", "update", "retitle", "purge", "forget and import", "supersede", "seal"]
    ),
    st.integers(0, 99),
    st.sampled_from("st"),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(steps=st.lists(_STEP, max_size=14))
def test_whatever_happened_reading_everything_anew_changes_no_vector(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, str]]
) -> None:
    folder = tmp_path_factory.mktemp("sessions")
    with MemoryStore.open(folder / "agent.mem", encoder=ENCODER) as store:
        for place, (step, number, session) in enumerate(steps):
            memories = store.list(limit=100).memories
            chosen = memories[number % len(memories)] if memories else None
            if step == "add":
                store.add(f"word{place}", session=session)
            elif step == "add_many":
                texts = (f"word{place} of{part}" for part in range(3))
                store.add_many({"text": text, "session": session} for text in texts)
            elif chosen is None:
                continue
            elif step == "update":
                store.update(chosen.id, text=f"word{place}")
            elif step == "retitle":
                store.update(chosen.id, title=f"title{place}")
            elif step == "purge":
                store.forget(chosen.id, purge=True)
            elif step == "supersede" and chosen.superseded_by is None:
                store.supersede(chosen.id, f"word{place}")
            elif step == "seal":
                store.compact()
            elif step == "forget and import":
                store.export(folder / f"{place}.jsonl")
                store.forget(chosen.id)
                store.import_(folder / f"{place}.jsonl")
        assert store.verify().clean
        sealed = store.stats().vectors
        before = _vectors(store)
        store.rebuild()
        after = _vectors(store)
        assert {id_: after[id_] for id_ in before} == before
        assert store.stats().vectors == sealed
        store.export(folder / "all.jsonl")
        with MemoryStore.open(folder / "other.mem", encoder=ENCODER) as other:
            other.import_(folder / "all.jsonl")
            assert _vectors(other) == after


def test_a_session_is_in_the_order_in_which_it_was_stored_whatever_the_times(
    store: MemoryStore, tmp_path: Path
) -> None:
    store.add("second", session="s", occurred_at="2026-02-01T00:00:00Z")
    store.add("first", session="s", occurred_at="2026-01-01T00:00:00Z")
    with MemoryStore.open(tmp_path / "other.mem", encoder=ENCODER) as other:
        _tell(other, "second", "first")
        assert [*_vectors(store).values()] == [*_vectors(other).values()]


def test_a_new_text_is_in_the_vectors_of_the_two_that_follow(
    store: MemoryStore, tmp_path: Path
) -> None:
    ids = _tell(store, "tea", "milk", "sugar", "cups", "plates")
    store.update(ids[1], text="lemon")
    with MemoryStore.open(tmp_path / "other.mem", encoder=ENCODER) as other:
        _tell(other, "tea", "lemon", "sugar", "cups", "plates")
        assert [*_vectors(store).values()] == [*_vectors(other).values()]
    assert _verbs(store, ids) == [
        ["add"],
        ["add", "update"],
        ["add", "reread"],
        ["add", "reread"],
        ["add"],
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda store, id_: store.update(id_, title="Drinks"),
        lambda store, id_: store.update(id_, metadata={"a": 1}),
        lambda store, id_: store.update(id_, text="milk"),
        lambda store, id_: store.retract(id_, reason="wrong"),
        lambda store, id_: store.supersede(id_, "lemon"),
        lambda store, id_: store.forget(id_),
    ],
)
def test_what_leaves_a_text_as_it_was_reads_no_other_memory_anew(
    store: MemoryStore, change: Callable[[MemoryStore, str], object]
) -> None:
    tea, milk, sugar, cups = _tell(store, "tea", "milk", "sugar", "cups")
    before = _vectors(store)
    change(store, milk)
    after = _vectors(store)
    assert [after[id_] for id_ in (tea, sugar, cups)] == [before[id_] for id_ in (tea, sugar, cups)]
    assert _verbs(store, [sugar, cups]) == [["add"], ["add"]]


@pytest.mark.parametrize("forgotten_before", [False, True])
@pytest.mark.parametrize("sealed", [False, True])
def test_a_purged_text_is_in_no_vector_of_what_follows(
    store: MemoryStore, tmp_path: Path, forgotten_before: bool, sealed: bool
) -> None:
    ids = _tell(store, "tea", "milk", "sugar", "cups", "plates")
    if forgotten_before:
        store.forget(ids[1])
    with_milk = [
        quantize(ENCODER.encode_documents([DocumentText(text, context)])[0])[0].tobytes()
        for text, context in (("sugar", ("tea", "milk")), ("cups", ("milk", "sugar")))
    ]
    if sealed:
        store.compact()
    store.forget(ids[1], purge=True)
    assert store.verify().clean
    assert not any(
        trace in path.read_bytes()
        for path in store.path.rglob("*")
        if path.is_file()
        for trace in with_milk
    )
    with MemoryStore.open(tmp_path / "other.mem", encoder=ENCODER) as other:
        _tell(other, "tea", "sugar", "cups", "plates")
        if sealed:  # what was not read with it stays sealed
            assert [*_vectors(store).values()] == [*_vectors(other).values()][1:3]
        else:
            assert [*_vectors(store).values()] == [*_vectors(other).values()]


def test_what_is_purged_together_is_not_read_anew(store: MemoryStore) -> None:
    ids = _tell(store, "tea", "milk", "sugar", "cups", "plates")
    report = store.forget(ids[:3], purge=True)
    assert report.removed["passages"] == 3
    assert _verbs(store, ids[3:]) == [["add", "reread"], ["add", "reread"]]


def test_a_trial_of_a_purge_encodes_nothing_and_says_what_the_purge_does(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = _tell(store, "tea", "milk", "sugar")
    with monkeypatch.context() as patch:
        patch.setattr(ContextEncoder, "encode_documents", None)
        tried = store.forget(ids[0], purge=True, dry_run=True)
    done = store.forget(ids[0], purge=True)
    assert {name: done.removed[name] for name in tried.removed} == tried.removed


def test_forgetting_leaves_what_follows_until_it_is_read_anew(
    store: MemoryStore, tmp_path: Path
) -> None:
    ids = _tell(store, "tea", "milk", "sugar")
    before = _vectors(store)
    store.forget(ids[1])
    store.add("cups", session="s")
    assert _vectors(store)[ids[2]] == before[ids[2]]
    store.rebuild()
    with MemoryStore.open(tmp_path / "other.mem", encoder=ENCODER) as other:
        _tell(other, "tea", "sugar", "cups")  # cups were told without milk to begin with
        assert [*_vectors(store).values()] == [*_vectors(other).values()]


def test_what_comes_back_by_an_import_comes_at_the_end_of_its_session(
    store: MemoryStore, tmp_path: Path
) -> None:
    ids = _tell(store, "tea", "milk", "sugar", "cups")
    store.export(tmp_path / "all.jsonl")
    store.forget(ids[0])
    assert store.import_(tmp_path / "all.jsonl").added == 1
    with MemoryStore.open(tmp_path / "other.mem", encoder=ENCODER) as other:
        _tell(other, "milk", "sugar", "cups", "tea")
        assert [*_vectors(store).values()] == [*_vectors(other).values()]


def test_a_repair_reads_a_memory_with_what_precedes_it(
    store: MemoryStore, sql: Callable[..., list[tuple[Any, ...]]]
) -> None:
    _tell(store, "tea", "milk", "sugar")
    before = _vectors(store)
    sql(store.path, "UPDATE hot_vector SET codes = zeroblob(length(codes))")
    assert store.verify(repair=True).clean
    assert _vectors(store) == before


@pytest.mark.parametrize("what", ["add", "purge"])
def test_what_others_do_to_a_session_meanwhile_is_in_the_vectors(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    ids = _tell(store, "tea", "milk")
    encode = ContextEncoder.encode_documents
    waiting = [True]

    def meanwhile(self: ContextEncoder, documents: Any, **options: Any) -> list[TokenVectors]:
        if waiting.pop() if waiting else False:
            with MemoryStore.open(store.path, encoder=ContextEncoder()) as other:
                if what == "add":
                    other.add("lemon", session="s")
                else:
                    other.forget(ids[1], purge=True)
        return encode(self, documents, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ContextEncoder, "encode_documents", meanwhile)
        store.add("sugar", session="s")
    with MemoryStore.open(tmp_path / "other.mem", encoder=ENCODER) as other:
        _tell(other, "tea", *(["milk", "lemon"] if what == "add" else []), "sugar")
        assert [*_vectors(store).values()] == [*_vectors(other).values()]


def test_another_handle_finds_what_follows_by_its_new_vectors(store: MemoryStore) -> None:
    ids = _tell(store, "tea", "milk")
    with MemoryStore.open(store.path, encoder=ENCODER) as other:
        before = {hit.memory.id: hit.score for hit in other.query("coffee").hits}
        store.update(ids[0], text="coffee")
        after = {hit.memory.id: hit.score for hit in other.query("coffee").hits}
    assert after[ids[1]] > before[ids[1]]


def test_without_its_weights_a_purge_is_refused_where_others_would_keep_a_trace(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = _tell(store, "tea", "milk")
    before = _vectors(store)

    def missing(self: OpenStore) -> None:
        raise EncoderUnavailable("no weights")

    monkeypatch.setattr(OpenStore, "encoder", property(missing))
    with pytest.raises(EncoderUnavailable):
        store.forget(ids[0], purge=True)
    assert _vectors(store) == before
    store.forget(ids[1], purge=True)  # nothing follows it
    store.forget(ids[0])


def test_an_encoder_that_reads_no_context_reads_nothing_anew(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        ids = _tell(store, "tea", "milk", "sugar")
        store.update(ids[0], text="coffee")
        store.forget(ids[0], purge=True)
        assert _verbs(store, ids[1:]) == [["add"], ["add"]]
