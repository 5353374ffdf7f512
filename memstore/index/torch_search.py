"""The sealed tier on a GPU: the stages of `SealedSearch` in torch, with maxima within 1e-4 of its.

Every allowed passage is ranked by its centroids, however many there are. Of a million passages of
31 tokens that reads 0.1 GB of codes, and 4 GB of scores out of a table of 8 MB that the caches of a
large GPU hold: a few milliseconds by its bandwidth (estimated, not measured). Inverted lists would
replace this by scattered writes, which a GPU does worst, and lose passages.

Everything works on any device of torch; on its CPU the tests compare it with the kernels.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, MutableMapping
from itertools import pairwise
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from memstore.errors import BadInput, IndexDamaged
from memstore.index.codec import rows_of
from memstore.index.files import ADVICE
from memstore.index.sealed import (
    Depths,
    Mask,
    Owners,
    SealedSearch,
    SealedView,
    split,
    spread,
)
from memstore.index.segments import Segment, Slots, StoredCodec
from memstore.maxsim import TokenVectors

_Owner = TypeVar("_Owner")
_Copy = TypeVar("_Copy")

_RANKED_TOKENS = 1 << 22  # at once, for up to 32 query tokens: some 0.3 GB, at worst 2
_EXACT_TOKENS = 1 << 17  # at once: 0.2 GB of decoded vectors of 128 dimensions
_WORKSPACE_BYTES = 2 << 30


class _CodecCopy:
    """What of a codec searching needs, on a device.

    Shapes: integers (K, dim); byte_weights (256, 8 / bits), float64.
    """

    def __init__(self, stored: StoredCodec, device: torch.device) -> None:
        self.integers = torch.tensor(rows_of(stored.panels, len(stored), stored.dim), device=device)
        self.byte_weights = torch.tensor(
            stored.codec._bucket_table, dtype=torch.float64, device=device
        )


class _SegmentCopy:
    """A segment's tokens on a device; 72 bytes each with 4 bits in 128 dimensions.

    Raises:
        IndexDamaged: a number points outside an array; a GPU would end the whole process's use of
            it on reading there.
    """

    def __init__(self, segment: Segment, centroids: int, device: torch.device) -> None:
        highest = int(segment.codes.max(initial=0))
        if highest >= centroids or np.diff(segment.offsets).min(initial=0) < 0:
            raise IndexDamaged(
                f"{segment.folder}: a code of {highest} with {centroids} centroids, or a negative "
                f"length. {ADVICE}"
            )
        # indices of 16 unsigned bits are unknown to torch's functions
        self.codes = torch.tensor(segment.codes.astype(np.int32), device=device)
        self.residuals = torch.tensor(segment.residuals, device=device)
        self.inverse_norms = torch.tensor(segment.inverse_norms, device=device)
        self.offsets = torch.tensor(segment.offsets, device=device)

    def blocks(self, slots: Tensor, tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the token rows of some slots and the length of each slot, (rows,) and (slots,).

        In blocks of about so many tokens: at most one passage more.
        """
        starts = self.offsets[slots]
        lengths = self.offsets[slots + 1] - starts
        ends = lengths.cumsum(0)
        total = int(ends[-1]) if len(slots) else 0
        marks = torch.tensor([*range(tokens, total, tokens)], dtype=torch.int64, device=ends.device)
        cuts = torch.searchsorted(ends, marks, right=True).tolist()
        for first, last in pairwise([0, *cuts, len(slots)]):
            if first < last:
                within = lengths[first:last]
                before = within.cumsum(0) - within
                rows = torch.repeat_interleave(starts[first:last] - before, within)
                yield rows + torch.arange(len(rows), device=slots.device), within


# Weak: copies go when a segment is closed, and stay from one view to the next that has it.
_codecs: WeakKeyDictionary[StoredCodec, dict[torch.device, _CodecCopy]] = WeakKeyDictionary()
_segments: WeakKeyDictionary[Segment, dict[torch.device, _SegmentCopy]] = WeakKeyDictionary()
_copying = threading.Lock()


def place_for(view: SealedView, device: str) -> torch.device | None:
    """Return the GPU to search a view on; None for 'auto' where none is there or has the room.

    Raises:
        BadInput: a device was named that cannot be used, or has not the room.
    """
    auto = device == "auto"
    if auto and not torch.cuda.is_available():
        return None
    try:
        place = torch.device("cuda" if auto else device)
        if place.index is None:
            place = torch.device("cuda", torch.cuda.current_device())
        torch.cuda.get_device_properties(place)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA; a forked process
        if auto:
            return None
        raise BadInput(
            f"The device '{device}' cannot be used: {str(error).splitlines()[0]}.\n"
            "Choose device='auto', device='cpu', or install a torch build for your accelerator."
        ) from error
    missing = sum(_bytes_of(item) for item in view.segments if place not in _segments.get(item, {}))
    if missing:
        unused = torch.cuda.memory_reserved(place) - torch.cuda.memory_allocated(place)
        room = torch.cuda.mem_get_info(place)[0] + unused
        if missing + _WORKSPACE_BYTES > room:
            if auto:
                return None
            raise BadInput(
                f"Searching on '{device}' needs {(missing + _WORKSPACE_BYTES) / 1e9:.1f} GB there, "
                f"and {room / 1e9:.1f} GB are free. Choose device='cpu'."
            )
    return place


