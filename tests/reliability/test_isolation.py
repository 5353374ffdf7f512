"""Nothing of a memory is seen through a namespace that it is not in: not in any answer of any verb.

Every memory has a word of its own in each of its fields. Whatever is asked through a namespace, no
word and no id of a memory outside may be in the answer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from memstore import BadInput, MemoryNotFound, MemoryStore
from memstore.encoders import Encoder, open_encoder
from memstore.types import Memory

FreshStore = Callable[[str], AbstractContextManager[MemoryStore]]

NAMESPACES = ["a", "a/b", "ab", "a/b/c", "b"]
TEXTS = [
    "Ana plays chess with Bruno in Porto on Fridays",
    "Bruno moved from Porto to Lisbon in March 2026",
    "the plan of Acme costs 14 euros now",
    "Ana prefers green tea to coffee in the morning",
]


@pytest.fixture(scope="module")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> FreshStore:
    """Make an empty store of an encoder: by copying one, which is faster than making it."""

    @functools.cache
    def empty(encoder: str) -> tuple[Path, Encoder]:
        path = tmp_path_factory.mktemp("empty") / encoder
        MemoryStore.open(path, encoder=encoder).close()
        return path, open_encoder(encoder)

    @contextlib.contextmanager
    def fresh(encoder: str) -> Iterator[MemoryStore]:
        source, opened = empty(encoder)
        with tempfile.TemporaryDirectory() as folder:
            path = shutil.copytree(source, Path(folder) / "agent.mem")
            with MemoryStore.open(path, encoder=opened) as store:
                yield store

    return fresh


QUESTIONS = [
    "where does Bruno live now?",
    "Ana and Bruno play chess",
    "what did Acme originally cost?",
]
NOW = "2026-12-01T00:00:00Z"
AGO = "2026-06-01T00:00:00Z"
EVERYTHING: dict[str, Any] = {"recorded_at": {"exists": True}}
AS_FOUND = [Phase.generate]  # making a failing example smaller would take minutes


@dataclass(frozen=True)
class Planned:
    """A memory to be stored, and what happens to it afterwards."""

    namespace: str
    text: int
    own_word: bool  # in its text: without, texts of several namespaces are the same
    shared_key: bool
    shared_session: bool
    shared_source: bool
    date: str | None
    fate: str


@dataclass
class World:
    """A store, and what in it belongs to whom: namespace → words and ids that tell of it."""

    store: MemoryStore
    telling: dict[str, set[str]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)

    def tell(self, namespace: str, *words: str) -> None:
        self.telling.setdefault(namespace, set()).update(words)

    def outside(self, namespace: str) -> set[str]:
        """Words and ids of memories that are not seen through a namespace."""
        found = [words for path, words in self.telling.items() if not _sees(namespace, path)]
        # an alias counts in its namespace and in all below
        names = {
            word
            for path, word in self.aliases.items()
            if not _sees(namespace, path) and not _sees(path, namespace)
        }
        return names.union(*found)


def _sees(asked: str, path: str) -> bool:
    return asked == "*" or path == asked or path.startswith(f"{asked}/")


plans = st.lists(
    st.builds(
        Planned,
        namespace=st.sampled_from(NAMESPACES),
        text=st.integers(0, len(TEXTS) - 1),
        own_word=st.booleans(),
        shared_key=st.booleans(),
        shared_session=st.booleans(),
        shared_source=st.booleans(),
        date=st.sampled_from([None, "2026-03", "2025-05-05T00:00:00Z", "unknown"]),
        fate=st.sampled_from(
            ["kept", "kept", "used", "voted", "superseded", "ended", "retracted", "forgotten"]
        ),
    ),
    min_size=8,
    max_size=20,
)


def told_apart(plan: list[Planned]) -> list[Planned]:
    """Make sure that every namespace holds something."""
    missing = [path for path in NAMESPACES if path not in {item.namespace for item in plan}]
    kept = Planned("a", 0, True, True, True, True, None, "kept")
    return [*plan, *(dataclasses.replace(kept, namespace=path) for path in missing)]


def fill(world: World, plan: list[Planned], *, first: int = 0) -> None:
    """Store what is planned, and let happen to it what is."""
    store = world.store
    for number, item in enumerate(plan, start=first):
        word = f"zq{number}x"
        space = item.namespace
        memory = store.add(
            f"{TEXTS[item.text]}, {word}." if item.own_word else f"{TEXTS[item.text]}.",
            namespace=space,
            # a version in the middle cannot be superseded by hand
            key="shared-key" if item.shared_key and item.fate != "superseded" else f"key-{word}",
            session="shared-session" if item.shared_session else f"session-{word}",
            title=f"title {word}",
            source="crm" if item.shared_source else f"source-{word}",
            metadata={"topic": "shared", f"field{word}": f"value-{word}"},
            entities=["Ana", "Bruno", "Acme", f"Entity {word.title()}"],
            occurred_at=item.date,
        )
        world.tell(space, word, word.title(), memory.id)
        meet(world, memory, item.fate, word)
    for path in dict.fromkeys(item.namespace for item in plan):
        word = f"zq{path.replace('/', 'q')}y"
        store.alias(f"Alias {word}", of="Bruno", namespace=path)
        world.aliases[path] = word


def meet(world: World, memory: Memory, fate: str, word: str) -> None:
    store, id_ = world.store, memory.id
    if fate == "used":
        for n in range(3):
            store.reinforce(id_, session=f"agent-{word}", idempotency_key=f"use-{word}-{n}")
    elif fate == "voted":
        store.confirm(id_, source=f"judge-{word}")
        store.contradict(id_, source="judge")
    elif fate == "superseded":
        new = store.supersede(id_, f"{memory.text} Not any more: {word}.")
        world.tell(memory.namespace, new.id)
    elif fate == "ended":
        store.update(id_, valid_to="2026-05-01T00:00:00Z", valid_from="2026-01-01T00:00:00Z")
    elif fate == "retracted":
        store.retract(id_, reason=f"reason {word}")
    elif fate == "forgotten":
        store.forget(id_)


def answers(world: World, asked: str, folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield all that the store says of a namespace: how it was asked, and the answer."""
    store = world.store
    wheres: list[dict[str, Any] | None] = [
        None,
        {"or": [{"entity": "Bruno"}, {"source": "crm"}, {"key": "shared-key"}]},
        {"not": {"namespace": asked}},
        {"namespace": {"nin": ["nowhere"]}, "metadata.topic": "shared"},
        {"not": {"entity": {"in": ["Nobody", None]}}},
    ]
    options: list[dict[str, Any]] = [
        *({"profile": name} for name in ("semantic", "balanced", "recent", "trusted")),
        {"as_of": AGO},
        {"known_at": "2100-01-01T00:00:00Z"},
        {"known_at": AGO},
        {"include_invalid": True, "newest_wins": True},
        {"rerank": "colbert", "rerank_depth": 3},
        {"undated": "drop", "max_tokens": 200},
        {"weights": {"entity": 5.0, "trust": 5.0}, "temporal": "current"},
    ]
    for where, chosen in itertools.zip_longest(wheres, options):
        given_ = {"explain": True, "limit": 50, "now": NOW, "where": where, **chosen}
        for result in store.query_many(QUESTIONS, namespace=asked, **given_):
            yield f"query {given_}", (result, result.render("xml"), result.suppressed)
            for hit in result.hits:
                yield "history", store.history(hit.memory.id)
    for where in wheres:
        yield f"list {where}", store.list(namespace=asked, where=where, limit=100)
        yield (
            f"forget {where}",
            store.forget(where=where or EVERYTHING, namespace=asked, dry_run=True),
        )
    yield "entities", store.entities(namespace=asked)
    yield "entities by prefix", store.entities(namespace=asked, prefix="Entity")
    for name in ("Ana", "Bruno", "Alias zqbqy"):
        yield f"neighbours of {name}", store.neighbours(name, namespace=asked)
    try:
        yield "get_by_key", store.get_by_key("shared-key", namespace=asked)
    except MemoryNotFound as error:
        yield "get_by_key", str(error)
    try:
        store.export_index(folder / "index", namespace=asked)
    except BadInput as error:  # there is nothing in it
        yield "export_index", str(error)
    else:
        written = [path for path in (folder / "index").iterdir() if path.suffix == ".json"]
        yield "export_index", [path.read_text() for path in written]


