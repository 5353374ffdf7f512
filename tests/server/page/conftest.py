"""One browser and one store for all tests of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from selenium import webdriver
from server.browsing import chromium, resize
from server.http_serving import running
from server.page.reading import CELLO, HOSTILE, PageReader

from memstore import MemoryNotFound, MemoryStore, NewMemory


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryStore]:
    """Memories of several namespaces, in a store of the bundled encoder."""
    path = tmp_path_factory.mktemp("page") / "agent.mem"
    with MemoryStore.open(path, settings={"proposals": 0}) as opened:
        home = [
            ("Ana lives in Porto, near the bridge.", "ana.city", "2023-04-01T10:00:00Z"),
            ("Ana lives in Lisbon, in Alfama.", "ana.city", "2025-03-02T09:00:00Z"),
            (CELLO, None, "2025-05-01T08:00:00Z"),
            ("Ana and Bruno planted a lemon tree.", None, "2025-06-01T08:00:00Z"),
            ("Bruno told Ana about the boat of Clara.", None, "2025-06-11T08:00:00Z"),
            ("Clara and Bruno sailed to Sesimbra.", None, "2025-07-02T08:00:00Z"),
            ("Clara and Bruno sailed home again.", None, "2025-07-09T08:00:00Z"),
        ]
        for text, key, at in home:
            opened.add(text, namespace="team/ana", key=key, occurred_at=at, source="diary")
        opened.add("The dentist of the team is Dr. Reis.", namespace="team/shared", source="crm")
        opened.add("Dr. Reis asked where Ana lives.", namespace="other", source="crm")
        for number, text in enumerate(HOSTILE):
            opened.add(text, namespace="hostile", title=text[:80], source=text[:60], key=text)
            opened.add(f"{text} {number}", namespace="hostile", entities=[text[:50], "invoice"])
        notes = [
            NewMemory(text=f"Note {number} of the meeting.", namespace="notes", session="m")
            for number in range(1, 121)
        ]
        opened.add_many(notes)
        yield opened


@pytest.fixture(scope="session")
def server(store: MemoryStore) -> Iterator[str]:
    with running(store) as (url, _):
        yield url


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture
def page(driver: webdriver.Chrome, server: str) -> Iterator[PageReader]:
    """The page, of which every test asks that it complains of nothing."""
    resize(driver, 1280, 900)
    reader = PageReader(driver)
    reader.url = server
    reader.complaints()  # of the test before
    yield reader
    assert reader.complaints() == []


@pytest.fixture
def add(store: MemoryStore) -> Iterator[Callable[..., Any]]:
    """Store memories that are gone after the test."""
    made: list[str] = []

    def add_one(text: str, **fields: Any) -> Any:
        memory = store.add(text, **fields)
        made.append(memory.id)
        return memory

    yield add_one
    for memory_id in made:
        try:
            store.forget(memory_id)
        except MemoryNotFound:
            continue  # the test has forgotten it
