"""Text files, Markdown files and folders of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from memstore import BadInput, MemoryStore


def test_a_text_file_is_one_memory_under_its_path(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes("\ufeffFirst line.\r\nSecond — line.\n".encode())
    report = store.ingest(path)
    assert (report.added, report.errors) == (1, ())
    memory = store.get_by_key(str(path))
    assert memory.text == "First line.\r\nSecond — line.\n"
    assert memory.title is None


def test_a_markdown_file_has_its_first_heading_as_title(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "note.md"
    path.write_text("\n\n# Moving *plans*\n\nAna moves in May.\n", encoding="utf-8")
    store.ingest(str(path))
    memory = store.get_by_key(str(path))
    assert memory.title == "Moving *plans*"
    assert memory.text.endswith("Ana moves in May.\n")
    path.write_text("No heading here.\n# Later\n", encoding="utf-8")
    store.ingest(path)
    assert store.get_by_key(str(path)).title is None


def test_a_folder_is_read_with_all_below_it_under_paths_as_keys(
    store: MemoryStore, tmp_path: Path
) -> None:
    folder = tmp_path / "notes"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "b.txt").write_text("text b")
    (folder / "deep" / "b.txt").write_text("text deep b")
    (folder / "deep" / "er" / "C.MD").write_text("# Title C\nbody")
    (folder / "deep" / "lines.ndjson").write_text('{"id": "j", "text": "from a line"}\n')
    (folder / "image.png").write_bytes(b"\x89PNG")
    (folder / "script.py").write_text("print()")
    report = store.ingest(folder)
    assert (report.added, report.errors) == (4, ())
    keys = {memory.key for memory in store.list().memories}
    files = ("b.txt", "deep/b.txt", "deep/er/C.MD")
    assert keys == {*(str(folder / file) for file in files), "j"}
    again = store.ingest(folder)
    assert (again.added, again.unchanged) == (0, 4)


def test_files_of_the_same_name_in_two_folders_are_two_memories(
    store: MemoryStore, tmp_path: Path
) -> None:
    for name in ("p", "q"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(f"About {name}.")
        assert store.ingest(tmp_path / name / "README.md").superseded == 0
    assert len(store.list().memories) == 2
    assert store.ingest(tmp_path / "p").unchanged == 1  # by its folder it is the same file


def test_an_edited_file_supersedes_what_it_said_before(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("Ana lives in Porto.")
    store.ingest(path)
    path.write_text("Ana lives in Lisbon.")
    report = store.ingest(path)
    assert (report.added, report.superseded) == (1, 1)
    assert [hit.memory.text for hit in store.query("Ana lives").hits] == ["Ana lives in Lisbon."]


def test_a_file_that_is_not_utf8_or_empty_is_reported_and_the_others_are_stored(
    store: MemoryStore, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "in" / "b.txt").write_text("good")
    (tmp_path / "in" / "c.md").write_text("")
    (tmp_path / "in" / "d.txt").write_bytes("utf sixteen".encode("utf-16"))
    report = store.ingest(tmp_path / "in")
    assert report.added == 1
    assert [(Path(error.file).name, error.line) for error in report.errors] == [
        ("a.txt", None),
        ("c.md", None),
        ("d.txt", None),
    ]
    assert "0xe9 at position 3" in report.errors[0].message
    assert str(report.errors[0]).startswith(f"{tmp_path / 'in' / 'a.txt'}: ")


def test_several_paths_are_read_in_order(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text a")
    (tmp_path / "b.jsonl").write_text('{"text": "line b"}')
    assert store.ingest([tmp_path / "b.jsonl", str(tmp_path / "a.txt")]).added == 2
    assert [memory.text for memory in store.list().memories] == ["line b", "text a"]


def test_a_named_format_reads_files_of_other_suffixes(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "data.log"
    path.write_text('{"text": "one"}\n{"text": "two"}\n')
    with pytest.raises(BadInput, match=r"unknown kind \(\.log\)"):
        store.ingest(path)
    assert store.ingest(path, format="jsonl").added == 2
    assert store.ingest(path, format="text").added == 1
    assert store.get_by_key(str(path)).text == path.read_text()


def test_a_path_that_does_not_exist_is_refused_by_name(store: MemoryStore, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"gone\.jsonl does not exist"):
        store.ingest(tmp_path / "gone.jsonl")


def test_an_empty_file_or_folder_of_lines_adds_nothing(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for source in (tmp_path / "empty.jsonl", tmp_path / "folder", []):
        report = store.ingest(source)
        assert (report.added, report.unchanged, report.errors) == (0, 0, ())


def test_hidden_files_and_folders_are_passed_over(store: MemoryStore, tmp_path: Path) -> None:
    (tmp_path / "notes" / ".git").mkdir(parents=True)
    (tmp_path / "notes" / ".git" / "description.txt").write_text("no memory")
    (tmp_path / "notes" / ".draft.md").write_text("no memory either")
    (tmp_path / "notes" / "kept.md").write_text("A memory.")
    assert store.ingest(tmp_path / "notes").added == 1
    assert store.list().memories[0].text == "A memory."


def test_one_path_that_does_not_exist_stops_a_list_before_anything_is_stored(
    store: MemoryStore, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("A memory.")
    with pytest.raises(BadInput, match=r"nosuch\.txt does not exist"):
        store.ingest([tmp_path / "a.txt", tmp_path / "nosuch.txt"])
    assert store.list().memories == ()
