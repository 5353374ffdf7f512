"""Token vectors as the number of their nearest centroid and a few bits per dimension of the rest.

Source: Santhanam et al., ColBERTv2, NAACL 2022, section 3.3; the bit layout is colbert-ai's. Their
buckets hold equal shares of the residuals; these minimise the squared error (Lloyd 1982, Max 1960).
Measured with the `minilm` encoder on LoCoMo (2,760 passages, 150 queries, 4,096 centroids), the
share of exact search's ten best that decoded vectors keep:

    bits                 4       2
    equal shares         .947    .874
    least error          .974    .911

Retraining from decoded vectors loses again what the first encoding lost: see `docs/index.md`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from memstore.index._kernels import assign, encode_residuals
from memstore.maxsim import TokenVectors

Codes = NDArray[np.uint16] | NDArray[np.uint32]  # (tokens,), numbers of centroids
Residuals = NDArray[np.uint8]  # (tokens, dim * bits / 8)

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, Windows' Linux
BITS = (1, 2, 4, 8)
SAMPLES_PER_CENTROID = 16
TRAINING_ROUNDS = 2
MOST_CENTROIDS = 65_536  # a code then fits two bytes, up to 2**24 tokens by the rule below
BUCKET_VALUES = 1_000_000  # residuals that the buckets are fitted to
HELD_OUT = 0.05  # of the sample, for these residuals
FEW_SAMPLES = 4096  # up to which copies of the same vector are told apart
LONGEST_INTEGER_ROW = 46_340  # the product of two such rows fits 32 bits
LARGEST_INTEGER = 32_767
PANEL = 32  # centroids whose values lie side by side for the kernels
GROUPED_FROM = 16_384  # centroids from which on assignment goes through groups of them
GROUPS = 128
PROBED_GROUPS = 8
NEXT_TO = 0.98  # cosine of a token and its centroid; usual are 0.6 to 0.9
_forked = False  # whether this process was forked from another


@dataclass(frozen=True, eq=False)
class Codec:
    """Centroids and residual buckets that all segments of a store share.

    Shapes: centroids (K, dim), float32 with values that 16-bit floats can hold; cutoffs
    (2**bits - 1,), ascending; weights (2**bits,). bits is 1, 2, 4 or 8 and dim * bits a multiple
    of 8.
    """

    centroids: NDArray[np.float32]
    cutoffs: NDArray[np.float32]
    weights: NDArray[np.float32]

    @property
    def bits(self) -> int:
        return len(self.weights).bit_length() - 1

    @property
    def dim(self) -> int:
        return int(self.centroids.shape[1])

    @property
    def code_type(self) -> type[np.uint16] | type[np.uint32]:
        return code_type(len(self.centroids))

    @cached_property
    def integers(self) -> tuple[NDArray[np.int16], float]:
        """The centroids as integers, and the unit they count in."""
        return integer_rows(self.centroids)

    @cached_property
    def _groups(self) -> tuple[NDArray[np.float32], list[NDArray[np.int64]]]:
        return _grouped(self.centroids)

    def encode(self, vectors: TokenVectors) -> tuple[Codes, Residuals, NDArray[np.float32]]:
        """Return codes, packed residuals and inverse lengths of vectors, (tokens, dim).

        `decode` of the three gives unit rows close to the vectors, if those are unit rows.
        """
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        numbers = self.assign(vectors)
        codes = cast(Codes, numbers.astype(self.code_type))
        residuals, inverse_norms = encode_residuals(
            vectors, codes, self.centroids, self.cutoffs, self.weights
        )
        return codes, residuals, inverse_norms

    def assign(self, vectors: TokenVectors) -> NDArray[np.int32]:
        """Return the number of each vector's nearest centroid, (tokens,).

        With many centroids only those of the eight nearest of 128 groups are looked at: of 2,000
        vectors 99 % get the same one.
        """
        integers, _ = self.integers
        if len(integers) < GROUPED_FROM:
            return assign(vectors, integers)[0]
        return self._assign_by_groups(vectors)

    def _assign_by_groups(self, vectors: TokenVectors) -> NDArray[np.int32]:
        integers, _ = self.integers
        heads, members = self._groups
        best = np.full(len(vectors), np.iinfo(np.int64).min)
        codes = np.zeros(len(vectors), dtype=np.int32)
        for rows, group in _nearest_groups(vectors, heads):
            numbers = members[group]
            if not (len(rows) and len(numbers)):
                continue
            nearest, products = assign(vectors[rows], integers[numbers])
            better = products > best[rows]
            best[rows[better]] = products[better]
            codes[rows[better]] = numbers[nearest[better]]
        return codes

    def decode(self, codes: Codes, residuals: Residuals) -> TokenVectors:
        """Return the vectors that codes and residuals stand for, (tokens, dim), unit rows.

        A vector that decodes to zeros stays zeros.
        """
        vectors = self.centroids[codes] + self._bucket_table[residuals].reshape(-1, self.dim)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return vectors

    def close(self, codes: Codes, residuals: Residuals) -> NDArray[np.bool_]:
        """Return of which tokens the centroid may be the very vector, (tokens,): those that decode
        to next to it, or as near to it as residuals can tell.
        """
        rest = self._bucket_table[residuals].reshape(-1, self.dim)
        middle = len(self.weights) // 2
        least = np.abs(self.weights[middle - 1 : middle + 1]).max()
        cosines = (self.decode(codes, residuals) * self.centroids[codes]).sum(axis=1)
        found: NDArray[np.bool_] = (np.abs(rest) <= least).all(axis=1) | (cosines > NEXT_TO)
        return found

    def fidelity(self, vectors: TokenVectors) -> float:
        """Return the mean cosine between unit vectors and what they decode to, at most 1."""
        codes, residuals, _ = self.encode(vectors)
        return float((self.decode(codes, residuals) * vectors).sum(axis=1).mean())

    def inverse_norms(self, codes: Codes, residuals: Residuals) -> NDArray[np.float32]:
        """Return 1 / length of centroid + residual, (tokens,); 0 where that is all zeros."""
        vectors = self.centroids[codes] + self._bucket_table[residuals].reshape(-1, self.dim)
        lengths = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1))
        inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        found: NDArray[np.float32] = inverse.astype(np.float32)
        return found

    @cached_property
    def _bucket_table(self) -> NDArray[np.float32]:
        """The bucket weights that each byte of a residual stands for, (256, 8 / bits)."""
        bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
        fields = bits.reshape(256, -1, self.bits)  # each from its least significant bit
        return self.weights[fields @ (1 << np.arange(self.bits))]


def train(
    sample: TokenVectors,
    *,
    tokens: int,
    bits: int,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Codec:
    """Fit a codec to a sample of a store's token vectors.

    Args:
        sample: (n, dim), at least one row; best `sample_size(tokens)` of them.
        tokens: vectors that the codec is for, which decides the number of centroids.
        bits: per dimension; raised where dim * bits is no multiple of 8.
        check: called between steps; may raise to give up.

    Source: K by the rule of ColBERTv2 (section 3.3 and its code). FAISS k-means, here 2 rounds on
    16 samples per centroid: more of either changes the kept share of the ten best by less than the
    choice of samples does.
    """
    import faiss

    rng = np.random.default_rng(seed)
    dim = sample.shape[1]
    while dim * bits % 8:
        bits *= 2
    points = np.unique(sample, axis=0) if len(sample) <= FEW_SAMPLES else sample
    points = np.ascontiguousarray(points[rng.permutation(len(points))], dtype=np.float32)
    count = centroid_count(tokens)
    if count >= len(points):
        check()
        centroids = half_precision(points)
        # as much for what has a centroid of its own as for what will come
        unseen = _unseen(points, rng) - centroids[_nearest_other(points)]
        residuals = np.concatenate([np.resize(points - centroids, unseen.shape), unseen])
    else:
        # The buckets are for vectors that k-means did not see: of those that it saw, some are
        # centroids themselves.
        held_out = min(max(1, int(HELD_OUT * len(points))), len(points) - count)
        kmeans = faiss.Kmeans(
            dim,
            count,
            niter=TRAINING_ROUNDS,
            seed=seed,
            min_points_per_centroid=1,
            max_points_per_centroid=SAMPLES_PER_CENTROID,
            # first the driver: without one, faiss-gpu ends the process when it is asked
            gpu=gpu_driver() and faiss.get_num_gpus() > 0,
        )
        if _forked:
            faiss.omp_set_num_threads(1)
        kmeans.train(points[held_out:])
        check()
        centroids = half_precision(np.asarray(kmeans.centroids, dtype=np.float32))
        draft = Codec(centroids, np.zeros(1, np.float32), np.zeros(2, np.float32))
        vectors = points[: min(held_out, max(1, BUCKET_VALUES // dim))]
        residuals = vectors - centroids[draft.assign(vectors)]
    check()
    return Codec(centroids, *_buckets(residuals.ravel(), bits))


def _in_child() -> None:
    """Note a fork: GNU's OpenMP waits for ever for threads that have stayed in the parent."""
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def gpu_driver() -> bool:
    """Return whether the system has a GPU's driver, without asking a library."""
    return any(os.path.exists(path) for path in GPU_DRIVERS)


