"""The commands that serve a store over HTTP: serve, and token for who may use it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from memstore.cli import output
from memstore.cli.options import encoder_option

if TYPE_CHECKING:
    from memstore.server.http.options import Limits
    from memstore.store import MemoryStore

_LOCK_TIMEOUT = 10.0  # seconds a writer waits for another one: less than clients wait for an answer


@click.command()
@click.option(
    "--http",
    "address",
    default="127.0.0.1:8000",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 is any free one.",
)
@click.option(
    "--namespace",
    "-n",
    "namespaces",
    multiple=True,
    metavar="PATH",
    help="Serve it and all below it, and nothing else. May be given several times.",
)
@click.option("--read-only", is_flag=True, help="Change nothing, whatever a token allows.")
@click.option(
    "--tokens",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Who may see and change what; `memstore token` makes it.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Another name that clients call this host.",
)
@click.option(
    "--rerank",
    "rerankers",
    multiple=True,
    metavar="NAME",
    help="A reranker that queries may name. May be given several times.",
)
@click.option("--readers", type=click.IntRange(1, 256), metavar="N", help="Threads that read.")
@click.option("--writers", type=click.IntRange(1, 256), metavar="N", help="Threads that write.")
@click.option(
    "--max-requests", "requests", type=click.IntRange(1), metavar="N", help="In work at once."
)
@click.option(
    "--max-body", "body_bytes", type=click.IntRange(1), metavar="BYTES", help="Of a request."
)
@click.option(
    "--stop-seconds",
    type=click.FloatRange(1),
    metavar="S",
    help="How long requests in work may take once the server is told to stop.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(0),
    metavar="S",
    help="How long /readyz says 503 before that.",
)
@click.option("--log-requests", is_flag=True, help="Print a line per request on stderr.")
@encoder_option
@click.pass_context
def serve(
    ctx: click.Context,
    /,
    address: str,
    namespaces: tuple[str, ...],
    read_only: bool,
    tokens: Path | None,
    hosts: tuple[str, ...],
    rerankers: tuple[str, ...],
    log_requests: bool,
    encoder: str | None,
    **limits: Any,
) -> None:
    """Serve the store over HTTP, and a page to look with. docs/http.md says more.

    Without --tokens it listens to this machine alone. SIGTERM and Ctrl-C finish the requests in
    work first; a second one ends at once.
    """
    from memstore.server.http.options import Options, host_and_port
    from memstore.server.http.running import listen, serve, url_of
    from memstore.server.http.tokens import read_tokens
    from memstore.server.scope import EVERYTHING, Scope

    _log(ctx, requests=log_requests)
    options = Options(
        tokens=() if tokens is None else read_tokens(tokens),
        scope=Scope(namespaces or (EVERYTHING,), read_only),
        hosts=tuple(host.lower() for host in hosts),
        rerankers=rerankers,
        limits=_limits(limits),
    )
    with (
        listen(*host_and_port(address), options) as listener,
        _open(ctx, encoder, read_only=read_only) as store,
    ):
        for name in rerankers:
            store.reranker(name)  # what cannot be loaded is said now, not with a query
        finished = serve(
            store,
            listener,
            options,
            announce=lambda: output.note(f"memstore serves {store.path} at {url_of(listener)}"),
        )
        if not finished:
            output.note("Error: requests were still in work and are cut off; see --stop-seconds.")
            os._exit(1)  # the store takes it like a kill; its threads would be waited for


def _limits(given: dict[str, Any]) -> Limits:
    from memstore.server.http.options import Limits

    return Limits(**{name: value for name, value in given.items() if value is not None})


def _open(ctx: click.Context, encoder: str | None, *, read_only: bool) -> MemoryStore:
    from memstore.store import MemoryStore

    path, device, settings = (ctx.obj[name] for name in ("store", "device", "settings"))
    return MemoryStore.open(
        path,
        read_only=read_only,
        encoder=encoder,
        device=device,
        settings={"lock_timeout": _LOCK_TIMEOUT, **settings},
    )


def _log(ctx: click.Context, *, requests: bool) -> None:
    """Send what the server says of itself to stderr, until the command ends."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("memstore.http")
    logger.setLevel(logging.INFO if requests else logging.WARNING)
    logger.addHandler(handler)
    ctx.call_on_close(lambda: logger.removeHandler(handler))


@click.command()
@click.argument("name")
@click.option(
    "--tokens",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The file to add it to; made if there is none.",
)
@click.option(
    "--namespace",
    "-n",
    "namespaces",
    multiple=True,
    metavar="PATH",
    help="What it may see, with all below it; everything by default. Several times for several.",
)
@click.option("--read-only", is_flag=True, help="It may change nothing.")
def token(name: str, tokens: Path, namespaces: tuple[str, ...], read_only: bool) -> None:
    """Make a token for `serve`, and print it: the file keeps only its hash.

    NAME is for logs and for you. To revoke a token, take its entry out of the file and start the
    server again.
    """
    from memstore.server.http.tokens import add_token, new_token
    from memstore.server.scope import EVERYTHING

    secret, entry = new_token(name, namespaces or (EVERYTHING,), read_only=read_only)
    add_token(tokens, entry)
    output.line(secret)
    output.note(f"{name!r} is in {tokens}; this is the only time the token is shown.")
