"""A tiny deterministic encoder without weights: for tests and for trying things out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memstore.encoders import DocumentText, EncoderIdentity, QueryVectors, VectorSpan
from memstore.maxsim import TokenVectors
from memstore.surrogates import replace_surrogates

RECIPE: Final = "hashed-1"

# Scripts written without spaces count one character as a word. Marks (combining characters, vowel
# signs) are no word characters to `re`, so they are listed: they belong to the word around them.
_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_MARKS: Final = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0dff\u200c\u200d"
_WORD: Final = re.compile(rf"[{_UNSPACED}][{_MARKS}]*|(?:(?![{_UNSPACED}])[\w{_MARKS}])+")


class HashedEncoder:
    """Each distinct lower-cased word has one random direction, the same on every machine.

    Equal words match with 1, different ones by chance with about ±1/sqrt(dim). No word means
    anything: texts are near each other exactly if they share words. Context and device are ignored.

    >>> encoder = HashedEncoder(dim=8)
    >>> [len(vectors) for vectors in encoder.encode_documents([DocumentText("Ana's flat"),
    ...                                                        DocumentText("!?")])]
    [3, 1]
    """

    def __init__(
        self,
        *,
        dim: int = 32,
        document_length: int = 256,
        query_length: int = 32,
        device: str = "auto",
    ) -> None:
        del device  # every encoder takes one; this one has nothing to place there
        if min(dim, document_length, query_length) < 1:
            raise ValueError("dim, document_length and query_length must be at least 1.")
        self._identity = EncoderIdentity(
            name="hashed",
            fingerprint=hashlib.sha256(
                f"{RECIPE} {dim} {document_length} {query_length}".encode()
            ).hexdigest(),
            dim=dim,
            document_length=document_length,
            query_length=query_length,
            options={"recipe": RECIPE},
            session_context=0,
        )

    @property
    def identity(self) -> EncoderIdentity:
        return self._identity

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each word of the text."""
        return [match.span() for match in _WORD.finditer(text)]

    def vector_spans(self, text: str) -> list[VectorSpan]:
        """Return the span of each word that is kept; of the whole text where it has no word."""
        words: list[VectorSpan] = [*self.token_spans(text)[: self._identity.document_length]]
        start, end = len(text) - len(text.lstrip()), len(text.rstrip())
        return words or [(start, end) if start < end else ""]

    def encode_documents(
        self,
        documents: Sequence[DocumentText],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[TokenVectors]:
        """Return (words, dim) per document; one row for the whole text where it has no word."""
        results = []
        for document in documents:
            words = self._words(document.text)[: self._identity.document_length]
            results.append(self._vectors(words))
            if progress is not None:
                progress(1)
        return results

    def encode_queries(self, texts: Sequence[str]) -> list[QueryVectors]:
        """Encode queries, in the order given; every word weighs the same."""
        results = []
        for text in texts:
            words = self._words(text)
            kept = words[: self._identity.query_length]
            results.append(
                QueryVectors(
                    vectors=self._vectors(kept),
                    factors=np.ones(len(kept), dtype=np.float32),
                    contrast=False,
                    tokens=tuple(kept),
                    truncated=len(kept) < len(words),
                )
            )
        return results

    def _words(self, text: str) -> list[str]:
        # A text without any word is one word: even "!?" can be found by "!?".
        words = [match.group().lower() for match in _WORD.finditer(text)]
        return words or [text.strip()]

    def _vectors(self, words: Sequence[str]) -> TokenVectors:
        return np.stack([_direction(word, self._identity.dim) for word in words])


@lru_cache(maxsize=65_536)
def _direction(word: str, dim: int) -> NDArray[np.float32]:
    # Straight from the hash: numpy's random generators may change between its versions.
    content = replace_surrogates(word).encode()
    numbers = np.frombuffer(hashlib.shake_256(content).digest(4 * dim), dtype="<u4")
    exact = numbers / 2.0**32 - 0.5
    row: NDArray[np.float32] = (exact / np.linalg.norm(exact)).astype(np.float32)
    row.flags.writeable = False
    return row