def centroid_count(tokens: int) -> int:
    """Return how many centroids suit a store of so many token vectors: a power of two.

    >>> [centroid_count(n) for n in (1, 5_000, 145_000, 3_100_000)]
    [16, 1024, 4096, 16384]
    """
    return int(min(MOST_CENTROIDS, 2 ** int(np.log2(16 * np.sqrt(max(tokens, 1))))))


def code_type(centroids: int) -> type[np.uint16] | type[np.uint32]:
    """Return the type that numbers of so many centroids are stored as."""
    return np.uint16 if centroids <= MOST_CENTROIDS else np.uint32


def ascend(buckets: NDArray[np.float32]) -> bool:
    """Return whether cutoffs or weights ascend, and none of them is out of all proportion."""
    # larger ones would overflow in the square; they are parts of unit vectors
    return bool((np.abs(buckets) < 1e15).all() and (np.diff(buckets) >= 0).all())


def sample_size(tokens: int) -> int:
    """Return how many of a store's token vectors training needs."""
    return min(tokens, centroid_count(tokens) * SAMPLES_PER_CENTROID)


def integer_rows(rows: NDArray[np.float32]) -> tuple[NDArray[np.int16], float]:
    """Return rows as integers, none longer than 46,340, and the unit they count in."""
    longest = float(np.linalg.norm(rows.astype(np.float64), axis=1).max(initial=0.0))
    largest = float(np.abs(rows).max(initial=0.0))
    if largest == 0.0:
        return np.zeros(rows.shape, dtype=np.int16), 0.0
    # rounding lengthens a row by at most half a unit per dimension
    room = LONGEST_INTEGER_ROW - 0.5 * np.sqrt(rows.shape[1])
    factor = min(room / longest, LARGEST_INTEGER / largest)
    return np.rint(rows * np.float64(factor)).astype(np.int16), 1.0 / factor


