"""A plugin for pytest: the modules that `scripts/test --sanitize` built, in place of the installed.

AddressSanitizer has to be loaded before the process starts (LD_PRELOAD).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

NAMES = ("memstore.index._kernels", "memstore.encoders._bert")


def load() -> None:
    """Load the instrumented modules under the names that memstore imports them by."""
    assert hasattr(ctypes.CDLL(None), "__asan_init"), "AddressSanitizer is not preloaded"
    for name in NAMES:
        stem = name.rpartition(".")[2]
        (path,) = Path(os.environ["MEMSTORE_SANITIZED"]).glob(f"{stem}.*.so")
        assert name not in sys.modules, "the installed modules are loaded already"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module


def pytest_load_initial_conftests() -> None:
    load()
