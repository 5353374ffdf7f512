"""Commands about the compressed index: compact, import-index, export-index."""

from __future__ import annotations

import click

from memstore.cli import output
from memstore.cli.options import (
    encoder_option,
    json_option,
    namespace_option,
    open_store,
    open_to_read,
)
from memstore.cli.progress import steps


@click.command()
@json_option
@click.pass_context
def compact(ctx: click.Context, as_json: bool) -> None:
    """Compress all passages, drop deleted ones, and merge the index.

    The store compresses on its own as it grows; this leaves it as small and as fast as it gets.
    """
    store = open_store(ctx)
    with steps("compacting") as progress:
        report = store.compact(progress=progress)
    if as_json:
        output.print_json(report)
    trained = ", codec trained" if report.trained else ""
    output.note(
        f"{report.sealed} passages compressed, {report.merged} segments merged, "
        f"{report.dropped} deleted passages dropped{trained}, in {report.seconds:.1f} s"
    )


@click.command(name="import-index")
@click.argument("folder")
@click.option(
    "--texts", metavar="FILE", help="Of an index without texts: lines NUMBER<TAB>TEXT, or .json."
)
@namespace_option
@click.option("--source", "-s", metavar="NAME", help="Of all its memories.")
@encoder_option
@click.option(
    "--same-encoder",
    is_flag=True,
    help="The checkpoint that the index names is the store's encoder under another name.",
)
@click.option(
    "--deleted-at-once",
    is_flag=True,
    help="RAGatouille deleted passages from the index in a single call.",
)
@json_option
@click.pass_context
def import_index(
    ctx: click.Context,
    folder: str,
    texts: str | None,
    namespace: str,
    source: str | None,
    encoder: str | None,
    same_encoder: bool,
    deleted_at_once: bool,
    as_json: bool,
) -> None:
    """Adopt an index folder of colbert-ai or RAGatouille.

    Nothing is encoded: its vectors stay as they are. The store must have the encoder that made
    them, and no compressed passages yet; with --encoder it is created.
    """
    store = open_store(ctx, create=encoder is not None, encoder=encoder)
    with steps("reading the index") as progress:
        report = store.import_index(
            folder,
            texts=texts,
            namespace=namespace,
            source=source,
            same_encoder=same_encoder,
            deleted_at_once=deleted_at_once,
            progress=progress,
        )
    if as_json:
        output.print_json(report)
    output.note(
        f"{report.added} added, {report.unchanged} unchanged, {report.skipped} skipped, "
        f"in {report.seconds:.1f} s"
    )


@click.command(name="export-index")
@click.argument("folder")
@click.option(
    "--namespace",
    "-n",
    default="*",
    show_default=True,
    metavar="PATH",
    help="It and all below it; * is everything.",
)
@json_option
@click.pass_context
def export_index(ctx: click.Context, folder: str, namespace: str, as_json: bool) -> None:
    """Write all passages to a new folder that colbert-ai and RAGatouille open."""
    store = open_to_read(ctx)
    with steps("reading the store") as progress:
        report = store.export_index(folder, namespace=namespace, progress=progress)
    if as_json:
        output.print_json(report)
    output.note(
        f"{report.passages} passages of {report.memories} memories written to {folder}, "
        f"in {report.seconds:.1f} s"
    )
