"""What reaches a terminal, a pipe, or a reader that has gone, whatever the stored texts hold."""

import json
import os
import pty
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from memstore import Hit, Memory, MemoryStore, Part, Passage, QueryResult, Relevance, TokenMatch
from memstore.cli.output import print_result

HOSTILE = "Lisbon \x1b[31mred\x1b]0;title\x07 \x9b2J \x7f\b\rgone"
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def run_in_terminal(shell, *arguments: str, **environment: str) -> str:
    """Return what a command writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "memstore", *arguments],
        cwd=shell.folder,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment},
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:  # Linux: EIO when the other end is closed
            break
        if not read:
            break
        written += read
    os.close(ours)
    process.wait()
    return written.decode()


@pytest.fixture
def hostile(shell):
    with MemoryStore.open(shell.store) as store:
        store.add(
            HOSTILE, key="k\x1b[1m", title="t\x1b[1m", source="s\x9b1m", entities=["E\x1b[7m"]
        )
    return shell


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "Lisbon", "--explain"),
        ("list",),
        ("entities",),
        ("get", "k\x1b[1m"),
        ("get", "missing\x1b[1m"),
        ("query", "x", "--now", "\x1b[1m"),
    ],
)
def test_control_characters_of_texts_are_not_sent_to_a_terminal(hostile, arguments):
    done = hostile.run(*arguments)
    assert CONTROL.search(done.stdout + done.stderr) is None
    if done.returncode == 0:
        assert "\N{REPLACEMENT CHARACTER}[" in done.stdout


def test_suppressed_texts_and_histories_are_clean_too(hostile):
    with MemoryStore.open(hostile.store) as store:
        store.add("Lisbon \x1b[2J old", valid_to="2026-01-01T00:00:00Z", source="\x1b[1m")
    done = hostile.run("query", "Lisbon", "--explain")
    assert "not shown" in done.stderr
    assert CONTROL.search(done.stdout + done.stderr) is None
    id_ = hostile.json("get", "k\x1b[1m")["id"]
    assert hostile.run("update", id_, "--title", "\x9b1m").returncode == 0
    assert CONTROL.search(hostile.run("history", id_).stdout) is None


def test_json_holds_every_character_escaped_where_a_terminal_would_obey(hostile):
    done = hostile.run("get", "k\x1b[1m", "--json")
    assert CONTROL.search(done.stdout) is None
    assert json.loads(done.stdout)["text"] == HOSTILE
    done = hostile.run("query", "Lisbon", "--jsonl")
    assert CONTROL.search(done.stdout) is None


def test_lines_of_a_text_are_kept_and_cannot_pass_for_other_fields(shell):
    with MemoryStore.open(shell.store) as store:
        id_ = store.add("one\n\ttwo\r\nsource  forged", source="crm").id
    lines = shell.run("get", id_).stdout.splitlines()
    [start] = [number for number, line in enumerate(lines) if line.startswith("text")]
    assert [line.strip() for line in lines[start + 1 : start + 3]] == ["two", "source  forged"]
    assert [line for line in lines if line.startswith("source")] == [f"{'source':<13}crm"]


def test_markup_and_emoji_codes_of_texts_are_shown_as_they_are(shell):
    text = "[bold]Lisbon[/bold] [/] :smile: [red]x\\"
    with MemoryStore.open(shell.store) as store:
        store.add(text, key="[k]", title="[t]", entities=["[italic]E[/]"])
    assert f"[t]: {text}" in shell.run("query", "Lisbon", "--explain").stdout
    listed = shell.run("list").stdout
    assert text in listed
    assert "[k]" in listed
    assert "[italic]E[/]" in shell.run("entities").stdout


def test_a_pipe_gets_a_table_of_120_columns_without_colour(shell):
    with MemoryStore.open(shell.store) as store:
        store.add("Lisbon " * 60)
    lines = shell.run("query", "Lisbon", "--explain").stdout.splitlines()
    assert 100 < max(len(line.rstrip()) for line in lines) <= 120
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_gets_a_table_of_its_own_width_and_no_colour_if_it_wants_none(shell):
    shown = run_in_terminal(shell, "query", "Lisbon", "--explain", NO_COLOR="1")
    assert "Lisbon" in shown
    assert re.search(r"\x1b\[[0-9;]*(3|4|9|10)[0-9]", shown) is None
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert max(len(line) for line in plain.splitlines()) <= 80


def output_in(shell, encoding, *arguments):
    """What a process writes to an output of this encoding."""
    done = subprocess.run(
        [sys.executable, "-m", "memstore", *arguments],
        cwd=shell.folder,
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    return done.stdout


UNUSUAL = "Lisbon 東京 ☃ é"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252", "utf-8"])
def test_an_output_that_cannot_hold_a_character_still_gets_the_rest(shell, encoding):
    with MemoryStore.open(shell.store) as store:
        id_ = store.add(UNUSUAL, title="☃").id
    read = json.loads(output_in(shell, encoding, "get", id_, "--json").decode(encoding))
    assert read["text"] == UNUSUAL
    held = UNUSUAL.encode(encoding, errors="replace")
    assert held in output_in(shell, encoding, "query", "Lisbon", "--explain")


@pytest.mark.parametrize("verb", ["get", "list", "history"])
def test_every_table_leaves_out_only_what_an_output_cannot_hold(shell, verb):
    with MemoryStore.open(shell.store) as store:
        id_ = store.add(UNUSUAL, title="☃").id
    shown = output_in(shell, "ascii", verb, *([] if verb == "list" else [id_])).decode()
    if verb == "history":
        assert "add" in shown
    else:  # click writes UTF-8 where a terminal says ASCII
        assert UNUSUAL in shown or "Lisbon ?? ? ?" in shown


def test_lines_hold_every_character_in_any_encoding(shell):
    with MemoryStore.open(shell.store) as store:
        store.add(UNUSUAL, title="☃")
    lines = output_in(shell, "ascii", "query", "Lisbon", "--jsonl").splitlines()
    assert UNUSUAL in [json.loads(line)["memory"]["text"] for line in lines]


@pytest.mark.parametrize(
    "arguments", [("query", "Lisbon"), ("query", "Lisbon", "--json"), ("list", "--jsonl")]
)
def test_a_reader_that_has_gone_is_no_error_to_talk_about(shell, arguments):
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "memstore", *arguments],
        cwd=shell.folder,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(theirs)
    assert done.returncode == 1
    assert done.stderr == ""


def test_output_into_head_ends_quietly(shell):
    line = '{"text": "Lisbon"}\n'
    (shell.folder / "q.jsonl").write_text(line * 600)  # far more answers than a pipe holds
    done = subprocess.run(
        f"{sys.executable} -m memstore query --queries q.jsonl | head -1",
        shell=True,
        cwd=shell.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["query_id"] == "1"
    assert done.stderr == ""


def test_an_error_that_nobody_reads_leaves_no_traceback(shell):
    done = subprocess.run(
        f"({sys.executable} -m memstore get nothing; echo $? > status) 2>&1 | true",
        shell=True,
        cwd=shell.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout + done.stderr == ""
    assert (shell.folder / "status").read_text() == "1\n"


def test_an_explained_hit_shows_its_five_strongest_token_matches(capsys):
    matches = [
        # (query token, passage token, similarity, weight)
        ("live", "lives", 0.814, 0.3),
        ("dog", "cat", -0.05, 0.1),
        ("where", "the", 0.5, 0.1),
        ("ana", "Ana", 1.0, 0.4),
        ("in", "in\n", 0.99, 0.05),
        ("x" * 99, "y" * 5000, 0.9, 0.05),
        ("?", "?", 1.0, 0.0),
    ]
    print_result(_explained(matches), explain=True)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    long = f"{'x' * 23}…→{'y' * 23}… .90"
    first = lines.index("+1.00     ┃     semantic: MaxSim 0.600") + 1
    assert " ".join(lines[first:]) == (
        f"tokens: ana→Ana 1.00, live→lives .81, where→the .50, in→in .99, {long} …"
    )
    print_result(_explained(matches[:2]), explain=True)
    assert "tokens: live→lives .81, dog→cat -.05\n" in _squeezed(capsys.readouterr().out)
    print_result(_explained([]), explain=True)
    assert "tokens" not in capsys.readouterr().out


def _squeezed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def _explained(matches: list[tuple[str, str, float, float]]) -> QueryResult:
    """A result of one hit with these token matches."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    memory = Memory(
        id="0" * 26,
        namespace="default",
        key=None,
        session=None,
        title=None,
        text="Ana lives here.",
        metadata={},
        source=None,
        occurred_at=now,
        recorded_at=now,
        valid_from=None,
        valid_to=None,
        superseded_by=None,
        half_life=None,
        confidence=5.0,
        importance=0.0,
        entities=(),
    )
    hit = Hit(
        rank=1,
        score=1.0,
        probability=None,
        memory=memory,
        passage=Passage(text=memory.text, start=0, end=15),
        relevance=Relevance(scorer="minilm", kind="maxsim", raw=0.6, nats=1.0),
        parts=(Part(name="semantic", nats=1.0, why="MaxSim 0.600"),),
        token_matches=tuple(
            TokenMatch(
                query_token=asked,
                passage_token=met,
                start=None,
                end=None,
                similarity=similarity,
                weight=weight,
            )
            for asked, met, similarity, weight in matches
        ),
    )
    return QueryResult(
        query="q", hits=(hit,), now=now, as_of=now, known_at=None, profile="semantic", took={}
    )


