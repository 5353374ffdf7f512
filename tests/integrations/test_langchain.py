"""The LangChain retriever, as programs made with LangChain use it."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.load import dumpd, dumps
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate, format_document
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnablePassthrough
from pydantic import ValidationError

from memstore import BadInput, MemoryStore, StoreNotFound, StoreUnwritable
from memstore.integrations.langchain import MemstoreRetriever


def texts(documents: list[Document]) -> list[str]:
    return [document.page_content for document in documents]


# what a document is


def test_a_document_has_the_id_of_its_memory_and_says_what_memstore_knows(store):
    memory = store.add(
        "Ana moved to Lisbon.",
        key="ana.city",
        namespace="team/ana",
        session="s1",
        title="Moving",
        kind="fact",
        source="crm",
        occurred_at="2026-03",
        valid_from="2026-03-02T09:00:00Z",
        metadata={"topic": "home", "nested": {"deep": [1]}},
    )
    (document,) = MemstoreRetriever(store=store, namespace="team").invoke("Lisbon")
    assert (document.id, document.page_content) == (memory.id, "Ana moved to Lisbon.")
    (hit,) = store.query("Lisbon", namespace="team").hits
    assert document.metadata == {
        "topic": "home",
        "nested": {"deep": [1]},
        "memstore_rank": 1,
        "memstore_score": hit.score,
        "memstore_probability": None,  # the hashed encoder is not calibrated
        "memstore_passage_start": 0,
        "memstore_passage_end": 20,
        "memstore_key": "ana.city",
        "memstore_namespace": "team/ana",
        "memstore_session": "s1",
        "memstore_title": "Moving",
        "memstore_kind": "fact",
        "memstore_source": "crm",
        "memstore_occurred_at": "2026-03",
        "memstore_recorded_at": memory.recorded_at.isoformat().replace("+00:00", "Z"),
        "memstore_valid_from": "2026-03-02T09:00:00Z",
        "memstore_valid_to": None,
        "memstore_confidence": 5.0,
        "memstore_importance": 0.0,
        "memstore_entities": list(memory.entities),
        "memstore_status": "current",
    }
    assert json.loads(json.dumps(document.metadata)) == document.metadata


def test_own_metadata_cannot_pass_for_what_memstore_knows_and_is_not_lost(store):
    own = {"memstore_confidence": 10, "memstore_score": 99, "memstore_shadowed": "x"}
    store.add("tea", source="web", metadata=own)
    (document,) = MemstoreRetriever(store=store, scores=False).invoke("tea")
    assert document.metadata["memstore_confidence"] == 5.0
    assert "memstore_score" not in document.metadata
    assert document.metadata["memstore_shadowed"] == own


def test_changing_a_documents_metadata_changes_no_later_answer(store):
    store.add("tea", metadata={"tags": ["hot"]})
    retriever = MemstoreRetriever(store=store)
    (document,) = retriever.invoke("tea")
    document.metadata["tags"].append("spoiled")
    assert retriever.invoke("tea")[0].metadata["tags"] == ["hot"]


def test_a_document_survives_langchains_own_serialisation(store):
    store.add("tea", occurred_at="2026-03-02T09:00:00Z", metadata={"topic": "drinks"})
    (document,) = MemstoreRetriever(store=store).invoke("tea")
    (dumped,) = json.loads(dumps([document]))
    assert Document(**dumped["kwargs"]) == document


LONG = " ".join(f"Chapter {i} is about subject{i} and what came of it." for i in range(120))


def test_a_long_memory_comes_as_the_passage_that_matched_or_whole_if_asked(store):
    memory = store.add(LONG)
    (part,) = MemstoreRetriever(store=store).invoke("subject77")
    start, end = (part.metadata[f"memstore_passage_{side}"] for side in ("start", "end"))
    assert "subject77 " in part.page_content
    assert part.page_content == LONG[start:end] != LONG
    (whole,) = MemstoreRetriever(store=store, content="memory").invoke("subject77")
    assert (whole.page_content, whole.id) == (LONG, memory.id)


def test_without_scores_a_memory_is_the_same_document_for_every_query(store):
    store.add("Ana drinks tea in Porto.")
    store.add("Bruno drinks tea.")
    scored = MemstoreRetriever(store=store)
    assert scored.invoke("tea")[0] not in scored.invoke("Porto")
    plain = MemstoreRetriever(store=store, scores=False)
    assert {doc.id: doc for doc in plain.invoke("tea")} == {
        doc.id: doc for doc in plain.invoke("Porto")
    }
    assert plain.invoke("tea", scores=True) == scored.invoke("tea")


# what is asked


def test_every_option_of_query_is_a_field_with_the_same_default():
    asked = inspect.signature(MemoryStore.query).parameters
    fields = MemstoreRetriever.model_fields
    elsewhere = {"self", "text", "limit", "explain", "style"}  # `k`, and what documents do not show
    options = {name: option.default for name, option in asked.items() if name not in elsewhere}
    assert {name: fields[name].default for name in options} == options
    assert fields["k"].default == asked["limit"].default


def test_fields_reach_the_query_and_a_call_may_replace_them(store):
    store.add_many(
        {"text": f"tea number {i}", "metadata": {"even": i % 2 == 0}, "source": f"s{i}"}
        for i in range(6)
    )
    retriever = MemstoreRetriever(store=store, k=4, where={"metadata.even": True})
    assert len(retriever.invoke("tea")) == 3
    assert len(retriever.invoke("tea", k=2)) == 2
    (odd,) = retriever.invoke("tea", where={"source": "s3"})
    assert odd.page_content == "tea number 3"
    assert len(retriever.invoke("tea")) == 3, "a call changes nothing for the next one"
    expected = [hit.memory.id for hit in store.query("tea", min_score=0.1, profile="recent").hits]
    found = MemstoreRetriever(store=store, min_score=0.1, profile="recent").invoke("tea")
    assert [document.id for document in found] == expected


def test_an_unknown_option_is_refused_with_the_known_ones(store):
    with pytest.raises(ValidationError, match="top_k"):
        MemstoreRetriever(store=store, top_k=3)
    with pytest.raises(BadInput, match=r"no option 'top_k'.*Known options: .*\bk,"):
        MemstoreRetriever(store=store).invoke("tea", top_k=3)
    with pytest.raises(BadInput, match="content is 'all'"):
        MemstoreRetriever(store=store).invoke("tea", content="all")


def test_a_wrong_value_is_memstores_error_and_langchain_is_told(store):
    seen: list[BaseException] = []

    class Watch(BaseCallbackHandler):
        def on_retriever_error(self, error, **rest):
            seen.append(error)

    retriever = MemstoreRetriever(store=store, where={"colour": "red"})
    with pytest.raises(BadInput, match="'colour' is unknown") as raised:
        retriever.invoke("tea", config={"callbacks": [Watch()]})
    assert seen == [raised.value]


def test_a_namespace_shows_nothing_of_others(store):
    for name in ("team/ana", "team/bruno", "other"):
        store.add(f"tea of {name}", namespace=name)
    assert texts(MemstoreRetriever(store=store).invoke("tea")) == []
    assert texts(MemstoreRetriever(store=store, namespace="team/ana").invoke("tea")) == [
        "tea of team/ana"
    ]
    assert len(MemstoreRetriever(store=store, namespace="team").invoke("tea")) == 2
    assert len(MemstoreRetriever(store=store, namespace="*").invoke("tea")) == 3


def test_a_chain_may_choose_the_namespace_per_call(store):
    for name in ("ana", "bruno"):
        store.add(f"tea of {name}", namespace=name)
    chain = MemstoreRetriever(store=store, namespace="nobody").configurable_fields(
        namespace=ConfigurableField(id="user")
    ) | RunnableLambda(texts)
    assert chain.invoke("tea") == []
    assert chain.invoke("tea", {"configurable": {"user": "ana"}}) == ["tea of ana"]
    assert chain.with_config(configurable={"user": "bruno"}).invoke("tea") == ["tea of bruno"]
    assert store.query("tea", namespace="ana").hits, "the store that was given stays open"


def test_a_superseded_memory_is_not_retrieved_unless_asked_for_its_time(store):
    store.add("The plan costs 10 euros.", key="plan", occurred_at="2025-01-01T00:00:00Z")
    store.add("The plan costs 14 euros.", key="plan", occurred_at="2026-01-01T00:00:00Z")
    retriever = MemstoreRetriever(store=store)
    assert texts(retriever.invoke("plan costs")) == ["The plan costs 14 euros."]
    then = MemstoreRetriever(store=store, as_of="2025-08-01T00:00:00Z")
    assert texts(then.invoke("plan costs")) == ["The plan costs 10 euros."]
    both = retriever.invoke("plan costs", include_invalid=True)
    assert [document.metadata["memstore_status"] for document in both] == ["current", "ended"]


def test_a_forgotten_memory_is_in_no_answer(store):
    memory = store.add("tea")
    retriever = MemstoreRetriever(store=store)
    assert len(retriever.invoke("tea")) == 1
    store.forget(memory.id)
    assert retriever.invoke("tea") == []


def test_near_duplicates_can_be_dropped_and_tokens_limited(store):
    store.add("Ana drinks green tea in the morning.")
    store.add("Ana drinks green tea in the morning!")
    store.add("Bruno sells a boat.")
    retriever = MemstoreRetriever(store=store)
    assert len(retriever.invoke("green tea")) == 3
    assert len(retriever.invoke("green tea", near_duplicates="drop")) == 2
    budget = store.query("green tea", limit=1, max_tokens=1000).tokens
    assert len(retriever.invoke("green tea", max_tokens=budget, where={"entity": "Ana"})) == 1


def test_a_budget_for_passages_is_refused_for_whole_memories(store):
    with pytest.raises(BadInput, match="max_tokens is 100 and counts passages"):
        MemstoreRetriever(store=store, content="memory", max_tokens=100)
    with pytest.raises(BadInput, match="max_tokens is 100 and counts passages"):
        MemstoreRetriever(store=store, max_tokens=100).invoke("tea", content="memory")


# within LangChain


def test_a_chain_retrieves_formats_and_prompts(store):
    store.add("Ana moved to Lisbon.", source="crm", occurred_at="2026-03-02")
    one = PromptTemplate.from_template("{page_content} [{memstore_source} {memstore_occurred_at}]")
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    retriever = MemstoreRetriever(store=store)
    as_text = RunnableLambda(lambda found: "\n".join(format_document(doc, one) for doc in found))
    chain = {"context": retriever | as_text, "question": RunnablePassthrough()} | prompt
    (message,) = chain.invoke("Where in Lisbon?").messages
    assert message.content == "Ana moved to Lisbon. [crm 2026-03-02]\n\nWhere in Lisbon?"
    (batched,) = chain.batch(["Where in Lisbon?"])
    assert batched.messages == [message]
    assert list(chain.stream("Where in Lisbon?"))[-1].messages == [message]


def test_a_batch_answers_each_in_its_place(store):
    store.add_many(f"word{i} is here" for i in range(12))
    retriever = MemstoreRetriever(store=store, k=1)
    asked = [f"word{i}" for i in range(12)]
    expected = [f"{word} is here" for word in asked]
    assert [texts(found)[0] for found in retriever.batch(asked)] == expected
    assert [texts(found)[0] for found in asyncio.run(retriever.abatch(asked, k=1))] == expected


def test_many_tasks_ask_and_write_at_once_and_each_gets_its_own_answer(store):
    store.add_many(f"word{i} is here" for i in range(20))
    retriever = MemstoreRetriever(store=store)

    async def ask(i: int) -> list[Document]:
        await asyncio.to_thread(store.add, f"late{i} came", namespace="late")
        return await retriever.ainvoke(f"word{i}", k=1)

    async def ask_all() -> list[list[Document]]:
        return await asyncio.gather(*(ask(i) for i in range(20)))

    found = asyncio.run(ask_all())
    assert [texts(documents) for documents in found] == [[f"word{i} is here"] for i in range(20)]
    assert found[3] == retriever.invoke("word3", k=1)
    assert len(store.list(namespace="late").memories) == 20


def test_traces_name_the_store_its_encoder_and_the_documents(store):
    store.add("tea")
    seen: dict[str, object] = {}

    class Watch(BaseCallbackHandler):
        def on_retriever_start(self, serialized, query, *, metadata, tags, **rest):
            seen.update(query=query, metadata=metadata, tags=tags)

        def on_retriever_end(self, documents, **rest):
            seen.update(documents=documents)

    retriever = MemstoreRetriever(store=store, tags=["memory"])
    found = retriever.invoke("tea", {"callbacks": [Watch()]})
    assert seen == {
        "query": "tea",
        "metadata": {
            "ls_retriever_name": "memstore",
            "ls_vector_store_provider": "memstore",
            "ls_embedding_provider": "memstore",
            "ls_embedding_model": store.encoder,
        },
        "tags": ["memory"],
        "documents": found,
    }


def test_a_retriever_is_not_serialisable_and_says_so_as_langchain_expects(store):
    dumped = dumpd(MemstoreRetriever(store=store))
    assert dumped["type"] == "not_implemented"
    assert dumped["id"][-1] == "MemstoreRetriever"


# opening and closing


def test_a_path_is_opened_once_for_reading_and_sees_what_others_write(tmp_path, monkeypatch):
    path = tmp_path / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as writer:
        writer.add("tea")
        opened = []
        really_open = MemoryStore.open.__func__

        def count(cls, *arguments, **options):
            opened.append(options)
            return really_open(cls, *arguments, **options)

        monkeypatch.setattr(MemoryStore, "open", classmethod(count))
        with MemstoreRetriever(store=str(path)) as retriever:
            assert texts(retriever.invoke("tea")) == ["tea"]
            writer.add("more tea")
            assert len(retriever.invoke("tea")) == 2
            chain = retriever.configurable_fields(k=ConfigurableField(id="k"))
            assert len(chain.invoke("tea", {"configurable": {"k": 1}})) == 1
            assert len(retriever.batch(["tea"] * 4)) == 4
            with pytest.raises(StoreUnwritable):
                retriever.store.add("not through this one")
        assert opened == [{"read_only": True}]
        with pytest.raises(BadInput, match="closed"):
            retriever.invoke("tea")
        retriever.close()  # twice is fine
        assert writer.get(writer.add("still open").id)


def test_a_store_that_was_given_stays_open(store):
    with MemstoreRetriever(store=store) as retriever:
        retriever.invoke("tea")
    assert store.add("tea").text == "tea"


def test_a_path_without_a_store_is_refused_and_stays_empty(tmp_path):
    with pytest.raises(StoreNotFound, match=r"nothing\.mem"):
        MemstoreRetriever(store=tmp_path / "nothing.mem")
    assert list(tmp_path.iterdir()) == []


# meaning


def test_the_bundled_encoder_finds_what_is_meant(tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem") as store:
        store.add_many(
            [
                "Ana moved from Porto to Lisbon.",
                "Bruno is allergic to peanuts.",
                "The printer on the third floor is out of toner.",
            ]
        )
        (found,) = MemstoreRetriever(store=store, k=1).invoke("What can Bruno not eat?")
        assert found.page_content == "Bruno is allergic to peanuts."
        assert 0.5 < found.metadata["memstore_probability"] < 1


# the extra


def test_without_langchain_the_error_says_what_to_install(run_without):
    program = """
from memstore import MissingExtra
try:
    import memstore.integrations.langchain
except MissingExtra as error:
    print(error)
"""
    assert "pip install 'memstore[langchain]'" in run_without("langchain_core", program)


@pytest.mark.parametrize("module", ["memstore", "memstore.cli", "memstore.integrations"])
def test_importing_memstore_loads_no_framework(module):
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "memstore" in loaded
    assert loaded & {"langchain_core", "llama_index", "pydantic"} == set()
