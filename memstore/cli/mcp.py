"""The command that serves a store to agents over the Model Context Protocol."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
from pathlib import Path

import click

from memstore.cli import output
from memstore.cli.options import encoder_option, namespace_option, open_store
from memstore.errors import BadInput

_TOKEN = "MEMSTORE_MCP_TOKEN"


def address(written: str) -> tuple[str, int]:
    """Return host and port of an option HOST:PORT; an IPv6 host may be in brackets."""
    host, colon, port = written.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise click.BadParameter(f"{written!r} is no HOST:PORT, such as 127.0.0.1:8765.")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


@click.command()
@namespace_option
@click.option("--read-only", is_flag=True, help="Offer no tool that writes.")
@click.option(
    "--tool",
    "tools",
    multiple=True,
    metavar="NAME",
    help="Offer this one, and no others but those given too.",
)
@encoder_option
@click.option(
    "--http",
    type=address,
    metavar="HOST:PORT",
    help="Streamable HTTP at /mcp instead of stdin and stdout; port 0 takes a free one.",
)
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help=f"What HTTP clients must send as a bearer token; ${_TOKEN} instead.",
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Another name that HTTP clients call this host.",
)
@click.option(
    "--allow-anyone", is_flag=True, help="Listen to other machines though there is no token."
)
@click.pass_context
def mcp(
    ctx: click.Context,
    namespace: str,
    read_only: bool,
    tools: tuple[str, ...],
    encoder: str | None,
    http: tuple[str, int] | None,
    token_file: Path | None,
    names: tuple[str, ...],
    allow_anyone: bool,
) -> None:
    """Serve memories to agents: the Model Context Protocol on stdin and stdout, or HTTP.

    Agents see one namespace and what is below it, and cannot ask for another.
    """
    if http is None and (token_file or names or allow_anyone):
        raise click.UsageError("--token-file, --allow-host and --allow-anyone need --http.")
    token = None if http is None else _token(token_file)
    if http is not None and token is None and not allow_anyone and not _is_loopback(http[0]):
        raise click.UsageError(
            f"Everybody who reaches {http[0]} could read and change the memories. Give a token "
            f"(--token-file, ${_TOKEN}), listen to 127.0.0.1, or say --allow-anyone."
        )
    if http is not None and not names and _is_unspecified(http[0]):
        raise click.UsageError(
            f"{http[0]} is every address of this machine, and requests are refused under a name "
            "that it is not known by. Say what clients call it: --allow-host NAME."
        )
    # while starting; and once uvicorn is done, which then repeats the signal it was ended by
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    from memstore import MemoryStore, MissingExtra
    from memstore.server.scope import Scope

    try:
        from memstore.server.mcp.serving import build_server
    except ImportError as error:
        raise MissingExtra(
            f"The MCP server needs a package that is missing ({error.name}). "
            "Install it: pip install 'memstore[mcp]'"
        ) from error
    if read_only:
        path, device, settings = (ctx.obj[name] for name in ("store", "device", "settings"))
        store = MemoryStore.open(
            path, read_only=True, encoder=encoder, device=device, settings=settings
        )
        ctx.call_on_close(store.close)
    else:
        store = open_store(ctx, create=True, encoder=encoder)
    scope = Scope((namespace,), read_only)
    store.namespaces(under=namespace)  # one that is no path is refused now, not with every call
    server = build_server(store, scope, tools or None)
    seen = f"{store.path}, namespace {namespace}{', read only' if read_only else ''}"
    if http is None:
        from memstore.server.mcp.stdio import serve_stdio

        output.note(f"memstore mcp: {seen}, on stdin and stdout")
        serve_stdio(server)
        return
    from memstore.server.listening import listen
    from memstore.server.mcp.http import LOOPBACK, PATH, build_app, serve_http

    with listen(*http) as listening:
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        known = (*LOOPBACK, shown, *names)
        output.note(f"memstore mcp: {seen}, at http://{shown}:{port}{PATH}")
        serve_http(build_app(server, names=known, token=token), listening)


def _token(file: Path | None) -> str | None:
    """Return the token of HTTP clients: that of the file, else of the environment."""
    place = f"{file}" if file is not None else f"${_TOKEN}"
    written = os.environ.get(_TOKEN) if file is None else file.read_text(encoding="utf-8")
    if written is None:
        return None
    token = written.strip()
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise BadInput(
            f"{place} has no token: give at least 16 ASCII characters without spaces, such as "
            "`openssl rand -hex 32` prints."
        )
    return token


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False  # a name


def _is_unspecified(host: str) -> bool:
    return host in ("0.0.0.0", "::")
