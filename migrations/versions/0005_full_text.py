"""Passages by their words.

Revision: 0005
"""

import itertools
import re
import unicodedata
import zlib

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UNSPACED = re.compile(
    "([\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])"
    "|(?<=[0-9A-Za-z])(?=[\uac00-\ud7a3])"
)


def upgrade() -> None:
    op.execute(
        "CREATE VIRTUAL TABLE full_text USING fts5(space, words, columnsize=0, "
        "tokenize='unicode61 remove_diacritics 2')"
    )
    op.execute("INSERT INTO full_text (full_text, rank) VALUES ('pgsz', 512)")
    driver = op.get_bind().connection.driver_connection
    texts = driver.execute(
        'SELECT memory."row", path, title, text FROM memory '
        "JOIN namespace ON namespace.id = namespace_id WHERE forgotten_at IS NULL ORDER BY 1"
    )
    for row, path, title, text in texts:
        above = itertools.accumulate(path.split("/"), lambda parent, name: f"{parent}/{name}")
        spaces = " ".join(f"n{zlib.crc32(name.encode()):08x}" for name in above)
        heading = "" if title is None else f"{title}\n"
        passages = driver.execute(
            'SELECT id, "start", "end" FROM passage WHERE memory_row = ? ORDER BY id', (row,)
        )
        driver.executemany(
            "INSERT INTO full_text (rowid, space, words) VALUES (?, ?, ?)",
            [(id_, spaces, normal(heading + text[start:end])) for id_, start, end in passages],
        )


def normal(text: str) -> str:
    if text.isascii():
        return text
    return UNSPACED.sub(r" \1 ", unicodedata.normalize("NFKC", text))
