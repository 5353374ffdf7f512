"""The README is executed: a reader who copies from it gets what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def run(program: str, folder: Path) -> str:
    """Run a program in a process of its own; returns what it printed."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_runs_as_it_stands(tmp_path):
    examples = blocks("python")
    assert examples
    printed = "".join(run(example, tmp_path) for example in examples)
    assert "semantic: MaxSim" in printed
    assert "Bruno is allergic to peanuts." in printed


@pytest.mark.parametrize(
    ("page", "asserts"),
    [
        ("store.md", 20),
        ("index.md", 3),
        ("rerankers.md", 8),
        ("calibration.md", 6),
        ("scoring.md", 12),
        ("langchain.md", 10),
        ("llama-index.md", 6),
        ("mcp.md", 7),
        ("langgraph.md", 14),
        ("openai-agents.md", 8),
        ("http.md", 14),
        ("page.md", 3),
    ],
)
def test_a_page_with_examples_runs_from_top_to_bottom(page, asserts, tmp_path):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    program = "".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    assert program.count("assert") >= asserts
    run(program, tmp_path)


def test_every_memstore_command_of_the_readme_exists_with_its_options():
    import click

    from memstore.cli import cli

    commands = [
        line.removeprefix("$ memstore ").split(" > ")[0]
        for block in blocks("console")
        for line in block.splitlines()
        if line.startswith("$ memstore ")
    ]
    assert len(commands) >= 4
    for command in commands:
        words = re.findall(r'"[^"]*"|\S+', command)
        name = next(word for word in words if word in cli.commands)
        options = {option for param in cli.commands[name].params for option in param.opts}
        options |= {option for param in cli.params for option in param.opts}
        used = {word for word in words if word.startswith("-")}
        assert used <= options, (command, used - options)
        assert isinstance(cli.commands[name], click.Command)


def test_the_two_commands_of_the_readme_are_scripts_one_can_run():
    for name in ("demo", "test"):
        assert f"$ scripts/{name}" in README
        script = ROOT / "scripts" / name
        assert script.stat().st_mode & 0o111
        subprocess.run(["bash", "-n", script], check=True)


def test_the_map_names_every_folder_and_no_other():
    written = set(re.findall(r"^\| `(memstore/\w+/)`", README, flags=re.MULTILINE))
    there = {
        f"memstore/{path.name}/"
        for path in (ROOT / "memstore").iterdir()
        if path.is_dir() and path.name != "__pycache__"
    }
    assert written == there


@pytest.mark.parametrize("target", re.findall(r"\]\(((?!https?:)[^)#]+)\)", README))
def test_links_of_the_readme_lead_somewhere(target):
    assert (ROOT / target).exists()
