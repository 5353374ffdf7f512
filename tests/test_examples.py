"""The example year: what it promises, and that the bundled encoder answers its questions."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest

from memstore import MemoryStore

YEAR = Path(__file__).resolve().parents[1] / "examples" / "year"

# one ingest with the real encoder serves all of these: keep them in one worker
pytestmark = pytest.mark.xdist_group("example_year")


def lines(name: str) -> list[dict]:
    return [json.loads(line) for line in (YEAR / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with MemoryStore.open(tmp_path_factory.mktemp("year") / "year.mem") as opened:
        report = opened.ingest(YEAR / "memories.jsonl")
        assert (report.added, report.errors) == (len(lines("memories.jsonl")), ())
        yield opened


@pytest.fixture(scope="module")
def ask_all() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ask_all", YEAR / "ask_all.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_year_has_the_variety_it_promises():
    memories = lines("memories.jsonl")
    assert len(memories) >= 250
    assert len({memory["id"] for memory in memories}) == len(memories)
    times = [datetime.fromisoformat(memory["timestamp"]) for memory in memories]
    assert times == sorted(times)
    assert all(time.tzinfo is not None for time in times)
    sources = Counter(memory["source"] for memory in memories)
    assert {"user", "email", "hearsay"} <= set(sources)
    assert sum("valid_to" in memory for memory in memories) >= 10
    lengths = [len(memory["text"].split()) for memory in memories]
    assert min(lengths) < 8
    assert max(lengths) > 250
    assert len({memory["session"] for memory in memories if "session" in memory}) >= 8


def test_every_question_names_memories_that_held_when_it_is_asked():
    memories = {memory["id"]: memory for memory in lines("memories.jsonl")}
    questions = lines("questions.jsonl")
    assert len(questions) == 40
    for question in questions:
        moment = datetime.fromisoformat(question.get("as_of", question["now"]))
        assert question["relevant"]
        for key in question["relevant"]:
            memory = memories[key]
            assert datetime.fromisoformat(memory["timestamp"]) <= moment
            if "valid_to" in memory:
                assert datetime.fromisoformat(memory["valid_to"]) > moment


def test_nine_in_ten_questions_find_a_right_memory_among_the_first_five(store, ask_all):
    ranks = ask_all.ranks(store)
    assert len(ranks) == 40
    at_1 = sum(rank == 1 for rank in ranks.values())
    at_5 = sum(rank is not None and rank <= 5 for rank in ranks.values())
    # measured with profile balanced: 26 and 37; one question of slack for other processors
    assert at_1 >= 25, ranks
    assert at_5 >= 35, ranks


def test_asking_changes_nothing_in_the_store(store):
    before = store.stats(), store.verify()
    store.query("Which neighbour has our spare key?")
    assert (store.stats(), store.verify()) == before
    assert before[1].clean


def test_facts_that_ended_are_found_only_as_of_their_time(store):
    question = "Where do we live?"
    now = store.query(question, now="2026-01-10T09:00:00Z", explain=True)
    ended = [item for item in now.suppressed if item.reason.startswith("held until")]
    assert ended
    assert all(item.memory.id not in {hit.memory.id for hit in now.hits} for item in ended)
    then = store.query(question, as_of="2025-03-01T12:00:00Z")
    assert any("Lindenallee" in hit.memory.text for hit in then.hits)


def test_the_readme_shows_what_the_demo_answers(store):
    readme = (YEAR.parents[1] / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```console\n(\$ memstore --store demo\.mem.*?)```", readme, re.DOTALL)
    assert block is not None
    shown = re.findall(r"^\$ (memstore|python \S+) (.*)\n((?:(?!\$).*\n)*)", block[1], re.MULTILINE)
    assert [program for program, _, _ in shown] == [
        *("memstore", "memstore"),
        "python examples/year/ask_all.py",
    ]
    for program, arguments, expected in shown:
        command = [sys.executable, "-m", "memstore"]
        if program != "memstore":
            command = [sys.executable, str(YEAR / "ask_all.py")]
        words = [word.replace("demo.mem", str(store.path)) for word in shlex.split(arguments)]
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
        printed = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
        assert printed == [line for line in expected.splitlines() if line]
