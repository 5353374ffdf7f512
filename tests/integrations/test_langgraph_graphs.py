"""`MemstoreStore` in graphs of LangGraph, which need no model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import tool
from langgraph.config import get_store
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import InjectedStore, ToolNode
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from typing_extensions import TypedDict

from memstore import MemoryStore
from memstore.integrations.langgraph import MemstoreStore


class State(TypedDict):
    said: str
    known: list[str]


@dataclass
class User:
    name: str


def graph_of(memories: MemoryStore) -> Any:
    def remember(state: State, *, store: BaseStore, runtime: Runtime[User]) -> dict[str, Any]:
        assert runtime.store is store
        space = ("users", runtime.context.name)
        number = len(store.search(space, limit=100))
        store.put(space, f"said-{number}", {"text": state["said"]})
        return {}

    def recall(state: State, runtime: Runtime[User]) -> dict[str, Any]:
        assert runtime.store is not None
        found = runtime.store.search(("users", runtime.context.name), query=state["said"], limit=2)
        return {"known": [item.value["text"] for item in found]}

    builder = StateGraph(State, context_schema=User)
    builder.add_node("recall", recall)
    builder.add_node("remember", remember)
    builder.add_edge(START, "recall")
    builder.add_edge("recall", "remember")
    builder.add_edge("remember", END)
    return builder.compile(store=MemstoreStore(memories))


def test_nodes_of_a_graph_remember_and_recall_per_user(tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem") as memories:
        graph = graph_of(memories)
        for said in ("I am allergic to peanuts.", "My car is a red Fiat."):
            graph.invoke({"said": said}, context=User("ana"))
        graph.invoke({"said": "I love peanut butter."}, context=User("bo"))
        state = graph.invoke({"said": "Which food is bad for me?"}, context=User("ana"))
        assert state["known"][0] == "I am allergic to peanuts."
        assert "I love peanut butter." not in state["known"]
    with MemoryStore.open(tmp_path / "agent.mem") as memories:  # another run, days later
        state = graph_of(memories).invoke({"said": "Which car is mine?"}, context=User("ana"))
        assert state["known"][0] == "My car is a red Fiat."


def test_async_nodes_use_it_too(store):
    async def node(state: State, *, store: BaseStore) -> dict[str, Any]:
        await store.aput(("a",), state["said"], {"text": state["said"]})
        items = await store.asearch(("a",), limit=10)
        return {"known": sorted(item.key for item in items)}

    builder = StateGraph(State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    graph = builder.compile(store=MemstoreStore(store))

    async def work() -> list[Any]:
        return await asyncio.gather(*(graph.ainvoke({"said": said}) for said in "abc"))

    states = asyncio.run(work())
    assert max(len(state["known"]) for state in states) == 3


class Messages(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


@tool
def save_memory(text: str, store: Annotated[Any, InjectedStore()]) -> str:
    """Save what a user says."""
    store.put(("notes",), text, {"text": text})
    return f"{len(store.search(('notes',)))} notes"


def test_a_tool_gets_it_injected(store):
    call = {"name": "save_memory", "args": {"text": "Ana likes tea."}, "id": "1"}
    builder = StateGraph(Messages)
    builder.add_node("model", lambda state: {"messages": [AIMessage("", tool_calls=[call])]})
    builder.add_node("tools", ToolNode([save_memory]))
    builder.add_edge(START, "model")
    builder.add_edge("model", "tools")
    graph = builder.compile(store=MemstoreStore(store))
    assert graph.invoke({"messages": []})["messages"][-1].content == "1 notes"
    assert store.query("tea", namespace="langgraph").hits[0].memory.key == "Ana likes tea."


def test_a_functional_workflow_gets_it(store):
    @task
    def count() -> int:
        get_store().put(("n",), "count", {"n": 1})
        return len(get_store().search(("n",)))

    @entrypoint(store=MemstoreStore(store))
    def work(start: int) -> int:
        return start + count().result()

    assert work.invoke(41) == 42


def test_without_langgraph_the_error_says_what_to_install(run_without):
    program = """
from memstore import MissingExtra
try:
    import memstore.integrations.langgraph
except MissingExtra as error:
    print(error)
"""
    assert "pip install 'memstore[langgraph]'" in run_without("langgraph", program)
