"""Files of queries: each line is answered or reported by itself, whatever the others hold."""

import json

from memstore import MemoryStore


def answer(shell, *lines: str | bytes, arguments: tuple[str, ...] = ()):
    """Run a file of queries; return its process and the answers by query id."""
    written = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    (shell.folder / "q.jsonl").write_bytes(written)
    done = shell.run("query", "--queries", "q.jsonl", *arguments)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return done, {item["query_id"]: [hit["key"] for hit in item["hits"]] for item in answers}


def test_a_null_namespace_does_not_hide_the_scope_beside_it(shell):
    done, answers = answer(
        shell,
        '{"id": "a", "text": "Lisbon", "namespace": null, "scope": "zz"}',
        '{"id": "b", "text": "Lisbon", "namespace": null, "scope": null}',
    )
    assert done.returncode == 0, done.stderr
    assert answers["a"] == []
    assert "ana.city" in answers["b"]


def test_a_null_now_does_not_hide_the_timestamp_beside_it(shell):
    done, answers = answer(
        shell, '{"id": "a", "text": "Lisbon", "now": null, "timestamp": "2025-01-01T00:00:00Z"}'
    )
    assert done.returncode == 0, done.stderr
    assert answers == {"a": []}


BAD_LINES = [
    ('{"id": "x", "text": "Ana", "scope": ["a", "b"]}', "namespace is list"),
    ('{"id": "x", "text": "Ana", "scope": {"a": 1}}', "namespace is dict"),
    ('{"id": "x", "text": "Ana", "scope": 5}', "namespace is int"),
    ('{"id": "x", "text": "Ana", "namespace": "a//b"}', "'a//b' is not a path"),
    ('{"id": "x", "text": "Ana", "namespace": "a/*"}', "'a/*' is not a path"),
    ('{"id": "x", "text": "Ana", "namespace": ""}', "namespace is empty"),
    ('{"id": "x", "text": "Ana\\u0000"}', "NUL"),
    ('{"id": "x", "text": "Ana\\ud800"}', "surrogate"),
    ('{"id": "x", "text": "  "}', "empty"),
    ('{"id": "x", "text": 5}', "the query is int"),
    ('{"id": "x"}', "JSON object with a text"),
    ('["text"]', "JSON object with a text"),
    ('{"id": %s, "text": "Ana"}' % ("9" * 5000), "digits"),
    ('{"id": ["x"], "text": "Ana"}', "id is list"),
    ('{"id": "x", "text": "Ana", "as_of": 5}', "as_of is "),
    ('{"id": "x", "text": "Ana", "now": ["2026-01-01"]}', "now is "),
    ('{"id": "x", "text": "Ana", "now": "soon"}', "no ISO-8601 time"),
    ('{"id": "x", "text": "Ana", "where": {}}', "--where"),
    (b'{"id": "x", "text": "\xff"}', "not UTF-8"),
    ("[" * 100_000, "not a JSON object"),
]


def test_a_line_that_cannot_be_answered_costs_only_itself(shell):
    good = [json.dumps({"id": f"good {number}", "text": "Lisbon"}) for number in range(20)]
    lines = [
        line for pair in zip(good, [line for line, _ in BAD_LINES], strict=True) for line in pair
    ]
    done, answers = answer(shell, *lines)
    assert done.returncode == 1
    assert len(answers) == len(good)
    assert all(keys[0] == "ana.city" for keys in answers.values())
    reports = done.stderr.splitlines()
    assert len(reports) == len(BAD_LINES)
    for number, (report, (_, reason)) in enumerate(zip(reports, BAD_LINES, strict=True), start=1):
        assert report.startswith(f"Error: q.jsonl:{2 * number}: ")
        assert reason in report


def test_a_byte_order_mark_in_front_of_the_first_line_is_no_part_of_it(shell):
    done, answers = answer(
        shell, b'\xef\xbb\xbf{"id": "a", "text": "Lisbon"}', b"", b"\xef\xbb\xbf"
    )
    assert answers.keys() == {"a"}
    assert "q.jsonl:3:" in done.stderr  # only in front of the file is it a mark


def test_queries_without_an_id_or_with_null_are_named_by_their_line(shell):
    _, answers = answer(
        shell,
        '{"text": "Lisbon"}',
        "",
        '{"id": null, "text": "Lisbon"}',
        '{"id": 7, "text": "chess"}',
    )
    assert list(answers) == ["1", "3", "7"]


def test_what_is_wrong_with_the_command_line_is_said_once_and_not_of_every_line(shell):
    done, answers = answer(
        shell,
        '{"id": "a", "text": "Lisbon"}',
        '{"id": "b", "text": "chess"}',
        arguments=("-k", "0"),
    )
    assert done.returncode == 1
    assert answers == {}
    assert done.stderr == "Error: limit is 0; give a whole number of at least 1.\n"


def test_every_namespace_is_one_that_a_line_may_ask_for(shell):
    with MemoryStore.open(shell.store) as store:
        store.add("Lisbon is sunny.", namespace="team", key="sun")
    _, answers = answer(shell, '{"id": "a", "text": "Lisbon", "namespace": "*"}')
    assert set(answers["a"]) == {"sun", "ana.city", "bruno.chess"}


def test_the_answers_to_a_file_as_json_are_one_document(shell):
    (shell.folder / "q.jsonl").write_text('{"id": "a", "text": "Lisbon"}\n{"text": "chess"}\n')
    answers = shell.json("query", "--queries", "q.jsonl", "-k", "1")
    assert [answer["query_id"] for answer in answers] == ["a", "2"]
    assert [answer["hits"][0]["key"] for answer in answers] == ["ana.city", "bruno.chess"]
