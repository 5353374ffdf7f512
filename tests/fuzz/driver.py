"""Looks for inputs that break a target, or runs one; `scripts/fuzz` starts it.

Each target is hunted in a process of its own, which begins again when an input ends it. What is
kept lies in build/fuzz/TARGET/: corpus/ (inputs that reached something new, where the next run goes
on), crashes/ (inputs that broke it, the error beside each) and log.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path

from fuzz import targets
from fuzz.scratch import new_folder

FOLDER = Path("build/fuzz")
_EXECUTED = re.compile(rb"^#(\d+)\s", re.MULTILINE)  # at the start of libFuzzer's lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("target", nargs="?", choices=targets.NAMES, help="by default all")
    parser.add_argument("file", nargs="?", type=Path, help="run this one input instead of hunting")
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="of each target (60)")
    options = parser.parse_args()
    if options.file is not None:
        warnings.simplefilter("error")  # as in the tests
        targets.load(options.target).check(options.file.read_bytes())
        print(f"{options.target}: {options.file} does no harm")
        return 0
    names = targets.NAMES if options.target is None else (options.target,)
    found = [hunt(name, options.seconds) for name in names]
    return 1 if any(found) else 0


def hunt(name: str, seconds: int) -> int:
    """Fuzz a target, print a line of JSON, and return how many crashes were found."""
    folder = FOLDER / name
    crashes = folder / "crashes"
    for each in (folder / "corpus", crashes):
        each.mkdir(parents=True, exist_ok=True)
    earlier = set(crashes.iterdir())
    executions = 0
    began = time.monotonic()
    while (left := seconds - int(time.monotonic() - began)) > 0:
        executions += _hunt_until_it_ends(name, folder, left)
    new = sorted(path for path in set(crashes.iterdir()) - earlier if path.suffix != ".txt")
    for path in new:
        print(f"{path}: run it again with\n    scripts/fuzz {name} {path}", file=sys.stderr)
    told = {
        "target": name,
        "executions": executions,
        "seconds": round(time.monotonic() - began),
        "corpus": len(list((folder / "corpus").iterdir())),
        "crashes": len(new),
    }
    print(json.dumps(told), flush=True)
    return len(new)


def _hunt_until_it_ends(name: str, folder: Path, seconds: int) -> int:
    """Return how many inputs were run before the time was over or one ended the process."""
    folder_of_files = new_folder()  # an input that ends the process leaves its files there
    command = [sys.executable, "-m", "fuzz.hunting", name, str(folder), str(seconds)]
    try:
        with (folder / "log").open("wb") as log:
            environment = {**os.environ, "TMPDIR": str(folder_of_files)}
            subprocess.run(command, stdout=log, stderr=log, env=environment, check=False)
    finally:
        shutil.rmtree(folder_of_files, ignore_errors=True)
    counts = _EXECUTED.findall((folder / "log").read_bytes())
    if not counts:
        raise SystemExit(f"scripts/fuzz: {name} did not start; see {folder / 'log'}.")
    return max(map(int, counts))


def keep_crash(folder: Path, data: bytes, error: BaseException) -> None:
    """Write down an input that broke a target: the first of each place that an error is from."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        frame for frame in frames if not frame.filename.startswith((sys.prefix, sys.base_prefix))
    ]
    place = own[-1]  # not where all errors of SQLite come from
    name = f"{type(error).__name__}-{Path(place.filename).stem}-{place.lineno}"
    if not (folder / "crashes" / name).exists():
        (folder / "crashes" / name).write_bytes(data)
        told = "".join(traceback.format_exception(error))
        (folder / "crashes" / f"{name}.txt").write_text(told, errors="replace")


if __name__ == "__main__":
    sys.exit(main())
