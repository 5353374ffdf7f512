"""Many processes read while two write, with every kind of operation, and all is accounted for.

Set MEMSTORE_TORTURE=1 for three minutes of eight readers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import memstore
from memstore import MemoryStore
from memstore.catalog.engine import reading
from memstore.store.index_files import named_folders

TORTURE = os.environ.get("MEMSTORE_TORTURE") == "1"
READERS = 8 if TORTURE else 2
SECONDS = 180.0 if TORTURE else 5.0
LARGEST_LOG = 64 << 20  # bytes of the write-ahead log: it begins anew behind 4 MB, but VACUUM adds

DRIVER = Path(__file__).parent / "drivers" / "many_processes.py"
WHOLE = ("list", "export", "backup")  # what shows every memory

Line = dict[str, Any]


@dataclass
class Life:
    """What a memory's writer was told of it: when each change began, and when it was told so."""

    namespace: str
    born: tuple[float, float]
    versions: list[tuple[float, float, int]]
    gone: tuple[float, float] | None = None
    feedback: Counter[str] = field(default_factory=Counter)

    def version_at_least(self, moment: float) -> int:
        return max((v for _, ended, v in self.versions if ended < moment), default=0)

    def version_at_most(self, moment: float) -> int:
        return max((v for began, _, v in self.versions if began < moment), default=0)

    def certainly_there(self, line: Line) -> bool:
        told = self.born[1] < line["began"]
        return told and (self.gone is None or self.gone[0] > line["ended"])


def lives_of(lines: list[Line], namespace: str) -> dict[str, Life]:
    lives: dict[str, Life] = {}
    for line in lines:
        span = (line["began"], line["ended"]) if "began" in line else (0.0, 0.0)
        match line["op"]:
            case "add":
                for id_, version in line["stored"].items():
                    assert id_ not in lives
                    lives[id_] = Life(namespace, span, [(*span, version)])
            case "update":
                lives[line["id"]].versions.append((*span, line["version"]))
            case "forget":
                for id_ in line["ids"]:
                    lives[id_].gone = span
            case "reinforce" | "confirm" | "contradict" as verb:
                lives[line["id"]].feedback[verb] += 1
    return lives


def check_observation(line: Line, lives: dict[str, Life]) -> None:
    """What a reader saw agrees with what the writers had been told before and were doing then."""
    for id_, version in line["seen"].items():
        life = lives[id_]  # nobody saw what nobody stored
        assert life.born[0] < line["ended"], (line["op"], id_, "seen before it was stored")
        assert life.gone is None or life.gone[1] > line["began"], (line["op"], id_, "came back")
        least, most = life.version_at_least(line["began"]), life.version_at_most(line["ended"])
        assert least <= version <= most, (line["op"], id_, version, least, most)
    if line["op"] in WHOLE:
        space = line.get("namespace")
        missing = [
            id_
            for id_, life in lives.items()
            if space in (None, life.namespace)
            and life.certainly_there(line)
            and id_ not in line["seen"]
        ]
        assert not missing, (line["op"], missing)
    elif line["op"] == "get" or line["holds"]:
        life = lives[line["id"]]
        same = (
            line["op"] == "get"
            or life.version_at_least(line["began"])
            == life.version_at_most(line["ended"])
            == line["version"]
        )
        if life.certainly_there(line) and same:
            assert line["id"] in line["seen"], line


def check_nothing_came_back(observations: list[Line], lives: dict[str, Life]) -> None:
    """Once any reader has seen that a memory is gone, no reader sees it again."""
    seen_gone: dict[str, float] = {}
    for line in observations:
        space = line.get("namespace")
        shown = lives if line["op"] in WHOLE else [line["id"]] if line["op"] == "get" else ()
        for id_ in shown:
            life = lives[id_]
            if (
                id_ not in line["seen"]
                and life.born[1] < line["began"]
                and space in (None, life.namespace)
            ):
                seen_gone[id_] = min(line["ended"], seen_gone.get(id_, line["ended"]))
    for line in observations:
        for id_ in line["seen"]:
            assert seen_gone.get(id_, line["ended"]) >= line["began"], (line["op"], id_)


def longest_log(processes: list[subprocess.Popen[str]], log: Path) -> int:
    """Wait for the processes and return the largest size that the write-ahead log had."""
    largest = 0
    limit = time.monotonic() + SECONDS + 240
    while any(process.poll() is None for process in processes):
        assert time.monotonic() < limit, "a process hangs"
        if log.exists():
            largest = max(largest, log.stat().st_size)
        time.sleep(0.05)
    return largest


def test_processes_that_read_and_write_all_kinds_of_things_see_committed_states_and_lose_nothing(
    tmp_path: Path, figures: Counter[str]
) -> None:
    path = tmp_path / "agent.mem"
    MemoryStore.open(path, encoder="hashed").close()
    environment = {**os.environ, "PYTHONPATH": str(Path(memstore.__file__).parents[1])}
    roles = [("writer", seed) for seed in range(2)] + [("reader", seed) for seed in range(READERS)]
    logs = [tmp_path / f"{kind}-{seed}.log" for kind, seed in roles]
    processes = [
        subprocess.Popen(
            [sys.executable, DRIVER, kind, path, log, str(seed), str(SECONDS)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for (kind, seed), log in zip(roles, logs, strict=True)
    ]
    try:
        largest = longest_log(processes, path / "memstore.db-wal")
    finally:
        for process in processes:
            process.kill()
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), errors

    told = [[json.loads(line) for line in log.read_text().splitlines()] for log in logs]
    lives: dict[str, Life] = {}
    for seed in range(2):
        lives |= lives_of(told[seed], f"w{seed}")
    observations = [line for lines in told[2:] for line in lines if "seen" in line]
    for line in observations:
        check_observation(line, lives)
    check_nothing_came_back(observations, lives)

    with MemoryStore.open(path) as store:
        expected = {
            id_: life.version_at_most(float("inf")) for id_, life in lives.items() if not life.gone
        }
        left = store.list(namespace="*", limit=10_000).memories
        assert {item.id: item.metadata["version"] for item in left} == expected
        for id_ in expected:
            verbs = Counter(event.verb for event in store.history(id_))
            for verb in ("reinforce", "confirm", "contradict"):
                assert verbs[verb] == lives[id_].feedback[verb], (id_, verb)
        report = store.verify()
        assert report.clean, report.findings
        with reading(store._opened.engine, path) as connection:
            named = {name for name, _ in named_folders(connection)}
        assert {folder.name for folder in (path / "index").iterdir()} == named
    assert {file.name for file in path.iterdir()} == {"memstore.db", "index", "index.lock"}
    assert {file.name for file in tmp_path.iterdir()} == {"agent.mem", *(log.name for log in logs)}
    assert largest < LARGEST_LOG

    figures["processes"], figures["seconds"] = len(roles), int(SECONDS)
    for lines in told:
        for count, _ in lines[-1]["tallies"].values():
            figures["operations"] += count
