"""Rerankers from the command line."""

import json

import pytest


def test_a_query_is_reranked_by_the_reranker_that_is_named(shell):
    found = shell.json("query", "who plays chess", "--rerank", "colbert:minilm")
    assert found["reranker"] == "colbert:minilm"
    assert found["hits"][0]["memory"]["key"] == "bruno.chess"
    assert found["hits"][0]["relevance"]["scorer"] == "colbert:minilm"


def test_the_depth_is_an_option(shell):
    found = shell.json("query", "chess", "--rerank", "colbert:minilm", "--rerank-depth", "1")
    scorers = [hit["relevance"]["scorer"] for hit in found["hits"]]
    assert scorers == ["colbert:minilm", "hashed"]
    assert "not_reranked" in found["flags"]


def test_a_file_of_queries_is_reranked(shell):
    (shell.folder / "q.jsonl").write_text('{"id": "a", "text": "who plays chess"}\n')
    done = shell.run("query", "--queries", "q.jsonl", "--rerank", "colbert:minilm", "--jsonl")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["hits"][0]["key"] == "bruno.chess"
    assert "rerank" in answer["took"]
    assert "rerank_error" not in answer


WRONG = [
    ("minilm-16", "There is no reranker 'minilm-16'"),
    ("./nowhere", "There is no reranker './nowhere'"),
    ("minilm-l6", "not in the Hugging Face cache"),
    ("someone/some-model", "not in the Hugging Face cache"),
    ("colbertv2", "not in the Hugging Face cache"),
    ("cohere", "CO_API_KEY"),
    ("jina", "JINA_API_KEY"),
]


@pytest.mark.parametrize(("name", "said"), WRONG)
def test_a_reranker_that_cannot_be_had_is_one_clear_error(shell, name, said, monkeypatch):
    for variable in ("CO_API_KEY", "COHERE_API_KEY", "JINA_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    done = shell.run("query", "chess", "--rerank", name)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_skipping_says_why_on_standard_error(shell):
    arguments = ("query", "chess", "--rerank", "minilm-l6", "--on-rerank-error", "skip")
    done = shell.run(*arguments)
    assert done.returncode == 0
    assert "Bruno plays chess" in done.stdout
    assert "note: rerank skipped: The reranker" in done.stderr
    (shell.folder / "q.jsonl").write_text('{"text": "chess"}\n')
    batch = shell.run("query", "--queries", "q.jsonl", "--jsonl", *arguments[2:])
    assert "Hugging Face" in json.loads(batch.stdout)["rerank_error"]


TEXTS = "Tea is served at five.\n\nNobody may park here.\n"


@pytest.mark.parametrize("source", ["file", "stdin"])
def test_lines_are_ranked_without_being_stored(shell, source):
    (shell.folder / "texts.txt").write_text(TEXTS)
    before = shell.json("stats")
    place = "texts.txt" if source == "file" else "-"
    done = shell.run("rank", "may I park", place, "--json", stdin=TEXTS)
    assert done.returncode == 0, done.stderr
    hits = json.loads(done.stdout)
    assert [hit["index"] for hit in hits] == [1, 0]
    assert hits[0]["memory"]["text"] == "Nobody may park here."
    assert shell.json("stats") == before


def test_objects_are_ranked_and_shown_by_their_keys(shell):
    lines = [
        {"text": "Tea at five.", "id": "tea", "timestamp": "2023-01-01T00:00:00", "scope": "c1"},
        {"text": "No parking.", "key": "park"},
    ]
    (shell.folder / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = shell.run("rank", "tea", "t.jsonl", "-k", "1")
    assert "tea" in done.stdout
    assert "park" not in done.stdout
    done = shell.run("rank", "parking", "-", "--format", "jsonl", "--jsonl", stdin=done.stdout[:0])
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b'{"text": "a"}\n{"text": \n', "t.jsonl", "t.jsonl:2: not a JSON object"),
        (b'{"text": "a"}\n\n{"txet": "b"}\n', "t.jsonl", "t.jsonl:3: A memory needs a text"),
        (b'{"text": "a"}\n[1]\n', "t.jsonl", "t.jsonl:2: a document is a JSON object"),
        (b"tea\r\n\r\n\x00x\r\n", "t.txt", "t.txt:3: text"),
        (b"caf\xe9\n", "t.txt", "t.txt is not UTF-8"),
    ],
)
def test_what_cannot_be_ranked_is_said_with_its_place(shell, content, name, said):
    (shell.folder / name).write_bytes(content)
    done = shell.run("rank", "tea", name)
    assert done.returncode == 1
    assert said in done.stderr
    missing = shell.run("rank", "tea", "nowhere.txt")
    assert "nowhere.txt cannot be read" in missing.stderr


def test_ranking_without_the_reranker_says_why(shell):
    (shell.folder / "t.txt").write_text("\nTea at five.\n")
    options = ("--rerank", "minilm-l6", "--on-rerank-error", "skip")
    done = shell.run("rank", "tea", "t.txt", *options)
    assert done.returncode == 0
    assert "line 2" in done.stdout
    assert "note: rerank skipped: The reranker" in done.stderr


def test_settings_are_given_by_name(shell):
    done = shell.run("--set", "rerank_depth=1", "query", "chess", "--rerank", "colbert:minilm")
    assert "not reranked" in done.stderr
    wrong = shell.run("--set", "rerank_dtype=int8", "query", "chess")
    assert wrong.returncode == 1
    assert "float32, bfloat16, float16" in wrong.stderr
    unknown = shell.run("--set", "colour=red", "query", "chess")
    assert "Setting 'colour' is unknown" in unknown.stderr
    assert shell.run("--set", "colour", "query", "chess").returncode == 2


def test_the_doctor_tries_a_reranker(shell):
    healthy = shell.json("doctor", "--rerank", "colbert:minilm")
    assert "for an answer" in healthy["reranker colbert:minilm"]
    assert shell.json("doctor", "--rerank", "colbert")["reranker colbert"] == "nothing to load"
    sick = shell.run("doctor", "--rerank", "minilm-l6")
    assert sick.returncode == 1
    assert "Problem: The reranker" in sick.stderr
