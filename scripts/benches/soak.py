"""A long life: a store is filled and used by one process, and read by another, while memory, file
descriptors, threads, the write-ahead log and latencies are sampled. Ends with 1 if something grows
that should not, or if the store does not hold exactly what it was told.

`scripts/bench soak --memories 100000 --steady 20000 --plot docs/soak.svg` takes an hour or so.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from soak_parts import drawing, judging, measuring
from soak_parts.workload import Workload

from memstore import MemoryStore
from memstore.catalog.engine import reading
from memstore.catalog.segments import current_segments, hot_token_count

READER = Path(__file__).parent / "soak_parts" / "reading_process.py"


class Soak:
    def __init__(self, workload: Workload, sample_every: int) -> None:
        self.workload, self.every = workload, sample_every
        self.samples: list[dict[str, Any]] = []
        self.began = time.monotonic()
        self.operations = 0

    def go(self, phase: str, rare: dict[str, int]) -> None:
        """Do one operation, and now and then a rare one; sample every so often.

        Args:
            rare: operation → once in how many.
        """
        self.workload.step()
        self.operations += 1
        for name, every in rare.items():
            if self.operations % every == every // 2:
                self.workload.run(name)
        if self.operations % self.every == 0:
            self.sample(phase)

    def sample(self, phase: str) -> None:
        store = self.workload.store
        with reading(store._opened.engine, store.path) as connection:
            tokens, segments = hot_token_count(connection), len(current_segments(connection))
        sample = {
            "bench": "soak",
            "phase": phase,
            "at": round(time.monotonic() - self.began, 1),
            "operations": self.operations,
            "memories": len(self.workload.ids),
            **measuring.own_process(),
            **measuring.of_store(store.path),
            "hot_tokens": tokens,
            "segments": segments,
            "ms": {
                name: measuring.percentiles(seconds)
                for name, seconds in sorted(self.workload.seconds.items())
            },
        }
        self.workload.seconds.clear()
        self.samples.append(sample)
        print(json.dumps(sample), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=5_000, help="that are built up and held")
    parser.add_argument("--steady", type=int, default=4_000, help="operations while it is held")
    parser.add_argument("--sample", type=int, default=200, help="operations between two samples")
    parser.add_argument("--encoder", default="hashed", help="hashed, minilm, ...")
    parser.add_argument("--hot-tokens", type=int, default=None, help="above which it is sealed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, default=None, help="an .svg or .png to draw")
    options = parser.parse_args()
    settings = {} if options.hot_tokens is None else {"hot_tokens": options.hot_tokens}

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent.mem"
        store = MemoryStore.open(path, encoder=options.encoder, settings=settings)
        workload = Workload(store, memories=options.memories, seed=options.seed)
        workload.add_many()
        reader = subprocess.Popen(
            # its samples are counted in queries, some twenty a second: a short run on a fast
            # machine has enough of them to be judged
            [sys.executable, READER, path, str(options.seed), str(max(1, options.sample // 20))],
            env={"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        soak = Soak(workload, options.sample)
        with store:
            while len(workload.ids) < options.memories:
                soak.go("build-up", {"compact": 2_000, "backup": 3_000, "purge": 2_500})
            end = soak.operations + options.steady
            rare = {"compact": options.steady // 4, "backup": options.steady // 2}
            rare["purge"] = options.steady // 5
            while soak.operations < end:
                soak.go("steady", rare)
            output, _ = reader.communicate()
            wrong = workload.reconcile()
            report = store.verify()
        left = sorted(file.name for file in path.iterdir())
    readers = json.loads(output or '{"queries": 0, "samples": []}')
    for sample in readers["samples"]:
        sample["at"] = round(sample["at"] - soak.began, 1)
    results = results_of(soak, readers["samples"])
    results += [
        {
            "check": "the reading process read to the end",
            "queries": readers["queries"],
            "ok": reader.returncode == 0,
        },
        {"check": "counts and contents are what was told", "wrong": wrong, "ok": not wrong},
        {
            "check": "verify is clean",
            "findings": [f.message for f in report.findings],
            "ok": report.clean,
        },
        {
            "check": "no file is left over",
            "files": left,
            "ok": left == ["index", "index.lock", "memstore.db"],
        },
    ]
    for result in results:
        print(json.dumps({"bench": "soak", **result}))
    grown = [sample for sample in soak.samples if sample["phase"] == "build-up"]
    summary = {
        "operations": dict(workload.done),
        "purges_repeated": workload.locked,
        "bytes_per_memory": judging.bytes_per_memory(grown),
        "seconds": soak.samples[-1]["at"],
    }
    print(json.dumps({"bench": "soak", **summary}))
    if options.plot is not None:
        drawing.draw(soak.samples, readers["samples"], options.plot)
    return int(not all(result["ok"] for result in results))


def results_of(soak: Soak, reader: list[dict[str, Any]]) -> list[dict[str, Any]]:
    steady = [sample for sample in soak.samples if sample["phase"] == "steady"]
    warm = steady[len(steady) // 4 :]  # the first quarter: sizes come to rest
    begin = steady[0]["at"]
    reading = [sample for sample in reader if sample["at"] >= begin]
    results = judging.checks(warm, "writing process")
    if len(reading) >= 4:
        results += judging.checks(reading[len(reading) // 4 :], "reading process")
    return [*results, judging.check_log(soak.samples)]


if __name__ == "__main__":
    sys.exit(main())
