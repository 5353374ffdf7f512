"""A disk that is full: a typed error, and the store as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from memstore import MemoryStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits file sizes like POSIX")

# No file may grow beyond the limit from here on: to SQLite that is a full disk.
SCRIPT = """
import json, resource, signal, sys
from memstore import MemoryStore, MemstoreError
path, operation, limit, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
big = [f"word{n} " * 3000 for n in range(24)]
with MemoryStore.open(path) as store:
    memory = store.get_by_key("kept")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    acknowledged = 0
    def note(report):
        global acknowledged
        acknowledged = report.added
    operations = {
        "add": lambda: store.add(" ".join(big)),
        "add_many": lambda: store.add_many(big),
        "ingest": lambda: store.ingest(
            ({"id": str(n), "text": text} for n, text in enumerate(big)),
            batch_size=2, progress=note),
        "update": lambda: store.update(memory.id, text=" ".join(big)),
        "rebuild": lambda: store.rebuild(),
        "export": lambda: store.export(folder + "/out.jsonl"),
        "backup": lambda: store.backup(folder + "/copy.mem"),
        "import": lambda: store.import_(folder + "/in.jsonl"),
    }
    try:
        operations[operation]()
        result = "no error"
    except MemstoreError as error:
        result = type(error).__name__
        message = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    found = store.query("kept words").hits[0].memory.id == memory.id
    print(json.dumps({"result": result, "acknowledged": acknowledged, "found": found,
                      "message": message}))
"""


@pytest.mark.parametrize(
    "operation", ["add", "add_many", "update", "rebuild", "export", "backup", "import", "ingest"]
)
def test_a_full_disk_is_a_typed_error_and_leaves_what_was_committed(
    store: MemoryStore,
    child: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    fingerprint: Callable[[Path], str],
    operation: str,
) -> None:
    kept = store.add("kept words", key="kept")
    if operation in ("rebuild", "backup"):
        store.add_many(f"word{n} " * 2500 for n in range(6))
    if operation == "export":
        store.add_many(f"word{n} " * 2500 for n in range(30))
    if operation == "import":
        with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
            other.add_many(f"word{n} " * 2500 for n in range(30))
            other.export(tmp_path / "in.jsonl")
    path = store.path
    store.close()
    before = fingerprint(path)
    files = sorted(file.name for file in tmp_path.iterdir())
    limit = 1_500_000 if operation == "ingest" else 300_000  # room for some batches
    process = child(SCRIPT, path, operation, limit, tmp_path)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    answer = json.loads(output)
    assert answer["result"] == "StoreUnwritable"
    assert answer["found"]
    assert "of this call" not in answer["message"]  # batches of it may be stored
    assert ("transaction was not stored" in answer["message"]) is (
        operation not in ("export", "backup")
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == files
    if operation != "ingest":
        assert fingerprint(path) == before
    with MemoryStore.open(path) as again:
        assert again.verify().clean
        if operation == "ingest":
            keys = [memory.key for memory in again.list().memories]
            assert 0 < answer["acknowledged"] < 24
            assert keys == ["kept", *(str(n) for n in range(answer["acknowledged"]))]
        assert again.get(kept.id) == kept
        assert again.add("space again").text == "space again"


PURGE = """
import resource, signal, sys
from memstore import MemoryNotFound, MemoryStore, StoreUnwritable
with MemoryStore.open(sys.argv[1]) as store:
    memory = store.get_by_key("gone")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        store.forget(memory.id, purge=True)
    except StoreUnwritable as error:
        print(error)
    try:
        store.get(memory.id)
    except MemoryNotFound:
        print("gone")
"""


def test_a_purge_on_a_full_disk_says_so_and_not_that_someone_reads(
    store: MemoryStore, child: Callable[..., subprocess.Popen[str]]
) -> None:
    gone = store.add("zebraquartz", key="gone")
    store.add_many(f"word{n} " * 2500 for n in range(30))
    path = store.path
    store.close()
    process = child(PURGE, path)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "twice its size" in output
    assert "run the same purge again" in output
    assert "another process" not in output
    assert "not stored" not in output
    assert output.endswith("gone\n")
    with MemoryStore.open(path) as again:
        assert again.verify().clean
        again.forget(gone.id, purge=True)
        assert b"zebraquartz" not in (path / "memstore.db").read_bytes()
