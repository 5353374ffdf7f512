"""The `memstore` command: a thin shell over the public Python API.

Data goes to stdout, everything else to stderr. Exit status: 0 fine, 1 an error said in a sentence,
2 wrong usage. Nothing heavy is imported before a command runs, so `--help` takes milliseconds.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

import click

from memstore import __version__
from memstore.cli import output
from memstore.cli.bench import bench
from memstore.cli.entities import alias, entities, neighbours
from memstore.cli.evaluate import evaluate
from memstore.cli.feedback import (
    confirm,
    contradict,
    importance,
    reinforce,
    retract,
    sources,
    supersede,
)
from memstore.cli.index import compact, export_index, import_index
from memstore.cli.learn import calibrate, learn
from memstore.cli.maintain import (
    backup,
    completion,
    doctor,
    export,
    import_command,
    rebuild,
    restore,
    stats,
    verify,
)
from memstore.cli.mcp import mcp
from memstore.cli.options import setting
from memstore.cli.rank import rank
from memstore.cli.read import get, history, list_command, namespaces, query
from memstore.cli.serve import serve, token
from memstore.cli.write import add, forget, ingest, init, update
from memstore.errors import MemstoreError
from memstore.settings import DEFAULT_STORE


class _Commands(click.Group):
    """Lists commands in the order of use, and says what memstore refuses in one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        # here and not around `main`: click takes care of a reader of our output that has gone
        try:
            return super().invoke(ctx)
        except MemstoreError as error:
            output.note(f"Error: {error}")
            ctx.exit(1)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            output.note("Error: the output cannot be written: no space left on its device.")
            ctx.exit(1)


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
@click.option(
    "--set",
    "settings",
    type=setting,
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting, e.g. rerank_batch_size=8. May be given several times.",
)
@click.version_option(__version__, prog_name="memstore")
@click.pass_context
def cli(
    ctx: click.Context, store: str, device: str | None, settings: tuple[tuple[str, Any], ...]
) -> None:
    """A memory store for agents: plain text in, ranked and explained answers out.

    Works offline, in one folder.
    """
    ctx.obj = {"store": store, "device": device, "settings": dict(settings)}


for _command in (
    init,
    ingest,
    query,
    rank,
    add,
    get,
    list_command,
    namespaces,
    update,
    forget,
    history,
    reinforce,
    confirm,
    contradict,
    supersede,
    retract,
    importance,
    sources,
    entities,
    neighbours,
    alias,
    stats,
    verify,
    compact,
    rebuild,
    backup,
    restore,
    export,
    import_command,
    export_index,
    import_index,
    evaluate,
    calibrate,
    learn,
    bench,
    mcp,
    serve,
    token,
    doctor,
    completion,
):
    cli.add_command(_command)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; the entry point of the `memstore` script."""
    # starting a pool of BLAS threads costs a cold query 0.1 s, which its small products never repay
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # stderr never raises: Python escapes there
    return cli.main(args=arguments, prog_name="memstore")
