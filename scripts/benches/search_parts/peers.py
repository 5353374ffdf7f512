"""Processes that drive one library each, in the environment it lives in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PROJECT = Path(__file__).resolve().parents[3]
DRIVERS = Path(__file__).parent / "drivers"
LONGEST_SECONDS = 3_600  # of one command; then its process is killed


class PeerFailed(Exception):
    """A driver's process ended, or reported an error."""


@dataclass(frozen=True)
class Library:
    """What is measured: its driver, and the environment with how to make it; None is our own."""

    name: str
    driver: str
    environment: str | None = None
    made_by: str = ""

    @property
    def python(self) -> Path:
        if self.environment is None:
            return Path(sys.executable)
        return PROJECT / self.environment / "bin" / "python"

    @property
    def missing(self) -> bool:
        """An environment that is half made has no stamp yet."""
        if self.environment is None:
            return False
        return not (PROJECT / self.environment / "build.stamp").is_file()


MEMSTORE = Library("memstore", "drive_memstore.py")
STORE = Library("memstore store", "drive_store.py")
NUMPY = Library("numpy, exact", "drive_numpy.py")
COLBERT_AI = Library(
    "colbert-ai", "drive_colbert_ai.py", ".venv-interop", "scripts/setup --interop"
)
FAST_PLAID = Library("fast-plaid", "drive_fast_plaid.py", ".venv-peers", "scripts/setup --peers")
PEERS = {"colbert-ai": COLBERT_AI, "fast-plaid": FAST_PLAID}


class Driver:
    """One process of a library; use as a context manager."""

    def __init__(self, library: Library, scratch: Path, *, threads: int = 1) -> None:
        self.library = library
        self.threads = threads
        self._errors = (scratch / f"{library.driver}.{threads}.stderr").open("w+")
        self._process = subprocess.Popen(
            [library.python, "-W", "ignore", DRIVERS / library.driver],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_environment(library, scratch, threads),
            cwd=scratch,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        if error is not None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def __call__(self, command: str, **arguments: Any) -> Any:
        """Do a command and return its result.

        Raises:
            PeerFailed: with the end of what it said.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        timer = threading.Timer(LONGEST_SECONDS, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps([command, arguments], default=str) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if not line:
            code = self._process.wait()
            self._errors.seek(0)
            said = self._errors.read()[-2000:]
            raise PeerFailed(f"{self.library.name} ended with code {code}:\n{said}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerFailed(f"{self.library.name}, {command}:\n{answer['error']}")
        return answer["result"]


def _environment(library: Library, scratch: Path, threads: int) -> dict[str, str]:
    names = ("OMP", "OPENBLAS", "MKL", "RAYON")
    folder = library.python.parent
    extensions = PROJECT / ".venv-interop" / "torch_extensions"
    return {
        **{key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ},
        **{f"{name}_NUM_THREADS": str(threads) for name in names},
        "PATH": f"{folder}:{os.environ['PATH']}",  # ninja
        "HOME": str(scratch),
        "TORCH_EXTENSIONS_DIR": str(extensions),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
    }
