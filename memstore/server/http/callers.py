"""Who asks, and what that one may see."""

from __future__ import annotations

from starlette.requests import Request

from memstore.server.http.options import Options
from memstore.server.http.problems import Problem
from memstore.server.http.tokens import find_token
from memstore.server.scope import Scope

ANYONE = "anyone"  # the name of callers where there are no tokens


def caller_of(request: Request, options: Options) -> tuple[str, Scope]:
    """Return the name and the scope of who makes a request.

    Raises:
        Problem: there are tokens, and the request has none of them.
    """
    if not options.tokens:
        return ANYONE, options.scope
    given = request.headers.getlist("authorization")
    if not given:
        raise _refused("This server asks for a token: Authorization: Bearer TOKEN.", "")
    kind, _, secret = given[0].partition(" ")
    token = find_token(options.tokens, secret.strip()) if kind.lower() == "bearer" else None
    if token is None or len(given) > 1:
        raise _refused("This is no token of this server.", ', error="invalid_token"')
    return token.name, token.scope.narrowed(options.scope)


def _refused(detail: str, error: str) -> Problem:
    headers = {"WWW-Authenticate": f'Bearer realm="memstore"{error}'}
    return Problem(401, "token-required", detail, headers=headers)


def check_writable(scope: Scope) -> None:
    """Refuse a caller that may only read.

    Raises:
        Problem: it may.
    """
    if scope.read_only:
        detail = "Only reading is allowed here: the server or the token says so."
        headers = {"WWW-Authenticate": 'Bearer realm="memstore", error="insufficient_scope"'}
        raise Problem(403, "read-only", detail, headers=headers)


def check_whole(scope: Scope) -> None:
    """Refuse a caller that may see some namespaces only what speaks of the whole store.

    Raises:
        Problem: it may.
    """
    if not scope.whole:
        detail = "This speaks of the whole store, and this caller may see some namespaces of it."
        raise Problem(403, "outside-scope", detail)
