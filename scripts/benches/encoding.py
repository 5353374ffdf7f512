"""The encoder's forward pass against torch's, of the same weights on as many threads, and against
the time that its multiplications alone would take.

Queries are one sequence (in C++ always on one thread); bulk is `--tokens` tokens in texts of equal
lengths, and of lengths between half and one and a half times that, up to 256. Torch gets them in
padded batches of similar lengths. All sides take turns in one run. The floor is one multiplication
of sixteen lanes per weight and sixteen tokens, as long as one takes at best in the same run.
"""

import argparse
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from memstore.encoders._bert import Model, instruction_sets
from memstore.encoders.bert import Bert, Layer, Linear, NativeModel, Norm
from memstore.encoders.bert_torch import TorchModel
from memstore.encoders.bert_weights import WEIGHTS_NAME, WeightFile, find_model_folder
from memstore.encoders.minilm import padded_batches, read_adapted
from memstore.encoders.minilm_windows import LENGTH

TORCH_BATCH_TOKENS = 2048  # on a CPU as fast as any

Call = Callable[[], Any]
QUERY_TARGET = "> 1, minilm's of 16 in 10 ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument(
        "--threads", default="1,2", help="of torch and of bulk, one after the other"
    )
    parser.add_argument("--large", action="store_true", help="also random weights of 12 x 768")
    options = parser.parse_args()
    weights = WeightFile(find_model_folder() / WEIGHTS_NAME)
    bert, head, _ = read_adapted(weights)
    models = {"minilm": (bert, head)}
    if options.large:
        models["12 x 768, random"] = random_bert()

    with tempfile.TemporaryDirectory() as folder:
        floor = sixteen_nanoseconds(Path(folder))
        for name, (bert, head) in models.items():
            for threads in map(int, options.threads.split(",")):
                torch.set_num_threads(threads)
                compare(name, bert, head, threads, floor, options)
    bert, head = models["minilm"]
    compare_instruction_sets(bert, head, options.rounds)


