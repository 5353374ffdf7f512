"""The weights of a BERT by their role, and its forward pass on a CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memstore.encoders._bert import Model
from memstore.encoders.tensor_file import TensorFile
from memstore.maxsim import TokenVectors

Weights = NDArray[np.float32]


class Adapter(NamedTuple):
    """A change of low rank, computed beside the weights: x -> up @ (down @ x).

    Shapes: down (rank, in); up (out, rank).
    """

    down: Weights
    up: Weights


class Linear(NamedTuple):
    """Shapes: weight (out, in) as stored; bias (out,)."""

    weight: Weights
    bias: Weights | None = None
    adapter: Adapter | None = None


class Norm(NamedTuple):
    scale: Weights
    shift: Weights


class Layer(NamedTuple):
    query: Linear
    key: Linear
    value: Linear
    attention_output: Linear
    attention_norm: Norm
    intermediate: Linear
    output: Linear
    output_norm: Norm


class Bert(NamedTuple):
    """All weights, as views of the weight file, and what the file does not say."""

    words: Weights
    positions: Weights
    segment: Weights
    norm: Norm
    layers: list[Layer]
    heads: int
    epsilon: float


def read_bert(
    file: TensorFile,
    *,
    layers: int,
    heads: int,
    epsilon: float,
    prefix: str = "",
    changes: Mapping[str, Weights] | None = None,
) -> Bert:
    """Return the weights of the file by their role.

    Args:
        prefix: of every tensor's name.
        changes: by name, tensors that replace those of the file, and adapters: for `NAME.weight`
            `NAME.down` and `NAME.up`.

    Raises:
        EncoderUnavailable: the file lacks one, or one is not of float32.
    """
    changed = {} if changes is None else changes

    def tensor(name: str) -> Weights:
        return changed[name] if name in changed else file.tensor(prefix + name)

    def linear(name: str) -> Linear:
        adapter = None
        if f"{name}.down" in changed:
            adapter = Adapter(changed[f"{name}.down"], changed[f"{name}.up"])
        return Linear(tensor(f"{name}.weight"), tensor(f"{name}.bias"), adapter)

    def norm(name: str) -> Norm:
        return Norm(tensor(f"{name}.weight"), tensor(f"{name}.bias"))

    def layer(name: str) -> Layer:
        return Layer(
            query=linear(f"{name}.attention.self.query"),
            key=linear(f"{name}.attention.self.key"),
            value=linear(f"{name}.attention.self.value"),
            attention_output=linear(f"{name}.attention.output.dense"),
            attention_norm=norm(f"{name}.attention.output.LayerNorm"),
            intermediate=linear(f"{name}.intermediate.dense"),
            output=linear(f"{name}.output.dense"),
            output_norm=norm(f"{name}.output.LayerNorm"),
        )

    return Bert(
        words=tensor("embeddings.word_embeddings.weight"),
        positions=tensor("embeddings.position_embeddings.weight"),
        segment=tensor("embeddings.token_type_embeddings.weight")[0],
        norm=norm("embeddings.LayerNorm"),
        layers=[layer(f"encoder.layer.{number}") for number in range(layers)],
        heads=heads,
        epsilon=epsilon,
    )


class NativeModel:
    """Token ids to projected vectors.

    The head is applied to token states at unit length, and its results are scaled to unit length:
    y = norm(head(h / |h|)). Without a head they are the states themselves. Opening copies no
    weights.

    The same sequence has the same bits alone, in company, and on any number of threads.

    Raises:
        ValueError: weights whose shapes do not fit together.
    """

    def __init__(self, bert: Bert, head: Linear | None) -> None:
        self._model = Model(
            bert.words,
            bert.positions,
            bert.segment,
            bert.norm,
            bert.layers,
            heads=bert.heads,
            epsilon=bert.epsilon,
            head=head,
        )

    def encode(
        self,
        sequences: Sequence[Sequence[int]],
        *,
        seen: Sequence[int] | None = None,
        threads: int | None = None,
    ) -> list[TokenVectors]:
        """Return, per sequence of token ids, the vectors of all its tokens: (tokens, dim).

        Args:
            seen: of each sequence, the number of its first tokens that all of them look at; by
                default all.
            threads: at most so many, by default `usable_threads()`, and one per 64 tokens.

        Raises:
            ValueError: a sequence is empty or longer than the positions there are.
            IndexError: a token id that there is none of.
        """
        lengths = np.array([len(ids) for ids in sequences], dtype=np.int64)
        tokens = np.array([token for ids in sequences for token in ids], dtype=np.int32)
        vectors = self._model.encode(
            tokens,
            lengths,
            seen=None if seen is None else np.array(seen, dtype=np.int64),
            threads=threads or usable_threads(),
        )
        ends = np.cumsum(lengths).tolist()
        return [vectors[end - len(ids) : end] for ids, end in zip(sequences, ends, strict=True)]


def usable_threads() -> int:
    """Return the number of cores this process may use, or OMP_NUM_THREADS where that is less."""
    # not everywhere: macOS and Windows know no such restriction
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdecimal() and int(limit) > 0 else cores
