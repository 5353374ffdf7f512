"""The verbs at a shell: what they print, what they change, what they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest

from memstore import MemoryStore


@pytest.fixture
def ids(shell) -> list[str]:
    return [
        item["id"]
        for item in (json.loads(line) for line in shell.run("list", "--jsonl").stdout.splitlines())
    ]


def memory(shell, id_: str) -> dict[str, Any]:
    return shell.json("get", id_)


def test_every_verb_prints_the_id_and_says_what_came_of_it(shell, ids):
    first, second = ids
    for arguments, said in (
        (("reinforce", first, "--session", "s"), "used 1 time"),
        (("confirm", first, "--source", "Ana"), "confidence 6.7 of 10"),
        (("contradict", first, "-s", "Bruno"), "confidence 5.0 of 10"),
        (("importance", first, "0.5"), "importance 0.5"),
        (("importance", first, "--", "-0.5"), "importance -0.5"),
        (("retract", second, "--reason", "a mistake"), "retracted"),
    ):
        done = shell.run(*arguments)
        assert (done.returncode, done.stdout.strip()) == (0, arguments[1]), done.stderr
        assert said in done.stderr
    told = memory(shell, first)
    assert (told["uses"], told["confidence"], told["importance"]) == (1, 5.0, -0.5)
    assert memory(shell, second)["retracted_at"] is not None
    assert shell.run("verify").returncode == 0


def test_superseding_by_a_text_prints_the_new_memory(shell, ids):
    done = shell.run("supersede", ids[0], "Ana lives in Rome.", "--at", "2030-01-01T00:00:00Z")
    new = done.stdout.strip()
    old = memory(shell, ids[0])
    assert (old["superseded_by"], old["valid_to"]) == (new, "2030-01-01T00:00:00Z")
    assert (memory(shell, new)["text"], memory(shell, new)["key"]) == (
        "Ana lives in Rome.",
        "ana.city",
    )
    refused = shell.run("supersede", ids[0], ids[0])
    assert refused.returncode == 1
    assert "cannot supersede itself" in refused.stderr


def test_sources_are_listed_and_believed_as_said(shell):
    assert shell.run("sources", "chat", "--vote-weight", "0.5").returncode == 0
    assert shell.json("sources") == [
        {"name": "chat", "reliability": 0.5, "vote_weight": 0.5, "memories": 1}
    ]
    assert "chat" in shell.run("sources").stdout
    assert shell.run("sources", "--reliability", "1").returncode == 2
    assert shell.run("sources", "chat", "--reliability", "2").returncode == 1


def test_a_call_is_repeated_under_its_key_without_effect(shell, ids):
    for _ in range(2):
        assert shell.run("reinforce", ids[0], "--idempotency-key", "k").returncode == 0
    assert memory(shell, ids[0])["uses"] == 1
    refused = shell.run("confirm", ids[0], "--source", "Ana", "--idempotency-key", "k")
    assert refused.returncode == 1
    assert "Give every call its own key" in refused.stderr


def test_coarse_and_unknown_times_are_shown_as_they_are_known(shell):
    assert shell.run("add", "tea", "--occurred-at", "May 2026", "--timezone", "UTC").returncode == 0
    assert shell.run("add", "milk", "--occurred-at", "unknown", "--kind", "fact").returncode == 0
    shown = shell.run("list").stdout
    assert "2026-05 " in shown
    assert "unknown" in shown
    refused = shell.run("add", "x", "--kind", "rumour")
    assert refused.returncode == 1
    assert "Known: task" in refused.stderr


def test_what_the_query_says_of_time_is_told_and_bars_are_drawn(tmp_path, shell):
    path = tmp_path / "meaning.mem"
    with MemoryStore.open(path, encoder="minilm") as store:
        store.add("The meeting was on a Tuesday.", occurred_at="2023-05-01T00:00:00Z")
    asked = ("--store", str(path), "query", "--now", "2026-01-01T00:00:00Z", "--explain")
    past = shell.run(*asked, "when was the meeting in 2023?")
    assert "read as historical: 'in 2023'" in past.stderr
    assert "--as-of 2023-12-31T23:59:59.999999Z" in past.stderr
    assert "currency" not in past.stdout
    current = shell.run(*asked, "when is the meeting now?")
    assert "read as current: 'now'" in current.stderr
    assert "┃     currency: 976 days old" in current.stdout
    assert "   █┃     currency" in current.stdout


def test_proposals_are_told_and_not_applied(tmp_path, shell):
    path = tmp_path / "meaning.mem"
    with MemoryStore.open(path, encoder="minilm") as store:
        old = store.add("Ana lives in Porto.")
    done = shell.run("--store", str(path), "add", "Ana lives in Lisbon.")
    new = done.stdout.strip()
    assert f"memstore supersede {old.id} {new}" in done.stderr
    with MemoryStore.open(path) as store:
        assert store.get(old.id) == old
    again = shell.run("--store", str(path), "add", "Ana lives in Lisbon!")
    assert f"says nearly the same as {new}" in again.stderr
