"""A support desk's knowledge: articles that change, hearsay that is wrong, and answers that hold
today or held when a customer signed.

python examples/support_desk/desk.py [STORE]
"""

import sys
import tempfile
from pathlib import Path

from memstore import MemoryStore

ARTICLES, CHANGES = (
    Path(__file__).with_name(name) for name in ("articles.jsonl", "changes.2026.jsonl")
)
NOW = "2026-09-01T09:00:00Z"


def answer(store: MemoryStore, question: str, **asked: object) -> str:
    """Return the best passage for a question, and print it with its source."""
    hit = store.query(question, limit=1, **asked).hits[0]  # type: ignore[arg-type]
    print(
        f"{question}\n  {hit.memory.source}, {hit.memory.occurred_at:%Y-%m-%d}: {hit.passage.text}"
    )
    return hit.passage.text


def main(path: Path) -> None:
    with MemoryStore.open(path) as store:
        # whom the desk believes: memories begin with the trust of their source
        store.set_source("documentation", reliability=0.9)
        store.set_source("forum", reliability=0.3)
        store.ingest(ARTICLES)
        report = store.ingest(CHANGES)  # new versions of three articles, under the keys they had
        assert (
            report.superseded == 3 or report.unchanged == 3
        )  # of which the second time none is new

        # stale facts: the newest version of a key answers, without anybody asking for recency
        assert "14 days" in answer(store, "How long can I return an order?", now=NOW)
        assert "49 euros" in answer(store, "What does the team plan cost?", now=NOW)

        # a customer who signed in 2025 has the price of that day
        then = answer(store, "What does the team plan cost?", as_of="2025-06-01T00:00:00Z")
        assert "39 euros" in then

        # the old version is not gone: `explain` names it and says why it was not shown
        explained = store.query("How long can I return an order?", now=NOW, explain=True)
        (old,) = [item for item in explained.suppressed if "30 days" in item.memory.text]
        print("not shown:", old.memory.text, f"({old.reason})")
        assert old.current_id == explained.hits[0].memory.id

        # hearsay: the forum is wrong about the limit; votes take it down further
        limit = "Is there a limit of projects in the free plan?"
        rumour = store.get_by_key("forum/free-plan")
        for agent in ("agent ines", "agent tom"):
            store.contradict(rumour.id, source=agent)
        store.confirm(store.get_by_key("plans/free").id, source="agent ines")
        assert "five projects" in answer(store, limit, now=NOW, profile="trusted")
        doubted = store.get(rumour.id)
        print(f"  the forum's answer has confidence {doubted.confidence:.1f} of 10 now")
        assert doubted.confidence < 3 < store.get_by_key("plans/free").confidence

        # an error code is found whatever the question around it
        assert "E-4012" in answer(store, "my screen says E-4012, what now?", now=NOW)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            main(Path(folder) / "desk.mem")
