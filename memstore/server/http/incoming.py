"""Bodies as they arrive: of a kind, a size and a speed that the server takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request

from memstore.server.http.problems import Problem

_SLOWEST = 16 * 1024  # bytes a second that a long body must keep up


async def parts_of(request: Request, most: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield a body in the parts it comes in.

    Args:
        most: bytes.
        seconds: until it must be there; a long one may take more.

    Raises:
        Problem: it is larger, or slower.
    """
    said = request.headers.get("content-length")
    if said is not None and int(said) > most:  # h11 has seen that it is a number
        raise _too_large(most)
    size = 0
    clock = asyncio.get_running_loop().time
    began = clock()
    stream = request.stream()
    try:
        while True:
            left = began + seconds + size / _SLOWEST - clock()
            async with asyncio.timeout(left):
                part = await anext(stream, None)
            if part is None:
                return
            size += len(part)
            if size > most:
                raise _too_large(most)
            yield part
    except TimeoutError as error:
        raise Problem(
            408,
            "too-slow",
            f"After {clock() - began:.0f} seconds, {size:,} bytes of the body were there.",
            headers={"Connection": "close"},
        ) from error
    finally:
        await stream.aclose()


def check_media_type(request: Request, media_types: tuple[str, ...]) -> None:
    """Refuse a body of another kind, or one that is compressed.

    Raises:
        Problem: it is.
    """
    length = request.headers.get("content-length", "0")
    if length == "0" and "transfer-encoding" not in request.headers:
        return
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if kind not in media_types or coding != "identity":
        shown = "" if coding == "identity" else f", in {coding}"
        raise Problem(
            415,
            "media-type",
            f"The body is {kind or 'of no kind'}{shown}. Send {' or '.join(media_types)}.",
            headers={"Accept": ", ".join(media_types), "Accept-Encoding": "identity"},
        )


def _too_large(most: int) -> Problem:
    return Problem(413, "too-large", f"The body has more than {most:,} bytes. Send less at once.")
