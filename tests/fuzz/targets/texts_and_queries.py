"""Texts for an index, queries and documents to rank: read as a whole, or refused as BadInput."""

from __future__ import annotations

import io

from fuzz.scratch import new_folder
from memstore.cli.rank import _objects, _texts
from memstore.cli.read import _read_queries
from memstore.errors import BadInput
from memstore.index.interchange import read_texts
from memstore.times import zone

MUTATIONS = 1500
LONGEST = 1024
TOKENS = (
    *(b"text", b"id", b"key", b"namespace", b"scope", b"now", b"timestamp", b"as_of", b"where"),
    *(b"title", b"speaker", b"\t", b"\r\n", b"0", b"1", b"\xef\xbb\xbf", b"2026-03-02T09:00:00Z"),
)
_FOLDER = new_folder()


def check(data: bytes) -> None:
    lines = data.split(b"\n")
    for name in ("texts.tsv", "texts.json"):
        path = _FOLDER / name
        path.write_bytes(data)
        try:
            texts = read_texts(path)
        except BadInput:
            continue
        assert all(type(pid) is int and pid >= 0 for pid in texts)
        assert all(isinstance(text, str) for text in texts.values())
        if name == "texts.tsv":
            assert len(texts) == sum(bool(line.decode("utf-8-sig").strip()) for line in lines)
    for query in _read_queries(path, zone("UTC")):
        assert isinstance(query, BadInput) or query.text is not None
    for read in (_objects, _texts):
        try:
            found = read(io.BytesIO(data), "file")
        except BadInput:
            continue
        assert all(1 <= number <= len(lines) for number in found)
