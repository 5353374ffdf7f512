"""Where a measurement was taken: what latencies depend on."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("memstore", "numpy", "tokenizers", "torch", "transformers", "sentence-transformers")


def machine() -> dict[str, Any]:
    """Return the system, its processors, and the threads of torch if it is in use."""
    torch = sys.modules.get("torch")  # importing it takes seconds
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "usable_cpus": len(os.sched_getaffinity(0)),
        "torch_threads": None if torch is None else torch.get_num_threads(),
        "gpu": None
        if torch is None or not torch.cuda.is_available()
        else torch.cuda.get_device_name(),
    }


def versions() -> dict[str, str | None]:
    """Return the installed versions of what numbers depend on, None for what is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
