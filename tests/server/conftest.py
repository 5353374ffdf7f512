"""What tests of the HTTP server share; a module may have a `stored` of its own."""

from __future__ import annotations

import pytest
from server.http_serving import serving

from memstore import MemoryStore


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("http") / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as opened:
        yield opened


@pytest.fixture(scope="module")
def client(stored):
    with serving(stored) as found:
        yield found
