"""Passages by their words: what finds exactly what a query names, whatever the vectors say of it.

Derived from texts, titles and namespaces, and written in the transaction that stores a passage.
SQLite's FTS5 keeps a copy of what it indexes: what is taken out need not be known any more.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing

from sqlalchemy import Connection

from memstore.catalog.sql import driver_of
from memstore.unspaced import spaced

# `space`: the namespace and all above it, so that what lies below one is found by one word
_COLUMNS = "space, words"
NAME = "full_text"
CREATE = (
    # columnsize=0: nothing here is ranked by length
    (
        f"CREATE VIRTUAL TABLE full_text USING fts5({_COLUMNS}, columnsize=0, "
        "tokenize='unicode61 remove_diacritics 2')"
    ),
    # 512 bytes, not 4050: a small namespace's few passages are looked up among all that have a
    # common word in a third of the time
    "INSERT INTO full_text (full_text, rank) VALUES ('pgsz', 512)",
)
_INSERT = f"INSERT INTO full_text (rowid, {_COLUMNS}) VALUES (?, ?, ?)"
_TOKEN = re.compile(r"[^\W_]+")
_IN = "FROM memory JOIN namespace ON namespace.id = namespace_id"
_TEXT = f'SELECT path, title, text {_IN} WHERE memory."row" = ?'
_PASSAGES = 'SELECT id, "start", "end" FROM passage WHERE memory_row = ?'


def create(driver: sqlite3.Connection) -> None:
    """Make the table."""
    for statement in CREATE:
        driver.execute(statement)


def insert_texts(
    driver: sqlite3.Connection, path: str, title: str | None, passages: Iterable[tuple[int, str]]
) -> None:
    """Index passages of a memory of the namespace `path`, each an id and a text."""
    driver.executemany(_INSERT, _rows(path, title, passages))


def index_passages(connection: Connection, memory_rows: Iterable[int]) -> None:
    """Index the passages of memories."""
    driver = driver_of(connection)
    for row in memory_rows:
        insert_texts(driver, *_stored(driver, row))


def remove_passages(connection: Connection, memory_rows: Iterable[int]) -> None:
    """Take the passages of memories out, before these go."""
    driver = driver_of(connection)
    for row in memory_rows:
        ids = driver.execute("SELECT id FROM passage WHERE memory_row = ?", (row,)).fetchall()
        driver.executemany("DELETE FROM full_text WHERE rowid = ?", ids)


def erase_removed(connection: Connection) -> None:
    """Leave no word of what was taken out: FTS5 only notes that it was, until it merges."""
    driver_of(connection).execute("INSERT INTO full_text (full_text) VALUES ('optimize')")


def clear(connection: Connection) -> None:
    """Make an empty table of one that may be damaged."""
    driver = driver_of(connection)
    try:
        driver.execute("DROP TABLE IF EXISTS full_text")
    except sqlite3.DatabaseError:  # FTS5 does not open what it would have to remove
        driver.execute("PRAGMA writable_schema = ON")
        driver.execute("DELETE FROM sqlite_master WHERE name = 'full_text'")
        driver.execute("PRAGMA writable_schema = RESET")
        for part in ("data", "idx", "content", "config"):
            driver.execute(f"DROP TABLE IF EXISTS full_text_{part}")
    create(driver)


def rebuild(connection: Connection) -> None:
    """Make the table anew."""
    clear(connection)
    index_passages(connection, _living(driver_of(connection)))


def holders(driver: sqlite3.Connection, text: str, path: str | None = None) -> sqlite3.Cursor:
    """Return a cursor over the ids of the passages that hold a string of words, ascending, one to a
    row. Whoever stops reading early has not paid for all of them.

    Args:
        path: a namespace, to find what is in it or below it. A checksum stands for it: others may
            be found too, if rarely.
    """
    words = " ".join(_TOKEN.findall(spaced(text)))
    match = f'words : "{words}"'
    if path is not None:
        match = f"space : {_token(path)} AND {match}"
    return driver.execute("SELECT rowid FROM full_text WHERE full_text MATCH ?", (match,))


def contents(driver: sqlite3.Connection, passage_ids: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Yield passages' ids and what is indexed of them: title and text, `spaced`."""
    for id_ in passage_ids:
        yield from driver.execute("SELECT rowid, words FROM full_text WHERE rowid = ?", (id_,))


def difference(connection: Connection) -> str | None:
    """Return how the table differs from what `rebuild` would make, None if it does not."""
    driver = driver_of(connection)
    with closing(sqlite3.connect(":memory:")) as other:
        create(other)
        try:
            for row in _living(driver):
                insert_texts(other, *_stored(driver, row))
            contents = f"SELECT rowid, {_COLUMNS} FROM full_text ORDER BY rowid"
            pairs = itertools.zip_longest(driver.execute(contents), other.execute(contents))
            for one, right in pairs:
                if one != right:
                    return f"the full-text table has {one!r} where {right!r} should be"
            other.execute("CREATE VIRTUAL TABLE words USING fts5vocab(full_text, row)")
            found = "SELECT count(*), total(rowid) FROM full_text WHERE full_text MATCH ?"
            for (word,) in other.execute("SELECT term FROM words"):
                match = (f'"{word}"',)
                if (
                    driver.execute(found, match).fetchone()
                    != other.execute(found, match).fetchone()
                ):
                    return f"the full-text table does not find {word!r} where it is"
        except sqlite3.DatabaseError as error:
            return f"the full-text table cannot be compared with the passages: {error}"
    return None


def _rows(
    path: str, title: str | None, passages: Iterable[tuple[int, str]]
) -> Iterator[tuple[int, str, str]]:
    above = itertools.accumulate(path.split("/"), lambda parent, name: f"{parent}/{name}")
    spaces, heading = " ".join(map(_token, above)), "" if title is None else f"{title}\n"
    for id_, text in passages:
        yield id_, spaces, spaced(f"{heading}{text}")


def _token(path: str) -> str:
    """Return one word for a path, which may hold any characters, and whose case matters."""
    return f"n{zlib.crc32(path.encode()):08x}"


def _stored(driver: sqlite3.Connection, row: int) -> tuple[str, str | None, list[tuple[int, str]]]:
    path, title, text = driver.execute(_TEXT, (row,)).fetchone()
    passages = driver.execute(_PASSAGES, (row,)).fetchall()
    return path, title, [(id_, text[start:end]) for id_, start, end in passages]


def _living(driver: sqlite3.Connection) -> Iterator[int]:
    statement = f'SELECT memory."row" {_IN} WHERE forgotten_at IS NULL ORDER BY 1'
    for (row,) in driver.execute(statement):
        yield row
