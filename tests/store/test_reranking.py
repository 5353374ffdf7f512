"""A second look at the best candidates: what a query makes of a reranker's scores."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from memstore import (
    BadInput,
    MemoryStore,
    QueryResult,
    RerankerUnavailable,
    ServiceError,
)
from memstore.catalog.engine import reading
from memstore.rerank import Reranker, Span
from memstore.store.candidates import Ranked
from memstore.store.retrieval import Retrieval
from memstore.types import ScoreKind

WORD = re.compile(r"\w+")


@dataclass
class Shared:
    """Scores a text by how many of the query's words it holds; keeps what it was given."""

    kind: ScoreKind = "logit"
    name: str = "shared-words"
    parameters: int | None = 0
    room: int = 10_000  # characters of a window
    scale: Callable[[int], float | None] = float
    seen: list[str] = field(default_factory=list)

    def windows(self, query: str, documents: Sequence[str]) -> list[list[Span]]:
        return [
            [(at, min(at + self.room, len(text))) for at in range(0, max(len(text), 1), self.room)]
            for text in documents
        ]

    def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[float | None]:
        self.seen += documents
        asked = set(WORD.findall(query.lower()))
        return [self.scale(len(asked & set(WORD.findall(text.lower())))) for text in documents]


@dataclass
class Failing(Shared):
    error: Exception = field(default_factory=lambda: ServiceError("The service is closed."))

    def score(self, *arguments: object, **options: object) -> list[float | None]:
        raise self.error


PLACES = ["Porto", "Lisbon", "Faro", "Braga", "Evora", "Aveiro", "Sintra", "Tomar"]


@pytest.fixture
def filled(store: MemoryStore) -> MemoryStore:
    store.add_many(
        [
            {"text": f"{place} is a city that Ana saw by train", "key": place.lower()}
            for place in PLACES
        ]
    )
    return store


def keys(result: QueryResult) -> list[str | None]:
    return [hit.memory.key for hit in result.hits]


def test_hits_come_in_the_order_of_the_reranker(filled):
    words = Shared()
    result = filled.query("tomar train", rerank=words, profile="semantic", explain=True)
    assert keys(result)[0] == "tomar"
    assert result.reranker == "shared-words"
    assert "rerank" in result.took
    best = result.hits[0]
    assert best.score == 2.0
    assert (best.relevance.scorer, best.relevance.kind) == ("shared-words", "logit")
    assert best.relevance.raw == best.relevance.nats == 2.0
    assert best.probability == pytest.approx(1 / (1 + math.exp(-2.0)))
    assert best.parts[0].why == "shared-words logit 2.000"


def test_without_a_reranker_the_relevance_is_the_encoders(filled):
    result = filled.query("tomar train")
    assert result.reranker is None
    assert "rerank" not in result.took
    relevance = result.hits[0].relevance
    assert (relevance.scorer, relevance.kind, relevance.nats) == ("hashed", "maxsim", None)
    assert relevance.raw == result.hits[0].score


def test_only_the_best_candidates_are_read(filled):
    words = Shared()
    first = filled.query("tomar", limit=3, profile="semantic")
    result = filled.query("tomar", limit=3, rerank=words, rerank_depth=3)
    assert words.seen == [hit.memory.text for hit in first.hits]
    assert sorted(keys(result)) == sorted(keys(first))
    assert result.flags == ()


def test_the_setting_says_how_many_are_read_by_default(tmp_path):
    path = tmp_path / "agent.mem"
    with MemoryStore.open(path, encoder="hashed", settings={"rerank_depth": 4}) as store:
        store.add_many([f"{place} by train" for place in PLACES])
        words = Shared()
        store.query("train", limit=2, rerank=words)
        assert len(words.seen) == 4


def test_what_was_not_read_follows_in_the_order_of_retrieval(filled):
    retrieved = filled.query("tomar train", profile="semantic")
    result = filled.query("tomar train", rerank=Shared(), rerank_depth=3, explain=True)
    assert len(result.hits) == len(PLACES)
    assert sorted(keys(result)[:3]) == sorted(keys(retrieved)[:3])
    assert keys(result)[3:] == keys(retrieved)[3:]
    assert "not_reranked" in result.flags
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    for hit in result.hits:
        assert sum(part.nats for part in hit.parts) == pytest.approx(hit.score, abs=1e-9)
    for hit in result.hits[3:]:
        assert hit.relevance.scorer == "hashed"
        assert hit.probability is None
        assert hit.parts[-1].name == "not_reranked"


