"""A plugin for pytest: the kernels that `scripts/test --sanitize` built, in place of the installed.

AddressSanitizer has to be loaded before the process starts (LD_PRELOAD).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

NAME = "memstore.index._kernels"


def load() -> ModuleType:
    """Load the instrumented kernels under the name that memstore imports them by."""
    (path,) = Path(os.environ["MEMSTORE_SANITIZED"]).glob("_kernels.*.so")
    assert hasattr(ctypes.CDLL(None), "__asan_init"), "AddressSanitizer is not preloaded"
    assert NAME not in sys.modules, "the installed kernels are loaded already"
    spec = importlib.util.spec_from_file_location(NAME, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[NAME] = module
    return module


def pytest_load_initial_conftests() -> None:
    load()