def compare(
    name: str,
    bert: Bert,
    head: Linear,
    threads: int,
    floor: Callable[[], float] | None,
    options: argparse.Namespace,
) -> None:
    native = NativeModel(bert, head)
    peer = TorchModel(bert, head, torch.device("cpu"))
    rng = np.random.default_rng(0)
    works = [(f"query of {n}", [n], QUERY_TARGET) for n in (8, 16, 32)]
    for n in (30, 100, 250):
        count = options.tokens // n
        mixed = rng.integers(n // 2, min(LENGTH, n + n // 2), count, endpoint=True)
        works += [(f"texts of {n}", [n] * count, ">= 1"), (f"about {n}", mixed.tolist(), ">= 1")]
    for work, lengths, target in works:
        sequences = [rng.integers(1000, len(bert.words), n).tolist() for n in lengths]
        batches = [
            [sequences[place] for place in batch]
            for batch in padded_batches(lengths, TORCH_BATCH_TOKENS)
        ]
        single = len(lengths) == 1

        def run_native(sequences: list[list[int]] = sequences, single: bool = single) -> Any:
            return native.encode(sequences, threads=1 if single else threads)

        def run_torch(batches: list[list[list[int]]] = batches) -> Any:
            return [peer.encode(batch) for batch in batches]

        rounds = options.rounds * (5 if single else 1)
        seconds, step = take_turns({"native": run_native, "torch": run_torch}, rounds, floor)
        row: dict[str, Any] = {
            "bench": "encoding",
            "model": name,
            "work": work,
            "tokens": sum(lengths),
            "threads": threads,
            "native_threads": 1 if single else threads,
        }
        for side, times in seconds.items():
            row[f"{side}_ms_min"] = round(min(times) * 1000, 2)
            row[f"{side}_ms_p50"] = round(statistics.median(times) * 1000, 2)
        ratios = [t / n for t, n in zip(seconds["torch"], seconds["native"], strict=True)]
        row["torch_over_native_min"] = round(min(seconds["torch"]) / min(seconds["native"]), 2)
        row["torch_over_native_p50"] = round(statistics.median(ratios), 2)
        if step is not None:
            needed = multiplications(bert, head, lengths) / 16 * step * 1e-9
            share = needed / row["native_threads"] / min(seconds["native"])
            row["floor_ms"] = round(needed / row["native_threads"] * 1000, 2)
            row["floor_share"] = round(share, 3)
        print(json.dumps({**row, "target": target}), flush=True)


def compare_instruction_sets(bert: Bert, head: Linear, rounds: int) -> None:
    rng = np.random.default_rng(0)
    model = Model(*bert[:5], heads=bert.heads, epsilon=bert.epsilon, head=head)
    for work, count, length in (("query of 16", 1, 16), ("texts of 100", 5, 100)):
        ids = rng.integers(1000, 30000, count * length, dtype=np.int32)
        lengths = np.full(count, length)
        calls = {
            name: lambda name=name, ids=ids, lengths=lengths: model.encode(
                ids, lengths, threads=1, instruction_set=name
            )
            for name in instruction_sets()
        }
        seconds, _ = take_turns(calls, rounds, None)
        fastest = min(seconds[instruction_sets()[0]])
        for name, times in seconds.items():
            line = {"bench": "encoding.instruction_set", "work": work, "instruction_set": name}
            line |= {"ms_min": round(min(times) * 1000, 2), "ratio": round(min(times) / fastest, 2)}
            print(json.dumps(line))


def take_turns(
    calls: dict[str, Call], rounds: int, floor: Callable[[], float] | None
) -> tuple[dict[str, list[float]], float | None]:
    """Return the seconds of every round, the first left out, and the floor's fastest step."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    steps = []
    for _ in range(rounds + 1):
        for name, call in calls.items():
            # threads of torch go on spinning for a while and would slow down whoever comes next
            time.sleep(0.002)
            began = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - began)
        if floor is not None:
            steps.append(floor())
    return {name: seconds[1:] for name, seconds in times.items()}, min(steps, default=None)


def multiplications(bert: Bert, head: Linear, lengths: Sequence[int]) -> float:
    hidden = bert.words.shape[1]
    weights = head.weight.size + sum(
        part.weight.size for layer in bert.layers for part in layer if isinstance(part, Linear)
    )
    attention = 2 * hidden * len(bert.layers)
    return float(sum(n * weights + n * n * attention for n in lengths))


def random_bert() -> tuple[Bert, Linear]:
    """Weights of the size of bert-base, and a projection to 128 dimensions."""
    rng = np.random.default_rng(0)
    hidden, intermediate = 768, 3072

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02)

    def linear(outputs: int, inputs: int) -> Linear:
        return Linear(normal(outputs, inputs), normal(outputs))

    def norm() -> Norm:
        return Norm(1 + normal(hidden), normal(hidden))

    layers = [
        Layer(
            *(linear(hidden, hidden) for _ in range(4)),
            norm(),
            linear(intermediate, hidden),
            linear(hidden, intermediate),
            norm(),
        )
        for _ in range(12)
    ]
    bert = Bert(
        normal(30522, hidden), normal(512, hidden), normal(hidden), norm(), layers, 12, 1e-12
    )
    return bert, Linear(normal(128, hidden))


def sixteen_nanoseconds(scratch: Path) -> Callable[[], float] | None:
    """Compile what times the multiplications; None where there is no compiler."""
    named = os.environ.get("CC")
    compiler = named or next(filter(shutil.which, ("cc", "gcc", "clang")), None)
    if compiler is None:
        return None
    library = scratch / "floor.so"
    source = Path(__file__).with_name("encoding_parts") / "floor.c"
    command = [compiler, "-O2", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", library, source], check=True)
    function = ctypes.CDLL(str(library)).sixteen_nanoseconds
    function.restype = ctypes.c_double
    found: Callable[[], float] = function
    return found


if __name__ == "__main__":
    main()