def test_a_text_without_a_score_follows_those_that_have_one(filled):
    words = Shared(scale=lambda count: None if count == 0 else float(count))
    result = filled.query("tomar", rerank=words)
    assert keys(result)[0] == "tomar"
    assert [hit.relevance.scorer for hit in result.hits] == ["shared-words"] + ["hashed"] * 7
    assert "not_reranked" in result.flags


def test_a_service_that_scores_nothing_leaves_the_order_of_retrieval(filled):
    retrieved = filled.query("tomar", profile="semantic")
    result = filled.query("tomar", rerank=Shared(scale=lambda _: None), profile="semantic")
    assert keys(result) == keys(retrieved)
    assert [hit.score for hit in result.hits] == [hit.score for hit in retrieved.hits]
    assert "not_reranked" in result.flags


def test_probabilities_become_log_odds(filled):
    half = Shared(kind="prob01", scale=lambda count: 0.9 if count else 0.5)
    result = filled.query("tomar", rerank=half, profile="semantic")
    assert result.hits[0].score == pytest.approx(math.log(9))
    assert result.hits[0].relevance.raw == 0.9
    assert result.hits[1].score == pytest.approx(0.0)


@pytest.mark.parametrize(("raw", "nats"), [(1.0, 13.8155), (1.7, 13.8155), (-0.4, -13.8155)])
def test_scores_at_or_beyond_the_ends_stay_finite(filled, raw, nats):
    result = filled.query("tomar", rerank=Shared(kind="prob01", scale=lambda _: raw))
    assert result.hits[0].relevance.nats == pytest.approx(nats, abs=1e-4)
    assert result.hits[0].relevance.raw == raw


def test_scores_that_nobody_calibrated_are_ranked_by_relevance_alone(store):
    store.add("tea in the morning", key="old", occurred_at="2001-01-01T00:00:00Z")
    store.add("tea in the morning or evening", key="new", occurred_at="2026-01-01T00:00:00Z")
    result = store.query(
        "morning", rerank=Shared(kind="maxsim"), profile="recent", now="2026-01-02T00:00:00Z"
    )
    assert "uncalibrated" in result.flags
    assert result.profile == "semantic"
    assert result.hits[0].probability is None


def test_time_and_trust_count_after_the_reranker(store):
    store.add("Ana drinks tea", key="old", occurred_at="2016-01-01T00:00:00Z")
    store.add("Ana drinks coffee", key="new", occurred_at="2026-01-01T00:00:00Z")
    asked = {"rerank": Shared(), "now": "2026-01-02T00:00:00Z", "explain": True}
    semantic = store.query("Ana drinks", profile="semantic", **asked)
    assert {hit.score for hit in semantic.hits} == {2.0}
    recent = store.query("Ana drinks", profile="recent", **asked)
    assert keys(recent) == ["new", "old"]
    assert recent.hits[0].score > 2.0 > recent.hits[1].score
    assert recent.profile == "recent"
    assert recent.hits[0].relevance.nats == 2.0
    for hit in recent.hits:
        assert sum(part.nats for part in hit.parts) == pytest.approx(hit.score, abs=1e-9)


def test_equal_scores_of_different_texts_leave_no_room_for_time_alone(store):
    for year in (2010, 2015, 2020):
        store.add(f"note number {year}", occurred_at=f"{year}-01-01T00:00:00Z")
    result = store.query("zebra", rerank=Shared(), profile="recent")
    assert "semantic_degenerate" in result.flags
    assert {hit.score for hit in result.hits} == {0.0}


def test_a_reranker_reads_the_title_before_the_text(store):
    words = Shared()
    store.add("The bell rings at nine.", title="School rules")
    store.query("bell", rerank=words)
    assert words.seen == ["School rules The bell rings at nine."]


