"""How long each reranker takes here: the published comparison, measured on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from memstore.errors import BadInput, RerankerUnavailable
from memstore.evaluation.arms import Arm
from memstore.evaluation.comparing import compare
from memstore.evaluation.tables import Table, millions
from memstore.evaluation.temporary_store import (
    ingest_corpus,
    temporary_folder,
    temporary_store,
)
from memstore.rerank import CROSS_ENCODERS, Reranker
from memstore.settings import Settings
from memstore.store.rerankers import NO_RERANKER, OWN_VECTORS, Rerankers, check_rerank

if TYPE_CHECKING:
    from datetime import tzinfo

    from memstore.evaluation.datasets import Dataset

BASELINE = "minilm-l6"
NAMES = (*CROSS_ENCODERS, OWN_VECTORS)
DOCUMENTS = 20
TOKENS = 100  # of each document
QUERY_TOKENS = 8
STORE = 1_200  # documents beside which own vectors are timed: more than retrieval scores exactly

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Claim:
    """What was published of a model: milliseconds for 20 documents on an unnamed GPU, and nDCG@10
    on MS MARCO relative to MiniLM-L-6 in percent, each from one end to the other.

    Source: Adaptive Recall, "What Is the Best Open-Source Reranking Model"; no protocol is given.
    """

    milliseconds: tuple[int, int]
    accuracy: tuple[int, int]


CLAIMS = {
    "minilm-l6": Claim((15, 30), (0, 0)),
    "minilm-l12": Claim((25, 50), (3, 5)),
    "gte-modernbert": Claim((40, 80), (5, 8)),
    "bge-v2-m3": Claim((80, 150), (8, 12)),
    "colbert": Claim((10, 30), (5, 9)),
}


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds that reranking `DOCUMENTS` documents added to a query; None if not measured, and
    `why_not` says why. `random_weights`: the model's own could not be had; the time is the same.
    """

    name: str
    device: str
    parameters: int | None = None
    p50: float | None = None
    p95: float | None = None
    rounds: int = 0
    random_weights: bool = False
    why_not: str | None = None


def measure(
    names: Sequence[str] = NAMES,
    *,
    devices: Sequence[str],
    settings: Settings | None = None,
    random_weights: bool = False,
    rounds: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Latency]:
    """Time the reranking stage of queries against a store of as many memories as are reranked.

    The same documents and queries for all, whole words drawn from the default encoder's vocabulary.
    Every query is another one; two come before the clock runs.

    Args:
        names: rerankers; `colbert` compares the store's own vectors, on the CPU. Its store is
            larger and sealed: in a small one, retrieval has scored every passage exactly.
        devices: as torch names them, such as `cpu` and `cuda`.
        random_weights: time models that are not here with random weights of their published sizes.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        BadInput: a name is unknown.
    """
    for name in names:
        if check_rerank(name) == NO_RERANKER:
            raise BadInput("none is no reranker. Leave it out: there is nothing to time.")
    settings = settings or Settings()
    found = []
    queries, documents = _texts(rounds + 2, np.random.default_rng(seed))
    runs = [(name, device) for device in devices for name in names if name != OWN_VECTORS] + [
        (name, "cpu") for name in names if name == OWN_VECTORS
    ]
    for done, (name, device) in enumerate(runs):
        if progress is not None:
            progress(f"{name} on {device}", done, len(runs))
        try:
            with _opened(name, device, settings, random_weights=random_weights) as (one, made):
                found.append(_time(name, device, settings, one, made, queries, documents))
        except RerankerUnavailable as error:
            found.append(Latency(name, device, why_not=str(error)))
    return found


@contextlib.contextmanager
def _opened(
    name: str, device: str, settings: Settings, *, random_weights: bool
) -> Iterator[tuple[Reranker | None, bool]]:
    """Yield the reranker, None for the store's own vectors, and whether its weights are random."""
    if name == OWN_VECTORS:
        yield None, False
        return
    rerankers = Rerankers(device, settings)
    try:
        reranker = rerankers.open(name)
    except RerankerUnavailable:
        if not random_weights or name not in CROSS_ENCODERS:
            raise
    else:
        yield reranker, False
        return
    from memstore.evaluation.random_models import write_random_model

    with temporary_folder() as folder:
        yield rerankers.open(str(write_random_model(name, folder / name))), True


