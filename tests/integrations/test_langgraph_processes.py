"""`MemstoreStore` in several processes on one store, and when one of them is killed."""

from __future__ import annotations

import signal

from integrations.writing_processes import go, started

from memstore import MemoryStore
from memstore.integrations.langgraph import MemstoreStore

PUT = """
import sys
from memstore import MemoryStore
from memstore.integrations.langgraph import MemstoreStore

path, writer, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with MemoryStore.open(path, encoder="hashed") as memories:
    items = MemstoreStore(memories)
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(count):
        items.put(("own", writer), f"k{number}", {"text": f"{writer} {number}", "n": number})
        items.put(("all",), f"k{number % 3}", {"text": f"{writer} {number}", "n": number})
        print(number, flush=True)
"""


def test_two_processes_put_into_one_store(tmp_path):
    path = tmp_path / "agent.mem"
    MemoryStore.open(path, encoder="hashed").close()
    writers = [started(PUT, path, name, 20) for name in ("ana", "bo")]
    for process in writers:
        go(process)
    for process in writers:
        process.communicate()
        assert process.returncode == 0
    with MemoryStore.open(path) as memories:
        items = MemstoreStore(memories)
        for writer in ("ana", "bo"):
            found = items.search(("own", writer), limit=100)
            assert sorted(item.value["n"] for item in found) == list(range(20))
        shared = items.search(("all",), limit=100)
        assert sorted(item.key for item in shared) == ["k0", "k1", "k2"]
        assert {item.value["n"] for item in shared} <= {17, 18, 19}  # the last of one of them
        assert {item.key for item in items.search(("all",), query="ana bo")} == {"k0", "k1", "k2"}
        assert memories.verify().clean


def test_what_was_put_before_a_kill_is_there(tmp_path):
    path = tmp_path / "agent.mem"
    MemoryStore.open(path, encoder="hashed").close()
    process = started(PUT, path, "ana", 10_000)
    go(process)
    for _ in range(15):
        last = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with MemoryStore.open(path) as memories:
        items = MemstoreStore(memories)
        for number in range(last + 1):
            assert items.get(("own", "ana"), f"k{number}").value["n"] == number
        for item in items.search((), limit=1000):
            assert item.value["text"] == f"ana {item.value['n']}"
        assert memories.verify().clean
