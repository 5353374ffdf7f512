"""Processes that end at any step of any operation, with and without the power.

A step is a system call that changes a file. MEMSTORE_TORTURE=1 (`scripts/test --torture`) takes
all operations and every step (of many equal ones in a row, such as the writes of one commit: the
first, the last and one between) and many random instants; the normal run some operations and of
each a few steps, always the same ones.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from reliability.matrix import OPERATIONS, TORTURE, only

KILL, TEAR, POWER = 1, 2, 3
STEPS = 10_000 if TORTURE else 1  # of each operation
INSTANTS = 20 if TORTURE else 1
FEW = only("ingest", "purge", "merge")


def _some(steps: list[str], operation: str, kind: str) -> list[int]:
    """Return numbers of steps, counted from 1, ascending."""
    chance = random.Random(f"{kind} {operation}")
    numbers: set[int] = set()
    for _, run in itertools.groupby(enumerate(steps, 1), key=lambda item: item[1]):
        equal = [number for number, _ in run]
        numbers |= {equal[0], chance.choice(equal), equal[-1]}
    return sorted(chance.sample(sorted(numbers), min(STEPS, len(numbers))))


def _last(step: int, ready: Any) -> bool:
    """Whether a step is of the last tenth: ids are random, and a run may need some steps fewer."""
    return step > 0.9 * len(ready.steps)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_process_killed_at_any_step_loses_nothing_and_leaves_nothing_half_done(
    prepared: Callable[[str], Any], operation: str, figures: Counter[str]
) -> None:
    ready = prepared(operation)
    assert len(ready.steps) > 3, ready.steps
    for step in _some(ready.steps, operation, "kill"):
        what = f"killed at step {step} of {len(ready.steps)}: {ready.steps[step - 1]}"
        folder = ready.copy()
        answer = ready.run(folder, mode=KILL, step=step)
        assert answer["killed"] or _last(step, ready), what
        ready.check(folder, answer, what)
        figures["kills"] += answer["killed"]


@pytest.mark.parametrize("operation", FEW)
def test_a_process_killed_in_the_middle_of_a_write_loses_nothing(
    prepared: Callable[[str], Any], operation: str, figures: Counter[str]
) -> None:
    ready = prepared(operation)
    writes = [step for step in ready.steps if step.startswith("write ")]
    numbers = [number for number, name in enumerate(ready.steps, 1) if name in writes]
    for place in _some(writes, operation, "tear")[: max(1, STEPS // 2)]:
        step = numbers[place - 1]
        what = f"killed within step {step}: {ready.steps[step - 1]}"
        folder = ready.copy()
        answer = ready.run(folder, mode=TEAR, step=step)
        assert answer["killed"] or _last(step, ready), what
        ready.check(folder, answer, what)
        figures["kills"] += answer["killed"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_power_cut_at_any_step_loses_nothing_that_was_acknowledged(
    prepared: Callable[[str], Any], operation: str, figures: Counter[str]
) -> None:
    ready = prepared(operation)
    ends = len(ready.steps) + 1  # when it has just acknowledged everything
    for step in sorted({*_some(ready.steps, operation, "power"), ends}):
        for seed in (0, step) if TORTURE and step % 2 else (step,):
            what = f"power cut at step {step} of {len(ready.steps)}, seed {seed}"
            folder = ready.copy()
            answer = ready.run(folder, mode=POWER, step=step, seed=seed)
            assert answer["killed"], what
            ready.check(folder, answer, what)
            figures["power cuts"] += 1


@pytest.mark.parametrize("operation", FEW)
def test_a_process_killed_at_a_random_instant_loses_nothing(
    prepared: Callable[[str], Any], operation: str, figures: Counter[str]
) -> None:
    ready = prepared(operation)
    chance = random.Random(f"instant {operation}")
    killed = 0
    for _ in range(INSTANTS):
        delay = chance.uniform(0, ready.seconds)
        folder = ready.copy()
        answer = ready.run(folder, killed_after=delay)
        ready.check(folder, answer, f"killed after {delay} s")
        killed += answer["killed"]
    assert killed >= INSTANTS // 4  # the operation may be faster than when it was timed
    figures["kills"] += killed
