"""`scripts/test --sanitize` would notice: a wrong read of what is in C++ ends the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from memstore.encoders import _bert, bert
from memstore.index import _kernels, codec, hot, sealed, segments

FOLDER = os.environ.get("MEMSTORE_SANITIZED", "")

pytestmark = pytest.mark.skipif(not FOLDER, reason="scripts/test --sanitize runs it")

POISON = """
import ctypes
import numpy as np
from sanitized_modules import load

load()

def poison(array):
    address = ctypes.c_void_p(array.ctypes.data + 2000)
    ctypes.CDLL(None).__asan_poison_memory_region(address, 64)
"""

READS_WHAT_IT_MUST_NOT = {
    "memstore::largest": """
from memstore.index import _kernels
scores = np.arange(1000, dtype=np.uint32)
print(len(_kernels.largest(scores, 5)), flush=True)
poison(scores)
_kernels.largest(scores, 5)
""",
    "memstore::encode": """
from memstore.encoders.bert import Bert, Layer, Linear, NativeModel, Norm
ones = np.ones((25, 25), dtype=np.float32)
norm, linear = Norm(ones[0], ones[0]), Linear(ones.copy())
layer = Layer(linear, linear, linear, linear, norm, linear, linear, norm)
model = NativeModel(Bert(ones, ones, ones[0], norm, [layer], heads=1, epsilon=1e-12), None)
print(len(model.encode([[1, 2, 3, 4, 5]])[0]), flush=True)
poison(linear.weight)
model.encode([[1, 2, 3, 4, 5]])
""",
}


def test_all_of_memstore_uses_the_instrumented_modules():
    for module in (_kernels, _bert):
        assert Path(module.__file__).parent == Path(FOLDER).resolve()
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
    assert bert.Model is _bert.Model


@pytest.mark.parametrize("function", READS_WHAT_IT_MUST_NOT)
def test_what_reads_where_it_must_not_ends_the_process(function):
    program = POISON + READS_WHAT_IT_MUST_NOT[function] + 'print("nobody noticed")'
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.stdout == "5\n"
    assert ended.returncode != 0
    assert "use-after-poison" in ended.stderr
    assert function in ended.stderr


@pytest.mark.parametrize("module", [_kernels, _bert])
def test_undefined_behaviour_ends_the_process_too(module):
    assert b"__ubsan_handle_pointer_overflow_abort" in Path(module.__file__).read_bytes()
