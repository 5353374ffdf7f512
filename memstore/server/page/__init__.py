"""The page to look with: plain files, sent with headers that let them do nothing else.

A browser runs the scripts of this folder and no others, loads nothing from elsewhere, and refuses
to make elements of text (`require-trusted-types-for`): what a memory says stays a text.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from memstore.errors import MissingExtra

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

_FOLDER = Path(__file__).parent
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_ASK_AGAIN = "no-cache"  # kept, and asked for again each time: 304 while it is the same
_KEEP = "private, max-age=31536000, immutable"


def page_routes() -> list[Route]:
    """Return the routes of the page: `/`, and `/page/VERSION/FILE` for what it is made of.

    VERSION is a digest of all files: a browser keeps them for good, and no script of an earlier
    version meets a newer one.

    Raises:
        MissingExtra: starlette is not installed.
    """
    try:
        from starlette.exceptions import HTTPException
        from starlette.routing import Route
    except ImportError as error:
        raise MissingExtra(
            "The page needs starlette, which is not installed. Install it with:\n"
            "    pip install 'memstore[serve]'"
        ) from error

    files = {
        path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir()) if path.suffix in _TYPES
    }
    version = _digest(b"\0".join(files.values()))[:16]
    start = files.pop("index.html").replace(b'="page/', f'="page/{version}/'.encode())

    async def index(request: Request) -> Response:
        return _answer(request, ".html", start, _ASK_AGAIN)

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        asked = request.path_params["version"]
        content = files.get(name) if asked == version else None
        if content is None:
            raise HTTPException(404)
        return _answer(request, Path(name).suffix, content, _KEEP)

    return [
        Route("/", index, methods=["GET"], include_in_schema=False),
        Route("/page/{version}/{name}", file, methods=["GET"], include_in_schema=False),
    ]


def _answer(request: Request, suffix: str, content: bytes, caching: str) -> Response:
    from starlette.responses import Response

    tag = f'"{_digest(content)}"'
    headers = {**_HEADERS, "cache-control": caching, "etag": tag}
    known = [item.strip() for item in request.headers.get("if-none-match", "").split(",")]
    # W/: proxies that compress say so
    if tag in known or f"W/{tag}" in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[suffix], headers=headers)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