def test_a_reranker_reads_nothing_of_other_namespaces_or_outside_the_filter(store):
    words = Shared()
    store.add("secret tea", namespace="other")
    store.add("filtered tea", namespace="mine", source="crm")
    store.add("old tea", namespace="mine", valid_to="2020-01-01T00:00:00Z")
    store.add("wanted tea", namespace="mine", source="chat")
    store.query("tea", namespace="mine", where={"source": "chat"}, rerank=words)
    assert words.seen == ["wanted tea"]


def long_text(parts: int) -> str:
    return " ".join(f"Chapter {number} tells of nothing at all." for number in range(parts))


def test_a_long_text_counts_by_its_best_window_which_becomes_the_passage(store):
    text = f"{long_text(60)} At the end the zebra eats a pear. {long_text(20)}"
    store.add(text, key="book")
    store.add("The zebra eats.", key="note")
    words = Shared(room=200)
    result = store.query("zebra eats pear", rerank=words, profile="semantic")
    assert keys(result) == ["book", "note"]
    book = result.hits[0]
    assert book.score == 3.0
    assert "zebra eats a pear" in book.passage.text
    assert book.passage.text == text[book.passage.start : book.passage.end]


def test_a_window_elsewhere_than_what_was_found_becomes_the_passage(store):
    text = f"The zebra. {long_text(100)} A pear, it eats."
    store.add(text, key="book")
    found = store.query("zebra", profile="semantic").hits[0].passage
    assert found.start == 0
    words = Shared(room=100, scale=lambda count: float(count))
    words.score = lambda query, texts, **_: [float("pear" in one) for one in texts]  # type: ignore[method-assign]
    (hit,) = store.query("zebra", rerank=words, profile="semantic", explain=True).hits
    assert hit.passage.text.endswith("A pear, it eats.")
    assert hit.passage.text == text[hit.passage.start : hit.passage.end]
    assert len(hit.passage.text) <= 100
    assert hit.token_matches == ()


def test_of_a_very_long_text_only_the_surroundings_of_the_passage_are_read(tmp_path):
    settings = {"rerank_characters": 500}
    with MemoryStore.open(tmp_path / "a.mem", encoder="hashed", settings=settings) as store:
        text = f"{long_text(300)} The zebra eats a pear. {long_text(300)}"
        store.add(text)
        words = Shared()
        store.query("zebra pear", rerank=words)
        (read,) = words.seen
        assert len(read) == 500
        assert "zebra eats a pear" in read


def test_a_passage_that_the_best_window_holds_stays(store):
    text = f"{long_text(20)} The zebra eats a pear. {long_text(20)}"
    store.add(text)
    found = store.query("zebra pear", profile="semantic").hits[0].passage
    (hit,) = store.query("zebra pear", rerank=Shared(room=len(text) - 40)).hits
    assert hit.passage == found
    assert len(hit.passage.text) < len(text) - 40


def test_a_windows_passage_is_in_its_place_behind_a_title(store):
    text = f"{long_text(100)} A pear, it eats."
    store.add(text, title="A book about nothing")
    words = Shared(room=100)
    words.score = lambda query, texts, **_: [float("pear" in one) for one in texts]  # type: ignore[method-assign]
    (hit,) = store.query("nothing", rerank=words).hits
    assert hit.passage.text == text[hit.passage.start : hit.passage.end]
    assert hit.passage.end == len(text)
    assert hit.passage.text.endswith("A pear, it eats.")


def test_what_follows_the_reranked_is_lower_whatever_the_scales(tmp_path):
    with MemoryStore.open(tmp_path / "a.mem", encoder="minilm") as store:
        store.add_many([f"Ana saw {place} from the train" for place in PLACES])
        low = Shared(scale=lambda count: count - 20.0)
        result = store.query("Ana in Porto", rerank=low, rerank_depth=2, explain=True)
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)
    assert scores[2] == scores[1]
    assert [hit.probability is None for hit in result.hits] == [False] * 2 + [True] * 6
    for hit in result.hits:
        assert sum(part.nats for part in hit.parts) == pytest.approx(hit.score, abs=1e-9)


