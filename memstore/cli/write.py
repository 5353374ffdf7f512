"""Commands that change the store: init, ingest, add, update, forget."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from memstore.cli import output
from memstore.cli.lines import StandardInput, standard_input_text
from memstore.cli.options import (
    days,
    encoder_option,
    given,
    json_option,
    json_value,
    namespace_option,
    open_store,
    timezone_option,
    vector_options,
    where_option,
)
from memstore.cli.progress import ingesting
from memstore.errors import BadInput
from memstore.times import zone

if TYPE_CHECKING:
    from memstore.types import IngestReport


_REMOVED = {
    "passages": ("passage", "passages"),
    "vectors": ("token vector", "token vectors"),
    "events": ("event", "events"),
    "entities": ("entity", "entities"),
    "aliases": ("alias", "aliases"),
    "namespaces": ("namespace", "namespaces"),
    "sources": ("source", "sources"),
    "pages": ("logged page", "logged pages"),
    "segments": ("segment written anew", "segments written anew"),
    "centroids": ("centroid replaced", "centroids replaced"),
}
_KIND = "How fast it ages: task, state, episodic, event, message, fact, preference, evergreen."


@click.command()
@encoder_option
@vector_options
@click.pass_context
def init(ctx: click.Context, /, encoder: str | None, **vectors: int | None) -> None:
    """Create the store (the other writing commands do it too).

    It keeps what it is created with; `rebuild` changes that.
    """
    store = open_store(ctx, create=True, encoder=encoder, more=given(vectors))
    output.note(f"{store.path} is ready, with encoder {store.encoder}.")


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@namespace_option
@click.option(
    "--source", "-s", "source_name", metavar="NAME", help="Of inputs that name no source."
)
@click.option("--kind", metavar="NAME", help=_KIND)
@click.option("--batch-size", type=int, help="Memories per transaction.")
@click.option("--format", "format_", type=click.Choice(["jsonl", "text", "markdown"]))
@timezone_option
@encoder_option
@click.option("--strict", is_flag=True, help="Store nothing if anything is wrong.")
@json_option
@click.pass_context
def ingest(
    ctx: click.Context,
    sources: tuple[str, ...],
    namespace: str,
    source_name: str | None,
    kind: str | None,
    batch_size: int | None,
    format_: str | None,
    timezone: str | None,
    encoder: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Store files (.jsonl, .txt, .md) or folders of them. Run again to continue after a stop.

    SOURCE may be - for JSONL on standard input.

    A JSONL line is an object with "text" and any of id or key, title, timestamp or occurred_at,
    scope or namespace, session, source, speaker, confidence, valid_from, valid_to, metadata; other
    fields become metadata.
    """
    if "-" in sources and (len(sources) > 1 or format_ not in (None, "jsonl")):
        raise click.UsageError("- is JSONL on standard input, and the only SOURCE when given.")
    stdin = StandardInput(strict=strict) if "-" in sources else None
    seen: list[IngestReport] = []
    try:
        store = open_store(ctx, create=True, encoder=encoder)
        with ingesting() as show:

            def progress(report: IngestReport) -> None:
                seen[:] = [report]
                show(report)

            report = store.ingest(
                stdin or (sources[0] if len(sources) == 1 else list(sources)),
                namespace=namespace,
                source_name=source_name,
                kind=kind,
                timezone=timezone,
                format=format_,
                batch_size=batch_size,
                strict=strict,
                progress=progress,
            )
    except KeyboardInterrupt:
        count = seen[0].added if seen else 0
        output.note(f"stopped; {count} stored, run again to continue")
        ctx.exit(130)
    except BadInput as refusal:
        if stdin is None:
            raise
        raise BadInput(stdin.named(str(refusal))) from refusal
    if stdin is not None:
        report = dataclasses.replace(report, errors=stdin.all_errors(report.errors))
    if as_json:
        output.print_json(report)
    output.errors(report.errors)
    output.note(
        f"{report.added} added, {report.unchanged} unchanged, {report.superseded} superseded, "
        f"{len(report.errors)} errors, in {report.seconds:.1f} s"
    )
    if not (report.added or report.unchanged or report.errors):
        output.note("Nothing was found to store: .jsonl, .txt and .md files are read.")
    if report.errors:
        ctx.exit(1)


