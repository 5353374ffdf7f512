"""One process of fuzzing: python -m fuzz.hunting TARGET FOLDER SECONDS; `fuzz.driver` starts it."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from random import Random

from fuzz import targets
from fuzz.driver import keep_crash
from fuzz.mutating import mutate_json


def main() -> None:
    import atheris  # there only where fuzzing was asked for

    name, folder, seconds = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    # atheris sees through the path's own loader only, not that of an editable install
    sys.meta_path.sort(key=lambda finder: type(finder).__module__.startswith("_editable"))
    sys.path.insert(0, str(Path.cwd()))
    with atheris.instrument_imports(include=["memstore"]):
        target = targets.load(name)

    def run(data: bytes) -> None:
        try:
            with warnings.catch_warnings(action="error"):
                target.check(data)
        except Exception as error:  # kept, and the hunt goes on
            keep_crash(folder, data, error)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        rng = Random(seed)
        changed = mutate_json(data, rng, target.tokens) if rng.random() < 0.5 else None
        return atheris.Mutate(data, longest) if changed is None else changed[:longest]

    options = [
        *(
            f"-max_total_time={seconds}",
            f"-max_len={target.longest}",
            "-timeout=30",
            "-report_slow_units=30",
        ),
        *("-rss_limit_mb=4096", f"-artifact_prefix={folder}/crashes/"),
    ]
    if target.tokens:
        words = folder / "tokens"
        words.write_text("".join(f'"{_escaped(token)}"\n' for token in target.tokens))
        options.append(f"-dict={words}")
    seeds = targets.SEEDS / name
    atheris.Setup(
        [sys.argv[0], *options, str(folder / "corpus"), str(seeds)], run, custom_mutator=mutate
    )
    atheris.Fuzz()


def _escaped(token: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in token)


if __name__ == "__main__":
    main()
