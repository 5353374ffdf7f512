"""No target breaks at its seeds, which hold every input that ever broke it, nor at changes of them.

`scripts/fuzz` looks further.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from fuzz import targets
from fuzz.mutating import mutate

TIMES = 20 if os.environ.get("MEMSTORE_TORTURE") else 1


@pytest.mark.parametrize("name", targets.NAMES)
def test_no_seed_of_a_target_breaks_it(name):
    target = targets.load(name)
    assert target.seeds
    for path in target.seeds:
        target.check(path.read_bytes())


@pytest.mark.parametrize("name", targets.NAMES)
def test_no_changed_seed_of_a_target_breaks_it(name, tmp_path):
    target = targets.load(name)
    seeds = [path.read_bytes() for path in target.seeds]
    rng = Random(f"{name}")
    for _ in range(TIMES * target.mutations):
        data = mutate(rng.choice(seeds), rng, target.tokens)
        try:
            target.check(data)
        except Exception as error:
            (tmp_path / "input").write_bytes(data)
            error.add_note(f"Run it again with: scripts/fuzz {name} {tmp_path / 'input'}")
            raise
