"""What all tests share: repeatable examples, no network, and a store without a model."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from click.testing import CliRunner
from hypothesis import settings

if TYPE_CHECKING:
    from memstore import MemoryStore

# read by huggingface_hub when it is first imported: no test may reach for the network
os.environ["HF_HUB_OFFLINE"] = "1"

# the same examples in every run and on every machine; a slow machine is no failure
settings.register_profile("memstore", derandomize=True, deadline=None, max_examples=60)
settings.load_profile("memstore")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    """An empty store whose encoder needs no weights."""
    from memstore import MemoryStore

    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as opened:
        yield opened


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Iterator[Counter[str]]:
    """Count what a test survived: `docs/reliability.md` shows it."""
    counted: Counter[str] = Counter()
    yield counted
    for name, number in counted.items():
        record_property(name, number)


@pytest.fixture(scope="session")
def run_memstore() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the `memstore` command in a folder, as `main` does, without starting a process for it.

    Starting one costs a second. What a process of its own could do otherwise (encodings, signals,
    pipes that close, terminals) is tested with one.
    """
    from memstore.cli import main

    def run(
        folder: Path, *arguments: str, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        # what a run leaves behind ends with a process, and here with the block
        runner = CliRunner(env={"OPENBLAS_NUM_THREADS": "1", **environment})
        at_sigterm = signal.getsignal(signal.SIGTERM)
        with (
            contextlib.chdir(folder),
            mock.patch.object(tempfile, "tempdir", None),  # it remembers an earlier TMPDIR
            runner.isolation(stdin) as (stdout, stderr, _),
        ):
            try:
                main(list(arguments))
            except SystemExit as end:
                status = end.code
            finally:
                signal.signal(signal.SIGTERM, at_sigterm)
            sys.stdout.flush()
            sys.stderr.flush()
            out, err = stdout.getvalue().decode(), stderr.getvalue().decode()
        assert isinstance(status, int)
        return subprocess.CompletedProcess(arguments, status, out, err)

    return run