def test_nothing_is_flagged_as_not_reranked_that_is_not_shown(filled):
    high = Shared(scale=lambda count: 5.0 + count)
    result = filled.query("tomar", rerank=high, rerank_depth=3, min_score=6.0, profile="semantic")
    assert keys(result) == ["tomar"]
    assert "not_reranked" not in result.flags


def test_more_can_be_read_than_the_cognitive_pass_usually_sees(tmp_path):
    settings = {"candidates": 3}
    with MemoryStore.open(tmp_path / "a.mem", encoder="hashed", settings=settings) as store:
        store.add_many([f"{place} by train" for place in PLACES])
        words = Shared()
        store.query("train", limit=1, rerank=words, rerank_depth=7)
        assert len(words.seen) == 7


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_an_error_that_names_the_reranker(filled, bad):
    with pytest.raises(RerankerUnavailable, match=r"8 of 8 scores .*'shared-words'.*not finite"):
        filled.query("tomar", rerank=Shared(scale=lambda _: bad))


BROKEN = [
    ({"score": lambda *_, **__: None}, "no numbers"),
    ({"score": lambda query, texts, **_: ["high"] * len(texts)}, "no numbers"),
    ({"score": lambda query, texts, **_: [10**400] * len(texts)}, "no numbers"),
    ({"score": lambda query, texts, **_: [[1.0, 2.0]] * len(texts)}, "no numbers"),
    ({"windows": lambda query, texts: [[(0, 3)]]}, "windows for 1 of 8 documents"),
    ({"windows": lambda query, texts: [[]] * len(texts)}, "windows for 0 of 8 documents"),
    ({"windows": lambda query, texts: [3] * len(texts)}, "no pairs"),
    ({"windows": lambda query, texts: None}, "no pairs"),
]


@pytest.mark.parametrize(("methods", "said"), BROKEN)
def test_an_object_that_breaks_the_contract_is_told_so(filled, methods, said):
    words = Shared()
    for name, method in methods.items():
        setattr(words, name, method)
    with pytest.raises(RerankerUnavailable, match=f"'shared-words'.*{said}"):
        filled.query("tomar", rerank=words)


def test_scores_may_be_of_any_kind_of_number(filled):
    words = Shared()
    words.score = lambda query, texts, **_: np.arange(len(texts), dtype=np.float32)  # type: ignore[method-assign]
    assert filled.query("tomar", rerank=words, profile="semantic").hits[0].score == 7.0


def test_a_missing_score_is_an_error(filled):
    words = Shared()
    words.score = lambda query, texts, **_: [1.0]  # type: ignore[method-assign]
    with pytest.raises(RerankerUnavailable, match="1 scores for 8 documents"):
        filled.query("tomar", rerank=words)


def test_a_reranker_that_fails_is_an_error_by_default(filled):
    with pytest.raises(ServiceError, match="closed"):
        filled.query("tomar", rerank=Failing())


@pytest.mark.parametrize(
    "rerank",
    [Failing(), "no-such-owner/no-such-model", Shared(scale=lambda _: math.nan)],
    ids=["a service that is down", "missing weights", "useless scores"],
)
def test_skipping_gives_the_order_of_retrieval_and_says_so(filled, rerank):
    retrieved = filled.query("tomar train")
    result = filled.query("tomar train", rerank=rerank, on_rerank_error="skip", explain=True)
    assert keys(result) == keys(retrieved)
    assert [hit.score for hit in result.hits] == [hit.score for hit in retrieved.hits]
    assert "rerank_skipped" in result.flags
    assert result.reranker is None
    assert result.rerank_error


def test_a_failure_is_waited_for_once_in_a_call(filled):
    asked = []

    def fail(query: str, texts: Sequence[str], **_: object) -> list[float | None]:
        asked.append(query)
        raise ServiceError("The service is closed.")

    words = Shared()
    words.score = fail  # type: ignore[method-assign]
    results = filled.query_many(["tomar", "porto", "faro"], rerank=words, on_rerank_error="skip")
    assert asked == ["tomar"]
    assert [result.rerank_error for result in results] == ["The service is closed."] * 3


