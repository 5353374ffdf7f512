"""Versions of memories as entity tags: changes only of what the caller knows (RFC 9110)."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from memstore import Memory, VersionConflict
from memstore.server.http.problems import Problem
from memstore.server.http.service import answer

CHANGED = "/v1/memories/{id}"  # the path of what can be changed on a condition
_TAG = r'(?:W/)?"[!#-~]*"'
PATTERN = rf"^(?:\*|{_TAG}(?:\s*,\s*{_TAG})*)$"


class Preconditions:
    """`If-None-Match` of a request that reads a memory."""

    def __init__(self, request: Request) -> None:
        self._known = _tags(request, "If-None-Match") or set()

    def answer(self, memory: Memory) -> Response:
        """Return the memory with its tag, or 304 for one that the caller knows."""
        tag = tag_of(memory)
        headers = {"etag": tag, "cache-control": "private, no-cache"}
        # a weak tag will do to save sending the same again
        if self._known & {tag, f"W/{tag}", "*"}:
            return Response(status_code=304, headers=headers)
        return answer(memory, 200, **headers)


class Expected:
    """`If-Match` of a request that changes a memory."""

    def __init__(self, request: Request) -> None:
        self._tags = _tags(request, "If-Match")

    def version(self, memory: Memory) -> str | None:
        """Return the version that the memory must still have when it is changed; None for any.

        Raises:
            VersionConflict: it has none of those that the caller knows.
        """
        if self._tags is None or "*" in self._tags:
            return None
        if tag_of(memory) not in self._tags:
            raise VersionConflict(
                f"Memory {memory.id} has version {tag_of(memory)}, which is not in If-Match: it "
                "was changed since. Read it again and repeat what is still meant."
            )
        return memory.version


# dependencies; FastAPI would send one that is not `async` through a thread


async def preconditions(request: Request) -> Preconditions:
    """Return what a request says in `If-None-Match`."""
    return Preconditions(request)


async def expected_of(request: Request) -> Expected:
    """Return what a request says in `If-Match`."""
    return Expected(request)


def tag_of(memory: Memory) -> str:
    """Return a memory's entity tag."""
    return f'"{memory.version}"'


def _tags(request: Request, name: str) -> set[str] | None:
    """Return the tags that a header lists, or `*`; None without the header.

    Raises:
        Problem: it lists something else. To take it for nothing would change what should stay.
    """
    written = request.headers.getlist(name)
    if not written:
        return None
    listed = ", ".join(written).strip()
    if not re.match(PATTERN, listed):
        said = f"{name} is {listed!r}; give what ETag said, in its double quotes, or *."
        errors = [{"parameter": name, "detail": said}]
        raise Problem(422, "invalid", said, errors=errors)
    return {"*"} if listed == "*" else set(re.findall(_TAG, listed))
