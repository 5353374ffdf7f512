"""The script that printed the shipped calibration."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from memstore import MemoryStore

SCRIPT = Path(__file__).parents[2] / "scripts" / "fit_calibration"
FILES = ["squad-sentences", "timeqa-train", "clapnq-dev", "xquad-en", "scifact-train", "beam-1m"]
RIVERS = ["Douro", "Tejo", "Minho", "Mondego", "Sado", "Lima", "Ave", "Vouga"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in FILES:
        lines = [
            json.dumps(
                {
                    "query": f"how long is the {river} of {name} {number}?",
                    "positive": f"The {river} of {name} is {number} miles long.",
                }
            )
            for number in range(4)
            for river in RIVERS
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    # Must never be read: a file that is no JSON would end the script.
    (folder / "locomo-dev-observations.jsonl").write_text("not to be opened")
    return folder


def fit(data: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), str(data), "--encoder", "hashed", "--limit", "12"]
    return subprocess.run(
        [*command, *map(str, options)], capture_output=True, text=True, timeout=120, check=False
    )


def test_the_constants_come_from_the_licensed_files_alone_and_are_the_same_each_time(
    data: Path, tmp_path: Path
) -> None:
    first = fit(data, "--store", tmp_path / "fit.mem")
    assert first.returncode == 0, first.stderr
    assert "ContrastCalibration(bias=" in first.stdout
    assert "locomo" not in first.stderr + first.stdout
    second = fit(data, "--store", tmp_path / "fit.mem")
    assert second.stdout == first.stdout


def test_constants_are_checked_on_questions_they_are_not_fitted_to(
    data: Path, tmp_path: Path
) -> None:
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        store.add_many(
            [
                {"text": f"{river} was wide in {n}.", "key": river + n}
                for river in RIVERS
                for n in "12"
            ]
        )
    lines = [
        json.dumps({"text": f"the wide {river}", "relevant": [f"{river}1"]}) for river in RIVERS
    ]
    (tmp_path / "asked.jsonl").write_text("\n".join(lines))
    checked = fit(data, "--check", tmp_path / "agent.mem", tmp_path / "asked.jsonl")
    assert checked.returncode == 0, checked.stderr
    assert "agent.mem: 128 candidates" in checked.stdout
    without = fit(data)
    assert without.stdout.splitlines()[:2] == checked.stdout.splitlines()[:2]
