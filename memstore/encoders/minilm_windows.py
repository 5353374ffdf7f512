"""What MiniLM reads of a text, and which of the tokens it reads get a vector.

All of the recipe (`docs/encoders.md`) that needs no weights: the encoder and the script that trains
it share it.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from memstore.encoders import DocumentText, VectorSpan
from memstore.encoders.bert_weights import read_tokenizer
from memstore.encoders.context import CONTEXT_TEXTS, context_tokens
from memstore.encoders.english import STOPWORDS, is_question
from memstore.surrogates import replace_surrogates

LENGTH: Final = 256  # tokens of a text, [CLS] and [SEP] included; its context comes on top
STOPWORD_FACTOR: Final = 0.5

# Below this many texts, tokenizing in parallel gains nothing, and it starts threads that make the
# tokenizers package complain on stderr if the process is forked later.
PARALLEL_TEXTS: Final = 256


class Window(NamedTuple):
    """The token ids of one forward pass and the positions whose vectors are kept."""

    ids: list[int]
    kept: list[int]


class QueryWindow(NamedTuple):
    """A window with the names and factors of its vectors.

    `truncated`: the text was longer than the window.
    """

    window: Window
    tokens: tuple[str, ...]
    factors: NDArray[np.float32]
    truncated: bool


class Windows:
    """Turns texts into windows. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_str(read_tokenizer(folder))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # "[SEP]" in a text is five characters that someone wrote, not the end of the text.
        self._tokenizer.encode_special_tokens = True
        self._cls, self._sep = self._id("[CLS]"), self._id("[SEP]")
        self._punctuation = frozenset(self._id(mark) for mark in string.punctuation)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of the text: no special tokens, no truncation."""
        encoding = self._tokenizer.encode(replace_surrogates(text), add_special_tokens=False)
        return [(int(start), int(end)) for start, end in encoding.offsets]

    def vector_spans(self, text: str) -> list[VectorSpan]:
        """Return what each vector of a document stands for."""
        encoding = self._tokenizer.encode(replace_surrogates(text), add_special_tokens=False)
        own = list(zip(encoding.ids, encoding.offsets, strict=True))[: LENGTH - 2]
        kept: list[VectorSpan] = [span for token, span in own if token not in self._punctuation]
        return kept or ["[CLS]", *(span for _, span in own), "[SEP]"]

    def documents(self, documents: Sequence[DocumentText]) -> list[Window]:
        """Return a window per document, with up to the last two texts of its context."""
        contexts = [document.context[-CONTEXT_TEXTS:] for document in documents]
        # A text and its neighbours share contexts: each distinct text is tokenised once.
        texts = [document.text for document in documents]
        befores = [document.before for document in documents]
        distinct = list(
            dict.fromkeys([*texts, *befores, *(text for texts in contexts for text in texts)])
        )
        ids = dict(zip(distinct, self._ids(distinct), strict=True))
        return [
            self._document(
                ids[document.text], context_tokens([ids[text] for text in context], ids[before])
            )
            for document, context, before in zip(documents, contexts, befores, strict=True)
        ]

    def queries(self, texts: Sequence[str]) -> list[QueryWindow]:
        """Return a window per query, in the order given."""
        return [self._query(*pair) for pair in zip(texts, self._ids(texts), strict=True)]

    def _document(self, own: list[int], before: list[int]) -> Window:
        own = own[: LENGTH - 2]
        ids = [self._cls, *before, *own, self._sep]
        first = 1 + len(before)
        kept = [first + i for i, token in enumerate(own) if token not in self._punctuation]
        if not kept:
            # Without context's tokens: a text's vectors are its own.
            kept = [0, *range(first, len(ids))]
        return Window(ids, kept)

    def _query(self, text: str, tokens: list[int]) -> QueryWindow:
        ids = [self._cls, *tokens[: LENGTH - 2], self._sep]
        kept = [place for place, token in enumerate(ids) if token not in self._punctuation]
        names = [self._tokenizer.id_to_token(token) or "" for token in ids]
        factors = np.ones(len(ids), dtype=np.float32)
        if is_question(text):
            factors[_stopwords(names)] = STOPWORD_FACTOR
            # Keeping all where nothing else is left, as for documents.
            kept = kept[1:-1] or list(range(len(ids)))
        return QueryWindow(
            Window(ids, kept),
            tokens=tuple(names[place] for place in kept),
            factors=factors[kept],
            truncated=len(tokens) > LENGTH - 2,
        )

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        cleaned = [replace_surrogates(text) for text in texts]
        if len(cleaned) < PARALLEL_TEXTS:
            encodings = [self._tokenizer.encode(text, add_special_tokens=False) for text in cleaned]
        else:
            encodings = self._tokenizer.encode_batch_fast(cleaned, add_special_tokens=False)
        return [list(encoding.ids) for encoding in encodings]

    def _id(self, token: str) -> int:
        found: int | None = self._tokenizer.token_to_id(token)
        if found is None:
            raise ValueError(f"The tokenizer has no {token}.")
        return found


def _stopwords(names: list[str]) -> list[int]:
    """Return the places of stopwords: no first piece of a word is one, as "do" in "do ##rian"."""
    followers = [*names[1:], ""]
    return [
        place
        for place, (name, follower) in enumerate(zip(names, followers, strict=True))
        if name in STOPWORDS and not follower.startswith("##")
    ]
