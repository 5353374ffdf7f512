"""The store: everything the package does, behind `MemoryStore`.

`memory_store` is the facade. Behind it, by question: `opening` which store, `identity` whose
vectors, `drafts` what is acceptable as a memory, `encoding` what of it becomes vectors, `writing`
how memories get in, `ingesting` from files, `changing` and `forgetting` them, `requests` what is
acceptable as a query, `searching` how it is answered, `hits` how the answers are scored and
explained, `snapshot` what is kept in memory, `checking` whether all is well, `counting` how much
there is, `backing_up`, `exporting` and `importing` copies, `rebuilding` a change of encoder,
`sealing` how passages are compressed and merged, `sealing_rules` when, `sealing_source` from what,
`retrieval` how both tiers are searched, `interchanging` and `index_exporting` indexes of other
libraries, `scorers` how raw scores become log-odds, `calibrating` how that is fitted, to
`judged_questions` or `pseudo_queries`, `pages` what is logged of a query, `learning` how weights
follow from that, `guarding` what they must not harm, `active_weights` which of them count.
"""

from memstore.store.memory_store import MemoryStore

__all__ = ["MemoryStore"]