@pytest.mark.parametrize("name", ["minilm-16", "m" * 300])
def test_a_wrong_name_is_never_skipped(filled, name):
    with pytest.raises(BadInput, match=rf"no reranker '{name}'.*\n.*minilm-l6"):
        filled.query("tomar", rerank=name, on_rerank_error="skip")


@pytest.mark.parametrize("name", ["nope", "c" * 300])
def test_a_wrong_name_of_a_checkpoint_is_never_skipped(filled, name):
    with pytest.raises(BadInput, match=rf"no ColBERT checkpoint '{name}'.*\n.*colbertv2"):
        filled.query("tomar", rerank=f"colbert:{name}", on_rerank_error="skip")


@pytest.mark.parametrize("rerank", [7, True, ["minilm-l6"], object(), Shared, "", "colbert:"])
def test_what_is_no_reranker_is_refused(filled, rerank):
    with pytest.raises(BadInput, match="rerank"):
        filled.query("tomar", rerank=rerank)


def test_wrong_options_are_refused(filled):
    with pytest.raises(BadInput, match="rerank_depth is 0"):
        filled.query("tomar", rerank_depth=0)
    with pytest.raises(BadInput, match="on_rerank_error is 'ignore'"):
        filled.query("tomar", on_rerank_error="ignore")


def test_the_reranker_a_store_was_opened_with_serves_every_query(tmp_path):
    words = Shared()
    with MemoryStore.open(tmp_path / "a.mem", encoder="hashed", reranker=words) as store:
        store.add_many([f"{place} by train" for place in PLACES])
        assert store.query("tomar").reranker == "shared-words"
        assert store.query("tomar", rerank="none").reranker is None
        assert store.query("tomar", rerank="colbert").reranker == "colbert"
        assert store.rank("tomar", ["a", "tomar"])[0].relevance.scorer == "shared-words"


def test_opening_with_a_wrong_reranker_is_refused_and_makes_no_store(tmp_path):
    with pytest.raises(BadInput, match="no reranker 'minilm-16'"):
        MemoryStore.open(tmp_path / "a.mem", encoder="hashed", reranker="minilm-16")
    assert not (tmp_path / "a.mem").exists()


def test_an_object_with_the_methods_is_a_reranker():
    assert isinstance(Shared(), Reranker)
    assert not isinstance("minilm-l6", Reranker)


def test_reranking_changes_nothing_in_the_store(filled, fingerprint):
    before = fingerprint(filled.path)
    filled.query("tomar", rerank=Shared(), explain=True)
    filled.rank("tomar", ["one", "two"], rerank=Shared())
    assert fingerprint(filled.path) == before


def test_what_validity_hides_is_judged_by_the_same_reranker(store):
    store.add("Ana lives in Porto", key="city", occurred_at="2024-01-01T00:00:00Z")
    store.add("Ana lives in Lisbon", key="city", occurred_at="2025-01-01T00:00:00Z")
    result = store.query("Ana in Porto", rerank=Shared(), explain=True, profile="semantic")
    assert [hit.score for hit in result.hits] == [2.0]
    (hidden,) = result.suppressed
    assert hidden.score == 3.0


def test_what_validity_hides_is_judged_as_deep_as_what_it_does_not(store):
    for number in range(4):
        text = f"tea number {number}" + " and more" * number
        store.add(text, key=f"old-{number}", valid_to="2020-01-01T00:00:00Z")
    store.add("tea is valid")
    for number in range(4):
        best = Shared()
        best.score = lambda query, texts, **_: [  # type: ignore[method-assign]
            9.0 if f"number {number}" in one else 0.0  # noqa: B023  called in this round
            for one in texts
        ]
        result = store.query("tea", limit=1, rerank=best, explain=True, profile="semantic")
        assert [item.memory.key for item in result.suppressed] == [f"old-{number}"]


