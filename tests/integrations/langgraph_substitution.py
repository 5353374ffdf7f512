"""A pytest plugin: LangGraph's own tests of their stores run with ours in place of theirs.

Loaded into a pytest of its own by `test_langgraph_suite.py`, for one of their files at a time. What
their files import and is not installed (drivers of databases) is an empty module here; the classes
they test are `MemstoreStore` behind the constructors they call. Where they wait for a time to live
to pass, a clock of ours is put forward, and the sweeper they have started sweeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
import types
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from memstore import MemoryStore
from memstore.encoders import open_encoder
from memstore.integrations.langgraph import MemstoreStore, store

ENCODERS = {name: open_encoder(name) for name in ("hashed", "minilm")}
OUTCOMES = "MEMSTORE_SUITE_OUTCOMES"

_opened: list[tuple[MemoryStore, str]] = []
_swept: list[MemstoreStore] = []
_ahead = timedelta(0)


class Substitute(MemstoreStore):
    """Our store, made as theirs are: with any embeddings, and in no particular place."""

    def __init__(self, *, index: Any = None, ttl: Any = None, **_: Any) -> None:
        folder = tempfile.mkdtemp()
        encoder = ENCODERS["hashed" if index is None else "minilm"]
        memories = MemoryStore.open(f"{folder}/agent.mem", encoder=encoder)
        _opened.append((memories, folder))
        fields = None if index is None else index.get("fields") or index.get("text_fields")
        super().__init__(memories, index=fields and {"fields": fields}, ttl=ttl)

    MIGRATIONS = ("",)  # theirs have some; their fixture changes each

    def setup(self) -> None:
        """Theirs make their tables here."""

    def _cursor(self) -> Any:
        return contextlib.nullcontext(mock.Mock(execute=self.execute))

    def execute(self, sql: str, values: tuple[Any, ...] = ()) -> None:
        """Do what one of their tests does in SQL; what others do makes no difference here."""
        if "SET updated_at" in sql:
            seconds, prefix, key = values
            memory = _memory(self, tuple(prefix.split(".")), key)
            self.memories.update(memory.id, occurred_at=_now() - timedelta(seconds=seconds))

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Any:
        _swept.append(self)

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        _swept[:] = [other for other in _swept if other is not self]
        return True

    @classmethod
    @contextlib.contextmanager
    def from_conn_string(cls, _: str, **options: Any) -> Iterator[Substitute]:
        yield cls(**options)


class AsyncSubstitute(Substitute):
    """The same, as those of their stores are that have all methods async."""

    async def setup(self) -> None: ...

    def _cursor(self) -> Any:
        return contextlib.nullcontext(mock.AsyncMock(execute=self._execute))

    async def _execute(self, *arguments: Any) -> None:
        self.execute(*arguments)

    async def sweep_ttl(self) -> int:
        return await asyncio.to_thread(super().sweep_ttl)

    async def start_ttl_sweeper(self) -> None:
        super().start_ttl_sweeper()

    async def stop_ttl_sweeper(self) -> bool:
        return super().stop_ttl_sweeper()

    @classmethod
    @contextlib.asynccontextmanager
    async def from_conn_string(cls, _: str, **options: Any) -> AsyncIterator[AsyncSubstitute]:
        yield cls(**options)


class Mocker:
    """The two methods of pytest-mock's fixture that they use."""

    def __init__(self) -> None:
        self._patches = contextlib.ExitStack()

    def stub(self) -> mock.Mock:
        return mock.Mock()

    def spy(self, owner: type, name: str) -> Any:
        spied = mock.patch.object(owner, name, autospec=True, side_effect=getattr(owner, name))
        return self._patches.enter_context(spied)

    def close(self) -> None:
        self._patches.close()


