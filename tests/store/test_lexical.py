"""What a query names exactly is found, and counts as evidence beside the vectors."""

from __future__ import annotations

import dataclasses
import math
import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store.exact_queries import exact_queries

from memstore import BadInput, MemoryStore, Settings
from memstore.catalog import calibrations, full_text
from memstore.catalog.engine import reading, writing
from memstore.entities.words import is_common
from memstore.scoring.lexical import WEIGHTS
from memstore.store.scorers import encoder_key

HOT = Settings(hot_tokens=1 << 40)
NOW = "2100-01-01T00:00:00Z"  # all that is stored holds
ROOMS = ("kitchen", "cellar", "attic", "hall")


def calibrate(store: MemoryStore) -> MemoryStore:
    """Give the deterministic encoder a calibration: without one, there is nothing to add to."""
    opened = store._opened
    parameters = {"bias": -1.0, "slope": 3.0, "slope_ln_tokens": 4.0, "slope_ln_memories": -0.8}
    row = calibrations.CalibrationRow(encoder_key(opened.identity), "maxsim", parameters, {}, 1)
    with writing(opened.engine, opened.path) as connection:
        calibrations.write_calibration(connection, row)
    return store


@pytest.fixture
def calibrated(store: MemoryStore) -> MemoryStore:
    return calibrate(store)


def with_lexical(path: Path, *, on: bool, **given: Any) -> MemoryStore:
    chosen = dataclasses.replace(Settings(**given), lexical=on)
    return MemoryStore.open(path, settings=chosen)


def lexical(hit: Any) -> tuple[float, str]:
    """The part that a hit has for what it holds of the query, and why."""
    return next(((part.nats, part.why) for part in hit.parts if part.name == "lexical"), (0.0, ""))


def holds(hit: Any) -> bool:
    return lexical(hit)[1].startswith(("exact", "rare"))


def words_differ(store: MemoryStore) -> str | None:
    with reading(store._opened.engine, store.path) as connection:
        return full_text.difference(connection)


