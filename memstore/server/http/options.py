"""What a server may be told: who may use it, how much it takes at once, how long it waits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from memstore.errors import BadInput
from memstore.server.http.tokens import Token
from memstore.server.scope import Scope

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one server takes at once. What is beyond is refused, not queued without end."""

    body_bytes: int = 4 * MIB
    """Of a request, but for an ingest: some thousand memories."""

    ingest_bytes: int = 256 * MIB
    """Of the lines of one ingest; they are kept on disk, not in memory."""

    answer_characters: int = 16 * MIB
    """Of the memories in one answer: a list has fewer then, a query is refused."""

    requests: int = 64
    """Requests in work at once; beyond it they are told to come back (503)."""

    connections: int = 512
    """Open connections: half of the files that a process may usually open."""

    readers: int = 4
    """Threads that read the store. Search leaves Python's lock for most of its time."""

    writers: int = 2
    """Threads that write: one encodes while the other commits. They are no readers, so that
    readers go on while all writers wait for another process."""

    body_seconds: float = 30.0
    """How long a body may take to arrive."""

    head_seconds: float = 10.0
    """How long a request's head may take to arrive."""

    taking_seconds: float = 10.0
    """How long a client may take nothing of an answer that is ready for it."""

    idle_seconds: float = 5.0
    """How long a connection may stay open without a request."""

    stop_seconds: float = 20.0
    """How long requests in work may take to finish once the server is told to stop."""

    drain_seconds: float = 0.0
    """How long `/readyz` says 503 before a server that stops refuses connections."""

    kept_answers: int = 10_000
    """Answers kept for `Idempotency-Key`, at most."""

    kept_bytes: int = 64 * MIB
    """Of these answers."""

    kept_seconds: float = 24 * 3600.0
    """How long an answer is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A server's options.

    `scope` is what anyone may see where there are no tokens, and bounds what a token allows.
    `hosts` are names the server may be called by, besides those of the loopback interface;
    `rerankers` those that queries may name.
    """

    tokens: tuple[Token, ...] = ()
    scope: Scope = field(default_factory=Scope)
    hosts: tuple[str, ...] = ()
    rerankers: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)


def host_and_port(written: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`, an IPv6 host in brackets.

    >>> host_and_port("[::1]:8000")
    ('::1', 8000)

    Raises:
        BadInput: it is neither.
    """
    host, _, port = written.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise BadInput(
            f"{written!r} is no HOST:PORT. Give for example 127.0.0.1:8000; port 0 is any free one."
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
