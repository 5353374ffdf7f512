"""What other memories have exported is imported: once, whole, and with its errors named."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from memstore import BadInput, MemoryStore

FILES = Path(__file__).parents[1] / "foreign" / "files"


@pytest.mark.parametrize(
    ("name", "form", "count"),
    [("mem0.json", "mem0", 4), ("memory.jsonl", "mcp", 5), ("langgraph.json", "langgraph", 3)],
)
def test_an_export_of_another_memory_is_stored_once_and_found(
    store: MemoryStore, fingerprint: Callable[[Path], str], name: str, form: str, count: int
) -> None:
    report = store.import_(FILES / name, format=form, namespace="old")
    assert (report.added, report.unchanged, report.errors) == (count, 0, ())
    memories = store.list(namespace="old").memories
    assert len(memories) == count
    assert any("tea" in hit.memory.text for hit in store.query("tea", namespace="*").hits)
    before = fingerprint(store.path)
    with (FILES / name).open("rb") as file:
        again = store.import_(file, format=form, namespace="old")
    assert (again.added, again.unchanged) == (0, count)
    assert fingerprint(store.path) == before
    assert store.verify().clean


def test_the_fields_of_mem0_become_those_of_a_memory(store: MemoryStore) -> None:
    store.import_(FILES / "mem0.json", format="mem0")
    gym = store.get_by_key(
        "2b6cf0aa-1d1e-4a3b-9b61-5ad4c1f3b902", namespace="user/ana/agent/coach%2F1/run/r-7"
    )
    assert gym.occurred_at is not None
    assert gym.valid_to is not None
    assert gym.occurred_at.isoformat() == "2026-03-02T09:00:00+00:00"
    assert gym.valid_to.isoformat() == "2026-05-01T00:00:00+00:00"
    day: dict[str, str] = {"namespace": "user/ana"}
    for now, found in (("2026-04-30T23:00:00Z", True), ("2026-05-01T01:00:00Z", False)):
        hits = store.query("guest pass gym", now=now, **day).hits  # type: ignore[arg-type]
        assert (gym.id in [hit.memory.id for hit in hits]) == found


def test_what_has_changed_there_since_supersedes_what_was_imported(
    store: MemoryStore, tmp_path: Path
) -> None:
    path = tmp_path / "mem0.json"
    item = {"id": "a", "memory": "Lives in Porto", "created_at": "2026-01-01T00:00:00Z"}
    path.write_text(json.dumps([item]))
    store.import_(path, format="mem0")
    path.write_text(json.dumps([{**item, "memory": "Lives in Lisbon"}]))
    report = store.import_(path, format="mem0")
    assert (report.added, report.superseded) == (1, 1)
    assert [hit.memory.text for hit in store.query("Lives in").hits] == ["Lives in Lisbon"]


def test_what_was_changed_there_is_not_what_it_was_before(
    store: MemoryStore, tmp_path: Path
) -> None:
    item = {
        "id": "a",
        "memory": "Lives in Lisbon",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-03-01T00:00:00Z",
    }
    (tmp_path / "mem0.json").write_text(json.dumps({"results": [item]}))
    store.import_(tmp_path / "mem0.json", format="mem0")
    memory = store.get_by_key("a")
    assert memory.occurred_at is not None
    assert memory.occurred_at.isoformat() == "2026-01-01T00:00:00+00:00"
    for as_of, found in (("2026-02-01T00:00:00Z", []), ("2026-03-02T00:00:00Z", [memory.id])):
        hits = store.query("Lives in Lisbon", as_of=as_of).hits
        assert [hit.memory.id for hit in hits] == found


def test_relations_of_two_users_stay_apart(store: MemoryStore, tmp_path: Path) -> None:
    related = {"relations": [{"source": "they", "relationship": "like", "target": "tea"}]}
    told = {
        user: {"results": [{"id": "a", "memory": "milk", "user_id": user}], **related}
        for user in ("ana", "bruno")
    }
    path = tmp_path / "mem0.json"
    for document in told.values():
        path.write_text(json.dumps(document))
        assert store.import_(path, format="mem0").added == 2
    for user in told:
        texts = {memory.text for memory in store.list(namespace=f"user/{user}").memories}
        assert texts == {"milk", "they like tea"}
    assert not store.list().memories
    both = [item for document in told.values() for item in document["results"]]
    path.write_text(json.dumps({"results": both, **related}))
    report = store.import_(path, format="mem0")
    assert (report.added, report.unchanged) == (0, 2)
    assert "relation 1: whose relation this is is unknown" in str(report.errors[0])
    assert "--namespace" in str(report.errors[0])
    report = store.import_(path, format="mem0", namespace="old")
    assert (report.added, report.errors) == (3, ())
    (relation,) = [memory for memory in store.list(namespace="old").memories if memory.entities]
    assert (relation.text, relation.namespace) == ("they like tea", "old")


def test_an_empty_graph_of_the_reference_server_adds_nothing(
    store: MemoryStore, tmp_path: Path
) -> None:
    (tmp_path / "memory.jsonl").write_text("")
    report = store.import_(tmp_path / "memory.jsonl", format="mcp")
    assert (report.added, report.unchanged, report.errors) == (0, 0, ())


def test_a_bad_entry_is_named_and_the_good_ones_are_stored(
    store: MemoryStore, tmp_path: Path
) -> None:
    path = tmp_path / "mem0.jsonl"
    good = {"id": "a", "memory": "tea", "created_at": "2026-01-01T00:00:00Z"}
    lines = [good, {**good, "memory": 5}, {**good, "id": "b", "created_at": "2026-01-01T00:00:00"}]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n{\n" + json.dumps({**good, "id": "c"}))
    report = store.import_(path, format="mem0")
    assert report.added == 2
    assert [(error.file, error.line) for error in report.errors] == [
        (str(path), number) for number in (2, 3, 4)
    ]
    assert "offset" in str(report.errors[1])
    again = store.import_(path, format="mem0", timezone="UTC")
    assert (again.added, again.unchanged, len(again.errors)) == (1, 2, 2)
    path.write_text(json.dumps([good, {**good, "id": "d", "memory": " "}]))
    (error,) = store.import_(path, format="mem0").errors
    assert "item 2: text is empty" in str(error)


def test_the_option_is_named_where_the_file_is_one_of_another_memory(
    store: MemoryStore, tmp_path: Path
) -> None:
    for name, form in (("mem0.json", "mem0"), ("memory.jsonl", "mcp")):
        with pytest.raises(BadInput, match=f"memstore import .*{name} --from {form}"):
            store.import_(FILES / name)
    store.export(tmp_path / "own.jsonl")
    with pytest.raises(BadInput, match=r"own\.jsonl: The file does not look like one of mem0"):
        store.import_(tmp_path / "own.jsonl", format="mem0")
    with pytest.raises(BadInput, match=r"'mem1' is unknown\. Known: mem0, mcp, langgraph"):
        store.import_(FILES / "mem0.json", format="mem1")
    with pytest.raises(BadInput, match="leave namespace"):
        store.import_(tmp_path / "own.jsonl", namespace="team")
    assert not store.list(namespace="*").memories


def test_the_command_line_imports_exports_of_others_and_restores_backups(
    run_memstore: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    run = run_memstore
    lines = (FILES / "memory.jsonl").read_text("utf-8") + "\n[]\n"
    done = run(tmp_path, "import", "-", "--from", "mcp", "--encoder", "hashed", stdin=lines)
    assert (done.returncode, done.stdout) == (1, "")
    assert ":4: an entry is an object, not list." in done.stderr
    assert "5 added, 0 unchanged" in done.stderr
    assert run(tmp_path, "import", "x", "--namespace", "n").returncode == 2
    assert run(tmp_path, "export", "all.jsonl").returncode == 0
    exported = (tmp_path / "all.jsonl").read_text("utf-8")
    done = run(tmp_path, "import", "-", "--json", stdin=exported)
    assert json.loads(done.stdout)["unchanged"] == 5
    assert run(tmp_path, "backup", "copy.mem").returncode == 0
    done = run(tmp_path, "restore", "copy.mem")
    assert done.returncode == 1
    assert "mv agent.mem agent.mem.before" in done.stderr
    done = run(tmp_path, "--store", "again.mem", "restore", "copy.mem")
    assert (done.returncode, done.stdout) == (0, "")
    assert "again.mem is restored: 5 memories" in done.stderr
    assert run(tmp_path, "--store", "again.mem", "verify").returncode == 0
