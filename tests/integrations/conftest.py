"""What tests of the frameworks' doors share."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import Callable

import pytest

# a plugin of the pytest that runs LangGraph's tests: it puts stand-ins among this process's modules
collect_ignore = ["langgraph_substitution.py"]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run async tests: the standard suites of frameworks have some, unmarked."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True


BLOCK = """
import importlib.abc, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture
def run_without() -> Callable[[str, str], str]:
    """Run a program in a process where a package cannot be imported; returns what it printed."""

    def run(package: str, program: str) -> str:
        command = [sys.executable, "-W", "error", "-c", BLOCK.format(package=package) + program]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
