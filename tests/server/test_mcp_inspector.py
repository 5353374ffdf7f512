"""The MCP server as the inspector of the protocol's authors sees it, from a client's own JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memstore import MemoryStore
from memstore.server.mcp import TOOLS

INSPECTOR = Path(__file__).parents[2] / ".inspector/node_modules/.bin/mcp-inspector"

pytestmark = pytest.mark.skipif(
    not INSPECTOR.exists(),
    reason="there is no inspector: scripts/setup --clients, with npm",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspected")
    with MemoryStore.open(folder / "agent.mem", encoder="hashed") as store:
        store.add("Ana moved from Porto to Lisbon.", key="ana.city")
    command = ["-m", "memstore", "--store", str(folder / "agent.mem"), "mcp"]
    servers = {"memory": {"command": sys.executable, "args": command}}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    return folder


def inspect(place: Path, *arguments: str) -> dict:
    """Run the inspector, at home in a folder of its own, and return the JSON it printed."""
    done = subprocess.run(
        [INSPECTOR, "--cli", "--config", place / "mcp.json", "--server", "memory", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
        env=os.environ | {"HOME": str(place), "MCP_INSPECTOR_SECRET_STORE": "memory"},
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_the_inspector_lists_the_tools(place):
    listed = inspect(place, "--method", "tools/list")["tools"]
    assert [tool["name"] for tool in listed] == list(TOOLS)
    assert all(tool["inputSchema"]["type"] == "object" for tool in listed)
    assert all(tool["outputSchema"]["type"] == "object" for tool in listed)
    assert all(tool["annotations"]["openWorldHint"] is False for tool in listed)


def test_the_inspector_stores_and_recalls(place):
    call = ("--method", "tools/call", "--tool-name")
    stored = inspect(
        place, *call, "memory_store", "--tool-arg", "text=Bruno plays chess.", 'metadata={"a": 1}'
    )
    assert stored["structuredContent"]["status"] == "stored"
    found = inspect(
        place, *call, "memory_recall", "--tool-arg", "query=chess", 'where={"metadata.a": 1}'
    )
    assert found["isError"] is False
    assert [hit["text"] for hit in found["structuredContent"]["hits"]] == ["Bruno plays chess."]
    assert "Bruno plays chess." in found["content"][0]["text"]


def test_the_inspector_shows_an_error_as_one(place):
    call = ("--method", "tools/call", "--tool-name", "memory_get", "--tool-arg", "id=nobody")
    assert inspect(place, *call)["isError"] is True


def test_the_inspector_reads_the_profile(place):
    read = ("--method", "resources/read", "--uri", "memory://profile")
    (content,) = inspect(place, *read)["contents"]
    assert content["text"].endswith("</profile>")
    assert "Lisbon" in content["text"]
