"""What every driver shares: a process that does what its parent asks, line by line.

A line on stdin is a JSON list of a command and its arguments; the answer is a line on stdout. What
libraries print goes to stderr. It runs in environments of their own: numpy and nothing else.
"""

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))


class Data:
    """The files of one size: what is to be indexed, and the queries.

    Shapes: lengths (passages,); offsets (passages + 1,); queries, a list of (query tokens, dim).
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder)
        self.lengths = np.load(self.path / "lengths.npy")
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        rows = np.load(self.path / "queries.npy")
        ends = np.cumsum(np.load(self.path / "query_lengths.npy"))
        self.queries = [np.ascontiguousarray(part) for part in np.split(rows, ends[:-1])]

    def vectors(self, *, mapped: bool = False) -> np.ndarray:
        return np.load(self.path / "vectors.npy", mmap_mode="r" if mapped else None)

    def new_vectors(self) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors and lengths of 101 passages that are not indexed yet."""
        return np.load(self.path / "new_vectors.npy"), np.load(self.path / "new_lengths.npy")


def folder_bytes(folder: str | Path) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Do something once; return its seconds, and those of all threads on processors."""
    began, cpu = time.perf_counter(), cpu_seconds()
    work()
    return {
        "wall_s": time.perf_counter() - began,
        "cpu_s": cpu_seconds() - cpu,
    }


def timed(search: Callable[[Any], Sequence[int]], queries: Sequence[Any]) -> dict[str, Any]:
    """Search with each query, timing each by the clock and on processors; the last one goes
    before, untimed, to warm up.
    """
    search(queries[-1])
    seconds, cpu, found = [], [], []
    for query in queries:
        began, used = time.perf_counter(), time.process_time()
        ids = search(query)
        cpu.append(time.process_time() - used)
        seconds.append(time.perf_counter() - began)
        found.append([int(id_) for id_ in ids])
    return {"seconds": seconds, "cpu": cpu, "ids": found}


def memory() -> dict[str, int]:
    """Return bytes: the most this process had, and what it has of its own, mapped files apart."""
    wanted = {"VmHWM": "peak", "RssAnon": "private"}
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name in wanted:
            found[wanted[name]] = int(value.split()[0]) * 1024
    return found


def serve(commands: dict[str, Callable[..., Any]]) -> None:
    """Answer until stdin ends."""
    commands = {"memory": memory, **commands}
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"result": commands[name](**arguments)}
        except Exception:  # the parent says what failed and goes on without this peer
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
