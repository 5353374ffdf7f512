"""Ask the forty questions of the year and count how often a right memory is found.

python examples/year/ask_all.py STORE
"""

import json
import sys
from pathlib import Path

from memstore import MemoryStore

QUESTIONS = Path(__file__).with_name("questions.jsonl")


def ranks(store: MemoryStore) -> dict[str, int | None]:
    """Return question id → rank of the first right memory among the first ten, None if none is."""
    found = {}
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        question = json.loads(line)
        result = store.query(
            question["text"],
            now=question["now"],
            as_of=question.get("as_of"),
            where=question.get("where"),
        )
        right = (hit.rank for hit in result.hits if hit.memory.key in question["relevant"])
        found[question["id"]] = next(right, None)
    return found


if __name__ == "__main__":
    with MemoryStore.open(sys.argv[1], read_only=True) as opened:
        answered = ranks(opened)
    for depth in (1, 5, 10):
        hits = sum(rank is not None and rank <= depth for rank in answered.values())
        print(f"right memory among the first {depth:>2}: {hits} of {len(answered)} questions")
