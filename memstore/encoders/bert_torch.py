"""The same forward pass in torch, for many documents at once on a GPU.

Written with torch's functions instead of loading a `BertModel`: transformers costs another 1 to 2
CPU-seconds to import and reads the weights a second time, and per document it is no faster (18.5 ms
against 18.2 ms of one core for 100 tokens), since attention is the same function.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from memstore.encoders.bert import Bert, Linear, Norm, Weights
from memstore.maxsim import TokenVectors

# Two tensors of one layer: weight and bias, or scale and shift.
Pair = tuple[torch.Tensor, torch.Tensor]


class TorchModel:
    """Token ids to projected vectors, in batches."""

    def __init__(self, bert: Bert, head: Linear, device: torch.device) -> None:
        self._device = device
        self._heads, self._epsilon = bert.heads, bert.epsilon
        # Half precision on CUDA: several times faster, and document vectors are stored in less.
        self._dtype = torch.float16 if device.type == "cuda" else torch.float32
        self._words = self._tensor(bert.words)
        self._places = self._tensor(bert.positions + bert.segment)
        self._norm = self._scale_and_shift(bert.norm)
        self._layers = [
            (
                self._joined([layer.query, layer.key, layer.value]),
                self._joined([layer.attention_output]),
                self._scale_and_shift(layer.attention_norm),
                self._joined([layer.intermediate]),
                self._joined([layer.output]),
                self._scale_and_shift(layer.output_norm),
            )
            for layer in bert.layers
        ]
        # in single precision everywhere: it is little, and its results are what is kept
        self._head = [torch.from_numpy(part).to(device) for part in _whole(head)]
        # One batch at a time, so that memory stays bounded.
        self._lock = threading.Lock()

    def encode(self, sequences: Sequence[Sequence[int]]) -> list[TokenVectors]:
        """Return, per sequence of token ids, the unit vectors of all its tokens: (tokens, dim)."""
        lengths = [len(ids) for ids in sequences]
        longest = max(lengths)
        ids = np.zeros((len(sequences), longest), dtype=np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
        with self._lock, torch.inference_mode():
            kept = torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]
            # Without padding no mask: scaled_dot_product_attention then takes its fastest path.
            mask = None if min(lengths) == longest else kept[:, None, None, :].to(self._device)
            states = self._states(torch.from_numpy(ids).to(self._device), mask)
            # Padding is dropped before the projection and the copy off the device.
            states = states[kept.to(self._device)].float()
            projected = functional.linear(functional.normalize(states, dim=1), *self._head)
            vectors: NDArray[np.float32] = functional.normalize(projected, dim=1).cpu().numpy()
        return [part.copy() for part in np.split(vectors, np.cumsum(lengths)[:-1])]

    def _states(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        documents, tokens = ids.shape
        states = functional.embedding(ids, self._words) + self._places[:tokens]
        states = self._normalised(states, self._norm)
        for heads, attention_output, attention_norm, intermediate, output, norm in self._layers:
            query, key, value = (
                functional.linear(states, *heads)
                .view(documents, tokens, 3, self._heads, -1)
                .permute(2, 0, 3, 1, 4)
                .unbind(0)
            )
            attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            attended = attended.transpose(1, 2).reshape(documents, tokens, -1)
            attended = functional.linear(attended, *attention_output)
            states = self._normalised(attended + states, attention_norm)
            expanded = functional.gelu(functional.linear(states, *intermediate))
            states = self._normalised(functional.linear(expanded, *output) + states, norm)
        return states

    def _tensor(self, array: NDArray[np.float32]) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device, self._dtype)

    def _scale_and_shift(self, norm: Norm) -> Pair:
        return self._tensor(norm.scale), self._tensor(norm.shift)

    def _joined(self, linears: Sequence[Linear]) -> Pair:
        """One multiplication for several, such as queries, keys and values."""
        weights, biases = zip(*map(_whole, linears), strict=True)
        return self._tensor(np.concatenate(weights)), self._tensor(np.concatenate(biases))

    def _normalised(self, states: torch.Tensor, norm: Pair) -> torch.Tensor:
        return functional.layer_norm(states, states.shape[-1:], *norm, eps=self._epsilon)


def _whole(linear: Linear) -> tuple[Weights, Weights]:
    """Weight and bias, with an adapter added to the weight: here they are copied anyhow."""
    weight, bias, adapter = linear
    if adapter is not None:
        weight = weight + adapter.up @ adapter.down
    return weight, bias if bias is not None else np.zeros(len(weight), dtype=np.float32)
