"""The commands `bench …`: what things cost on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from memstore.cli import output, progress
from memstore.cli.options import clean_up_when_terminated, json_option, timezone_option
from memstore.times import zone


@click.group()
def bench() -> None:
    """Measure what things cost on this machine."""


@bench.command()
@click.option(
    "--rerank",
    metavar="NAMES",
    help="Rerankers, separated by commas (default: all local ones and colbert).",
)
@click.option(
    "--random-weights",
    is_flag=True,
    help="Time models that are not here with random weights of their sizes (up to 2.3 GB of "
    "temporary files): the time does not depend on the weights.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=20, show_default=True)
@click.option(
    "--dataset",
    type=click.Path(path_type=Path),
    metavar="DATASET",
    help="Also measure nDCG@10 there, of the models that are here; see eval.",
)
@timezone_option
@json_option
@click.pass_context
def rerankers(
    ctx: click.Context,
    rerank: str | None,
    random_weights: bool,
    rounds: int,
    dataset: Path | None,
    timezone: str | None,
    as_json: bool,
) -> None:
    """Time reranking 20 documents of 100 tokens, beside the times published for a GPU.

    On the CPU, and on CUDA where there is one; --device chooses one of them. Models that are not in
    the cache of the hub are fetched, if it can be reached.
    """
    from memstore.evaluation.datasets import read_dataset
    from memstore.evaluation.machine import machine
    from memstore.evaluation.reranker_latency import NAMES, accuracies, measure, table
    from memstore.store.opening import check_settings

    clean_up_when_terminated()
    settings = check_settings(ctx.obj["settings"])
    place = zone(timezone) if timezone else None
    data = None if dataset is None else read_dataset(dataset, timezone=place)
    names = NAMES if rerank is None else [name.strip() for name in rerank.split(",")]
    with progress.steps("loading") as show:
        found = measure(
            names,
            devices=_devices(ctx.obj["device"]),
            settings=settings,
            random_weights=random_weights,
            rounds=rounds,
            progress=show,
        )
        accuracy = (
            {}
            if data is None
            else accuracies(data, found, settings=settings, timezone=place, progress=show)
        )
    if as_json:
        output.print_json({"machine": machine(), "rerankers": found, "ndcg@10": accuracy})
        return
    output.print_table(table(found, accuracy))
    for one in found:
        if one.why_not is not None:
            output.note(f"{one.name}: {one.why_not}")
    if data is None:
        output.note("nDCG@10 is empty without --dataset.")
    output.print_fields(machine())


def _devices(device: str | None) -> list[str]:
    if device is not None:
        return [device]
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
