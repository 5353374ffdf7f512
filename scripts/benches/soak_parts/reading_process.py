"""The second process of a soak: reads until its standard input ends, then says what it took."""

import json
import random
import sys
import threading
import time
from pathlib import Path

from memstore import MemoryStore
from soak_parts.measuring import own_process
from soak_parts.workload import WORDS


def main(path: Path, seed: int, sample_every: int) -> None:
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    source = random.Random(seed)
    samples, queries = [], 0
    with MemoryStore.open(path, read_only=True) as store:
        while not ended.is_set():
            words = [f"word{int(WORDS * source.random() ** 3)}" for _ in range(3)]
            hits = store.query(" ".join(words), namespace="*").hits
            for hit in hits[:1]:
                assert f"n{hit.memory.metadata['n']} " in hit.memory.text
            queries += 1
            if queries % sample_every == 0:
                samples.append({"at": time.monotonic(), **own_process()})
            time.sleep(0.05)  # as if it did something with them
    print(json.dumps({"queries": queries, "samples": samples}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
