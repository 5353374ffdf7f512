"""`Idempotency-Key`: the answer to a write is kept, and given again to who asks again.

Kept in memory: until it is old, others need its place, or the server ends. What survives that is
what the store remembers itself: see `docs/http.md`.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from starlette.responses import Response

from memstore.server.http.problems import Problem

REPLAYED = "Idempotent-Replayed"
MOST_CHARACTERS = 255
# a string of structured fields (RFC 9651), as the draft wants it, or as most clients send it
PATTERN = r'^("([ !#-\[\]-~]|\\["\\])+"|[!#-~]+)$'


@dataclass(slots=True)
class _Kept:
    """What was asked under a key, and the answer to it; None while it is being made."""

    asked: bytes
    expires: float = math.inf
    keep: bool = True
    answer: tuple[int, Mapping[str, str], bytes] | None = None

    @property
    def size(self) -> int:
        return 0 if self.answer is None else len(self.answer[2])


class KeptAnswers:
    """Answers by key, of which each caller has its own: so many, so large and so old at most, the
    oldest leave first.
    """

    def __init__(
        self, *, most: int, most_bytes: int, seconds: float, clock: Callable[[], float]
    ) -> None:
        self._most, self._most_bytes, self._seconds = most, most_bytes, seconds
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, key: str, asked: bytes) -> Response | None:
        """Return the answer to a request that was answered before; None for a new one, of which
        `end` must say how it went.

        Args:
            asked: a digest of the request: two that differ are two requests.

        Raises:
            Problem: the same request is in work, or another one had the same key.
        """
        self._drop_old()
        known = self._kept.get(key)
        if known is None:
            self._kept[key] = _Kept(asked)
            return None
        if known.asked != asked:
            raise Problem(
                422,
                "idempotency-key-reused",
                "This Idempotency-Key came with another request before. Give each its own.",
                errors=[{"parameter": "Idempotency-Key", "detail": "used for another request"}],
            )
        if known.answer is None:
            raise Problem(
                409,
                "idempotency-key-in-work",
                "The request of this Idempotency-Key is still in work. Ask again.",
                headers={"Retry-After": "1"},
            )
        status, headers, body = known.answer
        return Response(body, status, headers={**headers, REPLAYED: "true"})

    def end(self, key: str, answer: Response | None) -> None:
        """Keep an answer that says what was done. One that says nothing was done is not kept: who
        asks again may have better luck.
        """
        kept = self._kept.pop(key)
        if not kept.keep or answer is None or not 200 <= answer.status_code < 300:
            return
        headers = {name: answer.headers[name] for name in _REPEATED if name in answer.headers}
        kept.answer = (answer.status_code, headers, bytes(answer.body))
        kept.expires = self._clock() + self._seconds
        self._kept[key] = kept
        self._bytes += kept.size
        self._drop_old()

    def clear(self, but: str | None = None) -> None:
        """Remove all answers, since what was forgotten may be in one of them, and keep none of the
        requests in work but that of the key `but`.
        """
        for key, kept in list(self._kept.items()):
            kept.keep = key == but
            if kept.answer is not None:
                del self._kept[key]
        self._bytes = 0

    def _drop_old(self) -> None:
        """Remove answers that are old, and the oldest ones while there are too many."""
        now, number, size = self._clock(), len(self._kept), self._bytes
        leaving = []
        for place, kept in self._kept.items():
            if kept.answer is None:  # what is in work leaves when it ends
                continue
            if kept.expires > now and number <= self._most and size <= self._most_bytes:
                break  # those behind it are younger
            leaving.append(place)
            number -= 1
            size -= kept.size
        for place in leaving:
            self._bytes -= self._kept.pop(place).size


_REPEATED = ("content-type", "location", "etag")


def key_of(written: list[str]) -> str | None:
    """Return the key that the headers of a request give, in quotes or without.

    >>> key_of(['"8e03978e"']), key_of(["8e03978e"]), key_of([])
    ('8e03978e', '8e03978e', None)

    Raises:
        Problem: it is no key, or there are two.
    """
    if not written:
        return None
    if len(written) > 1 or len(written[0]) > MOST_CHARACTERS or not re.match(PATTERN, written[0]):
        raise Problem(
            422,
            "invalid",
            f"Idempotency-Key is to be given once: at most {MOST_CHARACTERS} visible characters of "
            "ASCII, in double quotes or without.",
            errors=[{"parameter": "Idempotency-Key", "detail": "no key"}],
        )
    if written[0].startswith('"'):
        return re.sub(r"\\(.)", r"\1", written[0][1:-1])
    return written[0]
