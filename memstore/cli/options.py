"""Options that several commands share, and opening the store they name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from memstore.settings import DEFAULT_NAMESPACE

if TYPE_CHECKING:
    from memstore.store import MemoryStore

F = TypeVar("F", bound=Callable[..., Any])


class _Json(click.ParamType[Any, Any]):
    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except (json.JSONDecodeError, RecursionError) as error:
            return self.fail(f"not JSON: {error}", param, ctx)


JSON = _Json()


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
        "--where", type=JSON, metavar="JSON", help='A filter, e.g. \'{"source": "crm"}\'.'
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


def open_store(
    ctx: click.Context,
    *,
    create: bool = False,
    read_only: bool = False,
    encoder: str | None = None,
) -> MemoryStore:
    """Open the store the command line names; it is closed when the command ends."""
    from memstore.store import MemoryStore

    store = MemoryStore.open(
        ctx.obj["store"],
        create=create,
        read_only=read_only,
        encoder=encoder,
        device=ctx.obj["device"],
    )
    ctx.call_on_close(store.close)
    return store
