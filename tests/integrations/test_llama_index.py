"""The LlamaIndex retriever, within LlamaIndex's own engines, fusion and postprocessors."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys

import pytest
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine, TransformQueryEngine
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever, TransformRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import (
    IndexNode,
    MetadataMode,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from llama_index.core.tools import RetrieverTool

from memstore import BadInput, MemoryStore, StoreNotFound, StoreUnwritable
from memstore.integrations.llama_index import MemstoreRetriever


def retriever_of(store: MemoryStore, **options) -> MemstoreRetriever:
    """A retriever over an encoder that is not calibrated."""
    return MemstoreRetriever(store, score="score", **options)


def texts(nodes: list[NodeWithScore]) -> list[str]:
    return [node.text for node in nodes]


# what a node is


def test_a_node_has_the_id_of_its_memory_and_says_what_memstore_knows(store):
    memory = store.add(
        "Ana moved to Lisbon.",
        key="ana.city",
        namespace="team/ana",
        session="s1",
        title="Moving",
        kind="fact",
        source="crm",
        occurred_at="2026-03",
        metadata={"topic": "home"},
    )
    (found,) = retriever_of(store, namespace="team").retrieve("Lisbon")
    (hit,) = store.query("Lisbon", namespace="team").hits
    assert found.score == pytest.approx(hit.score)
    node = found.node
    assert isinstance(node, TextNode)
    assert (node.node_id, node.text) == (memory.id, "Ana moved to Lisbon.")
    assert (node.start_char_idx, node.end_char_idx) == (0, 20)
    assert node.ref_doc_id == "s1"
    assert node.metadata == {
        "topic": "home",
        "memstore_key": "ana.city",
        "memstore_namespace": "team/ana",
        "memstore_session": "s1",
        "memstore_title": "Moving",
        "memstore_kind": "fact",
        "memstore_source": "crm",
        "memstore_occurred_at": "2026-03",
        "memstore_recorded_at": memory.recorded_at.isoformat().replace("+00:00", "Z"),
        "memstore_valid_from": None,
        "memstore_valid_to": None,
        "memstore_confidence": 5.0,
        "memstore_importance": 0.0,
        "memstore_entities": list(memory.entities),
        "memstore_status": "current",
    }
    assert TextNode.from_json(node.to_json()) == node
    assert json.loads(json.dumps(node.metadata)) == node.metadata


def test_models_are_shown_own_metadata_title_time_and_source_and_no_more(store):
    store.add("tea", metadata={"topic": "drinks"}, source="crm", occurred_at="2026-03-02")
    store.add("tea too")
    with_all, with_none = sorted(retriever_of(store).retrieve("tea"), key=lambda node: node.text)
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        assert with_all.node.get_content(mode) == (
            "topic: drinks\nmemstore_source: crm\nmemstore_occurred_at: 2026-03-02\n\ntea"
        )
        assert with_none.node.get_content(mode) == "tea too"


def test_own_metadata_cannot_pass_for_what_memstore_knows_and_is_not_lost(store):
    store.add("tea", metadata={"memstore_source": "the boss"})
    (found,) = retriever_of(store).retrieve("tea")
    assert found.metadata["memstore_source"] is None
    assert found.metadata["memstore_shadowed"] == {"memstore_source": "the boss"}
    assert "boss" not in found.node.get_content(MetadataMode.LLM)


LONG = " ".join(f"Chapter {i} is about subject{i} and what came of it." for i in range(120))


def test_a_long_memory_comes_as_the_passage_that_matched_or_whole_if_asked(store):
    memory = store.add(LONG)
    (part,) = retriever_of(store).retrieve("subject77")
    assert "subject77 " in part.text
    assert part.text == LONG[part.node.start_char_idx : part.node.end_char_idx] != LONG
    (whole,) = retriever_of(store, content="memory").retrieve("subject77")
    assert (whole.text, whole.node_id, whole.node.end_char_idx) == (LONG, memory.id, len(LONG))
    with pytest.raises(BadInput, match="counts passages"):
        retriever_of(store, content="memory", max_tokens=100)


# scores


def test_a_node_scores_by_the_probability_of_its_hit_or_by_its_log_odds(tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem") as store:
        store.add_many(
            [
                "Ana moved from Porto to Lisbon.",
                "Bruno is allergic to peanuts.",
                "The printer on the third floor is out of toner.",
            ]
        )
        asked, now = "What can Bruno not eat?", "2040-01-01T00:00:00Z"
        hits = store.query(asked, now=now).hits
        probable = MemstoreRetriever(store, now=now).retrieve(asked)
        assert texts(probable)[0] == "Bruno is allergic to peanuts."
        assert [node.score for node in probable] == [hit.probability for hit in hits]
        scored = MemstoreRetriever(store, now=now, score="score").retrieve(asked)
        assert [node.score for node in scored] == [hit.score for hit in hits]
        engine = RetrieverQueryEngine.from_args(
            MemstoreRetriever(store),
            llm=MockLLM(),
            node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.5)],
        )
        assert texts(engine.query(asked).source_nodes) == ["Bruno is allergic to peanuts."]


def test_a_probability_that_is_not_known_is_refused_with_what_to_do(store):
    store.add("tea")
    with pytest.raises(BadInput, match=r"not calibrated.*Ask for scores instead"):
        MemstoreRetriever(store).retrieve("tea")
    with pytest.raises(BadInput, match="score is 'nats'"):
        MemstoreRetriever(store, score="nats")


# what is asked


def test_every_option_of_query_is_one_with_the_same_default():
    asked = inspect.signature(MemoryStore.query).parameters
    taken = inspect.signature(MemstoreRetriever).parameters
    elsewhere = {"self", "text", "limit", "explain", "style"}
    options = {name: option.default for name, option in asked.items() if name not in elsewhere}
    assert {name: taken[name].default for name in options} == options
    assert taken["similarity_top_k"].default == asked["limit"].default


def test_options_reach_the_query(store):
    for i in range(6):
        store.add(f"tea number {i}", metadata={"even": i % 2 == 0}, namespace=f"n{i % 3}")
    assert retriever_of(store).retrieve("tea") == []
    assert len(retriever_of(store, namespace="*").retrieve("tea")) == 6
    assert len(retriever_of(store, namespace="*", similarity_top_k=4).retrieve("tea")) == 4
    even = retriever_of(store, namespace="n0", where={"metadata.even": True})
    assert texts(even.retrieve("tea")) == ["tea number 0"]
    with pytest.raises(BadInput, match="'colour' is unknown"):
        retriever_of(store, where={"colour": "red"}).retrieve("tea")
    with pytest.raises(TypeError, match="top_k"):
        retriever_of(store, top_k=3)


def test_a_superseded_memory_is_not_retrieved_unless_asked_for_its_time(store):
    store.add("The plan costs 10 euros.", key="plan", occurred_at="2025-01-01T00:00:00Z")
    store.add("The plan costs 14 euros.", key="plan", occurred_at="2026-01-01T00:00:00Z")
    assert texts(retriever_of(store).retrieve("plan costs")) == ["The plan costs 14 euros."]
    then = retriever_of(store, as_of="2025-08-01T00:00:00Z")
    assert texts(then.retrieve("plan costs")) == ["The plan costs 10 euros."]


def test_a_forgotten_memory_is_in_no_answer(store):
    memory = store.add("tea")
    retriever = retriever_of(store)
    assert len(retriever.retrieve("tea")) == 1
    store.forget(memory.id)
    assert retriever.retrieve("tea") == []


def test_of_a_bundle_the_query_is_asked(store):
    store.add("tea with Ana")
    store.add("a boat")
    bundle = QueryBundle("tea", custom_embedding_strs=["boat"], embedding=[0.1, 0.2])
    assert texts(retriever_of(store, similarity_top_k=1).retrieve(bundle)) == ["tea with Ana"]


# within LlamaIndex


def test_a_query_engine_puts_the_memories_into_its_prompt(store):
    store.add("Ana moved to Lisbon.", source="crm", metadata={"topic": "home"})
    engine = RetrieverQueryEngine.from_args(retriever_of(store), llm=MockLLM())
    answer = engine.query("Where does Ana live?")  # the mock answers with its prompt
    assert "topic: home\nmemstore_source: crm\n\nAna moved to Lisbon." in str(answer)
    assert "memstore_confidence" not in str(answer)
    assert texts(answer.source_nodes) == ["Ana moved to Lisbon."]
    later = asyncio.run(engine.aquery("Where does Ana live?"))
    assert str(later) == str(answer)
    nothing = RetrieverQueryEngine.from_args(retriever_of(store, namespace="x"), llm=MockLLM())
    assert str(nothing.query("Where does Ana live?")) == "Empty Response"


def test_a_transform_and_a_tool_work_on_top_of_it(store):
    store.add("Ana moved to Lisbon.")
    hyde = HyDEQueryTransform(llm=MockLLM(max_tokens=5), include_original=True)
    engine = TransformQueryEngine(
        RetrieverQueryEngine.from_args(retriever_of(store), llm=MockLLM()), hyde
    )
    assert texts(engine.query("Lisbon?").source_nodes) == ["Ana moved to Lisbon."]
    assert texts(TransformRetriever(retriever_of(store), hyde).retrieve("Lisbon?")) == [
        "Ana moved to Lisbon."
    ]
    tool = RetrieverTool.from_defaults(retriever_of(store), description="What is remembered.")
    assert "Ana moved to Lisbon." in tool.call("Lisbon?").content


class Fixed(MockLLM):
    """Says the same queries whatever it is asked."""

    def complete(self, prompt, formatted=False, **rest):
        answer = super().complete("x", formatted=formatted, **rest)
        answer.text = "tea in the morning\nAna drinks"
        return answer

    async def acomplete(self, prompt, formatted=False, **rest):
        return self.complete(prompt)


@pytest.mark.parametrize("mode", list(FUSION_MODES))
@pytest.mark.parametrize("use_async", [False, True])
def test_fusion_merges_what_several_queries_and_retrievers_found(store, mode, use_async):
    store.add("Ana drinks tea.")
    store.add("Bruno sells a boat.")
    store.add("Carla drinks tea in the morning.", namespace="other")
    fusion = QueryFusionRetriever(
        [retriever_of(store), retriever_of(store, namespace="other")],
        llm=Fixed(),
        mode=mode,
        num_queries=3,
        similarity_top_k=10,
        use_async=use_async,
    )
    for nodes in (fusion.retrieve("who drinks?"), asyncio.run(fusion.aretrieve("who drinks?"))):
        assert sorted(texts(nodes)) == [
            "Ana drinks tea.",
            "Bruno sells a boat.",
            "Carla drinks tea in the morning.",
        ]
        if mode == FUSION_MODES.RECIPROCAL_RANK:
            found_by_all = next(node for node in nodes if node.text == "Ana drinks tea.")
            assert found_by_all.score > 2 / 60, "the three queries count together"


def test_it_can_be_an_object_that_another_retriever_leads_to(store):
    class Leading(BaseRetriever):
        def _retrieve(self, query_bundle):
            node = IndexNode(text="memories", index_id="memories", obj=retriever_of(store))
            return [NodeWithScore(node=node, score=1.0)]

    store.add("Ana moved to Lisbon.")
    assert texts(Leading().retrieve("Lisbon?")) == ["Ana moved to Lisbon."]


def test_many_tasks_ask_at_once_and_each_gets_its_own_answer(store):
    store.add_many(f"word{i} is here" for i in range(20))
    retriever = retriever_of(store, similarity_top_k=1)

    async def ask_all() -> list[list[NodeWithScore]]:
        return await asyncio.gather(*(retriever.aretrieve(f"word{i}") for i in range(20)))

    found = asyncio.run(ask_all())
    assert [texts(nodes) for nodes in found] == [[f"word{i} is here"] for i in range(20)]


# opening and closing


def test_a_path_is_opened_once_for_reading_and_sees_what_others_write(tmp_path):
    path = tmp_path / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as writer:
        writer.add("tea")
        with MemstoreRetriever(str(path), score="score") as retriever:
            assert texts(retriever.retrieve("tea")) == ["tea"]
            writer.add("more tea")
            assert len(asyncio.run(retriever.aretrieve("tea"))) == 2
            with pytest.raises(StoreUnwritable):
                retriever.store.add("not through this one")
        with pytest.raises(BadInput, match="closed"):
            retriever.retrieve("tea")
        retriever.close()  # twice is fine
        with MemstoreRetriever(writer, score="score") as given:
            assert len(given.retrieve("tea")) == 2
        assert writer.add("still open").text == "still open"


def test_a_path_without_a_store_is_refused_and_stays_empty(tmp_path):
    with pytest.raises(StoreNotFound, match=r"nothing\.mem"):
        MemstoreRetriever(tmp_path / "nothing.mem")
    with pytest.raises(BadInput, match="store is of type int"):
        MemstoreRetriever(3)
    assert list(tmp_path.iterdir()) == []


# the extra, and the network


def test_without_llama_index_the_error_says_what_to_install(run_without):
    program = """
from memstore import MissingExtra
try:
    import memstore.integrations.llama_index
except MissingExtra as error:
    print(error)
"""
    assert "pip install 'memstore[llama-index]'" in run_without("llama_index", program)


def test_a_query_engine_answers_without_a_network(tmp_path):
    program = """
import socket, sys

def refused(*arguments, **options):
    raise AssertionError(f"asked for the network: {arguments}")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused

from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from memstore import MemoryStore
from memstore.integrations.llama_index import MemstoreRetriever

with MemoryStore.open(sys.argv[1]) as store:
    store.add("Ana moved from Porto to Lisbon.")
    engine = RetrieverQueryEngine.from_args(MemstoreRetriever(store), llm=MockLLM())
    print(engine.query("Where does Ana live?"))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path / "agent.mem")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Ana moved from Porto to Lisbon." in done.stdout
