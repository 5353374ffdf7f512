"""The page about evaluation does what it says."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memstore import MemoryStore
from memstore.evaluation.tables import LEGEND, comparison_table

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evaluation.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def commands() -> list[str]:
    lines = "".join(blocks("console")).splitlines()
    return [line.removeprefix("$ memstore ") for line in lines]


def test_the_commands_run_on_the_questions_of_the_page(command, dataset, tmp_path):
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        store.ingest(dataset / "corpus.jsonl")
    (questions,) = blocks("jsonl")
    (tmp_path / "questions.jsonl").write_text(questions)
    for line in commands()[:2]:
        # a reranker whose weights are here stands in for one that is downloaded
        done = command(*shlex.split(line.replace("minilm-l6", "colbert:minilm")))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "summary.json").exists()
    assert (tmp_path / "results.svg").exists()


@pytest.mark.parametrize("line", commands()[2:])
def test_the_commands_about_profiles_run_as_they_stand(command, moves, tmp_path, line):
    for name in ("locomo-dev", "carmem-dev"):  # small stand-ins for the data sets of these names
        shutil.copytree(moves, tmp_path / name)
    done = command(*shlex.split(line))
    assert done.returncode == 0, done.stderr
    assert "balanced" in done.stdout
    assert ("--output" in line) == (tmp_path / "profiles" / "carmem-dev" / "table.md").exists()
    assert ("--plot" in line) == (tmp_path / "profiles.png").exists()


def test_all_that_can_be_measured_of_profiles_is_explained_and_run():
    from memstore.evaluation.baselines import BASELINES
    from memstore.evaluation.reports import STRESSES

    assert len(commands()) == 7
    for name in [*STRESSES, *BASELINES]:
        assert f"| `{name}` |" in TEXT
    assert set(STRESSES) == set(commands()[-1].split()[-1].split(","))


def test_the_python_runs_as_it_stands(tmp_path):
    (program,) = blocks("python")
    assert program.count("assert") >= 3
    run = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table_has_the_columns_that_are_printed(comparison):
    (shown,) = blocks("text")
    columns = comparison_table(comparison, "people").columns
    assert re.split(r"\s{2,}", shown.splitlines()[1].strip()) == list(columns)
    assert LEGEND in shown


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!https?:)[^)#]+)\)", TEXT))
def test_links_lead_somewhere(target):
    assert (PAGE.parent / target).exists()
