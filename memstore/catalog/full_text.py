"""Passages by their words: what finds exactly what a query names, whatever the vectors say of it.

Derived from texts, titles and namespaces, written in the transaction that stores a passage. SQLite's
FTS5 keeps a copy of what it indexes, so a passage can be taken out without knowing what its text was.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from sqlalchemy import Connection

# `space`: the namespace and all above it, so that what lies below one is found by one word
_COLUMNS = "space, words"
CREATE = (
    # columnsize=0: nothing here is ranked by length
    f"CREATE VIRTUAL TABLE full_text USING fts5({_COLUMNS}, columnsize=0, "
    "tokenize='unicode61 remove_diacritics 2')",
    # 512 bytes, not 4050: a small namespace's few passages are looked up among all that have a
    # common word in a third of the time
    "INSERT INTO full_text (full_text, rank) VALUES ('pgsz', 512)",
)
_INSERT = f"INSERT INTO full_text (rowid, {_COLUMNS}) VALUES (?, ?, ?)"
_TOKEN = re.compile(r"[^\W_]+")
# scripts without spaces, which the tokenizer would take for one long word: every character is a word,
# and a string of them a phrase. Korean has spaces, but none between a name and its particle.
_UNSPACED = re.compile(
    "([\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
    "|(?<=[0-9A-Za-z])(?=[\uac00-\ud7a3])"
)
_TEXT = (
    "SELECT path, title, text FROM memory JOIN namespace ON namespace.id = namespace_id "
    'WHERE memory."row" = ?'
)
_PASSAGES = 'SELECT id, "start", "end" FROM passage WHERE memory_row = ?'


def normal(text: str) -> str:
    """Return a text as it is indexed and looked up, its words apart.

    >>> normal("ＥＲＲ-4031です")
    'ERR-4031 で  す '
    """
    if text.isascii():
        return text
    return _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", text))


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
    driver = _driver(connection)
    for row in memory_rows:
        insert_texts(driver, *_stored(driver, row))


def remove_passages(connection: Connection, memory_rows: Iterable[int]) -> None:
    """Take the passages of memories out, before these go."""
    driver = _driver(connection)
    for row in memory_rows:
        ids = driver.execute("SELECT id FROM passage WHERE memory_row = ?", (row,)).fetchall()
        driver.executemany("DELETE FROM full_text WHERE rowid = ?", ids)


def erase_removed(connection: Connection) -> None:
    """Leave no word of what was taken out: FTS5 only notes that it was, until it merges."""
    _driver(connection).execute("INSERT INTO full_text (full_text) VALUES ('optimize')")


def rebuild(connection: Connection) -> None:
    """Make the table anew."""
    driver = _driver(connection)
    driver.execute("DROP TABLE IF EXISTS full_text")
    create(driver)
    index_passages(connection, _living(driver))


def postings(
    driver: sqlite3.Connection, text: str, path: str | None = None, *, contents: bool = False
) -> sqlite3.Cursor:
    """Return a cursor over the ids of the passages that hold a string of words, ascending.

    The passages are read as the cursor is: whoever stops early has not paid for all of them.

    Args:
        path: a namespace; of it and all below it only. A checksum stands for it, so others may be
            found too, if rarely.
        contents: the passages' words beside their ids, as `normal` has them.
    """
    words = " ".join(_TOKEN.findall(normal(text)))
    match = f'words : "{words}"'
    if path is not None:
        match = f"space : {_token(path)} AND {match}"
    columns = "rowid, words" if contents else "rowid"
    return driver.execute(f"SELECT {columns} FROM full_text WHERE full_text MATCH ?", (match,))


def difference(connection: Connection) -> str | None:
    """Return how the table differs from what `rebuild` would make, None if it does not."""
    driver = _driver(connection)
    contents = f"SELECT rowid, {_COLUMNS} FROM full_text ORDER BY rowid"
    with closing(sqlite3.connect(":memory:")) as other:
        create(other)
        for row in _living(driver):
            insert_texts(other, *_stored(driver, row))
        pairs = (
            ("passage", driver.execute(contents), other.execute(contents)),
            ("word", _instances(driver), _instances(other)),
        )
        for name, there, wanted in pairs:
            for one, right in itertools.zip_longest(there, wanted):
                if one != right:
                    return f"the full-text table has the {name} {one!r} where {right!r} should be"
    return None


def _instances(driver: sqlite3.Connection) -> Iterator[tuple[Any, ...]]:
    """Yield every word of the index with where it is."""
    driver.execute("CREATE VIRTUAL TABLE temp.instance USING fts5vocab(main, full_text, instance)")
    try:
        yield from driver.execute('SELECT term, doc, col, "offset" FROM temp.instance')
    finally:
        driver.execute("DROP TABLE temp.instance")


def _rows(
    path: str, title: str | None, passages: Iterable[tuple[int, str]]
) -> Iterator[tuple[int, str, str]]:
    above = itertools.accumulate(path.split("/"), lambda parent, name: f"{parent}/{name}")
    spaces, heading = " ".join(map(_token, above)), "" if title is None else f"{title}\n"
    for id_, text in passages:
        yield id_, spaces, normal(f"{heading}{text}")


def _token(path: str) -> str:
    """Return one word for a path, which may hold any characters, and whose case matters."""
    return f"n{zlib.crc32(path.encode()):08x}"


def _stored(
    driver: sqlite3.Connection, row: int
) -> tuple[str, str | None, list[tuple[int, str]]]:
    path, title, text = driver.execute(_TEXT, (row,)).fetchone()
    passages = driver.execute(_PASSAGES, (row,)).fetchall()
    return path, title, [(id_, text[start:end]) for id_, start, end in passages]


def _living(driver: sqlite3.Connection) -> Iterator[int]:
    for (row,) in driver.execute('SELECT "row" FROM memory WHERE forgotten_at IS NULL ORDER BY 1'):
        yield row


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
