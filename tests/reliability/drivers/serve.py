"""A process that has memstore loaded and forks a child for every call it is told to make.

Run with the library of `faults.cpp` preloaded. Reads one JSON object per line from standard input
and answers each with one: what the child said line by line, and how it ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import operations

from memstore import MemoryStore, MemstoreError

POWER = 3  # the mode

faults = ctypes.CDLL(None)  # what is preloaded
faults.faults_end.restype = ctypes.c_long
faults.faults_step.restype = ctypes.c_char_p
faults.faults_step.argtypes = [ctypes.c_long]


def begin(folder: Path, fault: dict[str, Any]) -> None:
    faults.faults_begin(
        os.fsencode(f"{folder}/"),
        os.fsencode(folder.with_name(f"{folder.name}.removed")),
        fault.get("mode", 0),
        ctypes.c_long(fault.get("step", 0)),
        fault.get("kinds", 0),
        fault.get("errno", 0),
        ctypes.c_uint(fault.get("seed", 0)),
        int(fault.get("mode") == POWER),
    )


def run(folder: Path, operation: str, fault: dict[str, Any], say: Callable[[object], None]) -> None:
    """Do an operation under a fault; say what it acknowledges, its steps, and its typed error.

    With `until` it ends, without an error, as soon as it has acknowledged so much.
    """

    def acknowledge(number: object) -> None:
        say(number)
        if number == fault.get("until"):
            os._exit(0)

    if fault.get("mode") == POWER:
        folder.with_name(f"{folder.name}.removed").mkdir()
    try:
        if operation in operations.OPENING:
            begin(folder, fault)
            operations.OPENING[operation][1](folder, acknowledge)
            if fault.get("mode") == POWER:
                faults.faults_cut_power()
        else:
            with MemoryStore.open(folder / "agent.mem") as store:
                store.query("word1")
                begin(folder, fault)
                operations.WITH_STORE[operation][1](store, folder, acknowledge)
                if fault.get("mode") == POWER:
                    faults.faults_cut_power()
                faults.faults_end()  # before it is closed
    except MemstoreError as error:
        say({"error": type(error).__name__, "message": str(error)})
    steps = faults.faults_end()
    say({"steps": [faults.faults_step(n).decode() for n in range(1, steps + 1)]})


def make(folder: Path, operation: str, say: Callable[[object], None]) -> None:
    folder.mkdir()
    {**operations.WITH_STORE, **operations.OPENING}[operation][0](folder)


def describe(folder: Path, say: Callable[[object], None]) -> None:
    say(operations.describe(folder))


def finish(folder: Path, operation: str, say: Callable[[object], None]) -> None:
    """Do an operation again and describe what comes of it; nothing else is left behind."""
    run(folder, operation, {}, say)
    say(operations.describe(folder, tidy=True))


def mend(folder: Path, say: Callable[[object], None]) -> None:
    """Mend a copy that was made of what could be read."""
    operations.mend(folder / "copy.mem")


CALLS = {"run": run, "make": make, "describe": describe, "finish": finish, "mend": mend}


def warm_up() -> None:
    """Do once what every child would otherwise import and compile for itself."""
    with tempfile.TemporaryDirectory() as folder:
        operations.prepare(Path(folder))
        operations.describe(Path(folder))


def serve() -> None:
    warm_up()
    for line in sys.stdin:
        request = json.loads(line)
        answer = _forked(request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _forked(request: dict[str, Any]) -> dict[str, Any]:
    if request.get("operation") == "import_index":
        import torch  # noqa: F401  # two seconds that its children need not spend
    delay = request.pop("killed_after", None)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(writer, request)
    os.close(writer)
    began = time.monotonic()
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reader, encoding="utf-8") as lines:
        said = [json.loads(line) for line in lines if line.endswith("\n")]
    _, status = os.waitpid(child, 0)
    return {
        "said": said,
        "killed": os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL,
        "status": status,
        "seconds": time.monotonic() - began,
    }


def _child(writer: int, request: dict[str, Any]) -> None:
    status = 1
    try:
        call = CALLS[request.pop("call")]
        folder = Path(request.pop("folder"))

        def say(item: object) -> None:
            os.write(writer, (json.dumps(item) + "\n").encode())

        call(folder, **request, say=say)
        status = 0
    except BaseException:
        faults.faults_end()
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)


if __name__ == "__main__":
    serve()
