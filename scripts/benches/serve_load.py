"""What the HTTP server costs: many readers at once, with and without someone who writes, against
the same queries asked in this process.

The server is a process of its own (`memstore serve`), and so are its clients. In-process queries
come from as many threads, on the same store, right before: both sides share one run and its noise.
"""

import argparse
import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memstore import MemoryStore

PEOPLE = ("Ana", "Bruno", "Clara", "Duarte", "Elena", "Filipe", "Greta", "Hugo")
PLACES = ("Lisbon", "Porto", "Faro", "Coimbra", "Braga", "Évora", "Beja", "Sintra")
DOINGS = ("moved to", "met a friend in", "bought a bicycle in", "missed the train to", "dreams of")
QUESTIONS = (
    "Where does Ana live now?",
    "who bought a bicycle?",
    "What happened in Porto in spring?",
    "Who missed the train to Coimbra?",
    "where did Hugo and his friend meet",
    "What does Greta dream of?",
)


def texts(count: int) -> Iterator[str]:
    for i in range(count):
        who, where = PEOPLE[i % 8], PLACES[i // 8 % 8]
        yield f"{who} {DOINGS[i // 64 % 5]} {where} on day {i}, note {i} of the year."


@contextmanager
def server(path: Path) -> Iterator[str]:
    """Serve the store from a process; gives host and port."""
    command = [sys.executable, "-m", "memstore", "--store", str(path), "serve"]
    process = subprocess.Popen(
        [*command, "--http", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        place = re.search(r"http://(\S+)", process.stderr.readline())
        assert place is not None
        yield place[1]
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def load(ask: Callable[[], Callable[[int], None]], readers: int, seconds: float) -> list[float]:
    """Ask from several threads for some time; return the seconds each answer took.

    Args:
        ask: called by each thread for what it then calls with a number.
    """
    taken: list[list[float]] = [[] for _ in range(readers)]
    ends = time.perf_counter() + seconds

    def work(own: list[float], number: int) -> None:
        question = ask()
        while (began := time.perf_counter()) < ends:
            question(number)
            own.append(time.perf_counter() - began)
            number += 1

    threads = [
        threading.Thread(target=work, args=(own, number)) for number, own in enumerate(taken)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [item for own in taken for item in own]


def post(place: str, path: str, body: Callable[[int], dict[str, Any]]) -> Callable[[int], None]:
    """Return what posts a body on a connection of its own."""
    connection = http.client.HTTPConnection(place)
    headers = {"Content-Type": "application/json"}

    def send(number: int) -> None:
        connection.request("POST", path, json.dumps(body(number)), headers)
        response = connection.getresponse()
        response.read()
        assert response.status < 300, response.status

    return send


def question(number: int) -> str:
    return QUESTIONS[number % len(QUESTIONS)]


def clients(place: str, readers: int, writers: int, seconds: float) -> None:
    """Ask a server, and print how long each answer took: what a process of its own runs."""
    written: list[float] = []

    def memory(number: int) -> dict[str, Any]:
        return {"text": f"At {time.time_ns()} someone noted something, the {number}th time."}

    writing = threading.Thread(
        target=lambda: written.extend(
            load(lambda: post(place, "/v1/memories", memory), writers, seconds)
        )
    )
    if writers:
        writing.start()
    read = load(
        lambda: post(place, "/v1/query", lambda number: {"text": question(number)}),
        readers,
        seconds,
    )
    if writers:
        writing.join()
    print(json.dumps({"read": read, "written": written}))


def measured(seconds: float, taken: list[float]) -> dict[str, float]:
    if len(taken) < 2:
        return {"per_second": round(len(taken) / seconds, 1)}
    cuts = statistics.quantiles(taken, n=100)
    return {
        "per_second": round(len(taken) / seconds, 1),
        **{f"p{cut}_ms": round(cuts[cut - 1] * 1000, 1) for cut in (50, 95, 99)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--readers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--client", nargs=3, metavar=("PLACE", "READERS", "WRITERS"))
    options = parser.parse_args()
    if options.client is not None:
        place, readers, writers = options.client
        clients(place, int(readers), int(writers), options.seconds)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "load.mem"
        with MemoryStore.open(path, encoder=options.encoder) as store:
            store.ingest(({"text": text} for text in texts(options.memories)), batch_size=256)
            store.query(question(0))  # what is loaded on first use is no cost of a query
            inside = {
                readers: measured(
                    options.seconds,
                    load(lambda: lambda number: _ask(store, number), readers, options.seconds),
                )
                for readers in options.readers
            }
        with server(path) as place:
            post(place, "/v1/query", lambda number: {"text": question(number)})(0)
            for readers in options.readers:
                for writers in (0, 1):
                    report(options, place, readers, writers, inside[readers])


def _ask(store: MemoryStore, number: int) -> None:
    store.query(question(number))


def report(
    options: argparse.Namespace, place: str, readers: int, writers: int, inside: dict[str, float]
) -> None:
    """Measure one mixture of clients, and print it beside the same in this process."""
    command = [sys.executable, __file__, "--seconds", str(options.seconds)]
    done = subprocess.run(
        [*command, "--client", place, str(readers), str(writers)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    taken = json.loads(done.stdout)
    served = measured(options.seconds, taken["read"])
    result: dict[str, Any] = {
        "bench": "serve_load",
        "memories": options.memories,
        "encoder": options.encoder,
        "readers": readers,
        "writers": writers,
        **served,
        "in_process": inside,
        "throughput_ratio": round(served["per_second"] / inside["per_second"], 3),
        "p50_beyond_ms": round(served["p50_ms"] - inside["p50_ms"], 1),
    }
    if writers:
        result["written"] = measured(options.seconds, taken["written"])
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
