"""Which operations the normal run and `scripts/test --torture` interrupt.

All of them, and how each is made ready, are in `drivers/operations.py`.
"""

from __future__ import annotations

import os

TORTURE = os.environ.get("MEMSTORE_TORTURE") == "1"

SOME = ("add", "ingest", "update", "purge", "merge", "import", "backup", "create", "migrate")
OPERATIONS = (
    (
        *("add", "add_many", "ingest", "update", "feedback", "supersede", "set_source"),
        *("forget", "purge", "seal", "merge", "retrain", "rebuild", "repair"),
        *("import", "import_index", "export", "backup", "restore", "create", "migrate"),
    )
    if TORTURE
    else SOME
)


def only(*few: str) -> tuple[str, ...]:
    """Return these in the normal run, else all."""
    return OPERATIONS if TORTURE else few