def _time(
    name: str,
    device: str,
    settings: Settings,
    reranker: Reranker | None,
    random_weights: bool,
    queries: Sequence[str],
    documents: Sequence[str],
) -> Latency:
    with temporary_store(device=device, settings=settings) as store:
        if reranker is None:
            store.add_many(documents)
            store.compact()
        else:
            store.add_many(documents[:DOCUMENTS])
        taken = []
        for query in queries:
            result = store.query(
                query,
                rerank=OWN_VECTORS if reranker is None else reranker,
                rerank_depth=DOCUMENTS,
                limit=DOCUMENTS,
            )
            taken.append(1000 * result.took["rerank"])
    p50, p95 = np.percentile(taken[2:], [50, 95])
    return Latency(
        name=name,
        device=device,
        parameters=0 if reranker is None else reranker.parameters,
        p50=float(p50),
        p95=float(p95),
        rounds=len(taken) - 2,
        random_weights=random_weights,
    )


def accuracies(
    dataset: Dataset,
    found: Sequence[Latency],
    *,
    settings: Settings | None = None,
    timezone: tzinfo | None = None,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Return nDCG@10 on a data set of every reranker that was timed with weights of its own.

    All of them rerank the best 20 of one retrieval; profile `semantic`.
    """
    names = dict.fromkeys(one.name for one in found if one.p50 and not one.random_weights)
    if not names:
        return {}
    with temporary_store(settings=settings) as store:
        ingest_corpus(store, dataset, timezone=timezone, progress=progress)
        arms = [Arm(name, "semantic") for name in names]
        comparison = compare(
            store, dataset.questions, arms, rerank_depth=DOCUMENTS, progress=progress
        )
    return {one.arm.reranker: one.metrics["ndcg@10"] for one in comparison.summaries()}


_COLUMNS = (
    *("reranker", "device", "p50 ms", "p95 ms", "to minilm-l6", "published ms (a GPU)"),
    *("nDCG@10", "published nDCG@10", "parameters"),
)
RANDOM = "random weights"


def table(found: Sequence[Latency], accuracy: Mapping[str, float]) -> Table:
    """Return a row per reranker and device, what could not be measured too."""
    baselines = {one.device: one.p50 for one in found if one.name == BASELINE and one.p50}
    title = f"{DOCUMENTS} documents of {TOKENS} tokens"
    return Table(title, _COLUMNS, [_row(one, baselines, accuracy) for one in found])


def _row(one: Latency, baselines: Mapping[str, float], accuracy: Mapping[str, float]) -> list[str]:
    claim = CLAIMS.get(one.name)
    published = ["–", "–"]
    if claim is not None:
        published = [
            "{}–{}".format(*claim.milliseconds),
            "baseline" if one.name == BASELINE else "+{}–{} %".format(*claim.accuracy),
        ]
    if one.p50 is None or one.p95 is None:
        return [one.name, one.device, "not here", "–", "–", published[0], "–", published[1], "–"]
    baseline = baselines.get(one.device)
    known = accuracy.get(one.name)
    return [
        one.name,
        one.device,
        _milliseconds(one.p50),
        _milliseconds(one.p95),
        "–" if baseline is None else f"{one.p50 / baseline:.2g} ×",
        published[0],
        RANDOM if one.random_weights else "–" if known is None else f"{known:.3f}".lstrip("0"),
        published[1],
        millions(one.parameters),
    ]


def _milliseconds(value: float) -> str:
    """Write three digits, or all before the point.

    >>> _milliseconds(0.0531), _milliseconds(5618.2)
    ('0.0531', '5,618')
    """
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _texts(queries: int, random: np.random.Generator) -> tuple[list[str], list[str]]:
    """Return queries and documents of words that are one token each."""
    from tokenizers import Tokenizer

    from memstore.encoders.bert_weights import TOKENIZER_NAME, find_model_folder

    tokenizer = Tokenizer.from_file(str(find_model_folder() / TOKENIZER_NAME))
    vocabulary = sorted(tokenizer.get_vocab())
    words = np.array(
        [word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2]
    )
    documents = [" ".join(random.choice(words, TOKENS)) for _ in range(STORE)]
    said = np.array([word for text in documents[:DOCUMENTS] for word in text.split()])
    return [" ".join(random.choice(said, QUERY_TOKENS)) for _ in range(queries)], documents
