"""What a comparison leaves on disk, and that it never takes the place of anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memstore import BadInput
from memstore.evaluation.artefacts import document, new_folder, write
from memstore.evaluation.tables import comparison_table


def test_the_document_is_plain_json_with_what_was_asked_of_whom(comparison):
    found = json.loads(json.dumps(document(comparison, dataset="people", device="auto")))
    assert found["dataset"] == "people"
    assert found["settings"]["now"] == "2026-03-02T00:00:00Z"
    assert found["machine"]["device"] == "auto"
    assert found["machine"]["cpus"] >= found["machine"]["usable_cpus"] >= 1
    assert found["versions"]["memstore"]
    first, better, _ = found["arms"]
    assert first["to_first_arm"] == {}
    difference = better["to_first_arm"]["ndcg@10"]
    assert (difference["excludes_zero"], difference["certain"]) == (True, True)
    assert 0 < difference["chance"] < 0.05
    assert (better["label"], better["weights"], better["formula"]) == ("semantic", {}, None)
    assert set(better["to_first_arm"]) == {"ndcg@10", "r@10"}
    assert [arm["run"] for arm in found["arms"]] == [
        "run-1-none-semantic.jsonl",
        "run-2-minilm-l6-semantic.jsonl",
        "run-3-cohere-rerank-v3.5-semantic.jsonl",
    ]
    assert found["left_out"][0]["reason"] == "Its weights are not here."
    assert {name: arms[0]["questions"] for name, arms in found["categories"].items()} == {
        "c0": 10,
        "c1": 10,
    }


def test_the_folder_has_a_run_per_arm_and_no_texts(comparison, tmp_path):
    summary = document(comparison, dataset="people", device="auto")
    write(tmp_path, comparison, summary, [comparison_table(comparison, "people")])
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8")) == summary
    assert "Left out: bge-v2-m3 semantic: Its weights" in (tmp_path / "table.md").read_text()
    for arm in summary["arms"]:
        lines = (tmp_path / arm["run"]).read_text(encoding="utf-8").splitlines()
        assert len(lines) == 20
        run = json.loads(lines[0])
        assert run["query_id"] == "q0"
        assert run["hits"] == [{"rank": 1, "key": "ключ", "id": "01", "score": 1.234568}]
        assert run["took"].keys() == {"encode", "total"}


def test_a_folder_has_its_name_only_when_it_is_complete(tmp_path):
    path = tmp_path / "results" / "first"
    with new_folder(path) as partial:
        (partial / "a").write_text("a")
        assert not path.exists()
    assert [file.name for file in path.iterdir()] == ["a"]
    assert list(path.parent.iterdir()) == [path]


def test_an_empty_folder_may_be_filled(tmp_path):
    with new_folder(tmp_path / "out") as partial:
        (partial / "a").write_text("a")
    assert (tmp_path / "out" / "a").exists()


def begin(path: Path, stop: type[BaseException]) -> None:
    with new_folder(path) as partial:
        (partial / "a").write_text("a")
        raise stop


@pytest.mark.parametrize("stop", [KeyboardInterrupt, BadInput])
def test_what_was_begun_is_removed_when_the_work_fails(tmp_path, stop):
    with pytest.raises(stop):
        begin(tmp_path / "out", stop)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_ever_overwritten(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("out", "file"):
        with (
            pytest.raises(BadInput, match="exists and is no empty folder"),
            new_folder(tmp_path / name),
        ):
            pass
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "mine.txt", "out"]


def test_a_folder_that_cannot_be_made_is_said_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BadInput, match=r"out cannot be written: Not a directory"),
        new_folder(tmp_path / "file" / "out"),
    ):
        pass
