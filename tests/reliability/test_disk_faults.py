"""Disks that are full, fail, refuse or write less than they were asked to.

Every call of a process that changes a file can be let fail, SQLite's included. What comes of it is
a typed error or the whole result; what was acknowledged is there, and once the disk is well again
the same operation comes to its end.
"""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from reliability.matrix import OPERATIONS, TORTURE, only

FAIL, FAIL_FROM, SHORTEN = 4, 5, 6
WRITE, SYNC, OPEN, RENAME, REMOVE, MAKE, TRUNCATE, READ = (1 << n for n in range(8))
CHANGES = WRITE | OPEN | RENAME | REMOVE | MAKE | TRUNCATE
NAMES = {
    WRITE: ("write",),
    SYNC: ("sync",),
    OPEN: ("open", "create"),
    RENAME: ("rename",),
    REMOVE: ("remove", "rmdir"),
    MAKE: ("mkdir",),
    TRUNCATE: ("truncate",),
    READ: ("read",),
}
SQLITES_OWN = ("agent.mem/memstore.db/", "agent.mem/")
PLACES = 25 if TORTURE else 1  # of each fault in each operation
FEW = only("ingest", "merge", "backup")
# a fault → how it goes on, the calls it may hit, and what the system says
FAULTS: dict[str, tuple[int, int, int]] = {
    "full disk": (FAIL_FROM, WRITE | MAKE, errno.ENOSPC),
    "no more files": (FAIL_FROM, OPEN | MAKE, errno.ENOSPC),
    "failing write": (FAIL, WRITE, errno.EIO),
    "failing sync": (FAIL, SYNC, errno.EIO),
    "failing medium": (FAIL_FROM, CHANGES | SYNC, errno.EIO),
    "permission denied": (FAIL_FROM, OPEN | RENAME | MAKE, errno.EACCES),
    "medium gone read-only": (FAIL_FROM, CHANGES, errno.EROFS),
    "failing removal": (FAIL, REMOVE, errno.EACCES),
    "failing rename": (FAIL, RENAME, errno.EIO),
    "failing read": (FAIL, READ, errno.EIO),
}


def _places(steps: list[str], kinds: int) -> int:
    names = {name for kind, found in NAMES.items() if kind & kinds for name in found}
    return sum(step.split()[0] in names for step in steps)


def _errors(answer: dict[str, Any]) -> list[str]:
    return [item["error"] for item in answer["said"] if type(item) is dict and "error" in item]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_of_the_disk_is_a_typed_error_and_nothing_is_lost(
    prepared: Callable[[str], Any], operation: str, figures: Counter[str]
) -> None:
    ready = prepared(operation)
    chance = random.Random(f"faults of {operation}")
    for fault in FAULTS if TORTURE else chance.sample([*FAULTS], 1):
        figures["faults"] += _check_fault(ready, fault)


def _check_fault(ready: Any, fault: str) -> int:
    """Let one kind of fault happen at some places and return at how many."""
    mode, kinds, number = FAULTS[fault]
    steps = ready.steps
    if kinds & READ:
        folder = ready.copy()
        steps = ready.run(folder, kinds=READ)["said"][-1]["steps"]
    places = _places(steps, kinds)
    chance = random.Random(f"{fault} {ready.operation}")
    chosen = chance.sample(range(1, places + 1), min(PLACES, places))
    for place in chosen:
        folder = ready.copy()
        answer = ready.run(folder, mode=mode, step=place, kinds=kinds, errno=number)
        told = set(_errors(answer))
        if (ready.operation, kinds) == ("import", READ):
            told.discard("BadInput")  # what should be imported cannot be read
        assert told <= {"StoreUnwritable", "IndexDamaged"}
        if not (told or kinds & READ):  # a repair that could not read everything says so itself
            assert any(type(item) is int for item in answer["said"]), f"{fault} at {place}"
        if (ready.operation, told) == ("backup", {"IndexDamaged"}):
            ready.children.call("mend", folder)  # the copy was made of what can be read
        ready.check(folder, answer, f"{fault} at {place} of {places}: {_errors(answer)}")
    return len(chosen)


@pytest.mark.parametrize("operation", FEW)
def test_what_could_not_be_synced_is_not_acknowledged(
    prepared: Callable[[str], Any], operation: str, figures: Counter[str]
) -> None:
    ready = prepared(operation)
    chance = random.Random(f"sync {operation}")
    places = range(1, len(_syncs(ready.steps)) + 1)
    before = figures["faults"]
    for place in chance.sample(places, len(places)):
        if figures["faults"] == before + PLACES:
            break
        folder = ready.copy()
        answer = ready.run(folder, mode=FAIL, step=place, kinds=SYNC, errno=errno.EIO)
        # not those of the undisturbed run: one connection more syncs the folder once more
        synced = _syncs(answer["said"][-1]["steps"])[place - 1 : place]
        for name, needed in synced:
            if needed:
                assert _errors(answer) == ["StoreUnwritable"], (place, name)
                ready.check(folder, answer, f"sync {place} of {name}")
                figures["faults"] += 1
    assert figures["faults"] > before


def _syncs(steps: list[str]) -> list[tuple[str, bool]]:
    """Return what is synced, in order, and whether anything depends on it: not on the log that was
    synced and not written to since, not on the database when the log is emptied, which still has
    it, and not on the copy of the columns, its name included. Nor does SQLite look at what a sync
    of the folder returned after it made a log or a journal there.
    """
    synced: set[str] = set()
    found: list[tuple[str, bool]] = []
    columns = False
    for step in steps:
        kind, _, name = step.partition(" ")
        log = name.endswith("-wal/")
        if kind == "sync":
            columns = columns or "/columns-" in name
            before = found[-1][0] if found else ""
            made = before.startswith(name) and before.endswith(("-wal/", "-journal/")) and not log
            again = log and name in synced
            found.append((name, not (columns or made or again or name in SQLITES_OWN)))
            synced.add(name)
            columns = columns and not log
        elif kind == "write":
            synced.discard(name)
    return found


@pytest.mark.parametrize("operation", only("add", "seal", "backup", "export"))
def test_short_writes_are_completed(
    prepared: Callable[[str], Any], operation: str, figures: Counter[str]
) -> None:
    ready = prepared(operation)
    folder = ready.copy()
    answer = ready.run(folder, mode=SHORTEN)
    assert _errors(answer) == []
    ready.check(folder, answer, "short writes")
    figures["faults"] += sum(step.startswith("write ") for step in ready.steps)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_store_on_a_read_only_medium_is_read(prepared: Callable[[str], Any], number: int) -> None:
    ready = prepared("read")
    folder = ready.copy()
    kinds = CHANGES | SYNC if number == errno.EROFS else OPEN | MAKE | RENAME | REMOVE
    answer = ready.run(folder, mode=FAIL_FROM, step=1, kinds=kinds, errno=number)
    assert (_errors(answer), answer["said"][0]) == ([], 1)
