"""The command line as a person or a script meets it: what it prints, and its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from memstore import MemoryStore


def test_a_query_prints_a_table_with_the_passage_and_nothing_on_stderr_but_notes(shell):
    done = shell.run("query", "Lisbon", "-k", "1")
    assert done.returncode == 0
    assert "Ana moved from Porto to Lisbon." in done.stdout
    assert "2026-03-02" in done.stdout
    assert done.stderr == "note: uncalibrated\n"


def test_a_query_as_json_is_one_document_with_every_field_of_the_result(shell):
    result = shell.json("query", "Lisbon", "--explain")
    assert result["hits"][0]["memory"]["key"] == "ana.city"
    assert result["hits"][0]["memory"]["occurred_at"] == "2026-03-02T09:00:00Z"
    assert sum(part["nats"] for part in result["hits"][0]["parts"]) == pytest.approx(
        result["hits"][0]["score"]
    )
    assert set(result) >= {"query", "hits", "now", "as_of", "profile", "took", "suppressed"}


def test_a_query_as_jsonl_is_one_hit_per_line(shell):
    done = shell.run("query", "Lisbon", "--jsonl")
    hits = [json.loads(line) for line in done.stdout.splitlines()]
    assert [hit["rank"] for hit in hits] == [1, 2]


def test_a_filter_on_the_command_line_is_json(shell):
    found = shell.json("query", "Bruno", "--where", '{"metadata.topic": "home"}')
    assert [hit["memory"]["key"] for hit in found["hits"]] == ["ana.city"]
    done = shell.run("query", "Bruno", "--where", "{topic}")
    assert done.returncode == 2
    assert "not JSON" in done.stderr


def test_an_unknown_filter_field_is_an_error_that_lists_the_known_ones(shell):
    done = shell.run("query", "Bruno", "--where", '{"topic": "home"}')
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: Filter field 'topic' is unknown. Known fields: id, key")


@pytest.mark.parametrize("limit", ["0", "-3"])
def test_a_limit_below_one_is_an_error_in_a_sentence(shell, limit):
    done = shell.run("query", "Bruno", "-k", limit)
    assert done.returncode == 1
    assert "limit is" in done.stderr
    assert "Traceback" not in done.stderr


def test_query_needs_a_text_or_a_file_but_not_both(shell):
    assert shell.run("query").returncode == 2
    (shell.folder / "q.jsonl").write_text('{"id": "q", "text": "Ana"}\n')
    assert shell.run("query", "Ana", "--queries", "q.jsonl").returncode == 2


def test_a_batch_answers_every_line_in_its_own_namespace_and_at_its_own_time(shell):
    with MemoryStore.open(shell.store) as store:
        store.add("Lisbon is sunny.", namespace="team", occurred_at="2026-01-01T00:00:00Z")
    lines = [
        {"id": "a", "text": "Lisbon"},
        {"id": "b", "text": "Lisbon", "scope": "team"},
        {"id": "c", "text": "Lisbon", "timestamp": "2025-01-01T00:00:00"},
        {"id": "d", "text": "Lisbon", "namespace": "team", "as_of": "2025-01-01T00:00:00Z"},
        {"text": "Lisbon", "now": "2027-01-01T00:00:00Z"},
    ]
    (shell.folder / "q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = shell.run("query", "--queries", "q.jsonl", "-k", "5", "--jsonl", "--timezone", "UTC")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["query_id"] for answer in answers] == ["a", "b", "c", "d", "5"]
    assert [[hit["text"] for hit in answer["hits"]][:1] for answer in answers] == [
        ["Ana moved from Porto to Lisbon."],
        ["Lisbon is sunny."],
        [],
        [],
        ["Ana moved from Porto to Lisbon."],
    ]
    assert set(answers[0]["hits"][0]) == {"rank", "key", "id", "score", "text"}
    assert answers[0]["took"]["encode"] >= 0


def test_a_broken_line_of_a_batch_is_reported_and_the_others_are_answered(shell):
    (shell.folder / "q.jsonl").write_text(
        '{"id": "a", "text": "Ana"}\n{broken\n{"id": "c", "text": " "}\n{"id": "d", "text": "x",'
        ' "timestamp": "2026-01-01T00:00:00"}\n'
    )
    done = shell.run("query", "--queries", "q.jsonl")
    assert done.returncode == 1
    assert [json.loads(line)["query_id"] for line in done.stdout.splitlines()] == ["a"]
    assert "q.jsonl:2:" in done.stderr
    assert "q.jsonl:3:" in done.stderr
    assert "q.jsonl:4:" in done.stderr
    assert "--timezone" in done.stderr


def test_ingest_stores_the_good_lines_names_the_bad_ones_and_exits_with_one(shell):
    (shell.folder / "notes.jsonl").write_text(
        '{"id": "n1", "text": "Carla collects stamps."}\n'
        "not json\n"
        '{"id": "n2", "text": ""}\n'
        '{"id": "n3", "text": "Dora sails.", "timestamp": "2026-01-01T10:00:00"}\n'
    )
    done = shell.run("ingest", "notes.jsonl", "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["added"] == 1
    assert [error["line"] for error in report["errors"]] == [2, 3, 4]
    assert "notes.jsonl:2: not a JSON object" in done.stderr
    again = shell.run("ingest", "notes.jsonl", "--timezone", "Europe/Lisbon")
    assert "1 added, 1 unchanged" in again.stderr
    assert shell.json("get", "n3")["occurred_at"] == "2026-01-01T10:00:00Z"


def test_strict_ingest_stores_nothing_when_a_line_is_bad(shell):
    (shell.folder / "notes.jsonl").write_text('{"id": "n1", "text": "Carla sings."}\nnot json\n')
    done = shell.run("ingest", "notes.jsonl", "--strict")
    assert done.returncode == 1
    assert "Nothing was stored" in done.stderr
    assert shell.run("get", "n1").returncode == 1


def test_ingest_creates_the_store_that_the_environment_names(shell):
    (shell.folder / "one.txt").write_text("A plain text file.")
    done = shell.run("ingest", "one.txt", "--encoder", "hashed", MEMSTORE_STORE="other.mem")
    assert done.returncode == 0, done.stderr
    assert (shell.folder / "other.mem" / "memstore.db").exists()


def test_a_missing_source_and_an_unknown_format_say_what_to_do(shell):
    done = shell.run("ingest", "nowhere.jsonl")
    assert done.returncode == 1
    assert "nowhere.jsonl does not exist" in done.stderr
    (shell.folder / "data.bin").write_text("x")
    assert "--format" in shell.run("ingest", "data.bin").stderr


def test_add_get_update_history_forget_follow_one_memory_through_its_life(shell):
    done = shell.run("add", "-", "--key", "carla", "--source", "chat", stdin="Carla sings.")
    id_ = done.stdout.strip()
    assert len(id_) == 26
    assert shell.json("get", id_)["text"] == "Carla sings."
    assert shell.json("get", "carla")["id"] == id_
    assert shell.run("update", id_, "--text", "Carla sings alto.").returncode == 0
    assert shell.run("update", id_).returncode == 2
    assert shell.json("query", "alto", "-k", "1")["hits"][0]["memory"]["id"] == id_
    assert "1 would be forgotten" in shell.run("forget", id_, "--dry-run").stderr
    assert shell.run("forget", id_).stdout == f"{id_}\n"
    assert [event["verb"] for event in shell.json("history", id_)] == ["add", "update", "forget"]
    gone = shell.run("get", id_)
    assert gone.returncode == 1
    assert gone.stderr.startswith("Error: ")


def test_forget_by_filter_stays_inside_its_namespace(shell):
    with MemoryStore.open(shell.store) as store:
        store.add("Ana elsewhere.", namespace="other", source="chat")
    assert shell.run("forget").returncode == 2
    done = shell.run("forget", "--where", '{"source": "chat"}', "--purge")
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert said[0] == "1 purged"
    assert said[1].startswith("with it: 1 passage, ")
    assert " 1 event, " in said[1]
    assert said[2].endswith(" after")
    [receipt] = shell.json("history", done.stdout.strip())
    assert receipt["verb"] == "purge"
    assert receipt["details"]["memories"] == 1
    again = shell.json("forget", done.stdout.strip(), "--purge")
    assert set(receipt["details"]) < set(again["removed"])
    assert len(shell.json("list", "-n", "*")["memories"]) == 2


def test_list_pages_until_the_cursor_ends(shell):
    first = shell.json("list", "-k", "1")
    second = shell.json("list", "-k", "1", "--cursor", first["cursor"])
    assert [page["memories"][0]["key"] for page in (first, second)] == ["ana.city", "bruno.chess"]
    assert second["cursor"] is None
    assert "Ana moved" in shell.run("list").stdout


def test_stats_and_verify_describe_a_healthy_store(shell):
    stats = shell.json("stats")
    assert {name: stats[name] for name in ("memories", "namespaces", "segments")} == {
        "memories": 2,
        "namespaces": 1,
        "segments": 0,
    }
    assert set(stats) >= {
        *("memories", "passages", "vectors", "namespaces", "entities", "hot_passages"),
        *("segments", "encoder", "schema_version", "size_bytes"),
    }
    assert shell.run("verify").returncode == 0
    assert "memories" in shell.run("stats").stdout


def test_verify_exits_with_one_and_lists_what_is_wrong_until_it_is_repaired(shell):
    import sqlite3

    with sqlite3.connect(shell.store / "memstore.db") as database:
        database.execute("DELETE FROM hot_vector WHERE passage_id = 1")
    database.close()
    done = shell.run("verify")
    assert done.returncode == 1
    assert "has no vectors" in done.stdout
    assert shell.run("verify", "--repair").returncode == 0
    assert shell.run("verify").returncode == 0


def test_backup_export_and_import_carry_the_store_elsewhere(shell):
    assert shell.run("backup", "copy.mem").returncode == 0
    assert shell.run("--store", "copy.mem", "verify").returncode == 0
    assert shell.run("export", "all.jsonl").returncode == 0
    done = shell.run("--store", "new.mem", "import", "all.jsonl", "--encoder", "hashed")
    assert "2 added" in done.stderr
    assert shell.run("backup", "copy.mem").returncode == 1


def test_asking_for_another_encoder_names_the_command_that_changes_it(shell):
    (shell.folder / "one.txt").write_text("Text.")
    done = shell.run("ingest", "one.txt", "--encoder", "minilm")
    assert done.returncode == 1
    assert "was built with encoder 'hashed', but 'minilm' was asked for" in done.stderr
    assert "rebuild --encoder minilm" in done.stderr


def test_reading_a_store_that_is_not_there_names_the_command_that_makes_it(shell):
    done = shell.run("--store", "none.mem", "query", "x")
    assert done.returncode == 1
    assert "memstore --store none.mem init" in done.stderr
    assert not (shell.folder / "none.mem").exists()
    assert shell.run("--store", "none.mem", "init", "--encoder", "hashed").returncode == 0
    assert shell.run("--store", "none.mem", "query", "x").returncode == 0


def test_an_unknown_encoder_leaves_no_folder_behind(shell):
    done = shell.run("--store", "none.mem", "init", "--encoder", "nonesuch")
    assert done.returncode == 1
    assert "minilm" in done.stderr
    assert not (shell.folder / "none.mem").exists()


def test_doctor_names_versions_kernels_encoder_and_health(shell):
    report = shell.json("doctor")
    assert report["kernels"] in ("avx512_vnni", "avx2", "scalar")
    assert report["store"] == "agent.mem: healthy"
    assert report["encoder"].startswith("hashed: found")
    assert report["problems"] == []
    (shell.store / "memstore.db").write_bytes(b"no database" * 100)
    done = shell.run("doctor")
    assert done.returncode == 1
    assert "Problem:" in done.stderr


@pytest.mark.parametrize("kind", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_a_shell(shell, kind):
    done = shell.run("completion", kind)
    assert done.returncode == 0
    assert "_MEMSTORE_COMPLETE" in done.stdout


def test_wrong_usage_exits_with_two(shell):
    assert shell.run("nonesuch").returncode == 2
    assert shell.run("query", "x", "--nonesuch").returncode == 2


def test_the_documented_help_is_the_help():
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, str(root / "scripts" / "cli_docs")],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    written = (root / "docs" / "cli.md").read_text(encoding="utf-8")
    assert done.stdout == written, "run: .venv/bin/python scripts/cli_docs > docs/cli.md"


def test_a_folder_with_nothing_to_read_says_what_is_read(shell):
    (shell.folder / "empty").mkdir()
    done = shell.run("ingest", "empty")
    assert done.returncode == 0
    assert ".jsonl, .txt and .md files are read" in done.stderr


def test_init_says_how_vectors_are_made_and_rebuild_changes_it(shell):
    chosen = ("--pooling", "2", "--residual-bits", "2", "--session-context", "0")
    made = shell.run("--store", "small.mem", "init", "--encoder", "hashed", *chosen)
    assert made.returncode == 0
    for text in ("one two three four", "five six seven eight"):
        assert shell.run("--store", "small.mem", "add", text).returncode == 0
    stats = json.loads(shell.run("--store", "small.mem", "stats", "--json").stdout)
    assert stats["vectors"] == 4
    again = shell.run("--store", "small.mem", "init", "--pooling", "1")
    assert again.returncode == 1
    assert "was made with pooling 2, but pooling=1 was asked for" in again.stderr
    assert "rebuild --pooling 1" in again.stderr
    assert shell.run("--store", "small.mem", "rebuild", "--pooling", "1").returncode == 0
    stats = json.loads(shell.run("--store", "small.mem", "stats", "--json").stdout)
    assert stats["vectors"] == 8
    wrong = shell.run("--store", "other.mem", "init", "--pooling", "9")
    assert wrong.returncode == 1
    assert "give 1, 2 or 3" in wrong.stderr
