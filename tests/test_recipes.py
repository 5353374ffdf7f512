"""The recipes of examples/ run as they stand, and say on their own whether they went right. That of
the coding agent is in server/test_coding_notes.py.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
RECIPES = {
    "chat_assistant/chat.py": "Koningslaan 14",
    "support_desk/desk.py": "not shown: Orders can be returned within 30 days",
    "folder_search/search.py": "4 of 4 answers come first",
}


@pytest.mark.parametrize(("script", "shown"), RECIPES.items())
def test_a_recipe_runs_as_it_stands(script, shown, tmp_path):
    command = [sys.executable, "-W", "error", EXAMPLES / script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("script", ["chat_assistant/chat.py", "support_desk/desk.py"])
def test_a_recipe_can_be_run_again_on_the_store_it_left(script, tmp_path):
    command = [sys.executable, "-W", "error", EXAMPLES / script, tmp_path / "left.mem"]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_retriever_over_a_folder_of_ones_own_reads_again_only_what_changed(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "bikes.md").write_text("# Bikes\n\nThe tandem is in the shed.\n")
    (folder / "cats.txt").write_text("The cat sleeps on the tax returns.\n")

    def ask(question: str) -> list[str]:
        command = [sys.executable, EXAMPLES / "folder_search/search.py", folder, question]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert "bikes.md:1" in ask("Where is the tandem?")[0]
    (folder / "bikes.md").write_text("# Bikes\n\nThe tandem was sold to Carla.\n")
    first, *_ = ask("Where is the tandem?")
    assert "sold to Carla" in first
    assert not any("in the shed" in line for line in ask("Where is the tandem?"))
    (folder / "bikes.md").unlink()
    assert not any("bikes.md" in line for line in ask("Where is the tandem?"))


def test_the_list_of_examples_names_every_one():
    written = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"python examples/(\w+)/\w+\.py", written))
    assert named == {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert {*RECIPES, "coding_notes/agent.py"} <= set(
        re.findall(r"python examples/(\w+/\w+\.py)", written)
    )