def test_explaining_changes_neither_flags_nor_hits(store):
    store.add("Ana lives in Lisbon", occurred_at="2025-01-01T00:00:00Z")
    store.add("Ana likes tea", occurred_at="2026-01-01T00:00:00Z")
    for year in (2018, 2019, 2020):
        store.add(f"gone in {year}", valid_to=f"{year}-06-01T00:00:00Z")
    asked = {"rerank": Shared(), "profile": "recent", "now": "2026-02-01T00:00:00Z"}
    plain = store.query("Ana lives", **asked)
    explained = store.query("Ana lives", explain=True, **asked)
    assert explained.flags == plain.flags == ()
    assert [hit.score for hit in explained.hits] == [hit.score for hit in plain.hits]


def test_an_explained_query_asks_the_reranker_once(store):
    store.add("tea now")
    store.add("tea then", valid_to="2020-01-01T00:00:00Z")
    calls = []
    words = Shared()
    score = words.score
    words.score = lambda *a, **k: calls.append(1) or score(*a, **k)  # type: ignore[method-assign]
    store.query("tea", rerank=words, explain=True)
    assert calls == [1]
    assert sorted(words.seen) == ["tea now", "tea then"]


def test_progress_counts_the_queries(filled):
    done: list[int] = []
    filled.query_many(["tomar", "porto", "faro"], rerank=Shared(), progress=done.append)
    assert done == [1, 1, 1]


def test_the_stores_own_vectors_rank_a_small_store_as_retrieval_does(filled):
    retrieved = filled.query("tomar train")
    result = filled.query("tomar train", rerank="colbert")
    assert result.hits == retrieved.hits
    assert result.reranker == "colbert"
    assert "rerank" in result.took


def test_the_stores_own_vectors_score_every_passage_of_a_memory(tmp_path):
    """Also those that the index, which looks at some only, never came to."""
    rng = np.random.default_rng(3)
    vocabulary = [f"word{number}" for number in range(300)]
    settings = {"passage_tokens": 16, "overlap_tokens": 0}
    path = tmp_path / "a.mem"
    with MemoryStore.open(path, encoder="hashed", settings=settings) as store:
        store.add_many([" ".join(rng.choice(vocabulary, 100)) for _ in range(300)])
        store.compact()
        store.add_many([" ".join(rng.choice(vocabulary, 100)) for _ in range(20)])
        opened = store._opened
        with reading(opened.engine, opened.path) as connection:
            view = opened.snapshot.refresh(connection)
            space = view.space([1], None)
            assert space.sealed_passages > 1024
            (query,) = opened.encoder.encode_queries(["word3 word77 word150"])
            retrieval = Retrieval(view, space, query, opened.settings, "cpu")
            chosen = np.array([2, 3, 5, 299, 305, 319])
            unknown = Ranked(chosen, np.zeros(6, dtype=np.int64), np.zeros(6), np.zeros(6))
            exact = retrieval.exact(unknown)
            assert sorted(exact.positions) == chosen.tolist()
            assert exact.scores.tolist() == sorted(exact.scores.tolist(), reverse=True)
            for position, score in zip(exact.positions, exact.scores, strict=True):
                sealed = np.flatnonzero(view.sealed.owners == position)
                hot = np.flatnonzero(view.hot.owners == position)
                best = max(
                    _weighted(maxima, retrieval.weights)
                    for maxima in [
                        *(
                            (one @ query.vectors.T).max(axis=0)
                            for one in view.sealed.vectors(sealed)
                        ),
                        *view.hot.similarities(query.vectors, hot),
                    ]
                )
                assert score == pytest.approx(best, abs=1e-3)


def _weighted(maxima: np.ndarray, weights: np.ndarray) -> float:
    return float((maxima * weights).sum() / weights.sum())


def test_another_encoder_reads_the_candidates_anew(filled):
    result = filled.query("tomar train", rerank="colbert:minilm", rerank_depth=4)
    assert result.reranker == "colbert:minilm"
    assert "uncalibrated" in result.flags
    assert keys(result)[0] == "tomar"
    relevance = result.hits[0].relevance
    assert (relevance.scorer, relevance.kind) == ("colbert:minilm", "maxsim")
    assert -1.0 <= relevance.raw <= 1.0


def test_a_checkpoint_that_is_not_there_is_said_so_in_a_sentence(filled):
    with pytest.raises(RerankerUnavailable, match="'colbertv2' cannot be loaded"):
        filled.query("tomar", rerank="colbertv2")
