"""The `memstore` command: a thin shell over the public Python API.

Data goes to stdout, everything else to stderr. Exit status: 0 fine, 1 an error said in a sentence,
2 wrong usage. Nothing heavy is imported before a command runs, so `--help` takes milliseconds.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from memstore import __version__
from memstore.cli.maintain import (
    backup,
    completion,
    doctor,
    export,
    import_command,
    rebuild,
    stats,
    verify,
)
from memstore.cli.read import entities, get, history, list_command, query
from memstore.cli.write import add, forget, ingest, init, update
from memstore.errors import MemstoreError
from memstore.settings import DEFAULT_STORE


class _Commands(click.Group):
    """Lists commands in the order of use instead of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--store",
    envvar="MEMSTORE_STORE",
    default=DEFAULT_STORE,
    show_default=True,
    show_envvar=True,
    metavar="PATH",
    help="The store's folder.",
)
@click.option(
    "--device", metavar="NAME", help="Where models run: cpu, cuda … (default: a GPU if any)."
)
@click.version_option(__version__, prog_name="memstore")
@click.pass_context
def cli(ctx: click.Context, store: str, device: str | None) -> None:
    """A memory store for agents: plain text in, ranked and explained answers out.

    Works offline, in one folder.
    """
    ctx.obj = {"store": store, "device": device}


for _command in (
    init,
    ingest,
    query,
    add,
    get,
    list_command,
    update,
    forget,
    history,
    entities,
    stats,
    verify,
    rebuild,
    backup,
    export,
    import_command,
    doctor,
    completion,
):
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; the entry point of the `memstore` script."""
    # starting a pool of BLAS threads costs a cold query 0.1 s, which its small products never repay
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        return cli.main(args=arguments, prog_name="memstore")
    except MemstoreError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        # the reader of our output (head, less) has gone: not an error of ours
        sys.stderr.close()
        sys.exit(1)