@click.command()
@click.argument("text")
@namespace_option
@click.option("--key", metavar="KEY", help="Your own name for it; other content supersedes it.")
@click.option("--session", metavar="NAME", help="The conversation it is part of.")
@click.option("--title", metavar="TEXT")
@click.option("--kind", metavar="NAME", help=_KIND)
@click.option(
    "--occurred-at",
    metavar="TIME",
    help="ISO-8601, e.g. 2026-03-02T09:00:00Z; 2026, 'March 2026', 2026-03-02, or unknown.",
)
@click.option("--valid-from", metavar="TIME")
@click.option("--valid-to", metavar="TIME")
@click.option("--half-life", type=days, metavar="DAYS")
@click.option("--confidence", type=float, metavar="0-10")
@click.option("--importance", type=float, default=0.0, metavar="-1..1")
@click.option("--source", "-s", metavar="NAME")
@click.option("--metadata", type=json_value, metavar="JSON")
@click.option("--entity", "entities", multiple=True, metavar="NAME", help="Instead of extraction.")
@timezone_option
@encoder_option
@json_option
@click.pass_context
def add(
    ctx: click.Context,
    /,
    text: str,
    encoder: str | None,
    timezone: str | None,
    entities: tuple[str, ...],
    as_json: bool,
    **fields: Any,
) -> None:
    """Store one memory and print its id. TEXT may be - for standard input."""
    if text == "-":
        text = standard_input_text()
    given: dict[str, Any] = {**fields, **_times(fields, timezone)}
    store = open_store(ctx, create=True, encoder=encoder)
    memory = store.add(text, entities=list(entities) or None, **given)
    if as_json:
        output.print_json(memory)
        return
    click.echo(memory.id)
    for proposal in memory.proposals:
        old = proposal.memory
        if proposal.relation == "near_duplicate":
            output.note(f"says nearly the same as {old.id}: {output.shortened(old.text)!r}")
        else:
            output.note(f"may replace {output.shortened(old.text)!r}. If so:")
            output.note(f"    memstore supersede {old.id} {memory.id}")


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--text", metavar="TEXT")
@click.option("--title", metavar="TEXT")
@click.option("--kind", metavar="NAME", help=_KIND)
@click.option("--occurred-at", metavar="TIME")
@click.option("--valid-from", metavar="TIME")
@click.option("--valid-to", metavar="TIME")
@click.option("--half-life", type=days, metavar="DAYS")
@click.option("--confidence", type=float, metavar="0-10")
@click.option("--importance", type=float, metavar="-1..1")
@click.option("--source", metavar="NAME")
@click.option("--metadata", type=json_value, metavar="JSON")
@click.option("--entity", "entities", multiple=True, metavar="NAME")
@click.option("--if-version", metavar="VERSION", help="Only if it still has the version of `get`.")
@timezone_option
@json_option
@click.pass_context
def update(
    ctx: click.Context,
    /,
    id_: str,
    timezone: str | None,
    entities: tuple[str, ...],
    if_version: str | None,
    as_json: bool,
    **fields: Any,
) -> None:
    """Change fields of a memory. Its id stays; new text is encoded anew."""
    fields = {name: value for name, value in fields.items() if value is not None}
    fields |= _times(fields, timezone)
    if entities:
        fields["entities"] = list(entities)
    if not fields:
        raise click.UsageError("Say what to change, e.g. --text.")
    memory = open_store(ctx).update(id_, if_version=if_version, **fields)
    if as_json:
        output.print_json(memory)
    else:
        click.echo(memory.id)


def _times(fields: dict[str, Any], timezone: str | None) -> dict[str, Any]:
    """Return the time fields with an offset, where --timezone gives one."""
    from memstore.store.drafts import check_occurrence
    from memstore.times import from_microseconds, to_microseconds

    if timezone is None:
        return {}
    place = zone(timezone)
    return {
        name: from_microseconds(to_microseconds(fields[name], name=name, timezone=place))
        for name in ("occurred_at", "valid_from", "valid_to")
        # a coarse date is one of UTC, "unknown" of none
        if fields.get(name) is not None
        and (name != "occurred_at" or check_occurrence(fields[name], place).precision == "instant")
    }


@click.command()
@click.argument("ids", nargs=-1, metavar="ID...")
@where_option
@namespace_option
@click.option("--purge", is_flag=True, help="Leave no byte of the texts in any file.")
@click.option("--dry-run", is_flag=True, help="Only list what would go.")
@click.option("--if-version", metavar="VERSION", help="Only if ID still has the version of `get`.")
@json_option
@click.pass_context
def forget(
    ctx: click.Context,
    ids: tuple[str, ...],
    where: Any,
    namespace: str,
    purge: bool,
    dry_run: bool,
    if_version: str | None,
    as_json: bool,
) -> None:
    """Remove memories from every result, by id or by --where."""
    if bool(ids) == (where is not None):
        raise click.UsageError("Say which memories: ids, or --where.")
    report = open_store(ctx).forget(
        list(ids) if ids else None,
        where=where,
        namespace=namespace,
        purge=purge,
        dry_run=dry_run,
        if_version=if_version,
    )
    if as_json:
        output.print_json(report)
    else:
        for id_ in report.ids:
            click.echo(id_)
    verb = "would be forgotten" if dry_run else "purged" if purge else "forgotten"
    output.note(f"{len(report.ids)} {verb}")
    went = [
        f"{count} {_REMOVED[name][count != 1]}"
        for name, count in report.removed.items()
        if count and name != "memories"
    ]
    if went:
        output.note(f"with {'them' if len(report.ids) != 1 else 'it'}: {', '.join(went)}")
    if report.bytes_before is not None:
        output.note(f"{report.bytes_before:,} bytes before, {report.bytes_after:,} after")
