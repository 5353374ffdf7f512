"""fast-plaid, on a CPU."""

import importlib.metadata
import shutil
from typing import Any

import numpy as np
import torch
from fast_plaid.search import FastPlaid
from serving import THREADS, Data, folder_bytes, measured, serve, timed

BITS = 4
LIMIT = 10

torch.set_num_threads(THREADS)
opened: dict[str, Any] = {}


def versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("fast-plaid", "torch")}


def passages(vectors: np.ndarray, lengths: np.ndarray) -> list[torch.Tensor]:
    return list(torch.split(torch.from_numpy(vectors), lengths.tolist()))


def build(data: str, index: str) -> dict[str, Any]:
    source = Data(data)
    documents = passages(source.vectors(), source.lengths)

    def whole() -> None:
        FastPlaid(index, device="cpu").create(documents, nbits=BITS)

    return {**measured(whole), "bytes": folder_bytes(index), "path": index}


def open_index(index: str) -> None:
    opened["index"] = FastPlaid(index, device="cpu")


def search(data: str, numbers: list[int], **options: int) -> dict[str, Any]:
    source = opened.setdefault("data", Data(data))
    index = opened["index"]

    def best(query: torch.Tensor) -> list[int]:
        (hits,) = index.search(query, top_k=LIMIT, show_progress=False, n_processes=1, **options)
        return [id_ for id_, _ in hits]

    return timed(best, [torch.from_numpy(source.queries[number])[None] for number in numbers])


def add(data: str, index: str, copy: str) -> dict[str, Any]:
    """Add one passage, then a hundred; each is findable and on disk when `update` returns."""
    shutil.copytree(index, copy)
    open_index(copy)
    vectors, lengths = Data(data).new_vectors()
    new = passages(vectors, lengths)
    held = len(Data(data).lengths)
    took = {}
    for count, first in ((1, 0), (100, 1)):
        chosen = new[first : first + count]
        seconds = measured(lambda chosen=chosen: opened["index"].update(chosen))["wall_s"]
        took[str(count)] = {"findable_s": seconds, "durable_s": 0.0}
        ((found, _), *_), *_ = opened["index"].search(
            chosen[0][None], top_k=LIMIT, show_progress=False, n_processes=1
        )
        assert found == held + first, "what was added is not found"
    shutil.rmtree(copy)
    return took


if __name__ == "__main__":
    serve(
        {
            "versions": versions,
            "build": build,
            "open": open_index,
            "search": search,
            "add": add,
        }
    )
