"""`memstore mcp`: what it refuses before it serves anybody."""

import subprocess
import sys

import pytest

from memstore import MemoryStore

LONG = "a-token-of-some-length"


@pytest.fixture
def folder(tmp_path):
    MemoryStore.open(tmp_path / "agent.mem", encoder="hashed").close()
    (tmp_path / "short").write_text("secret\n")
    (tmp_path / "token").write_text(f"{LONG}\n")
    (tmp_path / "two").write_text(f"{LONG}\n{LONG}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--http", "0.0.0.0:0"], 2, "Give a token"),
        (["--http", "192.0.2.1:0"], 2, "Give a token"),
        (["--http", "[::]:0"], 2, "Give a token"),
        (["--http", "memory.example:0"], 2, "Give a token"),
        (["--http", "0.0.0.0:0", "--allow-anyone"], 2, "--allow-host"),
        (["--http", "0.0.0.0:0", "--token-file", "token"], 2, "--allow-host"),
        (["--http", "127.0.0.1"], 2, "no HOST:PORT"),
        (["--http", "127.0.0.1:99999"], 2, "no HOST:PORT"),
        (["--http", "192.0.2.1:0", "--token-file", "token"], 1, "cannot be listened to"),
        (["--http", "127.0.0.1:0", "--token-file", "short"], 1, "at least 16"),
        (["--http", "127.0.0.1:0", "--token-file", "two"], 1, "without spaces"),
        (["--token-file", "token"], 2, "need --http"),
        (["--namespace", "a//b"], 1, "is not a path"),
        (["--tool", "memory_everything"], 1, "There is no tool 'memory_everything'"),
        (["--read-only", "--tool", "memory_store"], 1, "only reads"),
    ],
)
def test_what_would_be_unsafe_or_means_nothing_is_refused(
    options, status, said, folder, run_memstore
):
    done = run_memstore(folder, "mcp", *options)
    assert done.returncode == status
    assert said in done.stderr
    assert done.stdout == ""
    assert LONG not in done.stderr


def test_a_server_that_only_reads_makes_no_store(tmp_path, run_memstore):
    done = run_memstore(tmp_path, "mcp", "--read-only")
    assert done.returncode == 1
    assert not (tmp_path / "agent.mem").exists()


def test_without_its_package_the_command_says_what_to_install(folder):
    program = """
import sys
sys.modules["mcp"] = None  # as if it were not installed
from memstore.cli import main
main(["--store", sys.argv[1], "mcp"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "agent.mem")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'memstore[mcp]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_help_loads_no_protocol(tmp_path):
    program = """
import sys
from memstore.cli import main
try:
    main(["mcp", "--help"])
except SystemExit:
    print(sorted({"mcp", "mcp_types", "uvicorn", "pydantic", "anyio"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "[]"