def notes(count: int) -> list[dict[str, str]]:
    return [
        {"text": f"Invoice INV-{20000 + n} lies in the {ROOMS[n % 4]}.", "key": f"n{n}"}
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the bundled encoder, for the queries of `exact_queries`."""
    path = tmp_path_factory.mktemp("named") / "agent.mem"
    with MemoryStore.open(path, settings=HOT) as store:
        store.add_many(exact_queries(1, 2_000)[0])
    return path


@pytest.mark.xdist_group("named")
@pytest.mark.parametrize("tier", ["hot", "sealed"])
def test_all_of_a_hundred_things_are_first_alone_and_in_a_sentence(named: Path, tier: str) -> None:
    _, asked = exact_queries(1, 2_000)
    with MemoryStore.open(named, settings=HOT) as store:
        if tier == "sealed":
            store.compact()
        assert (store.stats().hot_passages == 0) == (tier == "sealed")
        for texts in ([one.bare for one in asked], [one.sentence for one in asked]):
            found = [result.hits[0].memory.key for result in store.query_many(texts, limit=3)]
            assert found == [one.key for one in asked]


@pytest.mark.parametrize("count", [5, 20])
def test_a_small_store_tells_identifiers_apart_too(tmp_path: Path, count: int) -> None:
    with MemoryStore.open(tmp_path / "agent.mem") as store:
        store.add_many(notes(count))
        for n in range(count):
            for text in (f"INV-{20000 + n}", f"where did I put INV-{20000 + n}?"):
                assert store.query(text).hits[0].memory.key == f"n{n}"


def test_a_rare_word_is_found_in_a_sealed_store_whatever_its_vectors_are_near(
    tmp_path: Path,
) -> None:
    chance = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(4, 9))) for _ in range(30_000)]
    texts = [" ".join(chance.sample(words, 20)) for _ in range(3_000)]
    path = tmp_path / "agent.mem"
    coarse = dataclasses.replace(HOT, residual_bits=2)
    with MemoryStore.open(path, encoder="hashed", settings=coarse) as store:
        calibrate(store).add_many([{"text": text, "key": str(n)} for n, text in enumerate(texts)])
        store.compact()
    counted = Counter(word for text in texts for word in text.split())
    rare = {word: str(n) for n, text in enumerate(texts) for word in text.split()}
    asked = [word for word in rare if counted[word] == 1 and not is_common(word)][:400]

    def missed(*, on: bool) -> list[str]:
        # as narrow a search as one of many more memories is in proportion
        narrow = {"candidates": 1, "exact": 3, "exhaustive": 0, "nprobe": 1}
        with with_lexical(path, on=on, **narrow) as store:
            results = store.query_many(asked, limit=3)
        return [
            word
            for word, result in zip(asked, results, strict=True)
            if rare[word] not in {hit.memory.key for hit in result.hits}
        ]

    assert missed(on=False)
    assert not missed(on=True)


def test_a_hit_says_what_it_holds_and_its_parts_sum_to_its_score(calibrated: MemoryStore) -> None:
    calibrated.add_many(notes(40))
    calibrated.add("The zither is in the kitchen.", title="Late fees")
    asked = 'is INV-20007 in a kitchen with the zither, and "late fees"?'
    result = calibrated.query(asked, explain=True, now=NOW, limit=41)
    parts = {hit.memory.key: lexical(hit) for hit in result.hits}
    whys = {key: why for key, (_, why) in parts.items()}
    assert whys["n7"] == "exact: INV-20007"
    assert whys[None] == "exact: late fees; rare: zither"
    assert whys["n4"] == "without late fees, INV-20007, zither"  # a kitchen is common
    word, exact = math.log(41), math.log(100)  # of fewer than a hundred, names say as much
    against = WEIGHTS.absent * (word + exact)
    assert parts["n7"][0] == pytest.approx(WEIGHTS.exact * exact - against)
    both = WEIGHTS.exact * exact + WEIGHTS.word * word
    assert parts[None][0] == pytest.approx(both - against)
    assert parts["n4"][0] == pytest.approx(-against)
    for hit in result.hits:
        assert sum(part.nats for part in hit.parts) == pytest.approx(hit.score, abs=1e-12)
        assert hit.relevance.nats == pytest.approx(
            sum(part.nats for part in hit.parts if part.name in ("semantic", "lexical"))
        )
    assert result.took["lexical"] > 0.0
    semantic = calibrated.query("INV-20007", profile="semantic", explain=True)
    assert [part.name for part in semantic.hits[0].parts] == ["semantic", "lexical"]


def test_without_the_setting_nothing_is_looked_up_and_all_else_is_the_same(
    calibrated: MemoryStore,
) -> None:
    calibrated.add_many(notes(40))
    ask: dict[str, Any] = {"explain": True, "now": NOW, "limit": 40}
    on = {hit.memory.id: hit for hit in calibrated.query("INV-20007 kitchen", **ask).hits}
    with with_lexical(calibrated.path, on=False) as store:
        off = store.query("INV-20007 kitchen", **ask)
    assert any(holds(hit) for hit in on.values())
    for hit in off.hits:
        same = [part for part in on[hit.memory.id].parts if part.name != "lexical"]
        assert list(hit.parts) == same
    # where nothing is held, not a bit differs
    for text in ("nothing of the kind", "the kitchen?"):
        with with_lexical(calibrated.path, on=False) as store:
            without = store.query(text, **ask)
        assert calibrated.query(text, **ask).hits == without.hits


@pytest.mark.parametrize("value", [1, "yes", None])
def test_the_setting_is_yes_or_no(tmp_path: Path, value: Any) -> None:
    with pytest.raises(BadInput, match="'lexical' is"):
        MemoryStore.open(tmp_path / "agent.mem", settings={"lexical": value})


def test_without_a_calibration_scores_stay_as_they_are_and_say_so(store: MemoryStore) -> None:
    store.add_many(notes(40))
    result = store.query("INV-20007", explain=True)
    assert "uncalibrated" in result.flags
    assert result.hits[0].memory.key == "n7"
    assert [part.name for part in result.hits[0].parts] == ["semantic"]
    with with_lexical(store.path, on=False) as other:
        assert other.query("INV-20007", explain=True, now=result.now).hits == result.hits


WORDS = st.sampled_from(["tea", "kite", "INV-17", "a.conf", "zither", "Ana", "二つ"])
TEXTS = st.lists(st.lists(WORDS, min_size=1, max_size=4).map(" ".join), min_size=1, max_size=6)


@settings(max_examples=15)
@given(own=TEXTS, below=TEXTS, others=TEXTS, asked=TEXTS)
def test_what_other_namespaces_hold_changes_no_bit(
    fresh_store: Any, own: list[str], below: list[str], others: list[str], asked: list[str]
) -> None:
    def answers(*, crowded: bool) -> list[Any]:
        with fresh_store() as store:
            calibrate(store)
            if crowded:
                store.add_many([{"text": text, "namespace": "Team/ana"} for text in others * 3])
                store.add_many([{"text": text, "namespace": "team/anabel"} for text in others])
            store.add_many([{"text": text, "namespace": "team/ana"} for text in own])
            store.add_many([{"text": text, "namespace": "team/ana/x"} for text in below])
            results = store.query_many(
                asked, namespace="team/ana", profile="semantic", explain=True, now=NOW
            )
            return [
                [(hit.score, hit.memory.text, lexical(hit)) for hit in result.hits]
                for result in results
            ]

    assert answers(crowded=True) == answers(crowded=False)


def test_a_common_word_of_the_store_may_be_rare_in_a_namespace(calibrated: MemoryStore) -> None:
    calibrated.add_many(
        [{"text": f"the zither number {n}", "namespace": f"many/{n % 50}"} for n in range(1_000)]
    )
    calibrated.add_many([{"text": f"the {room}", "namespace": "few"} for room in ROOMS])
    calibrated.add("a zither over the roof", namespace="few")
    best = calibrated.query("zither", namespace="few", explain=True).hits[0]
    assert lexical(best)[1] == "rare: zither"
    assert lexical(best)[0] == pytest.approx((WEIGHTS.word - WEIGHTS.absent) * math.log(5))
    for namespace in ("many", "many/7", "*"):
        found = calibrated.query("zither", namespace=namespace, explain=True).hits[0]
        assert lexical(found) == (0.0, "")


def test_what_is_searched_decides_what_is_rare_not_what_may_be_found(
    calibrated: MemoryStore,
) -> None:
    calibrated.add_many(
        [
            {"text": f"zither {n} in the {ROOMS[n % 4]}", "source": ROOMS[n % 4], "key": f"n{n}"}
            for n in range(40)
        ]
    )
    whole = calibrated.query("zither 17 or 3", explain=True, now=NOW, limit=40)
    some = calibrated.query("zither 17 or 3", explain=True, now=NOW, where={"source": "hall"})
    assert any(holds(hit) for hit in whole.hits)
    before = {hit.memory.id: hit.parts for hit in whole.hits}
    assert all(hit.parts == before[hit.memory.id] for hit in some.hits)
    assert "n7" in {hit.memory.key for hit in some.hits}


def test_the_past_is_searched_as_it_was_known(calibrated: MemoryStore) -> None:
    first = calibrated.add("INV-17 was sent to Ana.", key="first")
    calibrated.add_many(notes(8))
    asked: dict[str, Any] = {"explain": True, "now": NOW}
    then = calibrated.get(calibrated.get_by_key("n7").id).recorded_at
    before = calibrated.query("INV-17", known_at=then, **asked)
    calibrated.add_many([{"text": f"{n} times INV-17"} for n in range(30)])
    after = calibrated.query("INV-17", known_at=then, **asked)
    assert before.hits == after.hits
    assert lexical(before.hits[0])[1] == "exact: INV-17"
    # what is retracted is not known any more, and still was
    calibrated.retract(first.id, reason="wrong")
    now = calibrated.query("INV-17", **asked)
    assert first.id not in {hit.memory.id for hit in now.hits}
    assert calibrated.query("INV-17", known_at=then, **asked).hits[0].memory.id == first.id


def test_what_ended_is_not_found_but_where_it_is_asked_for(calibrated: MemoryStore) -> None:
    calibrated.add_many(notes(20))
    old = calibrated.add("ERR-77 stops the boiler.", key="k", valid_from="2024-01-01T00:00:00Z")
    new = calibrated.add("ERR-78 stops the boiler.", key="k", valid_from="2025-01-01T00:00:00Z")
    result = calibrated.query("ERR-77", explain=True, now=NOW)
    assert old.id not in {hit.memory.id for hit in result.hits}
    assert result.suppressed[0].memory.id == old.id
    then = calibrated.query("ERR-77", as_of="2024-06-01T00:00:00Z", explain=True, now=NOW)
    assert then.hits[0].memory.id == old.id
    assert lexical(then.hits[0])[1] == "exact: ERR-77"
    assert calibrated.query("ERR-78", now=NOW).hits[0].memory.id == new.id


def test_words_follow_their_memory_through_its_life(
    calibrated: MemoryStore, tmp_path: Path
) -> None:
    calibrated.add_many(notes(30))
    memory = calibrated.get_by_key("n7")

    def holder(text: str) -> str | None:
        best = calibrated.query(text, explain=True).hits[0]
        return best.memory.id if holds(best) else None

    calibrated.update(memory.id, text="Invoice INV-31313 was paid.")
    assert holder("INV-20007") is None
    assert holder("INV-31313") == memory.id
    calibrated.update(memory.id, title="Pulteney")
    assert holder("Pulteney") == memory.id
    calibrated.compact()
    assert holder("INV-31313") == memory.id
    calibrated.forget(memory.id)
    assert holder("INV-31313") is None
    assert words_differ(calibrated) is None
    calibrated.rebuild()
    assert words_differ(calibrated) is None
    calibrated.export(tmp_path / "all.jsonl")
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        other.import_(tmp_path / "all.jsonl")
        assert words_differ(other) is None
    calibrated.backup(tmp_path / "copy.mem")
    with MemoryStore.open(tmp_path / "copy.mem", read_only=True) as copy:
        assert words_differ(copy) is None
        best = copy.query("INV-20009", explain=True).hits[0]
        assert lexical(best)[1] == "exact: INV-20009"
    calibrated.forget(where={"recorded_at": {"exists": True}}, purge=True)
    assert words_differ(calibrated) is None


SCRIPT = st.lists(
    st.tuples(st.sampled_from(["add", "update", "forget", "purge"]), st.integers(0, 9)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=12)
@given(SCRIPT)
def test_a_purge_leaves_no_word_in_any_file(fresh_store: Any, script: list[Any]) -> None:
    with fresh_store() as store:
        living: list[str] = []
        gone: set[str] = set()
        held: dict[str, set[str]] = {}

        def new() -> str:
            # as it is indexed: without accents and capitals
            return f"Zé{len(gone) + sum(map(len, held.values())):06}Quux"

        for verb, number in script:
            if verb == "add" or not living:
                words = {new()}
                item = store.add(f"the {words.copy().pop()} is here", title=f"title {number}")
                living.append(item.id)
                held[item.id] = words
                continue
            id_ = living[number % len(living)]
            if verb == "update":
                word = new()
                store.update(id_, text=f"now {word}")
                held[id_].add(word)
                continue
            store.forget(id_, purge=verb == "purge")
            living.remove(id_)
            if verb == "purge":
                gone |= held.pop(id_)
                files = [file for file in store.path.rglob("*") if file.is_file()]
                bytes_left = b"".join(file.read_bytes() for file in files)
                for word in gone:
                    assert word.encode() not in bytes_left
                    assert word.replace("é", "e").lower().encode() not in bytes_left
        assert store.verify().clean


DAMAGE = {
    "a passage is missing": "DELETE FROM full_text WHERE rowid = 3",
    "a text is another one": "UPDATE full_text SET words = 'something else' WHERE rowid = 3",
    "a passage too many": "INSERT INTO full_text VALUES ('n0', 'nobody said this')",
    "the index lost a part": "DELETE FROM full_text_data WHERE id > 10",
    "the index of its parts is gone": "DELETE FROM full_text_idx",
    "a copy was changed": "UPDATE full_text_content SET c1 = 'else' WHERE id = 3",
    "its structure is no such": "UPDATE full_text_data SET block = x'ff00ff' WHERE id = 10",
    "it has no structure": "DELETE FROM full_text_data",
    "it has no version": "DELETE FROM full_text_config",
    "there is none": "DROP TABLE full_text",
}


@pytest.mark.parametrize("statement", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_table_is_found_and_made_anew_and_all_else_goes_on(
    calibrated: MemoryStore, statement: str
) -> None:
    calibrated.add_many(notes(30))
    before = calibrated.query("INV-20007", explain=True, now=NOW)
    path = calibrated.path
    calibrated.close()
    with closing(sqlite3.connect(path / "memstore.db")) as connection, connection:
        connection.execute(statement)
    with MemoryStore.open(path, read_only=True) as store:
        result = store.query("INV-20007", explain=True, now=NOW)
        assert len(result.hits) == len(before.hits)
        assert not store.verify().clean
    with MemoryStore.open(path) as store:
        report = store.verify(repair=True)
        assert {finding.repaired for finding in report.findings} == {True}
        assert store.verify().clean
        assert store.query("INV-20007", explain=True, now=NOW).hits == before.hits
        store.add("INV-99999 is new.")
        assert store.verify().clean


def test_a_query_says_that_it_could_look_up_no_words(calibrated: MemoryStore) -> None:
    calibrated.add_many(notes(30))
    with closing(sqlite3.connect(calibrated.path / "memstore.db")) as connection, connection:
        connection.execute("DELETE FROM full_text_data")
    with MemoryStore.open(calibrated.path) as store:
        result = store.query("INV-20007")
    assert "lexical_unavailable" in result.flags
    assert result.hits


def test_a_score_is_the_same_in_both_tiers_and_with_any_candidates(calibrated: MemoryStore) -> None:
    calibrated.add_many(notes(60))

    def said() -> Iterator[dict[str | None, tuple[float, str]]]:
        for limit in (1, 5, 60):
            for text in ("INV-20007 and INV-20031", "the zither of INV-20059"):
                hits = calibrated.query(text, explain=True, limit=limit, now=NOW).hits
                yield {hit.memory.key: lexical(hit) for hit in hits if holds(hit)}

    hot = list(said())
    calibrated.compact()
    assert list(said()) == hot


def test_the_passage_that_holds_it_is_the_one_that_is_shown(calibrated: MemoryStore) -> None:
    filler = "nothing at all happened here " * 90
    calibrated.add(f"{filler} ERR-4031 was seen. {filler}", key="long")
    calibrated.add_many(notes(20))
    (best, *_) = calibrated.query("ERR-4031", explain=True).hits
    assert best.memory.key == "long"
    assert "ERR-4031" in best.passage.text
    assert len(best.passage.text) < len(best.memory.text)


def test_a_string_inside_a_longer_one_counts_less(calibrated: MemoryStore) -> None:
    calibrated.add_many(notes(30))
    calibrated.add("see app.conf", key="whole")
    calibrated.add("see /etc/app.conf.bak", key="inner")
    found = calibrated.query("app.conf", explain=True, limit=32).hits
    nats = {hit.memory.key: lexical(hit)[0] for hit in found}
    assert nats["n3"] < nats["inner"] < nats["whole"]


def test_scripts_without_spaces_are_found_by_what_is_quoted_or_named(
    calibrated: MemoryStore,
) -> None:
    calibrated.add_many(notes(30))
    calibrated.add("東京タワーの隣でERR-4031が出ました。", key="tower")
    calibrated.add("東京駅でERR-4013が出ました。", key="station")
    for asked, why in (
        ("ERR-4031とは?", "exact: ERR-4031"),
        ("「東京タワー」とは?", "exact: 東京タワー"),
    ):
        best = calibrated.query(asked, explain=True).hits[0]
        assert (best.memory.key, lexical(best)[1]) == ("tower", why)
    # words that nothing separates are not known to be words
    assert not any(holds(hit) for hit in calibrated.query("東京タワー", explain=True).hits)


def test_a_reranker_is_shown_what_words_found_and_its_score_stands_alone(
    tmp_path: Path,
) -> None:
    class Naming:
        """Likes best what names an invoice."""

        name, kind, parameters = "naming", "logit", None

        def score(self, query: str, documents: list[str], *, progress: Any = None) -> list[float]:
            return [float("INV-20007" in text) for text in documents]

        def windows(self, query: str, documents: list[str]) -> list[list[tuple[int, int]]]:
            return [[(0, len(text))] for text in documents]

    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        calibrate(store).add_many(notes(60))
        result = store.query("INV-20007", rerank=Naming(), rerank_depth=2, explain=True)
        assert result.hits[0].memory.key == "n7"
        assert lexical(result.hits[0]) == (0.0, "")
        own = store.query("INV-20007", rerank="colbert", explain=True)
        assert lexical(own.hits[0])[1] == "exact: INV-20007"


def test_exact_topk_holds_with_evidence(calibrated: MemoryStore) -> None:
    calibrated.add_many(notes(300))
    few = calibrated.query("INV-20007 in the hall", limit=3, profile="semantic", now=NOW)
    every = calibrated.query("INV-20007 in the hall", limit=300, profile="semantic", now=NOW)
    assert every.exact_topk
    if few.exact_topk:
        best = [(hit.memory.id, hit.score) for hit in every.hits[:3]]
        assert [(hit.memory.id, hit.score) for hit in few.hits] == best


def test_ranked_texts_are_looked_up_as_stored_ones_are(calibrated: MemoryStore) -> None:
    texts = [note["text"] for note in notes(12)]
    calibrated.add_many(texts)
    stored = calibrated.query("INV-20007", profile="semantic", limit=12, explain=True)
    ranked = calibrated.rank("INV-20007", texts, explain=True)
    assert [(hit.score, hit.parts) for hit in ranked] == [
        (hit.score, hit.parts) for hit in stored.hits
    ]
    with with_lexical(calibrated.path, on=False) as store:
        assert all(lexical(hit)[0] == 0.0 for hit in store.rank("INV-20007", texts, explain=True))
