"""A plain retriever over a folder of documents: no agent, no server, no vector database.

python examples/folder_search/search.py FOLDER "QUESTION"

The store is FOLDER/.search.mem: asked again, it reads only what changed. Without arguments it
asks some of this project's pages.
"""

import sys
import tempfile
from pathlib import Path

from memstore import Hit, MemoryStore

DOCS = Path(__file__).resolve().parents[2] / "docs"
QUESTIONS = {
    "How are token vectors compressed?": "index.md",
    "Which hosted rerankers can be used and how are keys given?": "rerankers.md",
    "How is the half-life of a memory chosen?": "scoring.md",
    "Can I open an index made by RAGatouille?": "interchange.md",
}


def search(store: MemoryStore, paths: list[Path], question: str, limit: int = 5) -> list[Hit]:
    """Bring the store up to date with .txt and .md files or folders of them, and ask it."""
    report = store.ingest(paths)
    for error in report.errors:
        print(f"skipped {error}", file=sys.stderr)
    forget_what_is_gone(store)
    # relevance alone: when a file was written says nothing of its answer
    return list(store.query(question, limit=limit, profile="semantic").hits)


def forget_what_is_gone(store: MemoryStore) -> None:
    """Forget the files that are there no more: a file's path is the key of its memory."""
    cursor = None
    while True:
        page = store.list(limit=1000, cursor=cursor)
        gone = [item.id for item in page.memories if item.key and not Path(item.key).exists()]
        if gone:
            store.forget(gone)
        cursor = page.cursor
        if cursor is None:
            return


def show(hit: Hit) -> str:
    """Return where a hit lies, and how it begins."""
    file = Path(hit.memory.key or "")
    line = hit.memory.text.count("\n", 0, hit.passage.start) + 1
    start = " ".join(hit.passage.text.split())[:90]
    return f"{hit.rank}. {file.name}:{line} ({hit.probability:.0%})  {start} …"


def main() -> None:
    if len(sys.argv) > 2:
        folder = Path(sys.argv[1])
        with MemoryStore.open(folder / ".search.mem") as store:
            print(*map(show, search(store, [folder], sys.argv[2])), sep="\n")
        return
    with (
        tempfile.TemporaryDirectory() as scratch,
        MemoryStore.open(Path(scratch) / "docs.mem") as store,
    ):
        first = 0
        for question, file in QUESTIONS.items():
            hits = search(store, [DOCS / name for name in QUESTIONS.values()], question, limit=3)
            print(question, *map(show, hits), sep="\n  ")
            found = [Path(hit.memory.key or "").name for hit in hits]
            assert file in found, (question, found)
            first += found[0] == file
        print(f"{first} of {len(QUESTIONS)} answers come first")


if __name__ == "__main__":
    main()
