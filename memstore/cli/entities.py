"""Commands of the entity graph: entities, neighbours, alias."""

from __future__ import annotations

import click

from memstore.cli import output
from memstore.cli.options import json_option, namespace_option, open_store, open_to_read
from memstore.settings import DEFAULT_NAMESPACE


@click.command()
@click.argument("prefix", default="")
@namespace_option
@click.option("-k", "--limit", type=int, default=100, show_default=True)
@json_option
@click.pass_context
def entities(ctx: click.Context, prefix: str, namespace: str, limit: int, as_json: bool) -> None:
    """List the people, places and things that memories mention."""
    found = open_to_read(ctx).entities(namespace=namespace, prefix=prefix, limit=limit)
    if as_json:
        output.print_json(found)
    else:
        output.print_entities(found)


@click.command()
@click.argument("entity")
@namespace_option
@click.option("-k", "--limit", type=int, default=32, show_default=True)
@json_option
@click.pass_context
def neighbours(ctx: click.Context, entity: str, namespace: str, limit: int, as_json: bool) -> None:
    """List what memories mention together with ENTITY, strongest ties first.

    At least two memories must mention both. A tie is 1 where neither is mentioned without the
    other, 0 where they meet by chance.
    """
    found = open_to_read(ctx).neighbours(entity, namespace=namespace, limit=limit)
    if as_json:
        output.print_json(found)
    else:
        output.print_neighbours(found)


@click.command()
@click.argument("name")
@click.option("--of", metavar="ENTITY", help="The entity that NAME stands for.")
@click.option("--remove", is_flag=True, help="Let NAME stand for itself again.")
@click.option(
    "--namespace",
    "-n",
    default=DEFAULT_NAMESPACE,
    show_default=True,
    metavar="PATH",
    help="Where it counts: there and in all below it.",
)
@click.pass_context
def alias(ctx: click.Context, name: str, of: str | None, remove: bool, namespace: str) -> None:
    """Let NAME stand for an entity: queries, filters and counts take both for one.

    Memories stay as they are, so it can be taken back.
    """
    if (of is None) != remove:
        raise click.UsageError("Say what NAME stands for, --of ENTITY, or --remove.")
    store = open_store(ctx)
    if of is None:
        store.remove_alias(name, namespace=namespace)
        output.note(f"{name!r} stands for itself in namespace {namespace!r}.")
    else:
        store.alias(name, of=of, namespace=namespace)
        output.note(f"{name!r} stands for {of!r} in namespace {namespace!r}.")
