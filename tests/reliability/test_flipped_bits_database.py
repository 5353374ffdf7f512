"""A bit or byte that the medium changed anywhere in `memstore.db` is found or harmless.

What may happen: the store refuses, with an error of its own; or `verify` finds the damage, and what
is shown meanwhile is exactly what was stored, though a list may be short; or all is as before.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from memstore import IndexDamaged, MemoryNotFound, MemoryStore, MemstoreError, Settings, StoreLocked
from memstore.catalog import calibrations, learned_weights
from memstore.catalog.engine import writing
from memstore.catalog.tables import metadata
from memstore.types import VerifyReport

TORTURE = os.environ.get("MEMSTORE_TORTURE") == "1"
PARTS, FLIPS = (12, 500) if TORTURE else (1, 40)  # in each part
# whose rows have a number, which no checksum covers, and an index, or nothing that is not derived
FOUND_AGAIN = (
    *("namespace", "source", "entity", "codec", "segment", "memory", "passage", "event"),
    *("hot_vector", "tombstone"),
)
NUMBERED = tuple(table.name for table in metadata.sorted_tables) if TORTURE else FOUND_AGAIN
NOW = datetime(2026, 5, 1, tzinfo=UTC)
QUESTIONS = ("Where does Ana live?", "red kite over the harbour")

Answers = dict[str, Any]
Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Undamaged:
    """A closed store, its database, what it answers, its memories and events, and how each text
    scores all memories: what tells that none has the vectors of another.
    """

    path: Path
    database: bytes
    answers: Answers
    memories: dict[str, Any]
    events: dict[int, Any]
    scores: Scores

    @property
    def entities(self) -> set[tuple[str, str, str | None]]:
        """Names, canonical forms and labels: how many mention them may be counted wrong."""
        return {(item.name, item.canonical, item.label) for item in self.answers["entities"]}

    @property
    def sources(self) -> dict[str, tuple[float, float]]:
        """Name → reliability and weight of a vote: memories of a source may be counted wrong."""
        return {item.name: (item.reliability, item.vote_weight) for item in self.answers["sources"]}


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Undamaged:
    """A store with rows in every table."""
    path = tmp_path_factory.mktemp("flips") / "agent.mem"
    fill(path)
    answers = asked(path)
    memories = {item.id: item for item in answers["list"]}
    with MemoryStore.open(path, read_only=True) as store:
        events = {event.id: event for id_ in memories for event in store.history(id_)}
        scores = scored(store)
    return Undamaged(path, (path / "memstore.db").read_bytes(), answers, memories, events, scores)


def fill(path: Path) -> None:
    settings = Settings(log_pages=True)
    with MemoryStore.open(path, encoder="hashed", settings=settings) as store:
        store.add("Ana lives in Porto.", key="home", source="Ana", entities=["Ana", "Porto"])
        for number in range(24):
            store.add(
                f"Note {number}: a red kite over the harbour of Lisbon — día {number}",
                namespace=("team/ana", "team/bo")[number % 2],
                key=f"note-{number}",
                session=f"session-{number % 3}",
                title=f"Title {number}",
                metadata={"number": number, "tags": ["kite", "sea"]},
                source=("Ana", "Bo")[number % 2],
                entities=["Lisbon", f"Kite {number % 4}"],
                occurred_at=NOW - timedelta(days=number),
                valid_from=NOW - timedelta(days=number) if number % 3 else None,
                half_life=timedelta(days=30.5),
                importance=0.25,
                confidence=7.5,
            )
        store.add("Ana lives in Braga now.", key="home", source="Ana", entities=["Ana", "Braga"])
        store.compact()
        notes = store.list(namespace="team").memories
        store.forget(notes[0].id)
        store.update(notes[1].id, text="A blue kite, and a text that was changed.")
        store.confirm(notes[2].id, source="Bo")
        store.contradict(notes[3].id, source="Ana")
        store.reinforce(notes[4].id)
        store.retract(notes[5].id, reason="a mistake")
        store.set_source("Bo", reliability=0.7)
        store.alias("Olisipo", of="Lisbon", namespace="team")
        store.add("A long text. " + "The tide is at the harbour wall again. " * 40, title="Tides")
        store.query("red kite", namespace="*")
        opened = store._opened
        with writing(opened.engine, opened.path) as connection:
            row = calibrations.CalibrationRow("other@1", "maxsim", {"a": 1.5}, {"n": 3}, 1)
            calibrations.write_calibration(connection, row)
            learned_weights.insert_weights(
                connection, profile="recent", learned={"c": 1.5}, parent=None, evidence={}, now=1
            )
    with contextlib.closing(sqlite3.connect(path / "memstore.db")) as connection:
        connection.execute("VACUUM")  # free pages could hide most flips
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for table in metadata.sorted_tables:
            assert connection.execute(f'SELECT count(*) FROM "{table.name}"').fetchone()[0], table


def asked(path: Path, ids: list[str] | None = None) -> Answers:
    """Return what the store answers; an error of the library in place of an answer."""
    answers: Answers = {}

    def ask(name: str, question: Callable[[], Any]) -> None:
        try:
            answers[name] = question()
        except MemstoreError as error:
            answers[name] = error

    try:
        store = MemoryStore.open(path, read_only=True)
    except MemstoreError as error:
        return {"open": error}
    with store:
        ask("list", lambda: store.list(namespace="*", limit=1000).memories)
        if ids is None:
            ids = [item.id for item in answers["list"]]
        for id_ in ids[:: max(1, len(ids) // 4)]:
            ask(f"get {id_}", lambda id_=id_: store.get(id_))
            ask(f"history {id_}", lambda id_=id_: store.history(id_))
        for key, namespace in (("home", "default"), ("note-7", "team/bo")):
            ask(f"key {key}", lambda key=key, at=namespace: store.get_by_key(key, namespace=at))
        for text in QUESTIONS:
            ask(f"query {text}", lambda text=text: hits(store, text, namespace="*"))
        ask("ana", lambda: hits(store, QUESTIONS[1], namespace="team/ana"))
        ask("entities", lambda: store.entities(namespace="*"))
        ask("sources", store.sources)
        ask("stats", lambda: store.stats().sources)
        file = path.parent / f"{path.name}.jsonl"
        ask("export", lambda: exported(store, file))
    return answers


def scored(store: MemoryStore) -> Scores:
    texts = [item.text for item in store.list(namespace="*", limit=1000).memories]
    pages = store.query_many(texts, namespace="*", now=NOW, limit=len(texts))
    return {
        text: {hit.memory.id: hit.score for hit in page.hits}
        for text, page in zip(texts, pages, strict=True)
    }


def hits(store: MemoryStore, text: str, *, namespace: str) -> list[Any]:
    found = store.query(text, namespace=namespace, now=NOW).hits
    return [(hit.score, hit.passage, hit.memory) for hit in found]


def exported(store: MemoryStore, file: Path) -> list[str]:
    file.unlink(missing_ok=True)
    store.export(file)
    return file.read_text().splitlines()


def shown(answers: Answers) -> Iterator[Any]:
    """Yield every memory of some answers."""
    for name, answer in answers.items():
        if isinstance(answer, MemstoreError):
            continue
        if name == "list":
            yield from answer
        elif name.startswith(("get", "key")):
            yield answer
        elif name.startswith(("query", "ana")):
            yield from (item for _, _, item in answer)


def check_nothing_false(answers: Answers, undamaged: Undamaged, place: str) -> bool:
    """Return whether all answers are as before; none shows what was never stored."""
    for item in shown(answers):
        before = undamaged.memories.get(item.id)
        assert before is not None, f"{place}: a false memory"
        assert {*item.entities} <= {*before.entities}, f"{place}: a false entity"
        assert replace(item, entities=before.entities) == before, f"{place}: a false memory"
    for name, answer in answers.items():
        if isinstance(answer, MemstoreError):
            continue
        if name.startswith("history"):
            for event in answer:
                assert event == undamaged.events.get(event.id), f"{place}: a false event"
        if name == "entities":
            told = {(item.name, item.canonical, item.label) for item in answer}
            assert told <= undamaged.entities, f"{place}: a false entity"
        if name.startswith("ana"):
            assert all(item.namespace == "team/ana" for *_, item in answer), f"{place}: a leak"
        if name == "sources":
            told = {(item.name, (item.reliability, item.vote_weight)) for item in answer}
            assert told <= {*undamaged.sources.items()}, f"{place}: a false source"
        if name == "stats":
            assert {*answer} <= {*undamaged.sources}, f"{place}: a false source"
        if name == "export":
            check_export(answer, undamaged.answers["export"], place)
    return answers == undamaged.answers


def check_export(lines: list[str], expected: list[str], place: str) -> None:
    """See that what is exported was stored, though links and events may be fewer."""
    before = {item["id"]: item for item in map(json.loads, expected[1:-1])}
    for item in map(json.loads, lines[1:-1]):  # between header and manifest
        stored = before[item["id"]]
        for name in ("entities", "events"):
            assert all(part in stored[name] for part in item[name]), f"{place}: a false export"
        lists = {"entities": stored["entities"], "events": stored["events"]}
        assert {**item, **lists} == stored, f"{place}: a false export"


def verified(path: Path, *, repair: bool) -> VerifyReport | MemstoreError:
    try:
        with MemoryStore.open(path, read_only=not repair) as store:
            return store.verify(repair=repair)
    except MemstoreError as error:
        return error


def check_repaired(path: Path, undamaged: Undamaged, place: str) -> str:
    """Repair the store, and see whether it is as its report says."""
    report = verified(path, repair=True)
    if isinstance(report, MemstoreError):
        assert "backup" in str(report), f"{place}: {report}"
        return "refused"
    told = [finding for finding in report.findings if not finding.repaired]
    if any(finding.code == "sqlite" for finding in told):
        assert any("backup" in finding.message for finding in told), f"{place}: {told}"
        return "backup needed"
    again = verified(path, repair=False)
    assert isinstance(again, VerifyReport), f"{place}: {report} then {again}"
    assert again.clean, f"{place}: {report} then {again}"
    lost = " ".join(finding.message for finding in told)
    with MemoryStore.open(path) as store:
        there = {item.id: item for item in store.list(namespace="*", limit=1000).memories}
        store.query(QUESTIONS[0], namespace="*")
    if not told:
        check_same(asked(path, [*undamaged.memories]), undamaged, place)
        with MemoryStore.open(path, read_only=True) as store:
            scores = scored(store)
        assert scores.keys() == undamaged.scores.keys(), f"{place}: {report}"
        for text, of_text in undamaged.scores.items():
            assert scores[text] == pytest.approx(of_text, abs=0.002), f"{place}: {report}"
    for id_, before in undamaged.memories.items():
        if not told:
            assert there.get(id_) == before, f"{place}: {report}"
        elif id_ not in lost:
            assert id_ in there, f"{place}: {report}"
            # what it shares with others may be lost and named: a namespace, a source, an entity
            shared = {"namespace": before.namespace, "source": before.source}
            assert replace(there[id_], **shared, entities=before.entities) == before, (
                f"{place}: {report}"
            )
    return "lost something" if told else "repaired"


def check_same(answers: Answers, undamaged: Undamaged, place: str) -> None:
    """See that a repaired store answers as before, but for scores of what was encoded anew."""
    for name, before in undamaged.answers.items():
        answer = answers[name]
        if name.startswith("history"):  # a repair adds to it
            answer = tuple(event for event in answer if event.verb != "repair")
        if not name.startswith(("query", "ana", "export")):
            assert answer == before, f"{place}: {name}"


def flips(undamaged: Undamaged, part: int) -> Iterator[tuple[str, int, int]]:
    """Yield a name, a position and the new byte there."""
    chance = random.Random(20261128 + part)
    anywhere = range(len(undamaged.database))  # most of a small database is empty
    written = [at for at in anywhere if undamaged.database[at]]
    for number in range(FLIPS):
        at = chance.choice(written if number % 8 else anywhere)
        before = undamaged.database[at]
        if number % 2:
            after = before ^ (1 << chance.randrange(8))
        else:
            after = (before + chance.randrange(1, 256)) % 256
        yield f"byte {at} {before:#04x} -> {after:#04x}", at, after


# numpy says so where it is given a half-life that a flip made negative
@pytest.mark.filterwarnings("ignore::RuntimeWarning:memstore.scoring")
@pytest.mark.parametrize("part", range(PARTS))
def test_a_changed_byte_anywhere_is_found_or_harmless_and_repaired_truthfully(
    undamaged: Undamaged, tmp_path: Path, part: int, record_property: Callable[[str, object], None]
) -> None:
    outcomes: Counter[str] = Counter()
    path = tmp_path / "agent.mem"
    for place, at, after in flips(undamaged, part):
        damage(undamaged, path, at, after)
        same = check_nothing_false(asked(path, [*undamaged.memories]), undamaged, place)
        report = verified(path, repair=False)
        found = isinstance(report, MemstoreError) or not report.clean
        assert same or found, f"{place}: answers changed and verify finds nothing"
        outcomes["found" if found else "harmless"] += 1
        if found:
            outcomes[check_repaired(path, undamaged, place)] += 1
    for name, count in outcomes.items():
        record_property(name, count)
    record_property("flips", FLIPS)
    assert outcomes["found"] > FLIPS / 2
    # most of many (two thirds of 6,000); of few, chance decides
    assert outcomes["repaired"] > outcomes["found"] / (2 if TORTURE else 4)


KEY = b"FOREIGN KEY(codec_id) REFERENCES codec (id)"
CASCADE = b'REFERENCES memory ("row") ON DELETE CASCADE'


@pytest.mark.parametrize(
    ("written", "damaged"),
    [
        (KEY, KEY.replace(b"codec (", b"code\x95 (")),
        (KEY, KEY.replace(b"codec (", b"coden (")),
        (KEY, KEY.replace(b"(id)", b"(ie)")),
        (CASCADE, CASCADE.replace(b"row", b"rox")),
        (CASCADE, CASCADE.replace(b"memory (", b"memorz (")),
    ],
)
def test_a_foreign_key_that_was_changed_is_found_and_a_backup_asked_for(
    undamaged: Undamaged, tmp_path: Path, written: bytes, damaged: bytes
) -> None:
    path = tmp_path / "agent.mem"
    damage_schema(undamaged, path, written, damaged)
    check_nothing_false(asked(path, [*undamaged.memories]), undamaged, repr(damaged))
    report = verified(path, repair=False)
    assert isinstance(report, MemstoreError) or not report.clean
    assert check_repaired(path, undamaged, repr(damaged)) in ("backup needed", "refused")


def test_a_file_format_of_no_sqlite_is_damage(undamaged: Undamaged, tmp_path: Path) -> None:
    path = tmp_path / "agent.mem"
    damage(undamaged, path, 47, 0x84)  # sqlite.org/fileformat2.html, section 1.3.10
    answers = asked(path, [*undamaged.memories])
    assert {type(answer) for answer in answers.values()} == {IndexDamaged}
    assert check_repaired(path, undamaged, "schema format") == "refused"


def test_a_column_of_another_type_is_damage_of_the_schema(
    undamaged: Undamaged, tmp_path: Path
) -> None:
    path = tmp_path / "agent.mem"
    damage_schema(undamaged, path, b"importance FLOAT", b"importance NLOAT")
    report = verified(path, repair=False)
    assert isinstance(report, VerifyReport)
    assert "columns of memory are changed" in report.findings[0].message
    assert check_repaired(path, undamaged, "the type of a column") == "backup needed"


# what a write makes true, where damage could make something false true; None for nothing
VERBS: dict[str, Callable[[MemoryStore, str], Any]] = {
    "add": lambda store, id_: store.add("A red kite.", source="Bo", entities=["Lisbon"]).confidence,
    "update": lambda store, id_: store.update(id_, text="A green kite.").text,
    "confirm": lambda store, id_: store.confirm(id_, source="Bo").confidence,
    "set_source": lambda store, id_: store.set_source("Ana", vote_weight=0.5).reliability,
    "forget": lambda store, id_: store.forget(id_).ids,
    "purge": lambda store, id_: store.forget(id_, purge=True).ids,
    "rebuild": lambda store, id_: store.rebuild() and None,
    "compact": lambda store, id_: store.compact() and None,
    "known_at": lambda store, id_: store.query("kite", known_at=NOW) and None,
}


@pytest.mark.parametrize("table", NUMBERED)
def test_a_row_under_another_number_is_found_and_shows_nothing_of_that_one(
    undamaged: Undamaged, tmp_path: Path, table: str, record_property: Callable[[str, object], None]
) -> None:
    path = tmp_path / "agent.mem"
    tried = 0
    for place, at, after in other_numbers(undamaged, table):
        damage(undamaged, path, at, after)
        same = check_nothing_false(asked(path, [*undamaged.memories]), undamaged, place)
        report = verified(path, repair=False)
        found = isinstance(report, MemstoreError) or not report.clean
        assert same or found, f"{place}: answers changed and verify finds nothing"
        outcome = check_repaired(path, undamaged, place) if found else "harmless"
        if table in FOUND_AGAIN:
            assert outcome == "repaired", f"{place}: {report}"
        tried += 1
    assert tried
    for place, at, after in longer_numbers(undamaged, table):
        damage(undamaged, path, at, after)
        check_nothing_false(asked(path, [*undamaged.memories]), undamaged, place)
        check_repaired(path, undamaged, place)
        tried += 1
    record_property("flips", tried)


@pytest.mark.parametrize("verb", VERBS)
def test_who_writes_beside_a_row_under_another_number_is_told_or_writes_what_is_true(
    undamaged: Undamaged, tmp_path: Path, verb: str
) -> None:
    path, write = tmp_path / "agent.mem", VERBS[verb]
    id_ = next(id_ for id_, item in undamaged.memories.items() if item.key == "note-7")
    shutil.copytree(undamaged.path, path)
    with MemoryStore.open(path) as store:
        expected = write(store, id_)
    # a row that has the number of the event that is written next hides that one: not promised
    last = max(undamaged.database[at] for at in row_numbers(undamaged, "event"))
    for table in FOUND_AGAIN:
        some = itertools.islice(other_numbers(undamaged, table), None if TORTURE else 1)
        for place, at, after in some:
            if table == "event" and after > last:
                continue
            damage(undamaged, path, at, after)
            with MemoryStore.open(path) as store:
                try:
                    assert write(store, id_) == expected, place
                    changed = {id_}
                except IndexDamaged as error:
                    told, changed = str(error), set()
                    assert "verify --repair" in told or "backup" in told, f"{place}: {told}"
                except (MemoryNotFound, StoreLocked):
                    changed = set()  # hidden, or taken for changed meanwhile
            report = verified(path, repair=True)
            assert isinstance(report, VerifyReport), f"{place}: {report}"
            assert report.clean, f"{place}: {report}"
            assert verified(path, repair=False).clean, place
            with MemoryStore.open(path, read_only=True) as store:
                there = {item.id: item for item in store.list(namespace="*", limit=1000).memories}
            for other, before in undamaged.memories.items():
                if other not in changed:
                    after = there[other]
                    assert (after.text, after.source, after.entities) == (
                        *(before.text, before.source, before.entities),
                    ), f"{place}: {report}"


def test_open_stores_learn_of_rows_that_were_moved_back(
    undamaged: Undamaged, tmp_path: Path
) -> None:
    path = tmp_path / "agent.mem"
    *_, (_, at, after) = other_numbers(undamaged, "memory")
    damage(undamaged, path, at, after)
    with MemoryStore.open(path) as store, MemoryStore.open(path, read_only=True) as other:
        for one in (store, other):
            with contextlib.suppress(MemstoreError):  # reads the columns of all memories
                one.query(QUESTIONS[0], namespace="*")
        store.verify(repair=True)
        for one in (store, other):
            assert scored(one) == undamaged.scores


def test_a_repair_of_a_clean_store_waits_for_nobody(undamaged: Undamaged, tmp_path: Path) -> None:
    path = tmp_path / "agent.mem"
    shutil.copytree(undamaged.path, path)
    settings = Settings(lock_timeout=0.1)
    with MemoryStore.open(path, settings=settings) as store, MemoryStore.open(path) as other:
        opened = other._opened
        with writing(opened.engine, opened.path):
            assert store.verify(repair=True).clean


def damage(undamaged: Undamaged, path: Path, at: int, after: int) -> None:
    """Put a copy of the undamaged store at a path, with one byte changed."""
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(undamaged.path, path)
    with (path / "memstore.db").open("r+b") as database:
        database.seek(at)
        database.write(bytes([after]))


def damage_schema(undamaged: Undamaged, path: Path, written: bytes, damaged: bytes) -> None:
    """Put a copy of the undamaged store at a path, with the text of its schema changed."""
    assert written in undamaged.database
    shutil.copytree(undamaged.path, path)
    (path / "memstore.db").write_bytes(undamaged.database.replace(written, damaged, 1))


def other_numbers(undamaged: Undamaged, table: str) -> Iterator[tuple[str, int, int]]:
    """Yield a name, a position and the new byte there, for rows of a table."""
    places = [*row_numbers(undamaged, table)]
    for at in places if TORTURE else sorted({places[0], places[len(places) // 2], places[-1]}):
        number = undamaged.database[at]
        for change in (1, 2, 3) if TORTURE else (2,):
            yield f"row {number} of {table} -> {number ^ change}", at, number ^ change


def longer_numbers(undamaged: Undamaged, table: str) -> Iterator[tuple[str, int, int]]:
    """The same for numbers that take the byte behind them as theirs, and all rows move with it, and
    for the numbers by which pages are found.
    """
    places = [*row_numbers(undamaged, table)]
    for at in places if TORTURE else places[:1]:
        yield f"a row of {table} with a longer number", at, undamaged.database[at] | 0x80
    for at in row_numbers(undamaged, table, interior=True):
        for change in (1, 2, 4, 0x80) if TORTURE else (4,):
            number = undamaged.database[at]
            yield f"the key {number} of {table} -> {number ^ change}", at, number ^ change


def row_numbers(undamaged: Undamaged, table: str, *, interior: bool = False) -> Iterator[int]:
    """Yield where the numbers of a table's rows lie, those of one byte; or those of its pages.

    Source: sqlite.org/fileformat2.html, section 1.6.
    """
    database = undamaged.database
    size = int.from_bytes(database[16:18], "big")
    with contextlib.closing(sqlite3.connect(undamaged.path / "memstore.db")) as connection:
        find = "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name = ?"
        pages = [*connection.execute(find, [table]).fetchone()]
    for page in pages:  # which grows
        begin = (page - 1) * size
        leaf = database[begin] == 0x0D
        cells = begin + (8 if leaf else 12)
        if not leaf:
            pages.append(int.from_bytes(database[begin + 8 : begin + 12], "big"))
        for number in range(int.from_bytes(database[begin + 3 : begin + 5], "big")):
            pointer = cells + 2 * number
            cell = begin + int.from_bytes(database[pointer : pointer + 2], "big")
            if not leaf:
                pages.append(int.from_bytes(database[cell : cell + 4], "big"))
                if interior and database[cell + 4] < 0x80:
                    yield cell + 4
            if interior or not leaf:
                continue
            at = next(at for at in range(cell, cell + 9) if database[at] < 0x80) + 1
            if database[at] < 0x80:
                yield at