def check_answers(world: World, asked: str, folder: Path) -> None:
    outside = world.outside(asked)
    assert outside
    for how, answer in answers(world, asked, folder):
        said = repr(answer)
        assert not [word for word in outside if word in said], (asked, how)


@settings(max_examples=5, phases=AS_FOUND)
@given(plan=plans.map(told_apart), asked=st.sampled_from(NAMESPACES), sealed=st.integers(0, 20))
def test_no_answer_tells_of_a_memory_outside_its_namespace(
    fresh_store: FreshStore, plan: list[Planned], asked: str, sealed: int
) -> None:
    with fresh_store("hashed") as store, tempfile.TemporaryDirectory() as folder:
        world = World(store)
        fill(world, plan[:sealed])
        store.compact()
        fill(world, plan[sealed:], first=sealed)
        check_answers(world, asked, Path(folder))
        new = store.add(f"{TEXTS[0]}!", namespace=asked, entities=["Ana", "Bruno"])
        assert not [word for word in world.outside(asked) if word in repr(new)]


@settings(max_examples=1, phases=AS_FOUND)
@given(plan=plans.map(told_apart), asked=st.sampled_from(NAMESPACES))
def test_no_answer_of_a_calibrated_store_tells_of_a_memory_outside_its_namespace(
    fresh_store: FreshStore, plan: list[Planned], asked: str
) -> None:
    with fresh_store("minilm") as store, tempfile.TemporaryDirectory() as folder:
        world = World(store)
        fill(world, plan)
        check_answers(world, asked, Path(folder))


