"""The hot tier: token vectors of unsealed passages in memory, scored exactly."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memstore.errors import BadInput, IndexDamaged
from memstore.index._kernels import token_maxima
from memstore.index.files import ADVICE
from memstore.index.quantization import TokenCodes, TokenScales, dequantize
from memstore.maxsim import TokenVectors

Ids = NDArray[np.int64]
Slots = NDArray[np.int64]  # positions in the arrays of one view

SMALLEST_PASSAGE_CAPACITY = 64
SMALLEST_TOKEN_CAPACITY = 2048


@dataclass(frozen=True, slots=True, eq=False)
class HotView:
    """What a hot tier held at one moment; stays as it is while the tier goes on.

    Shapes: every array (slots,), read-only, in order of insertion. A slot means a position in this
    view only. `live` is false for passages that were removed: their other values are stale.
    """

    passage_ids: Ids
    owners: Ids
    lengths: NDArray[np.int64]
    live: NDArray[np.bool_]
    _starts: NDArray[np.int64]
    _codes: TokenCodes
    _scales: TokenScales

    def vectors(self, passage_id: int) -> TokenVectors | None:
        """Return the decoded vectors of a live passage, (tokens, dim); None if it is not here."""
        for slot in np.flatnonzero((self.passage_ids == passage_id) & self.live).tolist():
            tokens = slice(self._starts[slot], self._starts[slot] + self.lengths[slot])
            return dequantize(self._codes[tokens], self._scales[tokens])
        return None

    def similarities(self, query: TokenVectors, slots: Slots) -> NDArray[np.float32]:
        """Return, per slot and query token, the best match in the passage: (slots, query tokens).

        The bits of a row depend on the query and the passage alone: not on the other slots, the
        thread or the processor. Releases the interpreter lock.

        Args:
            query: (query tokens, dim), finite.
            slots: (slots,), any order.

        Raises:
            BadInput: the query has another dimension, no token, or a value that is not finite.
            IndexError: a slot outside the view.
        """
        if slots.size and (slots.min() < 0 or slots.max() >= len(self.live)):
            raise IndexError(
                f"slots {slots.min()} to {slots.max()} of a view of {len(self.live)} slots"
            )
        try:
            return token_maxima(
                self._codes,
                self._scales,
                self._starts[slots],
                self.lengths[slots],
                np.ascontiguousarray(query, dtype=np.float32),
            )
        except ValueError as error:
            raise BadInput(f"cannot search with this query: {error}") from error


class HotTier:
    """The vectors of passages that no sealed segment holds yet.

    One thread at a time may change it; any number may take views and search them meanwhile.
    Appending writes only beyond what views can see or into new arrays; removing replaces the
    `live` array. So a view costs nothing and never changes.

    Space of removed passages is given back when they hold more tokens than the live ones: moving
    the rest then costs less than adding the removed ones did.

    Args:
        dim: dimensions of every token vector.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._passage_ids = np.empty(0, dtype=np.int64)
        self._owners = np.empty(0, dtype=np.int64)
        self._lengths = np.empty(0, dtype=np.int64)
        self._starts = np.empty(0, dtype=np.int64)
        self._live = np.empty(0, dtype=np.bool_)
        self._codes = np.empty((0, self.dim), dtype=np.int8)
        self._scales = np.empty(0, dtype=np.float32)
        self._slots: dict[int, int] = {}
        self._passages = 0
        self._tokens = 0
        self._live_tokens = 0
        self._publish()

    def __len__(self) -> int:
        """Number of live passages."""
        return len(self._slots)

    @property
    def tokens(self) -> int:
        """Number of token vectors of live passages."""
        return self._live_tokens

    def view(self) -> HotView:
        """Return the tier as the last finished change left it."""
        return self._view

    def append(
        self,
        passage_ids: Ids,
        owners: Ids,
        lengths: NDArray[np.int64],
        codes: TokenCodes,
        scales: TokenScales,
    ) -> None:
        """Add passages; views taken from now on hold them.

        Args:
            passage_ids: (passages,), none of them live in the tier.
            owners: (passages,), the store's position of the memory each passage belongs to.
            lengths: (passages,), tokens of each passage, at least one.
            codes: (sum of lengths, dim), the passages' tokens one after another.
            scales: (sum of lengths,), finite, >= 0.

        Raises:
            IndexDamaged: the arrays contradict each other or the tier, which is left as it was.
        """
        new_ids = self._check(passage_ids, owners, lengths, codes, scales)
        passages, tokens = self._passages + len(new_ids), self._tokens + len(scales)
        self._reserve(passages, tokens)
        added, added_tokens = slice(self._passages, passages), slice(self._tokens, tokens)
        self._passage_ids[added] = passage_ids
        self._owners[added] = owners
        self._lengths[added] = lengths
        self._starts[added] = self._tokens + np.cumsum(lengths) - lengths
        self._live[added] = True
        self._codes[added_tokens] = codes
        self._scales[added_tokens] = scales
        self._slots.update(zip(new_ids, range(self._passages, passages), strict=True))
        self._passages, self._tokens = passages, tokens
        self._live_tokens += len(scales)
        self._publish()

    def remove(self, passage_ids: Ids) -> int:
        """Take passages out and return how many there were; ids the tier does not hold are passed
        over, since a removed passage may be in any tier.
        """
        slots = [
            slot
            for slot in (self._slots.pop(id_, None) for id_ in passage_ids.tolist())
            if slot is not None
        ]
        if not slots:
            return 0
        self._live = self._live.copy()
        self._live[slots] = False
        self._live_tokens -= int(self._lengths[slots].sum())
        if self._live_tokens * 2 < self._tokens:
            self._compact()
        self._publish()
        return len(slots)

    def _check(
        self,
        passage_ids: Ids,
        owners: Ids,
        lengths: NDArray[np.int64],
        codes: TokenCodes,
        scales: TokenScales,
    ) -> list[int]:
        new_ids: list[int] = passage_ids.tolist()
        wrong = self._wrong(new_ids, owners, lengths, codes, scales)
        if wrong is not None:
            raise IndexDamaged(f"{wrong}. {ADVICE}")
        return new_ids

    def _wrong(
        self,
        new_ids: list[int],
        owners: Ids,
        lengths: NDArray[np.int64],
        codes: TokenCodes,
        scales: TokenScales,
    ) -> str | None:
        count = len(new_ids)
        if not len(owners) == len(lengths) == count:
            return f"{count} passages come with {len(owners)} owners and {len(lengths)} lengths"
        if count and lengths.min() < 1:
            return f"passage {new_ids[lengths.argmin()]} has {lengths.min()} token vectors"
        expected = (int(lengths.sum()), self.dim)
        if codes.dtype != np.int8 or codes.shape != expected or scales.shape != expected[:1]:
            return (
                f"{count} passages of {expected[0]} tokens in {self.dim} dimensions come with "
                f"{codes.dtype} codes {codes.shape} and scales {scales.shape}"
            )
        if not (np.isfinite(scales) & (scales >= 0)).all():
            return "a token's scale is negative or not finite"
        if len(set(new_ids)) < count:
            return "the same passage comes twice in one call"
        known = self._slots.keys() & set(new_ids)
        return f"passage {min(known)} is in the hot tier already" if known else None

    def _reserve(self, passages: int, tokens: int) -> None:
        # The array that is compared grows last: running out of memory halfway changes nothing.
        if passages > len(self._live):
            capacity = max(SMALLEST_PASSAGE_CAPACITY, passages, 2 * len(self._live))
            self._passage_ids = _grown(self._passage_ids, self._passages, capacity)
            self._owners = _grown(self._owners, self._passages, capacity)
            self._lengths = _grown(self._lengths, self._passages, capacity)
            self._starts = _grown(self._starts, self._passages, capacity)
            self._live = _grown(self._live, self._passages, capacity)
        if tokens > len(self._scales):
            capacity = max(SMALLEST_TOKEN_CAPACITY, tokens, 2 * len(self._scales))
            self._codes = _grown(self._codes, self._tokens, capacity)
            self._scales = _grown(self._scales, self._tokens, capacity)

    def _compact(self) -> None:
        # Into new arrays: views keep the old ones. Tokens lie in the order of their passages.
        live = self._live[: self._passages]
        live_tokens = np.repeat(live, self._lengths[: self._passages])
        self._codes = self._codes[: self._tokens][live_tokens]
        self._scales = self._scales[: self._tokens][live_tokens]
        self._passage_ids = self._passage_ids[: self._passages][live]
        self._owners = self._owners[: self._passages][live]
        self._lengths = self._lengths[: self._passages][live]
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._live = np.ones(len(self._lengths), dtype=np.bool_)
        self._passages, self._tokens = len(self._lengths), len(self._scales)
        self._slots = {id_: slot for slot, id_ in enumerate(self._passage_ids.tolist())}

    def _publish(self) -> None:
        # One assignment, so that a reader sees all of a change or nothing of it.
        self._view = HotView(
            passage_ids=_frozen(self._passage_ids, self._passages),
            owners=_frozen(self._owners, self._passages),
            lengths=_frozen(self._lengths, self._passages),
            live=_frozen(self._live, self._passages),
            _starts=_frozen(self._starts, self._passages),
            _codes=_frozen(self._codes, self._tokens),
            _scales=_frozen(self._scales, self._tokens),
        )


def _grown(array: NDArray[Any], used: int, capacity: int) -> NDArray[Any]:
    larger = np.empty((capacity, *array.shape[1:]), dtype=array.dtype)
    larger[:used] = array[:used]
    return larger


def _frozen(array: NDArray[Any], used: int) -> NDArray[Any]:
    part = array[:used]
    part.flags.writeable = False
    return part
