"""What all tests share: repeatable examples, no network, and a store without a model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
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
