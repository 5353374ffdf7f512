"""`scripts/test --sanitize` would notice: a wrong read of a kernel ends the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memstore.index import _kernels, codec, hot, sealed, segments

FOLDER = os.environ.get("MEMSTORE_SANITIZED", "")

pytestmark = pytest.mark.skipif(not FOLDER, reason="scripts/test --sanitize runs it")

READS_WHAT_IT_MUST_NOT = """
import ctypes
import numpy as np
from index.sanitized_kernels import load

_kernels = load()
scores = np.arange(1000, dtype=np.uint32)
print(len(_kernels.largest(scores, 5)), flush=True)
ctypes.CDLL(None).__asan_poison_memory_region(ctypes.c_void_p(scores.ctypes.data + 2000), 64)
_kernels.largest(scores, 5)
print("nobody noticed")
"""


def test_all_of_memstore_uses_the_instrumented_kernels():
    assert Path(_kernels.__file__).parent == Path(FOLDER).resolve()
    used = (
        codec.assign,
        hot.token_maxima,
        segments.inverted_lists,
        sealed.sealed_maxima,
    )
    names = ("assign", "token_maxima", "inverted_lists", "sealed_maxima")
    assert all(
        function is getattr(_kernels, name) for function, name in zip(used, names, strict=True)
    )


def test_a_kernel_that_reads_where_it_must_not_ends_the_process():
    ended = subprocess.run(
        [sys.executable, "-c", READS_WHAT_IT_MUST_NOT], capture_output=True, text=True, check=False
    )
    assert ended.stdout == "5\n"
    assert ended.returncode != 0
    assert "use-after-poison" in ended.stderr
    assert "memstore::largest" in ended.stderr


def test_undefined_behaviour_ends_the_process_too():
    assert b"__ubsan_handle_shift_out_of_bounds_abort" in Path(_kernels.__file__).read_bytes()
