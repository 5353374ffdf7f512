"""The script that made the shipped head."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "fit_minilm_head"
WIKI = ["squad-sentences", "xquad-en", "timeqa-train", "clapnq-dev"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in [*WIKI, "scifact-train"]:
        lines = [
            json.dumps({"query": "?", "positive": f"The {name} number {i} is a river in Spain."})
            for i in range(20)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    # Must never be read: a file that is no JSON would end the script.
    (folder / "locomo-dev-observations.jsonl").write_text("not to be opened")
    return folder


def fit(data: Path, output: Path, tokens: int = 400) -> subprocess.CompletedProcess[str]:
    options = ["--output", str(output), "--tokens", str(tokens), "--dim", "16"]
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(data), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_head_is_made_of_the_licensed_files_alone_and_the_same_each_time(
    data: Path, tmp_path: Path
) -> None:
    outputs = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for output in outputs:
        result = fit(data, output)
        assert result.returncode == 0, result.stderr
        assert "locomo" not in result.stderr
    assert outputs[0].read_bytes() == outputs[1].read_bytes()

    with np.load(outputs[0], allow_pickle=False) as arrays:
        mean, projection = arrays["mean"], arrays["projection"]
    assert (mean.shape, projection.shape) == ((384,), (384, 16))
    assert mean.dtype == projection.dtype == np.float16
    directions = projection.astype(np.float32) / np.linalg.norm(projection.astype(float), axis=0)
    np.testing.assert_allclose(directions.T @ directions, np.eye(16), atol=2e-3)
    scales = np.linalg.norm(projection.astype(float), axis=0)
    assert (np.diff(scales) > -1e-3).all(), "the first columns have the largest eigenvalues"


def test_too_little_text_is_said_so(data: Path, tmp_path: Path) -> None:
    result = fit(data, tmp_path / "head.npz", tokens=100_000)
    assert result.returncode == 1
    assert "The texts hold only" in result.stderr
    assert not (tmp_path / "head.npz").exists()
