"""Child processes in which the disk fails or the process ends at a chosen step."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

DRIVERS = Path(__file__).parent / "drivers"
collect_ignore = ["drivers"]  # what runs in other processes


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let the tests of one operation stay in one worker: preparing it takes seconds."""
    if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
        operation = item.callspec.params.get("operation")
        if operation is not None:
            item.add_marker(pytest.mark.xdist_group(operation))


@dataclass
class Children:
    """Starts a child process per call, all forked from one that has memstore loaded."""

    process: subprocess.Popen[str]
    log: Path

    def call(self, call: str, folder: Path, **arguments: Any) -> dict[str, Any]:
        """Return what the child said, whether it was killed, and how long it ran."""
        request = {"call": call, "folder": str(folder), **arguments}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        before = self.log.stat().st_size
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        errors = self.log.read_bytes()[before:].decode()
        assert answer["killed"] or answer["status"] == 0, f"{request}\n{errors}"
        return answer

    def describe(self, folder: Path) -> dict[str, Any]:
        """Return what a fresh process finds in a folder."""
        return self.call("describe", folder)["said"][0]


@dataclass
class Prepared:
    """An operation, ready to be interrupted: its folder, its steps, and the states on its way.

    `stages[n]` is what is found once `n` was acknowledged.
    """

    operation: str
    folder: Path
    children: Children
    steps: list[str]
    stages: list[dict[str, Any]]
    seconds: float
    cases: Iterator[int] = field(default_factory=itertools.count)

    def copy(self) -> Path:
        """Return a copy of the folder to work in."""
        return Path(shutil.copytree(self.folder, self.folder.with_name(f"case{next(self.cases)}")))

    def run(self, folder: Path, **fault: Any) -> dict[str, Any]:
        """Do the operation under a fault; see `Children.call`."""
        delay = {"killed_after": fault.pop("killed_after")} if "killed_after" in fault else {}
        call = self.children.call
        return call("run", folder, operation=self.operation, fault=fault, **delay)

    def check(self, folder: Path, answer: dict[str, Any], what: str) -> None:
        """Hold what was promised: nothing acknowledged is lost, nothing is half there, and the
        operation comes to its end when it is run again.
        """
        acknowledged = max((item for item in answer["said"] if type(item) is int), default=0)
        found = self.children.describe(folder)
        last = self.stages[-1]
        if found["purged texts"] and found != self.stages[0]:
            # the memories are gone; their bytes may be left until the purge has come to its end
            assert acknowledged == 0, f"{self.operation}: {what}"
            found["purged texts"] = []
        assert found in self.stages[acknowledged:], f"{self.operation}: {what}"
        again = self.children.call("finish", folder, operation=self.operation)["said"]
        assert not any("error" in item for item in again if type(item) is dict), again
        assert again[-1] == last, f"{self.operation} again: {what}"
        shutil.rmtree(folder)
        shutil.rmtree(folder.with_name(f"{folder.name}.removed"), ignore_errors=True)


@pytest.fixture(scope="session")
def faults_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that counts system calls and lets them fail."""
    if not sys.platform.startswith("linux"):
        pytest.skip("system calls are intercepted on Linux only")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    compiler = [os.environ.get("CXX", "c++"), "-std=c++17", "-O1", "-shared", "-fPIC", "-Wall"]
    subprocess.run([*compiler, "-o", library, DRIVERS / "faults.cpp", "-ldl"], check=True)
    return library


@pytest.fixture(scope="session")
def children(faults_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    log = tmp_path_factory.mktemp("children") / "errors.txt"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, DRIVERS / "serve.py"],
            env={**os.environ, "LD_PRELOAD": str(faults_library)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    yield Children(process, log)
    assert process.stdin is not None
    process.communicate(timeout=60)


@pytest.fixture(scope="session")
def prepared(
    children: Children, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Prepared]:
    """Make an operation ready, once."""
    known: dict[str, Prepared] = {}

    def make(operation: str) -> Prepared:
        if operation not in known:
            folder = tmp_path_factory.mktemp(operation) / "whole"
            children.call("make", folder, operation=operation)
            known[operation] = _undisturbed(operation, folder, children)
        return known[operation]

    return make


def _undisturbed(operation: str, folder: Path, children: Children) -> Prepared:
    ready = Prepared(operation, folder, children, [], [], 0.0)
    ready.stages = [_described(ready, ready.copy())]
    case = ready.copy()
    answer = ready.run(case)
    acknowledged = [item for item in answer["said"] if type(item) is int]
    ready.steps = answer["said"][-1]["steps"]
    ready.seconds = answer["seconds"]
    for stop in range(1, acknowledged[-1]):
        part = ready.copy()
        ready.run(part, until=stop)
        ready.stages.append(_described(ready, part))
    ready.stages.append(_described(ready, case))
    return ready


def _described(ready: Prepared, case: Path) -> dict[str, Any]:
    found = ready.children.describe(case)
    shutil.rmtree(case)
    return found