def seen(store: MemoryStore, asked: str) -> list[Any]:
    """What a namespace answers, without what depends on the clock."""
    found: list[Any] = [
        [
            (hit.memory, hit.score, hit.parts, hit.explanation, hit.token_matches)
            for hit in result.hits
        ]
        + [result.suppressed, result.flags]
        for profile in ("balanced", "trusted")
        for result in store.query_many(
            QUESTIONS, namespace=asked, profile=profile, now=NOW, limit=50, explain=True
        )
    ]
    found.append(store.list(namespace=asked, limit=100))
    found += [store.entities(namespace=asked), store.neighbours("Ana", namespace=asked)]
    return found


@pytest.mark.parametrize("encoder", ["hashed", "minilm"])
def test_what_is_stored_elsewhere_changes_no_answer_and_no_score(
    fresh_store: FreshStore, encoder: str
) -> None:
    chance = np.random.default_rng(5)
    fates = ["kept", "used", "voted", "superseded", "ended", "retracted"]

    def planned(namespace: str) -> Planned:
        some = chance.integers(0, 2, size=4).astype(bool).tolist()
        text, fate = int(chance.integers(len(TEXTS))), fates[chance.integers(len(fates))]
        return Planned(namespace, text, *some, None, fate)

    with fresh_store(encoder) as store:
        world = World(store)
        fill(world, [planned(path) for path in ("a/b", "a/b/c", "a/b", "a/b/c", "a/b", "a/b/c")])
        store.compact()
        fill(world, [planned("a/b") for _ in range(4)], first=100)
        before = seen(store, "a/b")
        fill(world, [planned(path) for path in ("ab", "b", "ab/c", "b/a/b") * 5], first=200)
        assert seen(store, "a/b") == before
        store.compact()
        fill(world, [planned("b") for _ in range(3)], first=300)
        sealed = seen(store, "a/b")
        store.forget(where=EVERYTHING, namespace="b")
        store.forget(where=EVERYTHING, namespace="ab")
        assert seen(store, "a/b") == sealed


def test_forgetting_by_a_filter_removes_nothing_outside(store: MemoryStore) -> None:
    for path in NAMESPACES:
        store.add("the same words", namespace=path, source="crm", entities=["Ana"])
    for asked, left in (("a/b", {"a", "ab", "b"}), ("a", {"ab", "b"})):
        store.forget(where={"not": {"source": "other"}}, namespace=asked)
        assert {item.namespace for item in store.list(namespace="*").memories} == left


def test_a_key_of_an_earlier_call_does_not_tell_of_another_namespace(store: MemoryStore) -> None:
    secret = store.add("a secret", namespace="b")
    mine = store.add("mine", namespace="a")
    store.confirm(secret.id, source="the doctor", idempotency_key="k")
    with pytest.raises(BadInput, match="was used before") as refused:
        store.confirm(mine.id, source="me", idempotency_key="k")
    assert secret.id not in str(refused.value)
    assert "the doctor" not in str(refused.value)


def test_a_calibration_asks_only_what_its_namespace_holds(
    fresh_store: FreshStore,
) -> None:
    with fresh_store("minilm") as store:
        store.add_many(
            {"text": f"number {n} is about {TEXTS[n % 4]} {n}", "namespace": "a"} for n in range(60)
        )
        first = store.calibrate(namespace="a", dry_run=True)
        store.add_many({"text": f"{TEXTS[n % 4]} {n}", "namespace": "b"} for n in range(60))
        again = store.calibrate(namespace="a", dry_run=True)
        assert dataclasses.replace(again, fitted_at=first.fitted_at) == first


def test_names_that_look_like_paths_are_names(store: MemoryStore, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (
        "../../victim",
        str(victim),
        "..",
        "a/../../b",
        "~root",
        "file:///etc/passwd",
        "C:\\x",
    ):
        memory = store.add("tea", key=name, session=name, source=name, title=name, entities=[name])
        assert store.get_by_key(name).id == memory.id
    for name in ("../../victim", "/etc", "..", "a/../b"):
        with pytest.raises(BadInput, match="not a path such as"):
            store.add("tea", namespace=name)
    for field_ in ("namespace", "key", "session", "source", "title"):
        for name in ("a\0b", "x" * 5_000):
            with pytest.raises(BadInput, match=field_):
                store.add("tea", **{field_: name})  # type: ignore[arg-type]
    store.compact()
    assert victim.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.mem", "victim"]
