"""Export and import lose nothing: a store is rebuilt from its export so that nobody can tell."""

from __future__ import annotations

import functools
import json
import os
import tempfile
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore import MemoryStore, MemstoreError
from memstore.catalog import learned_weights
from memstore.catalog.calibrations import CalibrationRow, write_calibration
from memstore.catalog.engine import writing
from memstore.catalog.learned_weights import WeightsRow
from memstore.encoders.hashed import HashedEncoder
from memstore.scoring.cognitive import COMPONENTS

PROFILES = ("semantic", "balanced", "recent")
START = datetime(2026, 1, 1, tzinfo=UTC)

_FIXED = ("namespace", "key", "session", "speaker")

words = st.sampled_from(["tea", "Lisbon", "Ana's café", "the river\u2028bank 🎉", "x" * 40])
names = st.sampled_from(["Ana", "Bruno", "Porto"])
moments = st.integers(0, 10**7).map(lambda s: START + timedelta(seconds=s, microseconds=s % 977))
keys = st.sampled_from(["k1", "k2"])
fields: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"text": st.lists(words, min_size=1, max_size=3).map(" ".join)},
    optional={
        "namespace": st.sampled_from(["default", "team", "team/ana"]),
        "key": keys,
        "session": st.sampled_from(["s1", "s2"]),
        "speaker": names,
        "title": words,
        "kind": st.sampled_from(["task", "fact"]),
        "occurred_at": moments | st.sampled_from(["2026", "2026-03", "unknown"]),
        "valid_from": moments,
        "valid_to": moments.map(lambda time: time + timedelta(days=400)),
        "half_life": st.integers(1, 10**12).map(lambda us: timedelta(microseconds=us)),
        "confidence": st.floats(0, 10),
        "importance": st.floats(-1, 1),
        "source": st.sampled_from(["crm", "mail"]),
        "metadata": st.dictionaries(
            words, st.integers(-(2**60), 2**60) | st.none() | st.floats(-1e9, 1e9) | words
        ),
        "entities": st.lists(names, max_size=2),
    },
)
which = st.integers(0, 9)
idempotency = st.none() | st.integers(0, 3).map("call {}".format)
verbs = st.one_of(
    st.tuples(st.just("add"), fields),
    st.tuples(
        st.just("update"),
        which,
        fields.map(lambda f: {n: f[n] for n in f if n not in _FIXED}),
    ),
    st.tuples(st.just("supersede"), which, which | words, st.none() | moments, idempotency),
    st.tuples(st.just("reinforce"), which, st.none() | moments, idempotency),
    st.tuples(st.just("confirm"), which, names, idempotency, st.booleans()),
    st.tuples(st.just("contradict"), which, names, idempotency),
    st.tuples(st.just("importance"), which, st.floats(-1, 1), idempotency),
    st.tuples(st.just("retract"), which, idempotency),
    st.tuples(st.just("forget"), which, st.booleans()),
    st.tuples(st.just("source"), names | st.just("crm"), st.floats(0, 1), st.floats(0, 1)),
    st.tuples(st.just("alias"), names, names, st.sampled_from(["default", "team", "team/ana"])),
)  # fmt: skip


def _act(store: MemoryStore, ids: list[str], verb: str, *given: Any) -> None:
    """Do what was drawn; what the store refuses, as it refuses it to anybody, changes nothing."""
    if verb == "add":
        ids.append(store.add_many([given[0]])[0].id)
        return
    if verb == "source":
        store.set_source(given[0], reliability=given[1], vote_weight=given[2])
        return
    if verb == "alias":
        store.alias(given[0], of=given[1], namespace=given[2])
        return
    id_ = ids[given[0] % len(ids)]
    if verb == "update":
        store.update(id_, **given[1])
    elif verb == "supersede":
        new = given[1] if isinstance(given[1], str) else ids[given[1] % len(ids)]
        ids.append(store.supersede(id_, new, at=given[2], idempotency_key=given[3]).id)
    elif verb == "reinforce":
        store.reinforce(id_, at=given[1], session="s1", idempotency_key=given[2])
    elif verb == "confirm":
        store.confirm(id_, source=given[1], idempotency_key=given[2], refresh=given[3])
    elif verb == "contradict":
        store.contradict(id_, source=given[1], idempotency_key=given[2])
    elif verb == "importance":
        store.set_importance(id_, given[1], idempotency_key=given[2])
    elif verb == "retract":
        store.retract(id_, reason="never true", idempotency_key=given[1])
    elif verb == "forget":
        store.forget(id_, purge=given[1])


