"""The six layers of MiniLM in plain numpy: no torch to import, so a query is answered at once.

Agrees with torch within 1e-5. The source of the arithmetic is the reference implementation of BERT:
post-layer norms, 12 heads of 32, exact (erf) GELU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memstore.encoders.bert_weights import WeightFile
from memstore.encoders.blas_threads import one_blas_thread
from memstore.maxsim import TokenVectors

LAYERS: Final = 6
HEADS: Final = 12
NORM_EPSILON: Final = 1e-12
States = NDArray[np.float32]  # (tokens, hidden)


class Head(NamedTuple):
    """The projection of token states: y = norm((h / |h| - mean) @ projection).

    Shapes: mean (hidden,); projection (hidden, dim).
    """

    mean: NDArray[np.float32]
    projection: NDArray[np.float32]


class Linear(NamedTuple):
    """Shapes: weight (out, in) as stored; bias (out,)."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


class Norm(NamedTuple):
    scale: NDArray[np.float32]
    shift: NDArray[np.float32]


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
    """All weights, as views of the weight file."""

    words: NDArray[np.float32]
    positions: NDArray[np.float32]
    segment: NDArray[np.float32]
    norm: Norm
    layers: list[Layer]


def read_bert(file: WeightFile) -> Bert:
    """Return the weights of the file by their role."""

    def linear(name: str) -> Linear:
        return Linear(file.tensor(f"{name}.weight"), file.tensor(f"{name}.bias"))

    def norm(name: str) -> Norm:
        return Norm(file.tensor(f"{name}.weight"), file.tensor(f"{name}.bias"))

    layers = []
    for number in range(LAYERS):
        name = f"encoder.layer.{number}"
        layers.append(
            Layer(
                query=linear(f"{name}.attention.self.query"),
                key=linear(f"{name}.attention.self.key"),
                value=linear(f"{name}.attention.self.value"),
                attention_output=linear(f"{name}.attention.output.dense"),
                attention_norm=norm(f"{name}.attention.output.LayerNorm"),
                intermediate=linear(f"{name}.intermediate.dense"),
                output=linear(f"{name}.output.dense"),
                output_norm=norm(f"{name}.output.LayerNorm"),
            )
        )
    return Bert(
        words=file.tensor("embeddings.word_embeddings.weight"),
        positions=file.tensor("embeddings.position_embeddings.weight"),
        segment=file.tensor("embeddings.token_type_embeddings.weight")[0],
        norm=norm("embeddings.LayerNorm"),
        layers=layers,
    )


class NumpyModel:
    """Token ids to projected vectors, one sequence at a time (so without padding)."""

    def __init__(self, bert: Bert, head: Head) -> None:
        self._bert = bert
        self._head = head

    def encode(self, sequences: Sequence[Sequence[int]]) -> list[TokenVectors]:
        """Return, per sequence of token ids, the unit vectors of all its tokens: (tokens, dim)."""
        with one_blas_thread():
            return [project(self.states(ids), self._head) for ids in sequences]

    def states(self, ids: Sequence[int]) -> States:
        """Return the last hidden layer: (tokens, hidden)."""
        bert = self._bert
        embedded: States = bert.words[np.asarray(ids)] + bert.positions[: len(ids)] + bert.segment
        states = _layer_norm(embedded, bert.norm)
        for layer in bert.layers:
            attended = _linear(_attention(states, layer), layer.attention_output)
            states = _layer_norm(attended + states, layer.attention_norm)
            expanded = gelu(_linear(states, layer.intermediate))
            states = _layer_norm(_linear(expanded, layer.output) + states, layer.output_norm)
        return states


def project(states: States, head: Head) -> TokenVectors:
    """Return the head's unit vectors: (tokens, dim)."""
    centred = _unit(states)
    centred -= head.mean
    return _unit(centred @ head.projection)


def _unit(rows: States) -> States:
    # The floor only guards against a division by zero; no state has a length near it.
    squares: States = np.einsum("td,td->t", rows, rows)
    result = rows.copy()
    result /= np.sqrt(np.maximum(squares, np.float32(1e-24)))[:, None]
    return result


def _linear(states: States, linear: Linear) -> States:
    result: States = states @ linear.weight.T
    result += linear.bias
    return result


def _layer_norm(states: States, norm: Norm) -> States:
    centred = states.copy()
    centred -= states.mean(axis=1, keepdims=True)
    squares: States = np.einsum("td,td->t", centred, centred)
    centred /= np.sqrt(squares / states.shape[1] + np.float32(NORM_EPSILON))[:, None]
    centred *= norm.scale
    centred += norm.shift
    return centred


def _attention(states: States, layer: Layer) -> States:
    tokens, hidden = states.shape
    size = hidden // HEADS

    def split(linear: Linear) -> NDArray[np.float32]:
        return _linear(states, linear).reshape(tokens, HEADS, size).transpose(1, 0, 2)

    scores: States = split(layer.query) @ split(layer.key).transpose(0, 2, 1)
    scores *= np.float32(size**-0.5)
    scores -= scores.max(axis=2, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=2, keepdims=True)
    attended: States = np.matmul(scores, split(layer.value))
    return attended.transpose(1, 0, 2).reshape(tokens, hidden)


# erf as a ratio of polynomials in x², exact to float32 on [-4, 4], outside which it is ±1.
# numpy has no erf and scipy costs more to import than a query takes.
# Source: the coefficients of Eigen's and XLA's float32 erf.
_NUMERATOR: Final = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_DENOMINATOR: Final = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)


def erf(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the error function, within 5e-7.

    >>> erf(np.array([-9.0, 0.0, 0.5], dtype=np.float32)).round(4).tolist()
    [-1.0, 0.0, 0.5205000042915344]
    """
    x: NDArray[np.float32] = np.clip(values, np.float32(-4), np.float32(4))
    square = x * x
    x *= _polynomial(_NUMERATOR, square)
    x /= _polynomial(_DENOMINATOR, square)
    return x


def _polynomial(coefficients: Sequence[float], x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Horner's rule, the highest power first."""
    result = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result *= x
        result += np.float32(coefficient)
    return result


def gelu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return x times the standard normal distribution function at x."""
    half = np.float32(0.5)
    result: NDArray[np.float32] = x * (erf(x * np.float32(0.5**0.5)) * half + half)
    return result
