"""MiniLM in torch with what is trained of it: adapters beside its matrices, biases, norms, head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from memstore.encoders.bert import Bert, Linear, Norm
from memstore.encoders.minilm import padded_batches
from memstore.encoders.minilm_windows import Window

# Padded tokens of one batch; a GPU wants much work per launch.
CPU_BATCH_TOKENS = 2048
GPU_BATCH_TOKENS = 32768


class AdaptedLinear(nn.Module):
    """y = W x + b + up (down x), with W as it was; `up` begins at zero."""

    def __init__(self, linear: Linear, rank: int) -> None:
        super().__init__()
        outputs, inputs = linear.weight.shape
        assert linear.bias is not None
        self.register_buffer("weight", torch.from_numpy(linear.weight.copy()), persistent=False)
        self.bias = nn.Parameter(torch.from_numpy(linear.bias.copy()))
        self.down = nn.Parameter(torch.randn(rank, inputs) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        adapted = functional.linear(functional.linear(x, self.down), self.up)
        return functional.linear(x, self.weight, self.bias) + adapted


class AdaptedNorm(nn.Module):
    def __init__(self, norm: Norm, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(norm.scale.copy()))
        self.bias = nn.Parameter(torch.from_numpy(norm.shift.copy()))
        self._epsilon = epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(
            x, self.weight.shape, self.weight, self.bias, eps=self._epsilon
        )


class AdaptedLayer(nn.Module):
    def __init__(self, bert: Bert, number: int, rank: int) -> None:
        super().__init__()
        layer = bert.layers[number]
        self._heads = bert.heads
        self.query = AdaptedLinear(layer.query, rank)
        self.key = AdaptedLinear(layer.key, rank)
        self.value = AdaptedLinear(layer.value, rank)
        self.attention_output = AdaptedLinear(layer.attention_output, rank)
        self.attention_norm = AdaptedNorm(layer.attention_norm, bert.epsilon)
        self.intermediate = AdaptedLinear(layer.intermediate, rank)
        self.output = AdaptedLinear(layer.output, rank)
        self.output_norm = AdaptedNorm(layer.output_norm, bert.epsilon)

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        texts, tokens, hidden = x.shape
        query, key, value = (
            linear(x).view(texts, tokens, self._heads, -1).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended = attended.transpose(1, 2).reshape(texts, tokens, hidden)
        x = self.attention_norm(self.attention_output(attended) + x)
        return self.output_norm(self.output(functional.gelu(self.intermediate(x))) + x)


# The names of the parts in the file of weights of all-MiniLM-L6-v2.
PARTS = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "intermediate": "intermediate.dense",
    "output": "output.dense",
    "output_norm": "output.LayerNorm",
}


class AdaptedMiniLM(nn.Module):
    """Token ids to unit vectors: y = norm(head(h / |h|)).

    Args:
        head: weight (dim, hidden) and bias (dim,).
        rank: of every adapter.
    """

    def __init__(self, bert: Bert, head: Linear, rank: int) -> None:
        super().__init__()
        assert head.bias is not None
        self.register_buffer("words", torch.from_numpy(bert.words.copy()), persistent=False)
        places = torch.from_numpy(bert.positions + bert.segment)
        self.register_buffer("places", places, persistent=False)
        self.norm = AdaptedNorm(bert.norm, bert.epsilon)
        self.layers = nn.ModuleList(
            AdaptedLayer(bert, number, rank) for number in range(len(bert.layers))
        )
        self.head = nn.Parameter(torch.from_numpy(head.weight.copy()))
        self.head_bias = nn.Parameter(torch.from_numpy(head.bias.copy()))

    def encode(self, windows: Sequence[Window]) -> list[torch.Tensor]:
        """Return the kept vectors per window, (tokens, dim), with a gradient."""
        results: list[torch.Tensor | None] = [None] * len(windows)
        budget = GPU_BATCH_TOKENS if self.words.is_cuda else CPU_BATCH_TOKENS
        for batch in padded_batches([len(window.ids) for window in windows], budget):
            vectors = self._encode([windows[place] for place in batch])
            for place, part in zip(batch, vectors, strict=True):
                results[place] = part
        return [part for part in results if part is not None]

    def _encode(self, windows: Sequence[Window]) -> Sequence[torch.Tensor]:
        device = self.words.device
        lengths = torch.tensor([len(window.ids) for window in windows])
        longest = int(lengths.max())
        ids = torch.zeros(len(windows), longest, dtype=torch.long)
        for row, window in enumerate(windows):
            ids[row, : len(window.ids)] = torch.tensor(window.ids)
        real = torch.arange(longest)[None, :] < lengths[:, None]
        mask = None if bool(real.all()) else real[:, None, None, :].to(device)
        x = self.norm(functional.embedding(ids.to(device), self.words) + self.places[:longest])
        for layer in self.layers:
            x = layer(x, mask)
        rows = [row for row, window in enumerate(windows) for _ in window.kept]
        places = [place for window in windows for place in window.kept]
        states = functional.normalize(x[rows, places], dim=-1)
        vectors = functional.normalize(functional.linear(states, self.head, self.head_bias), dim=-1)
        return vectors.split([len(window.kept) for window in windows])

    def tensors(self) -> dict[str, NDArray[np.float16]]:
        """Return what was trained, in half precision, by the names the encoder reads."""
        found: dict[str, torch.Tensor] = {"head.weight": self.head, "head.bias": self.head_bias}
        for ending, part in self.norm.named_parameters():
            found[f"embeddings.LayerNorm.{ending}"] = part
        for number, layer in enumerate(self.layers):
            for role, name in PARTS.items():
                for ending, part in getattr(layer, role).named_parameters():
                    found[f"encoder.layer.{number}.{name}.{ending}"] = part
        return {
            name: part.detach().cpu().numpy().astype(np.float16)
            for name, part in sorted(found.items())
        }


def between(
    start: dict[str, NDArray[np.float16]], trained: dict[str, NDArray[np.float16]], share: float
) -> dict[str, NDArray[np.float16]]:
    """Return the start with a share of what training changed, tensor by tensor.

    An adapter's change is up · down, and `up` begins at zero: to scale it is enough.
    """
    found = {}
    for name, after in trained.items():
        before = after if name.endswith(".down") else start[name]
        mixed = share * after.astype(np.float32) + (1 - share) * before.astype(np.float32)
        found[name] = mixed.astype(np.float16)
    return found
