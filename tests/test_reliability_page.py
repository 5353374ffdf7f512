"""docs/reliability.md names tests that are there, and is what `scripts/reliability` writes."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    loader = SourceFileLoader("reliability", str(PROJECT / "scripts" / "reliability"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module  # its dataclass looks for it there
    loader.exec_module(module)
    return module


def test_every_promise_names_tests_that_are_there(script: ModuleType) -> None:
    assert len(script.PROMISES) >= 10
    for promise in script.PROMISES:
        assert promise.tests
        for test in promise.tests:
            assert "\ndef test_" in (PROJECT / test).read_text(encoding="utf-8"), test


def test_the_page_is_what_the_script_writes(script: ModuleType) -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.page()
    assert script.kept().keys() <= script.known()
    assert all(script.figures(promise) for promise in script.PROMISES)


def test_the_page_reports_at_least_a_thousand_kills_and_no_crash(script: ModuleType) -> None:
    written = script.PAGE.read_text(encoding="utf-8")
    kills = re.search(r"([\d,]+) kills", written)
    assert kills is not None
    assert int(kills[1].replace(",", "")) >= 1000
    assert ", 0 crashes" in written
    assert "(soak.svg)" in written
