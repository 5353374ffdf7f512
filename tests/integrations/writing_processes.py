"""A process that writes to a store when it is told to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def started(program: str, path: Path, writer: str, count: int) -> subprocess.Popen[str]:
    """Start a program, given a store's path, a writer's name and a count, that says `ready`."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path), writer, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    """Tell it to write."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
