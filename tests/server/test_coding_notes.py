"""The recipe of a coding agent's notes runs as it stands, and says so when it goes wrong."""

import os
import subprocess
import sys
from pathlib import Path

from memstore import MemoryStore

SCRIPT = Path(__file__).parents[2] / "examples" / "coding_notes" / "agent.py"


def run(*arguments: str, script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )


def test_the_notes_of_three_days_are_kept_changed_and_forgotten(tmp_path):
    done = run(str(tmp_path / "notes.mem"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("3 notes hold, 1 was superseded, 1 was forgotten.\n")
    assert "client_max_body_size" in done.stdout


def test_a_note_that_is_not_found_ends_it_with_an_error(tmp_path):
    MemoryStore.open(tmp_path / "notes.mem", encoder="hashed").close()
    other = tmp_path / "agent.py"
    source = SCRIPT.read_text(encoding="utf-8")
    assert "in (monday, tuesday, wednesday)" in source
    other.write_text(source.replace("in (monday, tuesday, wednesday)", "in (wednesday,)"), "utf-8")
    done = run(str(tmp_path / "notes.mem"), script=other)
    assert done.returncode == 1
    assert "Redis was removed" in done.stderr
