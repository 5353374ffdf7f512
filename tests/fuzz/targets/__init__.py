"""What is fuzzed: a module each, whose `check(data)` raises only where memstore has a defect.

A target names MUTATIONS, how many changed seeds the tests try, and may name TOKENS, which its
inputs are made of, and LONGEST, how many bytes a fuzzer may take.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

NAMES = (
    "column_files",
    "export_lines",
    "filters",
    "foreign",
    "index_folder",
    "jsonl",
    "segment_files",
    "texts_and_queries",
    "times",
)
SEEDS = Path(__file__).parents[1] / "seeds"


@dataclass(frozen=True)
class Target:
    name: str
    check: Callable[[bytes], None]
    tokens: Sequence[bytes]
    mutations: int
    longest: int

    @property
    def seeds(self) -> list[Path]:
        """The files of the inputs to begin with, and of those that once found a defect."""
        return sorted((SEEDS / self.name).iterdir())


def load(name: str) -> Target:
    module = importlib.import_module(f"{__name__}.{name}")
    return Target(
        name,
        module.check,
        getattr(module, "TOKENS", ()),
        module.MUTATIONS,
        getattr(module, "LONGEST", 256),
    )
