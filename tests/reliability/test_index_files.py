"""Files of the index that are flipped, cut, gone or swapped: found, never believed, mended.

Every file is named by a manifest with its SHA-256, which `verify` compares. Before that a query
either fails with a typed error or shows hits whose scores come from sound vectors.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from memstore import MemoryStore, MemstoreError, QueryResult

TORTURE = os.environ.get("MEMSTORE_TORTURE") == "1"
FLIPS = 60 if TORTURE else 1  # of each file
FILES = 1000 if TORTURE else 5  # for each other kind of damage
COUNT = 24
NOW = "2100-01-01T00:00:00Z"


def _text(number: int) -> str:
    return f"word{number} word{number + 1} topic{number % 5} of Ana"


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose memories are all in segments, some of them deleted."""
    path = tmp_path_factory.mktemp("sealed") / "agent.mem"
    with MemoryStore.open(path, encoder="hashed") as store:
        store.add_many({"text": _text(n), "key": f"k{n}"} for n in range(COUNT))
        store.compact()
        store.forget(store.get_by_key("k3").id)
    return path


@pytest.fixture
def damaged(sealed: Path, tmp_path: Path) -> Callable[[], Path]:
    """Make a copy to damage."""

    def copy() -> Path:
        path = tmp_path / "agent.mem"
        shutil.rmtree(path, ignore_errors=True)
        return Path(shutil.copytree(sealed, path))

    return copy


def _files(path: Path) -> list[Path]:
    return sorted(file.relative_to(path) for file in (path / "index").rglob("*") if file.is_file())


def _ask(store: MemoryStore) -> dict[str, QueryResult]:
    texts = [_text(n) for n in (0, 7, 22)] + ["topic1 topic4", "Ana"]
    return {text: store.query(text, limit=COUNT, now=NOW) for text in texts}


def _hits(result: QueryResult) -> dict[str, float]:
    """What is shown of an answer, by key. Scores of few hidden ones may differ: see below."""
    return {hit.memory.key or "": round(hit.score, 4) for hit in result.hits}


def _check_answers(path: Path, sound: dict[str, QueryResult]) -> bool:
    """Whether every query answers, and then as it should."""
    try:
        with MemoryStore.open(path, read_only=True) as store:
            answers = _ask(store)
    except MemstoreError:
        return False
    for text, result in answers.items():
        # what a damaged file hides is missing; what is shown is right
        right = _hits(sound[text])
        found = _hits(result)
        assert found.items() <= right.items(), (text, found, right)
    return True


def _check_repair(path: Path, sound: dict[str, QueryResult]) -> None:
    with MemoryStore.open(path) as store:
        report = store.verify(repair=True)
        assert report.findings
        assert report.clean, report.findings
        assert store.verify().findings == ()
        assert store.stats().memories == COUNT - 1
        for text, result in [*_ask(store).items()][:3]:  # of one best answer
            assert result.hits[0].memory.key == sound[text].hits[0].memory.key
        store.compact()
        assert store.verify().findings == ()


@pytest.fixture(scope="module")
def sound(sealed: Path) -> dict[str, QueryResult]:
    with MemoryStore.open(sealed, read_only=True) as store:
        return _ask(store)


def _each_file(path: Path, most: int | None = None) -> Iterator[tuple[Path, random.Random]]:
    files = _files(path)
    chance = random.Random(f"files {most}")
    for file in files if most is None else chance.sample(files, min(most, len(files))):
        yield file, random.Random(f"damage {file}")


def test_a_flipped_bit_in_any_file_is_found_and_mended_and_answers_nothing_wrongly(
    sealed: Path,
    damaged: Callable[[], Path],
    sound: dict[str, QueryResult],
    figures: Counter[str],
) -> None:
    answered = 0
    for file, chance in _each_file(sealed):
        for _ in range(FLIPS):
            path = damaged()
            content = bytearray((path / file).read_bytes())
            place = chance.randrange(len(content))
            content[place] ^= 1 << chance.randrange(8)
            (path / file).write_bytes(content)
            with suppress(MemstoreError), MemoryStore.open(path, read_only=True) as store:
                report = store.verify()
                assert not report.clean, (file, place)
                assert any(file.parts[1] in finding.message for finding in report.findings)
            answered += _check_answers(path, sound)
            _check_repair(path, sound)
            figures["flips"] += 1
    assert 0 < answered < figures["flips"]  # some damage is met by a query, some is not


@pytest.mark.parametrize("damage", ["cut", "emptied", "longer", "gone", "zeroed"])
def test_a_file_that_is_cut_or_gone_is_found_and_mended(
    sealed: Path,
    damaged: Callable[[], Path],
    sound: dict[str, QueryResult],
    figures: Counter[str],
    damage: str,
) -> None:
    for file, chance in _each_file(sealed, FILES):
        path = damaged()
        content = (path / file).read_bytes()
        if damage == "gone":
            (path / file).unlink()
        else:
            changed = {
                "cut": content[: chance.randrange(1, len(content))],
                "emptied": b"",
                "longer": content + b"\0" * chance.randrange(1, 5000),
                "zeroed": bytes(len(content)),
            }
            (path / file).write_bytes(changed[damage])
        with MemoryStore.open(path, read_only=True) as store:
            assert not store.verify().clean
        _check_answers(path, sound)
        _check_repair(path, sound)
        figures["damaged files"] += 1


def test_a_folder_that_is_gone_or_a_file_in_its_place_is_mended(
    sealed: Path, damaged: Callable[[], Path], sound: dict[str, QueryResult]
) -> None:
    for folder in {file.parent for file in _files(sealed)}:
        for in_its_place in (False, True):
            path = damaged()
            shutil.rmtree(path / folder)
            if in_its_place:
                (path / folder).write_bytes(b"no folder")
            _check_answers(path, sound)
            _check_repair(path, sound)
