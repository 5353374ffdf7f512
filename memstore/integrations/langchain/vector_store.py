"""Memories of a namespace as LangChain's vector stores have documents."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from langchain_core.vectorstores import VectorStore

from memstore import BadInput, Hit, Memory, MemoryStore, NewMemory
from memstore.integrations.retrieved import ClosesItsStore, probability_of
from memstore.settings import DEFAULT_NAMESPACE
from memstore.types import Filter

DOCUMENTS = 4  # how many documents LangChain's vector stores return by default
_PAGE = 1_000  # memories per page of a listing
_ID_CHARACTERS = 26  # of a memory's own id
_FIELDS = (
    *("title", "session", "source", "kind", "occurred_at", "valid_from", "valid_to"),
    *("confidence", "importance", "entities"),
)


class MemstoreVectorStore(ClosesItsStore, VectorStore):
    """Texts of a namespace as a LangChain vector store, found by late interaction.

    An id given with a text is the memory's `key`, so that the same id with other content supersedes
    what it said: searches show the new text, and `as_of=` an earlier time the old one. A text
    without one gets its memory's id, and the same text and metadata again are the same memory.
    Memories that were stored otherwise are documents too: theirs is the key, or the memory's id if
    there is none, and a memory's id is understood wherever an id is. Documents are whole memories
    with their own metadata and nothing else.

    Searches see the namespace and all below it, as everywhere in memstore; texts are added to the
    namespace itself. The store embeds texts with its own encoder, chosen by `MemoryStore.open`.

    Args:
        store: an open store, which stays open, or a path, which is opened here, and created if
            need be: close the vector store, or use it as a context manager.
        namespace: a hard partition: what lies outside is never shown, changed or deleted.
        from_metadata: fields of a memory to be read from a text's metadata, by their names there:
            `{"occurred_at": "date", "source": "source"}`. They stay in the metadata too.
    """

    def __init__(
        self,
        store: MemoryStore | str | os.PathLike[str],
        *,
        namespace: str = DEFAULT_NAMESPACE,
        from_metadata: Mapping[str, str] | None = None,
    ) -> None:
        if namespace == "*":
            raise BadInput("A vector store writes to one namespace; '*' is all. Name one.")
        unknown = sorted(set(from_metadata or {}) - set(_FIELDS))
        if unknown:
            raise BadInput(
                f"from_metadata names {unknown[0]!r}, which is no field to be read from metadata. "
                f"Known fields: {', '.join(_FIELDS)}."
            )
        self.namespace = namespace
        self._from_metadata = dict(from_metadata or {})
        self._opened_here = not isinstance(store, MemoryStore)
        self.store: MemoryStore = (
            store if isinstance(store, MemoryStore) else MemoryStore.open(store)
        )

    @property
    def embeddings(self) -> Embeddings | None:
        """None: a text has a vector per token, which LangChain's embeddings cannot be asked for."""
        return None

    # writing

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: Sequence[Mapping[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int | None = None,
        **unknown: Any,
    ) -> list[str]:
        """Add texts, or put them in the place of those with the same ids, and return the ids.

        What takes the place of another text holds from now on, whatever date its metadata give it.

        Args:
            metadatas: JSON values, to filter by.
            ids: None for a text without one.
            batch_size: texts per transaction; by default all of them, so all or none are stored.
                Texts under a memory's own id are changed one by one, after the others.

        Raises:
            BadInput: a text or its metadata cannot be stored, or an id is there twice.
        """
        _refuse(unknown, "add_texts")
        texts = list(texts)
        for name, given in (("metadatas", metadatas), ("ids", ids)):
            if given is not None and len(given) != len(texts):
                raise BadInput(f"There are {len(texts)} texts but {len(given)} {name}.")
        named = [id_ for id_ in ids or () if id_ not in (None, "")]
        if len(set(named)) < len(named):
            twice = next(id_ for id_ in named if named.count(id_) > 1)
            raise BadInput(f"Id {twice!r} is there twice: which text is the newer one is unknown.")
        if batch_size is not None and batch_size < 1:
            raise BadInput(f"batch_size is {batch_size}; give a whole number of at least 1.")
        step = batch_size or max(len(texts), 1)
        added: list[str] = []
        for start in range(0, len(texts), step):
            part = slice(start, start + step)
            some = texts[part]
            added += self._add(
                some,
                [{} for _ in some] if metadatas is None else metadatas[part],
                [None for _ in some] if ids is None else ids[part],
            )
        return added

    def _add(
        self,
        texts: Sequence[str],
        metadatas: Sequence[Mapping[str, Any]],
        ids: Sequence[str | None],
    ) -> list[str]:
        """Store texts: an id that is a memory's own changes that memory, all others add one."""
        known = self._by_memory_id(ids)
        replaced = self._dated_by_key(ids)
        added: dict[int, NewMemory] = {}
        changed: dict[int, Memory] = {}
        for place, (text, metadata, id_) in enumerate(zip(texts, metadatas, ids, strict=True)):
            memory = known.get(id_)
            if memory is not None and self._id(memory) == memory.id:
                changed[place] = memory
                continue
            key = memory.key if memory is not None else None if id_ == "" else id_
            fields = self._fields(metadata)
            before = replaced.get(key)
            if before is not None:
                # by its date alone, another text might be history to the store
                same = (before.text, before.metadata) == (text, metadata)
                fields.setdefault("valid_from", before.valid_from if same else datetime.now(UTC))
            added[place] = NewMemory(
                text=text, namespace=self.namespace, key=key, metadata=metadata, **fields
            )
        stored = dict(zip(added, self.store.add_many(added.values()), strict=True))
        for place, memory in changed.items():
            stored[place] = self.store.update(
                memory.id,
                text=texts[place],
                metadata=metadatas[place],
                **self._fields(metadatas[place]),
            )
        return [self._id(stored[place]) for place in range(len(texts))]

    def _dated_by_key(self, ids: Sequence[str | None]) -> dict[str | None, Memory]:
        """Return the latest memories of ids, if dates are read from metadata."""
        if "occurred_at" not in self._from_metadata:
            return {}
        keys = [id_ for id_ in ids if id_]
        own = {"namespace": self.namespace, "key": {"in": keys}, "superseded_by": None}
        return {memory.key: memory for memory in self._list(own)}

    def _fields(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        return {
            field: metadata[name]
            for field, name in self._from_metadata.items()
            if metadata.get(name) is not None
        }

    def delete(
        self, ids: list[str] | None = None, *, purge: bool = False, **unknown: Any
    ) -> bool | None:
        """Forget documents, with all that their ids said earlier; unknown ids are passed over.

        Args:
            ids: None for all of the namespace and of those below it.
            purge: leave no byte of their texts in any file of the store; slower, it rewrites it.
        """
        _refuse(unknown, "delete")
        where: dict[str, Any] = {"recorded_at": {"exists": True}}
        if ids is not None:
            keys = {*ids, *(self._id(memory) for memory in self._by_memory_id(ids).values())}
            own_keys = {"namespace": self.namespace, "key": {"in": list(keys)}}
            where = {"or": [own_keys, {"id": {"in": list(ids)}}]}
        self.store.forget(where=where, namespace=self.namespace, purge=purge)
        return True

    # reading

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these ids, in their order, without those that are unknown.

        Like `MemoryStore.get_by_key` also those that have ended, which no search shows.
        """
        by_memory_id = self._by_memory_id(ids)
        keys = [self._id(by_memory_id[id_]) if id_ in by_memory_id else id_ for id_ in ids]
        own_keys = {
            "namespace": self.namespace,
            "key": {"in": keys},
            "superseded_by": None,
        }
        found = {self._id(memory): memory for memory in by_memory_id.values()}
        found |= {self._id(memory): memory for memory in self._list(own_keys)}
        return [self._document(found[key]) for key in dict.fromkeys(keys) if key in found]

    def similarity_search(
        self,
        query: str,
        k: int = DOCUMENTS,
        filter: Filter | None = None,  # noqa: A002  # LangChain's name
        *,
        where: Filter | None = None,
        **options: Any,
    ) -> list[Document]:
        """Return the documents that answer a text best.

        Args:
            filter: on metadata: `{"topic": "tea", "year": {"gte": 2020}}`, with the operators of
                memstore's `where`, and `or`, `and`, `not`.
            where: memstore's own filter, where `source` is the memory's and `metadata.source` that
                of the metadata. With both, both hold.
            options: further arguments of `MemoryStore.query`, such as `as_of`, `profile`,
                `rerank` or `near_duplicates="drop"`.
        """
        hits = self._hits(query, k, filter, where, options)
        return [self._document(hit.memory) for hit in hits]

    def similarity_search_with_score(
        self,
        query: str,
        k: int = DOCUMENTS,
        filter: Filter | None = None,  # noqa: A002  # LangChain's name
        *,
        where: Filter | None = None,
        **options: Any,
    ) -> list[tuple[Document, float]]:
        """Return documents with memstore's scores: higher is better, and no distance.

        A score is log-odds in nats when the scorer is calibrated, else its raw score. Arguments are
        those of `similarity_search`.
        """
        hits = self._hits(query, k, filter, where, options)
        return [(self._document(hit.memory), hit.score) for hit in hits]

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = DOCUMENTS, **options: Any
    ) -> list[tuple[Document, float]]:
        """Return documents with the probability that each answers the query, 0 to 1.

        Raises:
            BadInput: a hit has no probability, because its scorer is not calibrated.
        """
        hits = self._hits(
            query, k, options.pop("filter", None), options.pop("where", None), options
        )
        return [(self._document(hit.memory), probability_of(hit)) for hit in hits]

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = DOCUMENTS, **options: Any
    ) -> list[tuple[Document, float]]:
        return await run_in_executor(
            None, self._similarity_search_with_relevance_scores, query, k, **options
        )

    def similarity_search_by_vector(
        self, embedding: list[float], k: int = DOCUMENTS, **options: Any
    ) -> NoReturn:
        """Raise NotImplementedError: a query has a vector per token here, and one tells nothing."""
        raise NotImplementedError(
            "A memstore compares one vector per token of a query, so that it cannot be searched by "
            "the one vector of another model. Search by the text: similarity_search(query)."
        )

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = DOCUMENTS,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Any,
    ) -> NoReturn:
        """Raise NotImplementedError; see `similarity_search_by_vector`."""
        self.similarity_search_by_vector(embedding, k)

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = DOCUMENTS,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        **options: Any,
    ) -> NoReturn:
        """Raise NotImplementedError: its formula needs one vector per document."""
        raise NotImplementedError(
            "Maximal marginal relevance needs one vector per document; a memstore has one per "
            "token. What it is for is here an option of each search: "
            'similarity_search(query, near_duplicates="drop"), or '
            'as_retriever(search_kwargs={"near_duplicates": "drop"}).'
        )

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        store: MemoryStore | str | os.PathLike[str] | None = None,
        namespace: str = DEFAULT_NAMESPACE,
        from_metadata: Mapping[str, str] | None = None,
        **unknown: Any,
    ) -> Self:
        """Add texts to a store and return it as a vector store.

        Args:
            embedding: None. A store embeds with its own encoder, so another model would be ignored.
            store, namespace, from_metadata: as for the class; `store` has to be given.

        Raises:
            BadInput: an embedding was given, or no store, or what `add_texts` would refuse.
        """
        _refuse(unknown, "from_texts")
        if embedding is not None:
            raise BadInput(
                f"embedding is {type(embedding).__name__}, which a memstore would not use: it has "
                "an encoder of its own. Give None, and choose the encoder with "
                "MemoryStore.open(path, encoder=...)."
            )
        if store is None:
            raise BadInput("Say where the texts are to be stored: store=MemoryStore.open(path).")
        vector_store = cls(store, namespace=namespace, from_metadata=from_metadata)
        try:
            vector_store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            vector_store.close()  # nobody else has a name for it
            raise
        return vector_store

    def _hits(
        self,
        query: str,
        k: int,
        by_metadata: Filter | None,
        where: Filter | None,
        options: dict[str, Any],
    ) -> tuple[Hit, ...]:
        if options.get("max_tokens") is not None:
            raise BadInput(
                f"max_tokens is {options['max_tokens']} and counts passages, but a vector store's "
                "documents are whole memories. Use MemstoreRetriever(store=..., max_tokens=...)."
            )
        filters: list[Filter] = [] if by_metadata is None else [_of_metadata(by_metadata)]
        if where is not None:
            filters.append(where)
        result = self.store.query(
            query,
            namespace=self.namespace,
            limit=k,
            where={"and": filters} if filters else None,
            **options,
        )
        return result.hits

    def _by_memory_id(self, ids: Iterable[str | None]) -> dict[str | None, Memory]:
        """Return the memories of which some of the ids are their own, by these."""
        own = [id_ for id_ in ids if isinstance(id_, str) and len(id_) == _ID_CHARACTERS]
        return {memory.id: memory for memory in self._list({"id": {"in": own}})} if own else {}

    def _list(self, where: Filter) -> Iterator[Memory]:
        cursor = None
        while True:
            page = self.store.list(
                namespace=self.namespace, where=where, limit=_PAGE, cursor=cursor
            )
            yield from page.memories
            cursor = page.cursor
            if cursor is None:
                return

    def _id(self, memory: Memory) -> str:
        """Return the id of a memory's document: its key, if that is of this very namespace."""
        return memory.key if memory.key and memory.namespace == self.namespace else memory.id

    def _document(self, memory: Memory) -> Document:
        return Document(
            id=self._id(memory), page_content=memory.text, metadata=dict(memory.metadata)
        )


def _of_metadata(condition: Filter) -> dict[str, Any]:
    """Return a filter on metadata as memstore's `where`.

    >>> _of_metadata({"topic": "tea", "not": {"year": {"lt": 2020}}})
    {'metadata.topic': 'tea', 'not': {'metadata.year': {'lt': 2020}}}
    """
    if not isinstance(condition, Mapping):
        raise BadInput(
            "A filter on metadata is a mapping such as {'topic': 'tea'}; "
            f"this is {type(condition).__name__}: {condition!r}."
        )
    translated: dict[str, Any] = {}
    for name, value in condition.items():
        if name in ("and", "or") and isinstance(value, (list, tuple)):
            translated[name] = [_of_metadata(part) for part in value]
        elif name == "not":
            translated[name] = _of_metadata(value)
        else:
            translated[f"metadata.{name}"] = value
    return translated


def _refuse(unknown: Mapping[str, Any], call: str) -> None:
    """Refuse what the interface lets through and nothing here would look at."""
    if unknown:
        raise TypeError(f"{call}() got an unexpected keyword argument {next(iter(unknown))!r}")
