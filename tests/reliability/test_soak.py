"""`scripts/bench soak`, short: nothing grows that should not, and what it says is judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memstore import MemoryStore

SCRIPTS = Path(__file__).parents[2] / "scripts" / "benches"
TORTURE = os.environ.get("MEMSTORE_TORTURE") == "1"
SIZES = ["--memories", "2000", "--steady", "6000"] if TORTURE else ["--memories", "150"]


def test_a_long_life_takes_no_more_memory_descriptors_threads_or_log_with_time(
    tmp_path: Path,
) -> None:
    plot = tmp_path / "soak.svg"
    command = [sys.executable, SCRIPTS / "soak.py", "--hot-tokens", "1000", "--plot", plot]
    small = [] if TORTURE else ["--steady", "240", "--sample", "30"]
    done = subprocess.run([*command, *SIZES, *small], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [line for line in lines if line.get("ok") is False]
    assert (done.returncode, failed) == (0, []), done.stderr
    assert sum("check" in line for line in lines) == 11
    *_, summary = lines
    for name in ("add", "query", "update", "forget", "purge", "compact", "backup"):
        assert summary["operations"][name] >= 1, name
    assert plot.read_text().startswith("<?xml")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))


@pytest.mark.usefixtures("parts")
def test_what_grows_steadily_is_told_from_what_comes_and_goes() -> None:
    from soak_parts import judging

    def failed(name: str, values: list[float]) -> bool:
        sample = {"anonymous_mib": 100.0, "descriptors": 20, "threads": 2}
        found = judging.checks([{**sample, name: value} for value in values], "it")
        return not all(result["ok"] for result in found)

    assert not failed("anonymous_mib", [100, 118, 101, 117, 100, 118, 101, 117, 100])
    assert failed("anonymous_mib", [100 + 5 * n for n in range(9)])
    assert failed("descriptors", [20 + n for n in range(12)])
    assert failed("threads", [2 + n for n in range(12)])
    log = [{"log_mib": 4.0, "database_mib": 100.0}]
    assert judging.check_log(log * 3)["ok"]
    assert judging.check_log([*log * 3, {"log_mib": 110.0, "database_mib": 100.0}])["ok"]  # VACUUM
    assert not judging.check_log([{"log_mib": 20.0, "database_mib": 100.0}] * 3)["ok"]
    grown = [{"memories": n, "anonymous_mib": 50 + n / 1024} for n in (0, 1000, 2000)]
    assert judging.bytes_per_memory(grown) == 1024


@pytest.mark.usefixtures("parts")
def test_a_store_that_holds_otherwise_than_was_told_is_noticed(store: MemoryStore) -> None:
    from soak_parts.workload import Workload

    workload = Workload(store, memories=10, seed=0)
    for _ in range(4):
        workload.add()
    workload.feedback()
    assert workload.reconcile() == []
    first, second, third, fourth = workload.ids
    store.forget(first)
    workload.drop(second)
    store.update(third, metadata={"n": 0})
    workload.uses[fourth] = 7
    assert workload.reconcile() == [
        "1 memories are lost",
        "1 memories came back",
        "1 memories differ",
        "1 uses differ",
    ]
