"""Options that several commands share, and opening the store they name."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from memstore.errors import StoreUnwritable
from memstore.json_input import parse_json
from memstore.settings import DEFAULT_NAMESPACE

if TYPE_CHECKING:
    from memstore.store import MemoryStore

F = TypeVar("F", bound=Callable[..., Any])


# option types are functions, not click.ParamType: that class is generic only since click 8.4


def json_value(written: str) -> Any:
    """Return the value of an option that is JSON."""
    try:
        return parse_json(written)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}") from error


def days(written: str) -> timedelta:
    """Return the duration of an option that is a number of days."""
    try:
        duration = timedelta(days=float(written))
    except (ValueError, OverflowError):  # no number, not a number, or more than a timedelta holds
        duration = timedelta(0)
    if duration <= timedelta(0):
        raise click.BadParameter(
            f"{written!r} is not a positive number of days below a billion, such as 90 or 0.5."
        )
    return duration


def namespace_option(function: F) -> F:
    """Add --namespace."""
    return click.option(
        "--namespace",
        "-n",
        default=DEFAULT_NAMESPACE,
        show_default=True,
        metavar="PATH",
        help="Reading sees it and all below it; * is everything.",
    )(function)


def where_option(function: F) -> F:
    """Add --where."""
    return click.option(
        "--where", type=json_value, metavar="JSON", help='A filter, e.g. \'{"source": "crm"}\'.'
    )(function)


def json_option(function: F) -> F:
    """Add --json."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(
        function
    )


def jsonl_option(function: F) -> F:
    """Add --jsonl."""
    return click.option(
        "--jsonl", "as_jsonl", is_flag=True, help="Print one JSON object per line."
    )(function)


def timezone_option(function: F) -> F:
    """Add --timezone."""
    return click.option(
        "--timezone", metavar="ZONE", help="Of times without an offset: UTC, Europe/Lisbon …"
    )(function)


def encoder_option(function: F) -> F:
    """Add --encoder."""
    return click.option(
        "--encoder",
        metavar="NAME|HUB_ID|FOLDER",
        help="minilm (default), colbertv2, another ColBERT checkpoint, or its folder.",
    )(function)


def vector_options(function: F) -> F:
    """Add what decides a store's vectors besides its encoder; each is None if it is not given."""
    for name, text in reversed(_VECTOR_OPTIONS):
        function = click.option(f"--{name}", type=int, metavar="N", help=text)(function)
    return function


_VECTOR_OPTIONS = [
    (
        "session-context",
        "Memories of its session a new one is read with. By default 2; of ColBERT 0.",
    ),
    ("passage-tokens", "Most tokens of a passage. By default 256."),
    ("overlap-tokens", "Tokens that neighbouring passages share. By default 32."),
    (
        "pooling",
        "Tokens that share a vector, 1 to 3: 2 halves the store. By default 1.",
    ),
    ("residual-bits", "Per dimension of compressed vectors: 1, 2, 4 or 8. By default 4."),
]


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def rerank_option(function: F) -> F:
    """Add --rerank."""
    return click.option(
        "--rerank",
        metavar="NAME|HUB_ID|FOLDER",
        help="Who scores the best candidates anew: minilm-l6, minilm-l12, bge-v2-m3, "
        "gte-modernbert, gte-multilingual, colbert, cohere, jina, or any cross-encoder.",
    )(function)


def on_rerank_error_option(function: F) -> F:
    """Add --on-rerank-error."""
    return click.option(
        "--on-rerank-error",
        type=click.Choice(["raise", "skip"]),
        default="raise",
        show_default=True,
        help="skip: go on without a reranker that fails.",
    )(function)


def clean_up_when_terminated() -> None:
    """End by SIGTERM as by Ctrl-C: no temporary store or model is left behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def setting(written: str) -> tuple[str, Any]:
    """Return the name and value of an option NAME=VALUE; what is no JSON is a string."""
    name, equals, value = written.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{written!r} is no NAME=VALUE, such as rerank_batch_size=8.")
    try:
        return name, parse_json(value)
    except ValueError:
        return name, value


def open_store(
    ctx: click.Context,
    *,
    create: bool = False,
    encoder: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> MemoryStore:
    """Open the store the command line names; it is closed when the command ends.

    Args:
        more: settings beside those of --set.
    """
    from memstore.store import MemoryStore

    path, device, settings = (ctx.obj[name] for name in ("store", "device", "settings"))
    settings = {**settings, **(more or {})}
    store = MemoryStore.open(path, create=create, encoder=encoder, device=device, settings=settings)
    ctx.call_on_close(store.close)
    return store


def open_to_read(ctx: click.Context) -> MemoryStore:
    """Open the store for a command that only reads, be it one this user may not write."""
    from memstore.store import MemoryStore

    try:
        return open_store(ctx)
    except StoreUnwritable:
        path, device, settings = (ctx.obj[name] for name in ("store", "device", "settings"))
        store = MemoryStore.open(path, read_only=True, device=device, settings=settings)
    ctx.call_on_close(store.close)
    return store