class Forwarded:
    """`time` or `asyncio`, whose `sleep` takes no time."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module
        self.sleep = self._asleep if module is asyncio else self._sleep

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def _sleep(self, seconds: float) -> None:
        global _ahead
        _ahead += timedelta(seconds=seconds)
        for swept in _swept:
            MemstoreStore.sweep_ttl(swept)

    async def _asleep(self, seconds: float) -> None:
        self._sleep(seconds)
        await asyncio.sleep(0.01)


def _now() -> datetime:
    return datetime.now(UTC) + _ahead


def _memory(of: Substitute, namespace: tuple[str, ...], key: str) -> Any:
    return of.memories.get_by_key(key, namespace="/".join(["langgraph", *namespace]))


def _expire(of: Substitute, namespace: tuple[str, ...], key: str) -> None:
    past = _now() - timedelta(minutes=1)
    of.memories.update(_memory(of, namespace, key).id, valid_to=past)


def _exists(of: Substitute, namespace: tuple[str, ...], key: str) -> bool:
    return _memory(of, namespace, key) is not None


def _expires_at(of: Substitute, namespace: tuple[str, ...], key: str) -> datetime | None:
    return _memory(of, namespace, key).valid_to


async def _aexpire(*arguments: Any) -> None:
    _expire(*arguments)


async def _aexists(*arguments: Any) -> bool:
    return _exists(*arguments)


async def _aexpires_at(*arguments: Any) -> datetime | None:
    return _expires_at(*arguments)


# what their helpers do in SQL of their own
REPLACED = {
    "InMemoryStore": Substitute,
    "_expire_now": _expire,
    "_row_exists": _exists,
    "_stored_expires_at": _expires_at,
    "_aexpire_now": _aexpire,
    "_arow_exists": _aexists,
    "_astored_expires_at": _aexpires_at,
    "time": Forwarded(time),
    "asyncio": Forwarded(asyncio),
}


class Connection:
    """A connection to a database that is not there: theirs make one per test."""

    @classmethod
    @contextlib.contextmanager
    def connect(cls, *_: Any, **__: Any) -> Iterator[mock.Mock]:
        yield mock.Mock()


class AsyncConnection:
    @classmethod
    async def connect(cls, *_: Any, **__: Any) -> Any:
        return contextlib.nullcontext(mock.AsyncMock())


def _module(name: str, **content: Any) -> None:
    module = types.ModuleType(name)
    module.__path__ = []  # type: ignore[attr-defined]
    # any other name of theirs that only tests of their SQL use
    module.__getattr__ = lambda missing: mock.Mock(name=missing)  # type: ignore[method-assign]
    vars(module).update(content)
    sys.modules[name] = module


_module("pytest_mock", MockerFixture=Mocker)
_module("langgraph.store.sqlite", SqliteStore=Substitute, AsyncSqliteStore=AsyncSubstitute)
_module("langgraph.store.sqlite.base")
_module("langgraph.store.sqlite.aio", AsyncSqliteStore=AsyncSubstitute)
_module("langgraph.store.postgres", PostgresStore=Substitute, AsyncPostgresStore=AsyncSubstitute)
_module("langgraph.store.postgres.base")
_module("langgraph.checkpoint.postgres")
_module("psycopg", Connection=Connection, AsyncConnection=AsyncConnection)
_module("psycopg.errors", UndefinedTable=Exception)
_module("psycopg.rows")
_module("tests.conftest", DEFAULT_URI="postgres://nowhere/postgres", VECTOR_TYPES=["vector"])


@pytest.fixture
def mocker() -> Iterator[Mocker]:
    made = Mocker()
    yield made
    made.close()


@pytest.fixture
def fake_embeddings() -> Any:
    from tests.embed_test_utils import CharacterEmbeddings  # theirs

    return CharacterEmbeddings(dims=500)


@pytest.fixture(autouse=True)
def _substitution(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    global _ahead
    for name, replacement in REPLACED.items():
        if hasattr(request.module, name):
            monkeypatch.setattr(request.module, name, replacement)
    monkeypatch.setattr(store, "_now", _now)
    yield
    while _opened:
        memories, folder = _opened.pop()
        memories.close()
        shutil.rmtree(folder)
    _swept.clear()
    _ahead = timedelta(0)


# what they run each test with, as many kinds of theirs; ours has one
KINDS = ("store", "vector_store", "conn_type", "conn_string", "vector_type", "distance_type")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    repeated = [item for item in items if _of_another_kind(item)]
    config.hook.pytest_deselected(items=repeated)
    items[:] = [item for item in items if item not in repeated]
    for item in items:
        if isinstance(item, pytest.Function) and item.originalname.startswith("test_large_batches"):
            # 6,000 operations there or 60,000, and 600 here
            code = item.obj.__code__
            fewer = tuple(10 if value in (100, 1000) else value for value in code.co_consts)
            item.obj.__code__ = code.replace(co_consts=fewer)


def _of_another_kind(item: pytest.Item) -> bool:
    indices = item.callspec.indices if hasattr(item, "callspec") else {}
    return any(indices.get(name, 0) for name in KINDS)


_outcomes: dict[str, str] = {}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "flaky: theirs, for tests that wait")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _outcomes[report.nodeid] = report.longreprtext
    elif report.when == "call":
        _outcomes.setdefault(report.nodeid, "")


def pytest_sessionfinish() -> None:
    Path(os.environ[OUTCOMES]).write_text(json.dumps(_outcomes))