def _answers(store: MemoryStore, times: dict[str, Any]) -> list[Any]:
    return [
        [(hit.memory, hit.score, hit.parts) for hit in result.hits]
        for profile in PROFILES
        for text in ("tea in Lisbon", "Where does Ana live?")
        for result in [
            store.query(
                text, namespace="*", limit=20, profile=profile, explain=True, **times
            )
        ]
    ]  # fmt: skip


def _exported(store: MemoryStore, path: Path) -> bytes:
    store.export(path)
    content = path.read_bytes()
    path.unlink()
    return content


@settings(max_examples=300 if os.environ.get("MEMSTORE_TORTURE") else 8)
@given(st.lists(verbs, min_size=1, max_size=12))
def test_an_export_of_an_import_of_an_export_is_that_export_again(
    calibrated_fresh_store: Callable[..., Any], actions: list[tuple[Any, ...]]
) -> None:
    with (
        calibrated_fresh_store() as store,
        calibrated_fresh_store() as other,
        tempfile.TemporaryDirectory() as folder,
    ):
        ids = [store.add("Ana drinks tea in Lisbon.", entities=["Ana", "Lisbon"]).id]
        middle = datetime.now(UTC)
        for action in actions:
            try:
                _act(store, ids, *action)
            except MemstoreError:
                continue
        content = _exported(store, Path(folder) / "a.jsonl")
        (Path(folder) / "b.jsonl").write_bytes(content)
        other.import_(Path(folder) / "b.jsonl")
        assert _exported(other, Path(folder) / "c.jsonl") == content
        assert other.sources() == tuple(item for item in store.sources() if item in other.sources())
        assert other.verify().clean
        # texts of a session are encoded with those before them, which may be forgotten by now
        store.rebuild()
        now = datetime.now(UTC)
        for times in (
            {"now": now},
            {"now": now, "as_of": START + timedelta(days=60)},
            {"now": now, "known_at": middle},
        ):
            assert _answers(other, times) == _answers(store, times)


def _learn(store: MemoryStore, scorer: str) -> None:
    opened = store._opened
    with writing(opened.engine, opened.path) as connection:
        evidence = {"method": "questions", "questions": 40}
        write_calibration(
            connection,
            CalibrationRow(scorer, "logit", {"slope": 1.5, "bias": -0.25}, evidence, 1_000_001),
        )
        values = dict.fromkeys(COMPONENTS, 0.125)
        for version, parent in ((3, None), (7, 3)):
            row = WeightsRow(
                version, "balanced", values, parent, {"gain": 0.5}, 2_000_000 + version
            )
            learned_weights.restore_weights(connection, row)
        learned_weights.activate(connection, "balanced", 7, now=3_000_000)


def test_what_was_learned_comes_along_to_a_store_of_the_same_encoder(
    store: MemoryStore, tmp_path: Path, fingerprint: Callable[[Path], str]
) -> None:
    store.add("tea")
    _learn(store, "reranker minilm-l6")
    store.export(tmp_path / "out.jsonl")
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        other.import_(tmp_path / "out.jsonl")
        assert _exported(other, tmp_path / "again") == (tmp_path / "out.jsonl").read_bytes()
        assert other.calibrations() == store.calibrations()
        assert [item.version for item in other.learned_weights() if item.active] == [7]
        before = fingerprint(other.path)
        other.import_(tmp_path / "out.jsonl")
        assert fingerprint(other.path) == before
    with MemoryStore.open(tmp_path / "wide.mem", encoder=HashedEncoder(dim=64)) as wide:
        wide.import_(tmp_path / "out.jsonl")
        assert (wide.calibrations(), wide.learned_weights()) == ((), ())


