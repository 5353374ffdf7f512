"""Memories from standard input, and an ingest that is stopped from the keyboard."""

import json
import signal
import sqlite3
import subprocess
import sys
import time

import pytest


def test_ingest_reads_jsonl_from_standard_input(shell):
    lines = '{"id": "c", "text": "Carla sings."}\n{"id": "d", "text": "Dora sails.", "mood": "up"}'
    done = shell.run("ingest", "-", "-n", "team", "-s", "crm", "--json", stdin=lines)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["added"] == 2
    stored = shell.json("get", "d", "-n", "team")
    assert (stored["source"], stored["metadata"]) == ("crm", {"mood": "up"})
    assert "2 unchanged" in shell.run("ingest", "-", "-n", "team", "-s", "crm", stdin=lines).stderr


def test_lines_of_standard_input_that_cannot_be_stored_are_named_in_order(shell):
    (shell.folder / "secret.txt").write_text("Not to be read.")
    lines = [
        '\ufeff{"id": "c", "text": "Carla sings."}',
        "",
        "not json",
        '{"id": "d", "text": ""}',
        '"secret.txt"',
        '{"id": "item:1", "text": "Dora sails."}',
        '{"id": "item:1", "text": "Dora rows."}',
        '{"id": %s, "text": "x"}' % ("9" * 5000),
    ]
    done = shell.run("ingest", "-", "--json", stdin="\n".join(lines))
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["added"] == 2
    assert [(error["file"], error["line"]) for error in report["errors"]] == [
        ("<stdin>", number) for number in (3, 4, 5, 7, 8)
    ]
    assert "Error: <stdin>:3: not a JSON object: " in done.stderr
    assert "key 'item:1' was used for other content at <stdin>:6." in done.stderr


@pytest.mark.parametrize("bad", ["not json", '{"text": ""}'])
def test_strict_ingest_of_standard_input_stores_nothing_when_a_line_is_bad(shell, bad):
    lines = f'{{"id": "c", "text": "Carla sings."}}\n\n{bad}\n'
    done = shell.run("ingest", "-", "--strict", stdin=lines)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: <stdin>:3: ")
    assert "Nothing was stored" in done.stderr
    assert shell.run("get", "c").returncode == 1


def test_standard_input_is_read_alone_and_as_jsonl(shell):
    assert shell.run("ingest", "-", "other.jsonl", stdin="").returncode == 2
    assert shell.run("ingest", "-", "--format", "text", stdin="").returncode == 2
    assert shell.run("ingest", "-", "--format", "jsonl", stdin="").returncode == 0


@pytest.mark.parametrize("command", ["add", "ingest"])
def test_standard_input_that_is_not_utf8_or_closed_is_an_error_in_a_sentence(shell, command):
    run = [sys.executable, "-m", "memstore", command, "-"]
    done = subprocess.run(run, cwd=shell.folder, input=b"caf\xe9", capture_output=True, check=False)
    assert done.returncode == 1
    assert b"not UTF-8: byte 0xe9 at position 3" in done.stderr
    assert b"Traceback" not in done.stderr
    closed = subprocess.run(
        f"{' '.join(run)} <&-", shell=True, cwd=shell.folder, capture_output=True, check=False
    )
    assert closed.returncode == 1
    assert closed.stderr == b"Error: Standard input is closed.\n"


def test_an_ingest_stopped_from_the_keyboard_says_what_is_stored_and_how_to_go_on(shell):
    process = subprocess.Popen(
        [sys.executable, "-m", "memstore", "ingest", "-", "--batch-size", "1"],
        cwd=shell.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # whoever runs the tests in the background lets them ignore it, and so their children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdin is not None
    process.stdin.write("".join(f'{{"text": "Number {number}."}}\n' for number in range(3)))
    process.stdin.flush()
    database = sqlite3.connect(shell.store / "memstore.db")
    while database.execute("SELECT count(*) FROM memory").fetchone() != (5,):  # two were there
        assert process.poll() is None
        time.sleep(0.02)
    database.close()
    time.sleep(0.3)  # from the commit to the next read
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (out, err) == ("", "stopped; 3 stored, run again to continue\n")
    assert process.returncode == 130
