"""`scripts/bench search` on a handful of passages, without peers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[1] / "scripts" / "benches" / "search.py"
PASSAGES, QUERIES, DIM = 60, 5, 32


def unit_rows(rng: np.random.Generator, rows: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, DIM), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a run over 40 passages and 20 copies of them leaves."""
    folder = tmp_path_factory.mktemp("bench")
    rng = np.random.default_rng(0)
    lengths, query_lengths = rng.integers(2, 9, PASSAGES - 20), np.full(QUERIES, 4)
    np.savez(
        folder / "vectors.npz",
        x=unit_rows(rng, lengths.sum()),
        lengths=lengths,
        q=unit_rows(rng, query_lengths.sum()),
        query_lengths=query_lengths,
    )
    command = [sys.executable, BENCH, "--vectors", folder / "vectors.npz", "--peers", "none"]
    command += ["--sizes", PASSAGES, "--what", "", "--work", folder / "work"]
    command += ["--markdown", folder / "tables.md", "--plot", folder / "plot.svg"]
    for name in ("rows", "again"):
        finished = subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False
        )
        assert finished.returncode == 0, finished.stderr
        (folder / f"{name}.jsonl").write_text(finished.stdout)
    return folder


@pytest.fixture(scope="module")
def rows(folder):
    lines = map(json.loads, (folder / "rows.jsonl").read_text().splitlines())
    return {(line["bench"], line.get("peer")): line for line in lines}


def test_results_are_checked_against_numpy_over_decoded_vectors(rows):
    check = rows["search.check", None]
    assert check["passages"] == PASSAGES
    assert check["queries"] == 3
    assert 0 <= check["largest_score_error"] < 1e-3


def test_ours_is_compared_with_exact_search(rows):
    exact, ours = rows["search.query", "numpy, exact"], rows["search.query", "memstore"]
    assert exact["overlap_at_10"] == 1
    assert 0.5 < ours["overlap_at_10"] <= 1
    assert exact["memstore_p50_ms"] == ours["p50_ms"]
    assert exact["ratio_p50"] > 0
    for row in (exact, ours):
        assert row["queries"] == QUERIES
        assert row["threads"] == 1
        assert 0 < row["min_ms"] <= row["p50_ms"] <= row["p95_ms"]


def test_every_search_and_the_build_report_size_memory_and_versions(rows):
    assert rows["search.build", "memstore"]["cpu_s"] >= 0
    assert rows["search.size", "memstore"]["bytes_per_token"] > 0
    assert "20 copies" in rows["search.size", "memstore"]["data"]
    assert rows["search.memory", "memstore"]["peak_mb"] > 0
    assert rows["search.versions", None]["memstore"]["instruction_set"]


def test_what_was_measured_is_not_measured_again(folder):
    assert (folder / "again.jsonl").read_text() == (folder / "rows.jsonl").read_text()


def test_results_become_tables_and_a_drawing(folder):
    assert f"| {PASSAGES} | numpy, exact | 1 |" in (folder / "tables.md").read_text()
    drawing = (folder / "plot.svg").read_text()
    assert drawing.startswith("<svg")
    assert ">memstore<" in drawing
