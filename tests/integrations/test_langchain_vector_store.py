"""The LangChain vector store beyond the standard suite: ids, filters, scores, and its clients."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.example_selectors import SemanticSimilarityExampleSelector
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore

from memstore import BadInput, MemoryStore
from memstore.integrations.langchain import MemstoreRetriever, MemstoreVectorStore


@pytest.fixture
def vectors(store: MemoryStore) -> MemstoreVectorStore:
    return MemstoreVectorStore(store)


def texts(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


# ids


def test_an_id_is_a_key_so_other_content_supersedes_and_the_past_can_be_asked_for(store, vectors):
    vectors.add_texts(["The plan costs 10 euros."], ids=["plan"])
    before = store.get_by_key("plan").recorded_at
    vectors.add_texts(["The plan costs 14 euros."], ids=["plan"])
    assert texts(vectors.similarity_search("plan costs")) == ["The plan costs 14 euros."]
    assert texts(vectors.similarity_search("plan costs", as_of=before)) == [
        "The plan costs 10 euros."
    ]
    assert texts(vectors.get_by_ids(["plan"])) == ["The plan costs 14 euros."]


def test_a_text_without_an_id_gets_its_memorys_and_is_stored_once(store, vectors):
    first = vectors.add_texts(["tea", "coffee"], [{"n": 1}, {"n": 2}])
    assert vectors.add_texts(["tea", "coffee"], [{"n": 1}, {"n": 2}]) == first
    assert vectors.add_texts(["tea"], [{"n": 3}]) != first[:1], "other metadata, another document"
    assert store.get(first[0]).text == "tea"
    assert store.stats().memories == 3


def test_a_memorys_own_id_is_understood_wherever_an_id_is(store, vectors):
    keyless, keyed = store.add("tea"), store.add("coffee", key="drink")
    assert vectors.get_by_ids([keyed.id, keyless.id]) == [
        Document(id="drink", page_content="coffee"),
        Document(id=keyless.id, page_content="tea"),
    ]
    added = vectors.add_texts(
        ["green tea", "iced coffee"], [{"n": 1}] * 2, ids=[keyless.id, keyed.id]
    )
    assert added == [keyless.id, "drink"]
    assert store.get(keyless.id).text == "green tea"
    assert store.get_by_key("drink").text == "iced coffee"
    assert set(texts(vectors.similarity_search("tea coffee"))) == {"iced coffee", "green tea"}
    found = MemstoreRetriever(store=store).invoke("tea coffee")
    assert vectors.delete([document.id for document in found]) is True
    assert store.list().memories == (), "of a key nothing is left, what it said earlier included"


def test_documents_come_in_the_order_of_the_ids_each_once(vectors):
    vectors.add_texts(["a", "b", "c"], ids=["1", "2", "3"])
    found = vectors.get_by_ids(["3", "unknown", "1", "3"])
    assert [document.id for document in found] == ["3", "1"]
    assert vectors.get_by_ids([]) == []


def test_more_documents_than_a_page_of_a_listing_are_all_found(vectors, monkeypatch):
    monkeypatch.setattr("memstore.integrations.langchain.vector_store._PAGE", 2)
    ids = vectors.add_texts([f"tea {i}" for i in range(5)], ids=[f"id{i}" for i in range(5)])
    ids += vectors.add_texts([f"milk {i}" for i in range(5)])
    assert [document.id for document in vectors.get_by_ids(ids)] == ids


def test_an_id_twice_or_a_wrong_number_of_ids_is_refused_and_nothing_stored(store, vectors):
    with pytest.raises(BadInput, match="Id 'x' is there twice"):
        vectors.add_texts(["a", "b"], ids=["x", "x"], batch_size=1)
    with pytest.raises(BadInput, match="2 texts but 1 ids"):
        vectors.add_texts(["a", "b"], ids=["x"])
    with pytest.raises(BadInput, match="2 texts but 3 metadatas"):
        vectors.add_texts(["a", "b"], [{}] * 3)
    with pytest.raises(BadInput, match="text is empty"):
        vectors.add_documents([Document(page_content="fine"), Document(page_content=" ")])
    with pytest.raises(BadInput, match="metadata"):
        vectors.add_texts(["a", "b"], [{}, {"when": object()}])
    with pytest.raises(BadInput, match="batch_size is 0"):
        vectors.add_texts(["a"], batch_size=0)
    with pytest.raises(BadInput, match="key is int"):
        vectors.add_texts(["a"], ids=[0])
    with pytest.raises(TypeError, match="'idz'"):
        vectors.add_texts(["a"], idz=["x"])
    assert store.stats().memories == 0


def test_texts_may_come_from_a_generator_and_be_none(vectors):
    assert vectors.add_texts(text for text in ()) == []
    assert len(vectors.add_texts((f"tea {i}" for i in range(5)), batch_size=2)) == 5
    assert len(vectors.similarity_search("tea", k=10)) == 5


def test_deleting_takes_all_that_an_id_ever_said(store, vectors):
    vectors.add_texts(["ten euros"], ids=["plan"])
    before = store.get_by_key("plan").recorded_at
    vectors.add_texts(["fourteen euros"], ids=["plan"])
    vectors.delete(["plan", "unknown"])
    assert vectors.similarity_search("euros") == []
    assert vectors.similarity_search("euros", as_of=before) == []
    assert vectors.get_by_ids(["plan"]) == []
    assert vectors.add_texts(["ten euros"], ids=["plan"]) == ["plan"]
    assert texts(vectors.similarity_search("euros")) == ["ten euros"], "it can be said again"


def test_a_purge_leaves_no_byte_of_a_text(store, vectors):
    vectors.add_texts(["the secret is xylophonic", "tea"], ids=["secret", "tea"])
    vectors.delete(["secret"])
    vectors.delete(["secret"], purge=True)
    files = [path for path in store.path.rglob("*") if path.is_file()]
    assert files
    assert not any(b"xylophonic" in path.read_bytes() for path in files)
    assert texts(vectors.get_by_ids(["tea"])) == ["tea"]


def test_deleting_without_ids_takes_the_namespace_and_no_other(store):
    mine, others = (MemstoreVectorStore(store, namespace=name) for name in ("mine", "others"))
    mine.add_texts(["tea", "coffee"])
    others.add_texts(["tea"])
    mine.delete([])
    assert len(mine.similarity_search("tea")) == 2
    mine.delete()
    assert mine.similarity_search("tea") == []
    assert texts(others.similarity_search("tea")) == ["tea"]


def test_the_same_ids_in_two_namespaces_are_two_documents(store):
    ana, bruno = (MemstoreVectorStore(store, namespace=name) for name in ("ana", "bruno"))
    ana.add_texts(["tea"], ids=["1"])
    (own,) = bruno.add_texts(["coffee"])
    bruno.add_texts(["water"], ids=["1"])
    assert texts(ana.get_by_ids(["1", own])) == ["tea"]
    ana.delete(["1", own])
    assert texts(bruno.get_by_ids(["1", own])) == ["water", "coffee"]
    ana.add_texts(["milk"], ids=[own])
    assert texts(bruno.get_by_ids([own])) == ["coffee"]
    with pytest.raises(BadInput, match="'\\*' is all"):
        MemstoreVectorStore(store, namespace="*")


def test_what_lies_below_the_namespace_is_shown_by_the_memorys_id(store):
    below = store.add("tea", namespace="team/ana", key="1")
    team = MemstoreVectorStore(store, namespace="team")
    team.add_texts(["more tea"], ids=["1"])
    assert {doc.id: doc.page_content for doc in team.similarity_search("tea")} == {
        "1": "more tea",
        below.id: "tea",
    }
    team.add_texts(["green tea"], ids=[below.id])
    assert store.get(below.id).text == "green tea"
    team.delete(["1"])
    assert texts(team.similarity_search("tea")) == ["green tea"]


@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_calls_leaves_what_langchains_own_store_has(store, seed):
    chance = random.Random(seed)
    ours = MemstoreVectorStore(store)
    theirs = InMemoryVectorStore(DeterministicFakeEmbedding(size=4))
    ids = [f"id{i}" for i in range(6)]
    for step in range(40):
        some = chance.sample(ids, chance.randint(1, 3))
        if chance.random() < 0.7:
            said = [f"text{chance.randrange(4)} of {id_}" for id_ in some]
            metadatas = [{"step": chance.randrange(2)} for _ in some]
            documents = [
                Document(id=id_, page_content=text, metadata=metadata)
                for id_, text, metadata in zip(some, said, metadatas, strict=True)
            ]
            assert ours.add_documents(documents) == theirs.add_documents(documents)
        else:
            ours.delete(some)
            theirs.delete(some)
        assert ours.get_by_ids(ids) == theirs.get_by_ids(ids), step
        found = ours.similarity_search("text", k=10)
        assert sorted(found, key=lambda doc: doc.id) == theirs.get_by_ids(ids)


def test_many_threads_may_write_one_id_and_one_document_remains(store, vectors):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: vectors.add_texts([f"tea {i}"], ids=["1"]), range(24)))
    (found,) = vectors.similarity_search("tea", k=30)
    assert vectors.get_by_ids(["1"]) == [found]


# filters and fields


def test_a_filter_is_on_metadata_and_where_is_memstores(store, vectors):
    vectors.add_texts(
        ["tea one", "tea two", "tea three"],
        [
            {"source": "a.pdf", "topic": "drinks", "year": 2019},
            {"source": "b.pdf", "topic": "drinks", "year": 2024, "or": 1},
            {"source": "b.pdf", "topic": "food", "nested": {"deep": True}},
        ],
    )
    store.add("tea four", source="a.pdf")

    def found(**options):
        return sorted(texts(vectors.similarity_search("tea", k=10, **options)))

    assert found(filter={"source": "a.pdf"}) == ["tea one"]
    assert found(where={"source": "a.pdf"}) == ["tea four"]
    assert found(filter={"source": "b.pdf"}, where={"metadata.topic": "food"}) == ["tea three"]
    assert found(filter={"topic": {"in": ["food", "sport"]}}) == ["tea three"]
    assert found(filter={"year": {"gte": 2019, "lt": 2024}}) == ["tea one"]
    assert found(filter={"or": [{"topic": "food"}, {"year": 2019}]}) == ["tea one", "tea three"]
    assert found(filter={"and": [{"topic": "drinks"}, {"not": {"year": 2019}}]}) == ["tea two"]
    assert found(filter={"nested.deep": True}) == ["tea three"]
    assert len(found(filter={})) == 4
    assert texts(vectors.similarity_search("tea", 10, {"year": 2019})) == ["tea one"]
    assert found(where={"metadata.or": 1}) == ["tea two"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"topic": {"$in": ["food"]}}, r"'\$in' on 'metadata.topic' is unknown.*Known operators"),
        (lambda document: True, "is a mapping"),
        ({"or": {"topic": "food"}}, "'or' on 'metadata|on 'metadata.or'"),
        ({"not": ["food"]}, "is a mapping"),
    ],
)
def test_a_filter_of_another_grammar_is_refused(vectors, wrong, said):
    with pytest.raises(BadInput, match=said):
        vectors.similarity_search("tea", filter=wrong)


@pytest.mark.parametrize("date", ["2024-01-01", "2025-01-01", "2025-06-01", "2099-01-01"])
def test_another_text_under_an_id_holds_whatever_its_date(store, date):
    dated = MemstoreVectorStore(store, from_metadata={"occurred_at": "date"})
    dated.add_texts(["The plan costs 10 euros."], [{"date": "2025-01-01"}], ids=["plan"])
    dated.add_texts(["The plan costs 14 euros."], [{"date": date}], ids=["plan"])
    for _ in range(2):
        assert texts(dated.get_by_ids(["plan"])) == ["The plan costs 14 euros."]
        assert texts(dated.similarity_search("plan costs")) == ["The plan costs 14 euros."]
        assert texts(dated.similarity_search("plan", as_of="2025-02-01T00:00:00Z")) == [
            "The plan costs 10 euros."
        ]
        # the same once more is no other version
        dated.add_texts(["The plan costs 14 euros."], [{"date": date}], ids=["plan"])
        assert len(store.list().memories) == 2


def test_fields_of_a_memory_can_be_read_from_metadata(store):
    vectors = MemstoreVectorStore(
        store, from_metadata={"occurred_at": "date", "source": "source", "entities": "people"}
    )
    metadata = {"date": "2025-01-01T00:00:00Z", "source": "crm", "people": ["Ana"], "topic": "tea"}
    vectors.add_texts(["tea", "no date"], [metadata, {"topic": "tea"}], ids=["1", "2"])
    memory = store.get_by_key("1")
    assert (memory.occurred_at.year, memory.source, memory.entities) == (2025, "crm", ("Ana",))
    assert vectors.get_by_ids(["1"])[0].metadata == metadata
    assert store.get_by_key("2").source is None
    found = vectors.similarity_search("tea", where={"entity": "Ana"}, as_of="2025-06-01T00:00:00Z")
    assert [document.id for document in found] == ["1"]
    (keyless,) = vectors.add_texts(["milk"])
    vectors.add_texts(["oat milk"], [{"source": "web"}], ids=[keyless])
    assert store.get(keyless).source == "web"
    with pytest.raises(BadInput, match=r"names 'colour'.*Known fields: title"):
        MemstoreVectorStore(store, from_metadata={"colour": "colour"})


# scores


def test_scores_are_memstores_and_relevance_is_their_probability(tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem") as store:
        vectors = MemstoreVectorStore(store)
        vectors.add_texts(
            [
                "Ana moved from Porto to Lisbon.",
                "Bruno is allergic to peanuts.",
                "The printer on the third floor is out of toner.",
            ]
        )
        asked, now = "What can Bruno not eat?", datetime.now(UTC)
        hits = store.query(asked, now=now).hits
        scored = vectors.similarity_search_with_score(asked, now=now)
        assert [score for _, score in scored] == [hit.score for hit in hits]
        assert scored[0][0].page_content == "Bruno is allergic to peanuts."
        assert scored == asyncio.run(vectors.asimilarity_search_with_score(asked, now=now))
        options = {"now": now, "score_threshold": 0.5}
        relevant = vectors.similarity_search_with_relevance_scores(asked, **options)
        assert relevant == [(scored[0][0], hits[0].probability)]
        later = vectors.asimilarity_search_with_relevance_scores(asked, **options)
        assert relevant == asyncio.run(later)
        strict = vectors.as_retriever(
            search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.5}
        )
        assert texts(strict.invoke(asked)) == ["Bruno is allergic to peanuts."]
        assert strict.invoke(asked, filter={"topic": "none"}) == []


def test_relevance_without_calibration_is_refused_with_what_to_do(vectors):
    vectors.add_texts(["tea"])
    with pytest.raises(BadInput, match=r"'hashed.*not calibrated.*memstore calibrate"):
        vectors.similarity_search_with_relevance_scores("tea")
    ((_, score),) = vectors.similarity_search_with_score("tea")
    assert score > 0


def test_what_needs_one_vector_per_text_says_so(vectors):
    vectors.add_texts(["tea"])
    assert vectors.embeddings is None
    with pytest.raises(NotImplementedError, match="one vector per token"):
        vectors.similarity_search_by_vector([0.1])
    with pytest.raises(NotImplementedError, match="one vector per token"):
        vectors.max_marginal_relevance_search_by_vector([0.1])
    with pytest.raises(NotImplementedError, match="near_duplicates"):
        vectors.as_retriever(search_type="mmr").invoke("tea")
    with pytest.raises(NotImplementedError, match="near_duplicates"):
        asyncio.run(vectors.asearch("tea", "mmr"))


def test_an_option_that_query_does_not_know_is_an_error(vectors):
    with pytest.raises(TypeError, match="fetch_k"):
        vectors.similarity_search("tea", fetch_k=50)
    with pytest.raises(BadInput, match="max_tokens is 9 and counts passages"):
        vectors.similarity_search("tea", max_tokens=9)
    with pytest.raises(TypeError, match="namespace"):
        vectors.similarity_search("tea", namespace="others")
    with pytest.raises(TypeError, match="'soft'"):
        vectors.delete(["1"], soft=True)


# making one


def test_making_one_from_texts_needs_a_store_and_no_embedding(store, tmp_path):
    with pytest.raises(
        BadInput, match="DeterministicFakeEmbedding, which a memstore would not use"
    ):
        MemstoreVectorStore.from_texts(["tea"], DeterministicFakeEmbedding(size=4), store=store)
    with pytest.raises(BadInput, match="store="):
        MemstoreVectorStore.from_texts(["tea"])
    with pytest.raises(TypeError, match="'collection'"):
        MemstoreVectorStore.from_texts(["tea"], store=store, collection="x")
    assert store.stats().memories == 0
    made = MemstoreVectorStore.from_documents(
        [Document(id="1", page_content="tea", metadata={"n": 1})], None, store=store, namespace="x"
    )
    assert made.get_by_ids(["1"]) == [Document(id="1", page_content="tea", metadata={"n": 1})]
    later = asyncio.run(
        MemstoreVectorStore.afrom_texts(["milk"], None, [{"n": 2}], ids=["2"], store=store)
    )
    assert later.get_by_ids(["2"]) == [Document(id="2", page_content="milk", metadata={"n": 2})]


def test_a_path_is_created_opened_once_and_closed(tmp_path):
    path = tmp_path / "agent.mem"
    with MemstoreVectorStore.from_texts(["Ana drinks tea."], store=path, ids=["1"]) as vectors:
        assert texts(vectors.similarity_search("tea")) == ["Ana drinks tea."]
        assert vectors.store.encoder == "minilm"
    with pytest.raises(BadInput, match="closed"):
        vectors.similarity_search("tea")
    with MemstoreVectorStore(str(path)) as again:
        assert texts(again.get_by_ids(["1"])) == ["Ana drinks tea."]


def test_a_path_that_was_opened_for_texts_that_are_refused_is_closed(tmp_path, monkeypatch):
    opened = []
    really_open = MemoryStore.open
    monkeypatch.setattr(
        MemoryStore, "open", lambda path: opened.append(really_open(path)) or opened[0]
    )
    with pytest.raises(BadInput, match="text is empty"):
        MemstoreVectorStore.from_texts([""], store=tmp_path / "agent.mem")
    with pytest.raises(BadInput, match="closed"):
        opened[0].query("tea")


def test_a_store_that_was_given_stays_open(store):
    with MemstoreVectorStore(store) as vectors:
        vectors.add_texts(["tea"])
    assert store.query("tea").hits


# its clients within LangChain


def test_a_retriever_of_it_takes_search_arguments_and_works_in_chains(vectors):
    vectors.add_texts(
        [f"tea number {i}" for i in range(6)], [{"even": i % 2 == 0} for i in range(6)]
    )
    retriever = vectors.as_retriever(search_kwargs={"k": 2, "filter": {"even": True}})
    assert len(retriever.invoke("tea")) == 2
    assert len(retriever.invoke("tea", k=5)) == 3
    assert len((retriever | RunnableLambda(texts)).invoke("tea")) == 2
    asked = asyncio.run(retriever.abatch(["number 2", "number 4"], k=1))
    assert [texts(found) for found in asked] == [["tea number 2"], ["tea number 4"]]
    assert retriever.tags == ["MemstoreVectorStore"]
    assert retriever.add_documents([Document(page_content="more", id="9")]) == ["9"]


def test_many_tasks_add_and_ask_at_once(vectors):
    async def add_and_ask(i: int) -> list[Document]:
        await vectors.aadd_texts([f"word{i} is here"], ids=[str(i)])
        return await vectors.asimilarity_search(f"word{i}", k=1)

    async def all_of_them() -> list[list[Document]]:
        return await asyncio.gather(*(add_and_ask(i) for i in range(20)))

    found = asyncio.run(all_of_them())
    assert [documents[0].id for documents in found] == [str(i) for i in range(20)]
    assert asyncio.run(vectors.adelete([str(i) for i in range(19)])) is True
    assert [doc.id for doc in asyncio.run(vectors.asimilarity_search("word", k=30))] == ["19"]


def test_langchains_indexing_adds_skips_replaces_and_cleans_up(vectors):
    records = InMemoryRecordManager(namespace="memstore")
    records.create_schema()

    def run(*documents: Document, cleanup: str) -> tuple[int, int, int]:
        done = index(
            documents,
            records,
            vectors,
            cleanup=cleanup,
            source_id_key="source",
            key_encoder="blake2b",
        )
        return done["num_added"], done["num_skipped"], done["num_deleted"]

    a = Document(page_content="tea in a", metadata={"source": "a"})
    b = Document(page_content="tea in b", metadata={"source": "b"})
    changed = Document(page_content="green tea in a", metadata={"source": "a"})
    assert run(a, b, cleanup="incremental") == (2, 0, 0)
    assert run(a, b, cleanup="incremental") == (0, 2, 0)
    assert run(changed, cleanup="incremental") == (1, 0, 1)
    assert sorted(texts(vectors.similarity_search("tea"))) == ["green tea in a", "tea in b"]
    assert run(changed, cleanup="full") == (0, 1, 1)
    assert texts(vectors.similarity_search("tea")) == ["green tea in a"]
    assert run(a, cleanup="full") == (1, 0, 1)
    assert texts(vectors.similarity_search("tea")) == ["tea in a"]


def test_langchains_example_selector_picks_the_nearest_example(store):
    selector = SemanticSimilarityExampleSelector.from_examples(
        [{"input": "big cat", "output": "lion"}, {"input": "small bird", "output": "wren"}],
        None,
        MemstoreVectorStore,
        k=1,
        store=store,
    )
    assert selector.select_examples({"input": "a bird"}) == [
        {"input": "small bird", "output": "wren"}
    ]
