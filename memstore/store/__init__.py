"""The store: everything the package does, behind `MemoryStore`.

`memory_store` is the facade. Behind it, by question: `opening` which store and encoder, `drafts`
what is acceptable, `writing` how memories get in, `ingesting` from files, `changing` update and
forget, `searching` how queries are answered, `snapshot` what is kept in memory, `checking` whether
all is well, `copying` backup, export and import, `rebuilding` a change of encoder.
"""

from memstore.store.memory_store import MemoryStore

__all__ = ["MemoryStore"]