class TorchSearch(SealedSearch):
    """One query over one view, on a device."""

    def __init__(self, view: SealedView, query: TokenVectors, device: torch.device) -> None:
        stored = view.stored
        assert stored is not None, "there is nothing sealed to search"
        self._view = view
        self._device = device
        self._query = np.ascontiguousarray(query, dtype=np.float32)
        dim = stored.dim
        if self._query.ndim != 2 or self._query.shape[1] != dim or not len(self._query):
            raise BadInput(f"cannot search with a query of {self._query.shape}, not (any, {dim})")
        if not np.isfinite(self._query).all():
            raise BadInput("cannot search with this query: it has values that are not finite")
        self._codec = _copy(_codecs, stored, device, lambda: _CodecCopy(stored, device))
        # Products in 64 bits: those of 32 keep only ten where the process allows TF32, and that
        # switch is global. (query tokens, dim) and, rounded once, (K, query tokens)
        self._wide_query = torch.tensor(self._query, dtype=torch.float64, device=device)
        products = self._codec.integers.double() @ self._wide_query.T
        self._table = (products * stored.unit).float()

    def maxima(self, slots: Slots) -> NDArray[np.float32]:
        found = [torch.empty((0, len(self._query)), device=self._device, dtype=torch.float32)]
        for segment, own in split(slots, self._view.segments):
            copy = self._segment(segment)
            for rows, lengths in copy.blocks(self._tensor(own), _EXACT_TOKENS):
                fields = copy.residuals[rows].flatten().int()
                residuals = self._codec.byte_weights.index_select(0, fields)
                products = residuals.view(len(rows), self._query.shape[1]) @ self._wide_query.T
                products += self._table.index_select(0, copy.codes[rows])
                products *= copy.inverse_norms[rows, None]
                numbers = torch.arange(len(rows), dtype=torch.int32, device=self._device)
                found.append(_best(products.float(), numbers, lengths))
        maxima: NDArray[np.float32] = torch.cat(found).cpu().numpy()
        return maxima

    def candidates(
        self,
        weights: NDArray[np.floating],
        allowed: Mask,
        depths: Depths,
        *,
        owners: Owners | None = None,
        memories: int = 0,
    ) -> Slots:
        if np.count_nonzero(allowed) <= depths.exact:
            return np.flatnonzero(allowed)
        table = self._table * self._tensor(np.asarray(weights, dtype=np.float32))
        tokens = _RANKED_TOKENS * 32 // max(32, len(self._query))
        found, ranked = [], []
        for base, segment in self._view.parts():
            own = self._tensor(allowed[base : base + len(segment)]).nonzero().squeeze(1)
            found.append(own + base)
            copy = self._segment(segment)
            for rows, lengths in copy.blocks(own, tokens):
                ranked.append(_best(table, copy.codes[rows], lengths).sum(dim=1))
        slots, scores = torch.cat(found), torch.cat(ranked)
        # stable: ties go to earlier slots, as they do on the CPU
        order = torch.argsort(scores, descending=True, stable=True)
        best: Slots = slots[order[: depths.exact]].sort().values.cpu().numpy()
        if owners is None or len(np.unique(owners[best])) >= memories:
            return best
        every: Slots = slots.cpu().numpy()
        return every[spread(scores.cpu().numpy(), owners[every], depths.exact, memories)]

    def _nearest(self, count: int) -> NDArray[np.int32]:
        nearest = self._table.topk(min(count, len(self._table)), dim=0).indices.T
        numbers: NDArray[np.int32] = nearest.int().cpu().numpy()
        return numbers

    def _segment(self, segment: Segment) -> _SegmentCopy:
        device, centroids = self._device, len(self._table)
        return _copy(_segments, segment, device, lambda: _SegmentCopy(segment, centroids, device))

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        return torch.tensor(array, device=self._device)


def _best(table: Tensor, rows: Tensor, lengths: Tensor) -> Tensor:
    """Return, per passage, the largest of each column among its rows of a table.

    Minus infinity without rows. An embedding bag of torch gathers and takes the maximum in one
    pass, one thread per passage and column: nothing of the size of all tokens is written.

    Shapes: table (any, columns); rows (tokens,), int32; lengths (passages,). Returns (passages,
        columns).
    """
    starts = (lengths.cumsum(0) - lengths).int()
    best = functional.embedding_bag(rows, table, starts, mode="max")
    return best.masked_fill((lengths == 0)[:, None], -torch.inf)


def _copy(
    copies: MutableMapping[_Owner, dict[torch.device, _Copy]],
    owner: _Owner,
    device: torch.device,
    make: Callable[[], _Copy],
) -> _Copy:
    with _copying:
        places = copies.setdefault(owner, {})
        if device not in places:
            places[device] = make()
        return places[device]


def _bytes_of(segment: Segment) -> int:
    # codes take four bytes there
    others = (segment.residuals, segment.inverse_norms, segment.offsets)
    return 4 * segment.tokens + sum(array.nbytes for array in others)
