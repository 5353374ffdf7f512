"""CPU seconds of cold starts beyond bare Python: import, --help, a query of the example year.

--memories N: the year again and again, with a number in front, until there are so many.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

YEAR = Path(__file__).resolve().parents[2] / "examples" / "year" / "memories.jsonl"
MEMSTORE = [sys.executable, "-m", "memstore"]


def cpu_seconds(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def memories(least: int) -> Iterator[str]:
    """Yield the year as lines of JSON, and copies of it until there are `least`."""
    year = YEAR.read_text(encoding="utf-8").splitlines(keepends=True)
    yield from year
    for number in range(len(year), least):
        text = json.loads(year[number % len(year)])["text"]
        yield json.dumps({"text": f"{number}: {text}"}) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--memories", type=int, default=0)
    options = parser.parse_args()
    for name in ("OPENBLAS_NUM_THREADS", "PYTHONDONTWRITEBYTECODE"):  # as on a user's machine
        os.environ.pop(name, None)

    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "year.mem")
        corpus = Path(folder) / "memories.jsonl"
        corpus.write_text("".join(memories(options.memories)), encoding="utf-8")
        cpu_seconds([*MEMSTORE, "--store", store, "ingest", str(corpus)])
        query = ["--store", store, "query", "Which neighbour has our spare key?"]
        commands = {
            "bare": ([sys.executable, "-c", "pass"], None),
            "import memstore": ([sys.executable, "-c", "import memstore"], 0.05),
            "memstore --help": ([*MEMSTORE, "--help"], 0.15),
            "memstore query": ([*MEMSTORE, *query], 0.6),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.rounds + 1):
            for name, (command, _) in commands.items():
                times[name].append(cpu_seconds(command))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    for name, (_, target) in commands.items():
        if target is not None:
            beyond = medians[name] - medians["bare"]
            line = {"bench": f"startup.{name}", "cpu_s_beyond_bare": round(beyond, 3)}
            print(json.dumps({**line, "target": f"<= {target}"}))


if __name__ == "__main__":
    main()