def test_what_a_store_has_learned_itself_counts_more_than_what_an_export_says(
    store: MemoryStore, tmp_path: Path
) -> None:
    store.add("tea")
    _learn(store, "reranker minilm-l6")
    store.export(tmp_path / "out.jsonl")
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        opened = other._opened
        own = dict.fromkeys(COMPONENTS, 0.5)
        with writing(opened.engine, opened.path) as connection:
            row = CalibrationRow("reranker minilm-l6", "logit", {"slope": 9.0, "bias": 0.0}, {}, 5)
            write_calibration(connection, row)
            learned_weights.restore_weights(connection, WeightsRow(1, "balanced", own, None, {}, 5))
        other.import_(tmp_path / "out.jsonl")
        assert [item.parameters["slope"] for item in other.calibrations()] == [9.0]
        assert [(item.version, item.active) for item in other.learned_weights()] == [(1, False)]


@pytest.mark.parametrize(
    "header",
    [
        {"calibrations": [{"scorer": "x", "kind": "odd", "parameters": {}, "evidence": {}}]},
        {"calibrations": [5]},
        {"weights": [{"version": 1, "profile": "balanced", "weights": {"time": 1}}]},
        {"active_weights": {"balanced": 4}},
        {"sources": [{"name": "crm"}]},
        {"aliases": 5},
        {"aliases": [{"namespace": "default", "alias": "?!", "canon": "ana"}]},
        {"aliases": [{"namespace": "default", "alias": "ana", "canon": "..."}]},
    ],
)
def test_a_header_that_export_would_not_write_is_refused_and_nothing_stored(
    store: MemoryStore,
    tmp_path: Path,
    reseal: Callable[[Path], None],
    fingerprint: Callable[[Path], str],
    header: dict[str, Any],
) -> None:
    path = tmp_path / "out.jsonl"
    store.export(path)
    first, *rest = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([json.dumps({**json.loads(first), **header}).encode(), *rest]))
    reseal(path)
    before = fingerprint(store.path)
    with pytest.raises(MemstoreError, match=r"out\.jsonl:1: "):
        store.import_(path)
    assert fingerprint(store.path) == before


def test_readers_are_told_of_what_is_imported(store: MemoryStore, tmp_path: Path) -> None:
    kept, gone = store.add_many(["tea in Lisbon", "coffee in Porto"])
    store.export(tmp_path / "out.jsonl")
    store.forget(gone.id)
    with (
        MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other,
        MemoryStore.open(tmp_path / "other.mem") as reader,
        MemoryStore.open(store.path) as second,
    ):
        assert not reader.query("tea").hits
        other.import_(tmp_path / "out.jsonl")
        assert {hit.memory.id for hit in reader.query("tea").hits} == {kept.id, gone.id}
        assert {hit.memory.id for hit in second.query("tea").hits} == {kept.id}
        store.import_(tmp_path / "out.jsonl")
        assert {hit.memory.id for hit in second.query("tea").hits} == {kept.id, gone.id}
    assert [event.verb for event in store.history(gone.id)] == ["add", "forget", "import"]


def test_exports_and_imports_take_no_more_memory_of_many_memories_than_of_few(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memstore.store.exporting._PAGE", 10)
    monkeypatch.setattr("memstore.store.importing._BATCH", 10)

    def peak(call: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            call()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    exports, imports = [], []
    for count in (20, 80):
        have = store.stats().memories
        padding = {"padding": "x" * 20_000}
        store.add_many({"text": f"word{n}", "metadata": padding} for n in range(have, count))
        path = tmp_path / f"{count}.jsonl"
        exports.append(peak(functools.partial(store.export, path)))
        assert path.stat().st_size > 20_000 * count
        with MemoryStore.open(tmp_path / f"{count}.mem", encoder="hashed") as other:
            other.add("what is loaded once counts for neither of them")
            imports.append(peak(functools.partial(other.import_, path)))
    assert exports[1] < 1.5 * exports[0]
    assert imports[1] < 1.5 * imports[0]
