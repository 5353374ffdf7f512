"""The search kernels one by one: each instruction set against the best one, and the exact stage
against its arithmetic floor.

The floor is the time of the multiplications alone: dim / 2 of the instruction `vpdpwssd` per query
token and 16 tokens. How long one takes is measured in the same run, so no clock rate is assumed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from search_parts.vectors import Vectors

BITS = 4
TOKENS = 600_000  # of the index that is scored: more than the second-level cache holds
EXACT_PASSAGES = 256
ASSIGNED = 4_096
SECONDS = 0.8  # per kernel and instruction set
TARGETS = {"avx2": "<= 3"}
FLOOR_TARGET = "floor share >= 0.6 at 16 query tokens"

Call = Callable[[str], Any]


def rows(vectors: Vectors, scratch: Path) -> Iterator[dict[str, Any]]:
    """Yield one result per kernel, instruction set and number of query tokens."""
    from memstore.index._kernels import instruction_sets

    sets = [name for name in instruction_sets() if name != "scalar"] or ["scalar"]
    dot = _dot_nanoseconds(scratch) if sets[0] == "avx512_vnni" else None
    for name, unit, units, query_tokens, call in _calls(vectors):
        fastest, medians, dots = _measure(call, sets, dot)
        for instruction_set in sets:
            row: dict[str, Any] = {
                "bench": "search.kernel",
                "kernel": name,
                "query_tokens": query_tokens,
                "instruction_set": instruction_set,
                f"min_ns_per_{unit}": round(fastest[instruction_set] / units, 3),
                f"p50_ns_per_{unit}": round(medians[instruction_set] / units, 3),
            }
            if instruction_set != sets[0]:
                ratio = fastest[instruction_set] / fastest[sets[0]]
                row |= {"ratio": round(ratio, 2), "target": TARGETS.get(instruction_set)}
            elif name == "sealed_maxima" and dots is not None:
                needed = vectors.x.shape[1] / 2 * query_tokens / 16 * dots
                row |= {
                    "dot_ns": round(dots, 4),
                    "floor_ns_per_token": round(needed, 2),
                    "floor_share": round(needed * units / fastest[instruction_set], 3),
                    "target": FLOOR_TARGET,
                }
            yield row


def _calls(vectors: Vectors) -> Iterator[tuple[str, str, int, int, Call]]:
    """Yield the name of each kernel, what its time is divided by, how many, and a call of it."""
    from memstore.index import _kernels as k
    from memstore.index import quantize, train
    from memstore.index.codec import panels_of

    rng = np.random.default_rng(0)
    sample = vectors.x[rng.permutation(len(vectors.x))[:65_536]]
    codec = train(sample, tokens=len(vectors.x), bits=BITS)
    encoded = codec.encode(vectors.x)
    repeats = max(1, -(-TOKENS // len(vectors.x)))
    codes, residuals, norms = (np.concatenate([part] * repeats) for part in encoded)
    lengths = np.tile(vectors.lengths, repeats)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    every = np.arange(len(lengths))
    some = np.sort(rng.permutation(len(lengths))[:EXACT_PASSAGES])
    integers, unit = codec.integers
    panels = panels_of(integers)
    assigned = np.ascontiguousarray(vectors.x[:ASSIGNED])
    hot_codes, hot_scales = quantize(vectors.x)
    starts = np.cumsum(vectors.lengths) - vectors.lengths
    yield (
        "assign",
        "vector",
        len(assigned),
        0,
        lambda name: k.assign(assigned, integers, instruction_set=name),
    )
    for query_tokens in (8, 16, 32):
        query = np.resize(vectors.q, (query_tokens, vectors.q.shape[1]))
        scores, bounds = k.centroid_scores(panels, len(integers), unit, query)
        table = k.byte_table(scores, bounds, np.ones(query_tokens, dtype=np.float32))
        calls: list[tuple[str, str, int, Call]] = [
            (
                "centroid_scores",
                "centroid",
                len(integers),
                lambda name, query=query: k.centroid_scores(
                    panels, len(integers), unit, query, instruction_set=name
                ),
            ),
            (
                "approximate_scores",
                "token",
                len(codes),
                lambda name, table=table: k.approximate_scores(
                    codes, offsets, every, table, instruction_set=name
                ),
            ),
            (
                "sealed_maxima",
                "token",
                int(lengths[some].sum()),
                lambda name, query=query, scores=scores: k.sealed_maxima(
                    codes,
                    residuals,
                    norms,
                    offsets,
                    some,
                    scores,
                    query,
                    codec.weights,
                    instruction_set=name,
                ),
            ),
            (
                "token_maxima (hot tier)",
                "token",
                len(hot_codes),
                lambda name, query=query: k.token_maxima(
                    hot_codes, hot_scales, starts, vectors.lengths, query, instruction_set=name
                ),
            ),
        ]
        for name, of, units, call in calls:
            yield name, of, units, query_tokens, call


def _measure(
    call: Call, sets: list[str], dot: Callable[[], float] | None
) -> tuple[dict[str, float], dict[str, float], float | None]:
    """Let the instruction sets take turns; return least and median nanoseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in sets}
    dots = []
    end = time.perf_counter() + SECONDS * len(sets)
    while time.perf_counter() < end or len(times[sets[0]]) < 5:
        for name in sets:
            began = time.perf_counter_ns()
            call(name)
            times[name].append(time.perf_counter_ns() - began)
        if dot is not None and len(times[sets[0]]) % 20 == 1:
            dots.append(dot())
    least = {name: float(min(values)) for name, values in times.items()}
    median = {name: float(statistics.median(values)) for name, values in times.items()}
    return least, median, min(dots, default=None)


def _dot_nanoseconds(scratch: Path) -> Callable[[], float] | None:
    """Compile what times the instruction; None where there is no compiler."""
    named = os.environ.get("CC")
    compiler = named or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        return None
    library = scratch / "floor.so"
    source = Path(__file__).with_name("floor.c")
    command = [compiler, "-O2", "-mavx512f", "-mavx512vnni", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", library, source], check=True)
    function = ctypes.CDLL(str(library)).dot_nanoseconds
    function.restype = ctypes.c_double
    found: Callable[[], float] = function
    return found
