"""colbert-ai, with vectors in place of its encoder; on a CPU, with its C++ extensions."""

import importlib.metadata
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from colbert import IndexUpdater
from colbert.data import Collection
from colbert.indexing.collection_indexer import CollectionIndexer
from colbert.indexing.index_saver import IndexSaver
from colbert.infra import ColBERTConfig, Run, RunConfig
from colbert.modeling.colbert import ColBERT
from colbert.search.index_storage import IndexScorer
from serving import THREADS, Data, folder_bytes, measured, serve, timed

BITS = 4
LIMIT = 10
# what Searcher.dense_search chooses for so many results
DEFAULTS = {
    10: {"ncells": 1, "centroid_score_threshold": 0.5, "ndocs": 256},
    100: {"ncells": 2, "centroid_score_threshold": 0.45, "ndocs": 1024},
}

torch.set_num_threads(THREADS)
opened: dict[str, Any] = {}


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("colbert-ai", "torch")}


class LookUp:
    """Stands for the encoder: passages are numbers, and their vectors are there already."""

    def __init__(self, vectors: np.ndarray, lengths: np.ndarray) -> None:
        self.vectors, self.lengths = torch.from_numpy(vectors), lengths
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])

    def encode_passages(self, passages: list[str]) -> tuple[torch.Tensor, list[int]]:
        numbers = np.array(passages, dtype=np.int64)
        if len(numbers) == numbers[-1] - numbers[0] + 1:
            rows = self.vectors[self.offsets[numbers[0]] : self.offsets[numbers[-1] + 1]]
        else:
            parts = [self.vectors[self.offsets[n] : self.offsets[n + 1]] for n in numbers]
            rows = torch.cat(parts)
        return rows, self.lengths[numbers].tolist()


class Indexer(CollectionIndexer):
    def __init__(self, config: ColBERTConfig, lengths: np.ndarray, encoder: LookUp) -> None:
        self.verbose, self.config, self.use_gpu = 0, config, False
        self.rank, self.nranks = 0, 1
        self.collection = Collection(data=[str(number) for number in range(len(lengths))])
        self.encoder, self.saver = encoder, IndexSaver(config)


def build(data: str, index: str) -> dict[str, Any]:
    source = Data(data)
    encoder = LookUp(source.vectors(), source.lengths)
    place = {"root": index, "experiment": "bench", "index_name": "own"}
    with Run().context(RunConfig(nranks=1, rank=0, root=index, experiment="bench")):
        dim = encoder.vectors.shape[1]
        config = ColBERTConfig(nbits=BITS, dim=dim, checkpoint="none", **place)
        Path(config.index_path_).mkdir(parents=True)
        took = measured(lambda: Indexer(config, source.lengths, encoder).run([]))
    return {**took, "bytes": folder_bytes(config.index_path_), "path": config.index_path_}


def open_index(index: str) -> None:
    ColBERT.try_load_torch_extensions(False)  # not use_gpu; else only a model does it
    opened["index"] = index
    opened["scorer"] = IndexScorer(index, use_gpu=False)


def search(data: str, numbers: list[int], k: int = 10) -> dict[str, Any]:
    source = opened.setdefault("data", Data(data))
    scorer, config = opened["scorer"], ColBERTConfig(**DEFAULTS[k])

    def best(query: torch.Tensor) -> list[int]:
        pids, scores = scorer.rank(config, query)
        pids, _ = pids[:k], scores[:k]
        return pids[:LIMIT]

    queries = [torch.from_numpy(source.queries[number])[None] for number in numbers]
    return timed(best, queries)


def add(data: str, index: str, copy: str) -> dict[str, Any]:
    """Add one passage, then a hundred, each until findable here and on disk.

    Its updater reads the inverted lists with their padding and then refuses to add; the padding is
    cut off here.
    """
    shutil.copytree(index, copy)
    open_index(copy)
    scorer = opened["scorer"]
    updater = IndexUpdater(ColBERTConfig(), SimpleNamespace(ranker=scorer, index=copy))
    vectors, lengths = Data(data).new_vectors()
    ends = np.cumsum(lengths)
    took = {}
    for count, first in ((1, 0), (100, 1)):
        rows = torch.from_numpy(vectors[ends[first] - lengths[first] : ends[first + count - 1]])
        own = lengths[first : first + count].tolist()

        def findable(rows: torch.Tensor = rows, own: list[int] = own) -> None:
            updater.curr_ivf = updater.curr_ivf[: int(updater.curr_ivf_lengths.sum())]
            pid = len(scorer.doclens)
            updater.update_searcher(scorer.codec.compress(rows), own, pid)

        in_memory = measured(findable)["wall_s"]
        on_disk = measured(updater.persist_to_disk)["wall_s"]
        took[str(count)] = {"findable_s": in_memory, "durable_s": on_disk}
        found = scorer.rank(ColBERTConfig(**DEFAULTS[10]), rows[: own[0]][None])[0][0]
        assert found == len(scorer.doclens) - count, "what was added is not found"
    shutil.rmtree(copy)
    return took


if __name__ == "__main__":
    with torch.inference_mode():
        serve(
            {
                "versions": versions,
                "build": build,
                "open": open_index,
                "search": search,
                "add": add,
            }
        )
