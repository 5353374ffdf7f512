"""A coding agent's notes: three days that share one memory, over the Model Context Protocol.

python examples/coding_notes/agent.py [STORE]

The agent is a script in place of a model: it makes the calls that a model would make, prints what
it is told, and ends with status 1 if it was not told what it needs.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from mcp import Client, StdioServerParameters

NOTES = (
    {
        "text": "Decision: the gateway keeps sessions in Redis, because it runs as three replicas.",
        "key": "gateway.sessions",
        "kind": "fact",
        "metadata": {"repository": "gateway", "type": "decision"},
    },
    {
        "text": "Convention: never edit a database migration that is merged; write a new one.",
        "key": "convention.migrations",
        "kind": "evergreen",
        "metadata": {"repository": "gateway", "type": "convention"},
    },
    {
        "text": "Bug: uploads over 10 MB failed with status 413. The cause was nginx, whose "
        "client_max_body_size was too small; raising it in deploy/nginx.conf fixed it.",
        "kind": "episodic",
        "metadata": {"repository": "gateway", "type": "bug"},
    },
    {
        "text": "The test suite needs a running Postgres; start one with `make services`.",
        "key": "gateway.tests",
        "kind": "fact",
        "metadata": {"repository": "gateway", "type": "convention"},
    },
)


class Memory:
    """The tools of a memory server, as an agent calls them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self._client.call_tool(tool, arguments)
        said = result.content[0].text
        print(f"\n> {tool} {arguments}\n{said}")
        if result.is_error:
            raise RuntimeError(said)
        return result.structured_content


def server(store: Path, *options: str) -> StdioServerParameters:
    """The command of the server; a client's configuration file has the same."""
    command = ["-m", "memstore", "--store", str(store), "mcp", "--namespace", "project/gateway"]
    return StdioServerParameters(command=sys.executable, args=[*command, *options])


async def monday(store: Path) -> None:
    """Write down what was decided, agreed on and found out."""
    async with Client(server(store)) as client:
        memory = Memory(client)
        for note in NOTES:
            await memory.call("memory_store", **note, source="agent", session="monday")


async def tuesday(store: Path) -> None:
    """Work with it: ask before a task, note what has changed, say what helped."""
    async with Client(server(store)) as client:
        memory = Memory(client)

        # the task: "users report that large uploads fail again"
        found = await memory.call("memory_recall", query="Why do large file uploads fail?", limit=2)
        bug = found["hits"][0]
        assert "client_max_body_size" in bug["text"], "the old bug is what helps"
        await memory.call("memory_feedback", id=bug["id"], verb="reinforce")

        # a decision changes: the same key, so that the old one ends and its history stays
        changed = await memory.call(
            "memory_store",
            text="Decision: the gateway keeps sessions in Postgres; Redis was removed.",
            key="gateway.sessions",
            kind="fact",
            source="Ana",
            metadata={"repository": "gateway", "type": "decision"},
        )
        assert len(changed["superseded"]) == 1, "the key was in use"

        # the next task asks for what holds now, and what held before is not in its way
        asked = "Where are the sessions of the gateway stored?"
        now = await memory.call("memory_recall", query=asked, where={"metadata.type": "decision"})
        assert [hit["id"] for hit in now["hits"]] == [changed["id"]], "only the new decision holds"
        await memory.call("memory_feedback", id=changed["id"], verb="confirm", source="Bruno")

        # a note that was wrong: two steps, because a filter says what and not which
        what = {"where": {"key": "gateway.tests"}}
        shown = await memory.call("memory_forget", **what)
        gone = await memory.call("memory_forget", **what, confirm=shown["confirm"])
        assert gone["count"] == 1


async def wednesday(store: Path) -> None:
    """A reviewer's agent reads the same notes, and can change none of them."""
    async with Client(server(store, "--read-only")) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert names == {"memory_recall", "memory_get", "memory_status"}
        profile = (await client.read_resource("memory://profile")).contents[0].text
        print(f"\n> memory://profile\n{profile}")
        assert "Postgres; Redis was removed" in profile
        assert "three replicas" not in profile
        assert "make services" not in profile


def main(store: Path) -> None:
    for day in (monday, tuesday, wednesday):
        print(f"\n--- {day.__name__}")
        asyncio.run(day(store))
    print("\nAll as it should be: 3 notes hold, 1 was superseded, 1 was forgotten.")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder) / "notes.mem")
