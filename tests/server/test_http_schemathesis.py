"""Thousands of requests made from the API's own description: right ones are accepted, wrong ones
refused, and every answer is as described.

Every check of schemathesis is on, with the statuses it expects itself. One does not apply to one
operation: the history of a memory is there after the memory was forgotten, for callers who may see
the whole store (`use_after_free`). `schemathesis_hooks.py` has what generated requests must be
told. MEMSTORE_TORTURE=1 makes more, with the whole schema of filters.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from server.http_serving import OPEN, VERBS, bearer, running, token

from memstore import MemoryStore

HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
ST = Path(sys.executable).with_name("st")
TORTURE = bool(os.environ.get("MEMSTORE_TORTURE"))
CONFIG = """
[checks]
# all, as they are

[[operations]]
include-name = "GET /v1/memories/{id}/history"
checks.use_after_free.enabled = false
"""


@pytest.mark.parametrize("caller", ["root", "ana"] if TORTURE else ["root"])
def test_requests_made_from_the_description_are_answered_as_described(caller, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    options = ["--seed", "1", "--max-examples", "100" if TORTURE else "2", "--continue-on-failure"]
    header = [f"{name}: {said}" for name, said in bearer(caller).items()]
    tokens = (token("root"), token("ana", "team/ana"))
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        for text in ("Ana and Bob met in Porto.", "Ana and Bob drink tea.", "Clara reads."):
            store.add(text, namespace="team/ana")
        with running(store, tokens=tokens) as (url, _):
            done = subprocess.run(
                [ST, "run", f"{url}/openapi.json", *options, "--no-color", "--header", *header],
                cwd=tmp_path,
                env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS.stem, "PYTHONPATH": HOOKS.parent},
                capture_output=True,
                text=True,
                check=False,
            )
        assert store.verify().clean
    assert done.returncode == 0, done.stdout + done.stderr
    counted = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counted is not None, done.stdout
    assert counted[1] == counted[2]
    assert int(counted[1]) > 2000
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in done.stdout
    assert f"Tested: {len(VERBS) + len(OPEN)}" in done.stdout
