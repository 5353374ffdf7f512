"""A whole MemoryStore over given vectors: adding until findable, and its first answer."""

import hashlib
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from serving import Data, folder_bytes, measured, serve

from memstore import MemoryStore
from memstore.encoders import DocumentText, EncoderIdentity, QueryVectors

FILLED_AT_ONCE = 1_000
SINGLE_ADDS = 15
BATCHES = 3


class LookUp:
    """An encoder whose vectors are there already: texts are "Note 17", queries "17"."""

    def __init__(self, source: Data) -> None:
        self._source = source
        self._vectors = source.vectors(mapped=True)
        new, lengths = source.new_vectors()
        self._new = np.split(new, np.cumsum(lengths)[:-1])
        name = hashlib.sha256(b"look up").hexdigest()
        self.identity = EncoderIdentity("look-up", name, self._vectors.shape[1], 256, 256)

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [(0, len(text))]

    def vector_spans(self, text: str) -> list[str]:
        return ["vector"] * len(self._vectors_of(text))

    def encode_documents(
        self, documents: Sequence[DocumentText], *, progress: Callable[[int], None] | None = None
    ) -> list[np.ndarray]:
        if progress is not None:
            progress(len(documents))
        return [self._vectors_of(document.text) for document in documents]

    def encode_queries(self, texts: Sequence[str]) -> list[QueryVectors]:
        found = []
        for text in texts:
            vectors = self._vectors_of(text) if "Note" in text else self._source.queries[int(text)]
            ones = np.ones(len(vectors), dtype=np.float32)
            found.append(QueryVectors(vectors, ones, False, ("vector",) * len(vectors), False))
        return found

    def _vectors_of(self, text: str) -> np.ndarray:
        number, held = int(text.split()[1]), len(self._source.lengths)
        if number >= held:
            return self._new[(number - held) % len(self._new)]
        offsets = self._source.offsets
        return np.array(self._vectors[offsets[number] : offsets[number + 1]])


def open_store(data: str, store: str) -> MemoryStore:
    return MemoryStore.open(store, encoder=LookUp(Data(data)))


def fill(data: str, store: str) -> dict[str, Any]:
    """Add every passage as a memory, and seal all of them."""
    count = len(Data(data).lengths)

    def whole() -> None:
        with open_store(data, store) as opened:
            for first in range(0, count, FILLED_AT_ONCE):
                numbers = range(first, min(first + FILLED_AT_ONCE, count))
                opened.add_many([{"text": f"Note {number}", "entities": []} for number in numbers])
            opened.compact()

    return {**measured(whole), "bytes": folder_bytes(store)}


def first_result(data: str, store: str) -> None:
    with open_store(data, store) as opened:
        assert opened.query("0").hits


def add(data: str, store: str) -> dict[str, Any]:
    """Add memories one by one, then a hundred at once; the next query's catching up counts."""
    number = len(Data(data).lengths)
    seconds: dict[int, list[float]] = {1: [], 100: []}
    with open_store(data, store) as opened:
        opened.query("0")
        for count in [1] * (SINGLE_ADDS + 1) + [100] * BATCHES:
            texts = [f"Note {number + i} was added now." for i in range(count)]
            number += count
            began = time.perf_counter()
            if count == 1:
                opened.add(texts[0])
            else:
                opened.add_many(texts)
            took = time.perf_counter() - began
            # by its own vectors; the same ones were added before under other numbers
            answer = opened.query(texts[-1], limit=50)
            seconds[count].append(took + answer.took["refresh"])
            assert any(hit.memory.text == texts[-1] for hit in answer.hits), "not found"
    del seconds[1][0]  # prepares SQL statements
    return {
        str(count): {"findable_s": statistics.median(values), "durable_s": 0.0}
        for count, values in seconds.items()
    }


if __name__ == "__main__":
    serve({"fill": fill, "first_result": first_result, "add": add})