def test_explained_queries_show_token_matches_in_every_format(shell):
    table = shell.run("query", "Lisbon Ana", "-k", "1", "--explain").stdout
    assert "tokens: lisbon→Lisbon 1.00, ana→Ana 1.00" in table
    assert "tokens:" not in shell.run("query", "Lisbon Ana").stdout
    [hit] = shell.json("query", "Lisbon Ana", "-k", "1", "--explain")["hits"]
    first, second = hit["token_matches"]
    assert first["similarity"] == pytest.approx(1, abs=0.01)
    assert first | {"similarity": 1} == {
        "query_token": "lisbon",
        "passage_token": "Lisbon",
        "start": 24,
        "end": 30,
        "similarity": 1,
        "weight": 0.5,
        "pooled_with": [],
    }
    assert second["passage_token"] == "Ana"
    (shell.folder / "q.jsonl").write_text('{"text": "Lisbon Ana"}\n')
    for arguments in (("Lisbon Ana", "--jsonl"), ("--queries", "q.jsonl", "--jsonl")):
        done = shell.run("query", *arguments, "-k", "1", "--explain")
        [written] = map(json.loads, done.stdout.splitlines())
        assert written.get("hits", [written])[0]["token_matches"] == hit["token_matches"]
    plain = shell.run("query", "--queries", "q.jsonl", "--jsonl").stdout
    assert "token_matches" not in plain
