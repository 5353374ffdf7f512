"""Processes that end at any step of any operation, with and without the power.

A step is a system call that changes a file. The normal run takes some of each operation by chance,
always the same ones; MEMSTORE_TORTURE=1 (`scripts/test --torture`) takes all of them, and kills at
random instants besides.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

KILL, TEAR, POWER = 1, 2, 3
TORTURE = os.environ.get("MEMSTORE_TORTURE") == "1"
STEPS = 10_000 if TORTURE else 2  # of each operation
INSTANTS = 20 if TORTURE else 1

OPERATIONS = (
    *("add", "add_many", "ingest", "update", "feedback", "supersede", "set_source"),
    *("forget", "purge", "seal", "merge", "retrain", "rebuild", "repair"),
    *("import", "import_index", "export", "backup", "create", "migrate"),
)


def _some(steps: list[str], operation: str, kind: str, count: int = STEPS) -> list[int]:
    numbers = range(1, len(steps) + 1)
    return sorted(random.Random(f"{kind} {operation}").sample(numbers, min(count, len(steps))))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_process_killed_at_any_step_loses_nothing_and_leaves_nothing_half_done(
    prepared: Callable[[str], Any], operation: str, figures: Counter[str]
) -> None:
    ready = prepared(operation)
    assert len(ready.steps) > 3, ready.steps
    for step in _some(ready.steps, operation, "kill"):
        what = f"killed at step {step} of {len(ready.steps)}: {ready.steps[step - 1]}"
        folder = ready.copy()
        ready.check(folder, ready.run(folder, mode=KILL, step=step), what)
        figures["kills"] += 1


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_process_killed_in_the_middle_of_a_write_loses_nothing(
    prepared: Callable[[str], Any], operation: str, figures: Counter[str]
) -> None:
    ready = prepared(operation)
    writes = [number for number, name in enumerate(ready.steps, 1) if name.startswith("write ")]
    chance = random.Random(f"tear {operation}")
    for step in sorted(chance.sample(writes, min(STEPS // 2, len(writes)))):
        what = f"killed within step {step}: {ready.steps[step - 1]}"
        folder = ready.copy()
        ready.check(folder, ready.run(folder, mode=TEAR, step=step), what)
        figures["kills"] += 1


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_power_cut_at_any_step_loses_nothing_that_was_acknowledged(
    prepared: Callable[[str], Any], operation: str, figures: Counter[str]
) -> None:
    ready = prepared(operation)
    ends = len(ready.steps) + 1  # when it has just acknowledged everything
    for step in sorted({*_some(ready.steps, operation, "power"), ends}):
        for seed in (0, step) if TORTURE else (step % 2 and step,):
            what = f"power cut at step {step} of {len(ready.steps)}, seed {seed}"
            folder = ready.copy()
            ready.check(folder, ready.run(folder, mode=POWER, step=step, seed=seed), what)
            figures["power cuts"] += 1


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_process_killed_at_a_random_instant_loses_nothing(
    prepared: Callable[[str], Any], operation: str, figures: Counter[str]
) -> None:
    ready = prepared(operation)
    chance = random.Random(f"instant {operation}")
    for _ in range(INSTANTS):
        delay = chance.uniform(0, ready.seconds)
        folder = ready.copy()
        answer = ready.run(folder, killed_after=delay)
        ready.check(folder, answer, f"killed after {delay} s")
        figures["kills"] += answer["killed"]
