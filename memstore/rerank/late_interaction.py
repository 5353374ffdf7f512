"""Another ColBERT checkpoint than the store's: it encodes the candidates anew and compares by
MaxSim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from memstore.maxsim import TokenVectors, maxsim
from memstore.rerank import Span
from memstore.rerank.windows import cut
from memstore.types import ScoreKind

_SPECIAL_TOKENS = 3  # [CLS], [SEP] and a marker
_AT_ONCE = 64  # windows encoded between two reports of progress


@dataclass(frozen=True, slots=True)
class LateInteractionReranker:
    """Scores are MaxSim per query vector, in [-1, 1].

    Source: Khattab and Zaharia, ColBERT, SIGIR 2020; divided by the number of query vectors, so
    that scores of queries of any length lie in one range.

    Args:
        document_length: most tokens of a document, special tokens included.
        token_spans: the tokens of a text, without special ones.
        encode_query: a text to (tokens, dim), unit rows.
        encode_documents: texts to the same, in their order.
        parameters: number of the checkpoint's weights, if it is known.
        fingerprint: SHA-256 of them, if it is known.
    """

    name: str
    document_length: int
    token_spans: Callable[[str], list[Span]]
    encode_query: Callable[[str], TokenVectors]
    encode_documents: Callable[[Sequence[str]], list[TokenVectors]]
    parameters: int | None = None
    fingerprint: str | None = None

    @property
    def kind(self) -> ScoreKind:
        return "maxsim"

    def windows(self, query: str, documents: Sequence[str]) -> list[list[Span]]:
        """Return parts that the checkpoint encodes whole; a query takes no room from them."""
        room = max(1, self.document_length - _SPECIAL_TOKENS)
        return [cut(document, self.token_spans(document), room) for document in documents]

    def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[float | None]:
        """Return the MaxSim per query vector of each document, in the order given."""
        if not documents:
            return []
        asked = np.ascontiguousarray(self.encode_query(query))
        scores: list[float | None] = []
        for start in range(0, len(documents), _AT_ONCE):
            encoded = self.encode_documents(documents[start : start + _AT_ONCE])
            scores += [maxsim(asked, vectors) / len(asked) for vectors in encoded]
            if progress is not None:
                progress(len(encoded))
        return scores
