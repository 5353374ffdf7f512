"""Commands that say something of stored memories: reinforce, confirm, contradict and others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from memstore.cli import output
from memstore.cli.options import json_option, open_store, open_to_read, timezone_option
from memstore.times import from_microseconds, to_microseconds, zone

if TYPE_CHECKING:
    from memstore.types import Memory

F = TypeVar("F", bound=Callable[..., Any])


def _verb(function: F) -> F:
    """Add what every verb takes: the memory's id, an idempotency key, --json."""
    decorated = click.option(
        "--idempotency-key", metavar="KEY", help="The same call under it again changes nothing."
    )(json_option(function))
    return click.argument("id_", metavar="ID")(decorated)


_page_option = click.option(
    "--page", metavar="ID", help="Of the logged query that showed it; weights are learned from it."
)
_source_option = click.option(
    "--source", "-s", required=True, metavar="NAME", help="Who says so; its last vote counts."
)


def _time(written: str | None, name: str, timezone: str | None) -> Any:
    if written is None:
        return None
    place = zone(timezone) if timezone else None
    return from_microseconds(to_microseconds(written, name=name, timezone=place))


def _print(memory: Memory, as_json: bool, said: str) -> None:
    if as_json:
        output.print_json(memory)
    else:
        click.echo(memory.id)
        output.note(said)


def _confidence(memory: Memory) -> str:
    low, high = memory.confidence_interval
    return f"confidence {memory.confidence:.1f} of 10, from {low:.1f} to {high:.1f} (90 %)"


@click.command()
@_verb
@click.option("--at", metavar="TIME", help="When it was used.")
@click.option("--session", metavar="NAME", help="Uses in one within ten minutes are one.")
@_page_option
@timezone_option
@click.pass_context
def reinforce(
    ctx: click.Context,
    /,
    id_: str,
    at: str | None,
    timezone: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say that a memory was used: it helped to answer."""
    memory = open_store(ctx).reinforce(id_, at=_time(at, "at", timezone), **options)
    _print(memory, as_json, f"used {memory.uses} time{'s' * (memory.uses != 1)}")


@click.command()
@_verb
@_source_option
@click.option("--refresh", is_flag=True, help="It was seen to hold still: it is as new as that.")
@click.option("--observed-at", metavar="TIME", help="When it was seen, with --refresh.")
@_page_option
@timezone_option
@click.pass_context
def confirm(
    ctx: click.Context,
    /,
    id_: str,
    observed_at: str | None,
    timezone: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say that a source holds a memory to be true."""
    seen = _time(observed_at, "observed_at", timezone)
    memory = open_store(ctx).confirm(id_, observed_at=seen, **options)
    _print(memory, as_json, _confidence(memory))


@click.command()
@_verb
@_source_option
@_page_option
@click.pass_context
def contradict(ctx: click.Context, /, id_: str, as_json: bool, **options: Any) -> None:
    """Say that a source holds a memory to be false. It stays valid."""
    memory = open_store(ctx).contradict(id_, **options)
    _print(memory, as_json, _confidence(memory))


@click.command()
@click.argument("old_id", metavar="OLD_ID")
@click.argument("new", metavar="NEW_ID|TEXT")
@click.option("--at", metavar="TIME", help="When the old one ended; by default as the new begins.")
@click.option(
    "--idempotency-key", metavar="KEY", help="The same call under it again changes nothing."
)
@timezone_option
@json_option
@click.pass_context
def supersede(
    ctx: click.Context,
    old_id: str,
    new: str,
    at: str | None,
    idempotency_key: str | None,
    timezone: str | None,
    as_json: bool,
) -> None:
    """Say that another memory holds now instead of an old one. Prints the new one's id."""
    memory = open_store(ctx).supersede(
        old_id, new, at=_time(at, "at", timezone), idempotency_key=idempotency_key
    )
    _print(memory, as_json, f"{old_id} is superseded")


@click.command()
@_verb
@click.option("--reason", required=True, metavar="TEXT", help="Kept in its history.")
@click.pass_context
def retract(ctx: click.Context, /, id_: str, as_json: bool, **options: Any) -> None:
    """Say that a memory was never true. No query finds it any more."""
    _print(open_store(ctx).retract(id_, **options), as_json, "retracted")


@click.command()
@_verb
@click.argument("value", type=float, metavar="-1..1")
@click.pass_context
def importance(
    ctx: click.Context, /, id_: str, value: float, as_json: bool, **options: Any
) -> None:
    """Say how much a memory matters; 1 pins it. Behind `--`, a value may be negative."""
    memory = open_store(ctx).set_importance(id_, value, **options)
    _print(memory, as_json, f"importance {memory.importance:g}")


@click.command()
@click.argument("name", required=False)
@click.option("--reliability", type=float, metavar="0..1", help="The trust in what it writes.")
@click.option("--vote-weight", type=float, metavar="0..1", help="What its votes count.")
@json_option
@click.pass_context
def sources(
    ctx: click.Context,
    name: str | None,
    reliability: float | None,
    vote_weight: float | None,
    as_json: bool,
) -> None:
    """List who writes and votes, or say how far the source NAME is believed."""
    if name is None and (reliability is not None or vote_weight is not None):
        raise click.UsageError("Name the source: memstore sources NAME --reliability 0.8.")
    if name is None:
        found = open_to_read(ctx).sources()
    else:
        store = open_store(ctx)
        found = (store.set_source(name, reliability=reliability, vote_weight=vote_weight),)
    if as_json:
        output.print_json(found)
    else:
        output.print_sources(found)
