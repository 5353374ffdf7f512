"""Search against its peers, on the same vectors in the same run: time, overlap with exact search,
building, size, memory, adding, opening.

Data are token vectors: `--vectors FILE.npz` (x, lengths, q, query_lengths), a `--dataset` folder
with corpus.jsonl and queries.jsonl to encode, or the example year. Larger sizes are copies with
noise; from 500,000 passages on codes are synthetic and only memstore is measured.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from search_parts import kernels, report, vectors
from search_parts.peers import MEMSTORE, NUMPY, PEERS, PROJECT, Driver, Library, PeerFailed
from search_parts.sizes import Plan, Size

PARTS = ("build", "open", "add", "kernels")
STALE_SECONDS = 600


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--sizes", default="5000,20000,100000", help="passages; 1000000 needs 2.5 GB of disk")
    add("--peers", default="all", help=f"all, none, or some of {', '.join(PEERS)}")
    add("--what", default=",".join(PARTS), help="beyond searching: some of build,open,add,kernels")
    add("--vectors", type=Path, help="an .npz file of token vectors")
    add("--dataset", type=Path, help="a folder to encode instead")
    add("--save-vectors", type=Path, help="only write the vectors to this .npz file")
    add("--queries", type=int, default=100)
    add("--rounds", type=int, default=2, help="how often each side answers each query")
    add("--seed", type=int, default=0)
    add("--peer-builds", type=int, default=5_000, help="peers build up to so many passages")
    add("--adds", type=int, default=20_000, help="adding is timed up to so many passages")
    add("--work", type=Path, help="keep everything here, and do not repeat what was measured")
    add("--markdown", type=Path, help="also write tables to this file")
    add("--plot", type=Path, help="also draw p50 against passages, as SVG, to this file")
    return parser.parse_args()


def available(wanted: str) -> dict[str, Library]:
    names = {"all": list(PEERS), "none": []}.get(wanted, wanted.split(","))
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        sys.exit(f"search: no peer '{unknown[0]}'; there are: {', '.join(PEERS)}")
    found = {}
    for name in names:
        if PEERS[name].missing:
            print(f"search: {name} left out; {PEERS[name].made_by} makes it", file=sys.stderr)
        else:
            found[name] = PEERS[name]
    return found


def prepare_folder(folder: Path, settings: dict[str, Any]) -> None:
    """Refuse a folder whose results are of other data."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "settings.json"
    if path.exists() and json.loads(path.read_text()) != settings:
        sys.exit(f"search: {folder} holds results of other settings; give another --work")
    path.write_text(json.dumps(settings))
    for lock in (PROJECT / ".venv-interop" / "torch_extensions").glob("*/lock"):
        # of a process that was killed: the next one would wait for it for ever
        if time.time() - lock.stat().st_mtime > STALE_SECONDS:
            lock.unlink()


def versions(peers: dict[str, Library], scratch: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"bench": "search.versions", "cores": os.cpu_count()}
    for library in (MEMSTORE, NUMPY, *peers.values()):
        try:
            with Driver(library, scratch) as driver:
                found[library.name] = driver("versions")
        except PeerFailed as error:
            print(f"search: {library.name} cannot be used: {error}", file=sys.stderr)
            peers.pop(library.name, None)
    return found


def main() -> None:
    options = parse()
    parts = [part for part in options.what.split(",") if part]
    if unknown := [part for part in parts if part not in PARTS]:
        sys.exit(f"search: nothing is called '{unknown[0]}'; there are: {', '.join(PARTS)}")
    name, make = vectors.source(options.vectors, options.dataset)
    if options.save_vectors:
        vectors.save(options.save_vectors, make())
        return
    peers = available(options.peers)
    rows: list[dict[str, Any]] = []

    def tell(row: dict[str, Any]) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.work or Path(temporary)).resolve()
        settings = {"data": name, "queries": options.queries, "seed": options.seed}
        prepare_folder(folder, settings)
        cached = _Once(make)
        plan = Plan(
            make=cached,
            peers=peers,
            parts=parts,
            folder=folder,
            queries=options.queries,
            rounds=options.rounds,
            seed=options.seed,
            peer_builds=options.peer_builds,
            adds=options.adds,
            keep=options.work is not None,
        )
        tell({**versions(peers, folder), **settings})
        if "kernels" in parts:
            for row in kernels.rows(cached(), folder):
                tell(row)
        for size in sorted({int(part) for part in options.sizes.split(",")}):
            for row in Size(plan, size).rows():
                tell(row)
    if options.markdown:
        options.markdown.write_text(report.markdown(rows))
    if options.plot:
        options.plot.write_text(report.plot(rows))


class _Once:
    """Encodes or loads the vectors when they are first needed."""

    def __init__(self, make: vectors.Make) -> None:
        self._make = make
        self._made: vectors.Vectors | None = None

    def __call__(self) -> vectors.Vectors:
        if self._made is None:
            self._made = self._make()
        return self._made


if __name__ == "__main__":
    main()
