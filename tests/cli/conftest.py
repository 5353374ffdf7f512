"""A folder with a small store in it, and `memstore` run there."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from memstore import MemoryStore


class Shell:
    """Runs `memstore` in a folder of its own, on a store with the tiny encoder."""

    def __init__(self, folder: Path, run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
        self.folder = folder
        self._run = run
        self.store = folder / "agent.mem"
        with MemoryStore.open(self.store, encoder="hashed") as store:
            store.add(
                "Ana moved from Porto to Lisbon.",
                key="ana.city",
                occurred_at="2026-03-02T09:00:00Z",
                source="chat",
                metadata={"topic": "home"},
            )
            store.add("Bruno plays chess on Sundays.", key="bruno.chess")

    def run(
        self, *arguments: str, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return self._run(self.folder, *arguments, stdin=stdin, **environment)

    def json(self, *arguments: str) -> object:
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def shell(tmp_path: Path, run_memstore: Callable[..., subprocess.CompletedProcess[str]]) -> Shell:
    return Shell(tmp_path, run_memstore)