def panels_of(rows: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return rows as `centroid_scores` takes them: (panels, ceil(dim / 2), 32, 2).

    Value `[p, s, c, i]` is that of row `32 * p + c` in dimension `2 * s + i`, 0 beyond either.
    """
    count, dim = rows.shape
    padded = np.pad(rows, ((0, -count % PANEL), (0, dim % 2)))
    panels = padded.reshape(-1, PANEL, (dim + 1) // 2, 2)
    return np.ascontiguousarray(panels.transpose(0, 2, 1, 3))


def rows_of(panels: NDArray[np.int16], count: int, dim: int) -> NDArray[np.int16]:
    """Return the first rows of panels, (count, dim)."""
    rows = panels.transpose(0, 2, 1, 3).reshape(len(panels) * PANEL, 2 * panels.shape[1])
    return np.ascontiguousarray(rows[:count, :dim])


def _nearest_other(points: TokenVectors) -> NDArray[np.int64]:
    """Return the number of the nearest other point of each, of itself where there is no other."""
    products = points @ points.T
    np.fill_diagonal(products, -np.inf)
    nearest: NDArray[np.int64] = products.argmax(axis=1)
    return nearest


def _unseen(points: TokenVectors, rng: np.random.Generator) -> TokenVectors:
    """Return what may have to be encoded by centroids that are other points than itself.

    Each point but where there is one only: then any direction.
    """
    if len(points) > 1:
        return points
    rows: TokenVectors = rng.standard_normal((1024, points.shape[1])).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def half_precision(centroids: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return unit rows as 16-bit floats hold them; rows of zeros stay."""
    lengths = np.linalg.norm(centroids, axis=1, keepdims=True)
    rows = np.divide(centroids, lengths, out=np.zeros_like(centroids), where=lengths > 0)
    return np.ascontiguousarray(rows.astype(np.float16).astype(np.float32))


def _buckets(
    values: NDArray[np.float32], bits: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return cutoffs and weights of the buckets that least change the values in the square."""
    ordered = np.sort(values.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    buckets = 2**bits
    weights = np.quantile(ordered, (np.arange(buckets) + 0.5) / buckets)
    for _ in range(300):
        edges = np.searchsorted(ordered, (weights[1:] + weights[:-1]) / 2)
        first = np.concatenate([[0], edges])
        last = np.concatenate([edges, [len(ordered)]])
        counts = last - first
        means = (sums[last] - sums[first]) / np.maximum(counts, 1)
        moved = np.where(counts > 0, means, weights)
        if np.allclose(moved, weights, rtol=1e-4, atol=1e-7):
            break
        weights = moved
    cutoffs = (weights[1:] + weights[:-1]) / 2
    return cutoffs.astype(np.float32), weights.astype(np.float32)


def _grouped(
    centroids: NDArray[np.float32],
) -> tuple[NDArray[np.float32], list[NDArray[np.int64]]]:
    """Return the heads of groups of centroids, and the centroids of each group."""
    import faiss

    kmeans = faiss.Kmeans(centroids.shape[1], GROUPS, niter=5, seed=0, min_points_per_centroid=1)
    kmeans.train(centroids)
    heads = half_precision(np.asarray(kmeans.centroids, dtype=np.float32))
    owner, _ = assign(centroids, integer_rows(heads)[0])
    return heads, [np.flatnonzero(owner == group) for group in range(GROUPS)]


def _nearest_groups(
    vectors: TokenVectors, heads: NDArray[np.float32]
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Yield, per group, the vectors that have it among their nearest ones."""
    nearest = np.argpartition(-(vectors @ heads.T), PROBED_GROUPS, axis=1)[:, :PROBED_GROUPS]
    order = np.argsort(nearest, axis=None, kind="stable")
    bounds = np.searchsorted(nearest.ravel()[order], np.arange(GROUPS + 1))
    for group in range(GROUPS):
        yield order[bounds[group] : bounds[group + 1]] // PROBED_GROUPS, group
