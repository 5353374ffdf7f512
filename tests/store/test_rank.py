"""Ranking texts that are in no store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore import BadInput, MemoryStore, NewMemory, RerankerUnavailable

TEXTS = [
    "The cat sat on the mat.",
    "Ana moved from Porto to Lisbon in March.",
    "Bruno is allergic to peanuts.",
    "The invoice of March was paid twice.",
]


@pytest.mark.parametrize("encoder", ["hashed", "minilm"])
def test_documents_rank_as_in_a_new_store_that_holds_nothing_else(tmp_path, encoder):
    with MemoryStore.open(tmp_path / "full.mem", encoder=encoder) as store:
        store.add_many(TEXTS)
        stored = store.query("When did Ana move?", profile="semantic")
    with MemoryStore.open(tmp_path / "other.mem", encoder=encoder) as store:
        store.add("something else altogether")
        ranked = store.rank("When did Ana move?", TEXTS)
    assert [hit.memory.text for hit in ranked] == [hit.memory.text for hit in stored.hits]
    assert [hit.score for hit in ranked] == [hit.score for hit in stored.hits]
    assert [hit.probability for hit in ranked] == [hit.probability for hit in stored.hits]
    assert [hit.passage for hit in ranked] == [hit.passage for hit in stored.hits]


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory):
    path = tmp_path_factory.mktemp("rank") / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as opened:
        yield opened


@given(documents=st.lists(st.text("abc ä\U0001f600", min_size=1).filter(str.strip), max_size=6))
def test_every_document_comes_back_once(shared_store, documents):
    ranked = shared_store.rank("a b", documents)
    assert sorted(hit.index for hit in ranked) == list(range(len(documents)))
    assert [hit.rank for hit in ranked] == list(range(1, len(documents) + 1))
    scores = [hit.score for hit in ranked]
    assert scores == sorted(scores, reverse=True)
    for hit in ranked:
        assert hit.memory.text == documents[hit.index]
        assert hit.memory.id == ""
        assert hit.passage.text == hit.memory.text[hit.passage.start : hit.passage.end]


def test_documents_may_carry_what_memories_carry(store):
    given_ = [{"text": "tea", "key": "t"}, NewMemory(text="sugar", title="tea", source="crm")]
    first, second = sorted(store.rank("tea", given_), key=lambda hit: hit.index or 0)
    assert first.memory.key == "t"
    assert (second.memory.title, second.memory.source) == ("tea", "crm")
    assert second.relevance.raw > 0.3  # its title is read, too


def test_the_passage_of_a_long_document_is_where_it_matches(store):
    text = "nothing at all " * 300 + "the zebra eats " + "nothing at all " * 300
    (hit,) = store.rank("zebra eats", [text])
    assert "zebra eats" in hit.passage.text
    assert len(hit.passage.text) < len(text)


def test_limit_and_explanation(store):
    ranked = store.rank("allergic", TEXTS, limit=2, explain=True)
    assert len(ranked) == 2
    assert ranked[0].index == 2
    for hit in ranked:
        assert sum(part.nats for part in hit.parts) == hit.score


def test_nothing_to_rank_is_no_error(store):
    assert store.rank("anything", []) == []


def test_nothing_is_stored(store, fingerprint):
    before = fingerprint(store.path)
    store.rank("tea", TEXTS)
    assert fingerprint(store.path) == before
    assert store.query("tea").hits == ()


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ("one text", "takes a list"),
        ({"text": "one"}, "takes a list"),
        ([""], "empty"),
        ([7], "mapping or a string"),
        ([{"text": "a", "colour": "red"}], "colour"),
    ],
)
def test_what_cannot_be_ranked_is_refused(store, documents, message):
    with pytest.raises(BadInput, match=message):
        store.rank("tea", documents)


def test_an_empty_query_and_a_wrong_limit_are_refused(store):
    with pytest.raises(BadInput, match="the query is empty"):
        store.rank(" ", TEXTS)
    with pytest.raises(BadInput, match="limit is 0"):
        store.rank("tea", TEXTS, limit=0)


def test_another_model_ranks_when_it_is_named(store):
    ranked = store.rank("Who may not eat nuts?", TEXTS, rerank="colbert:minilm")
    assert ranked[0].index == 2
    assert {hit.relevance.scorer for hit in ranked} == {"colbert:minilm"}


def test_progress_counts_what_the_reranker_has_read(store):
    done = []
    long = "nothing at all " * 300
    store.rank("tea", [*TEXTS, long], rerank="colbert:minilm", progress=done.append)
    assert sum(done) > len(TEXTS) + 1  # the long one in several windows


def test_skipping_ranks_by_the_encoder_and_every_hit_says_so(store):
    options = {"rerank": "no-such-owner/no-such-model"}
    with pytest.raises(RerankerUnavailable, match="no-such-owner/no-such-model"):
        store.rank("tea", TEXTS, **options)
    ranked = store.rank("tea", TEXTS, on_rerank_error="skip", **options)
    assert {hit.relevance.scorer for hit in ranked} == {"hashed"}
    assert all("Hugging Face" in (hit.rerank_error or "") for hit in ranked)
    assert store.rank("tea", TEXTS)[0].rerank_error is None
