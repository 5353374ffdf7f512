"""Questions made from a store's own memories, whose answers are therefore known.

Three consecutive words of one memory and three of another one of its namespace, and both are the
answers. A real question shares about half of its words with what answers it, and so does this; a
question made of one memory alone shares all, and makes relevance look twice as certain as it is
(`docs/calibration.md` has the measurements).
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from memstore.catalog.memories import live, starts_at
from memstore.catalog.tables import memory, namespace
from memstore.encoders.hashed import HashedEncoder
from memstore.store.judged_questions import JudgedQuestion

LEAST_MEMORIES = 20  # a namespace of fewer says too little of what is not relevant
ANSWERS = 2  # of each question
_WORDS = 3  # of each answer
_LEAST_WORDS = 5  # of a memory that questions are made of: a greeting asks for nothing
_LEAST_RARE = 2  # different ones of these that say which memory it is
_RARE = 0.25  # largest share of memories that have such a word
_NEAR = 0.5  # Jaccard similarity of such words from which two memories say nearly the same


@dataclass(frozen=True, slots=True)
class Source:
    """A memory that questions can be made of.

    `telling` are those of its words that few memories have, in lower case, and `starts` the places
    from which words can be cut: one of them is a telling one.
    """

    id: str
    namespace: str
    words: tuple[str, ...]
    telling: frozenset[str]
    starts: tuple[int, ...]


def sources(connection: Connection, spaces: Sequence[int], *, now: int) -> list[Source]:
    """Return the memories of some namespaces that hold now and say enough, in stored order."""
    holds = (
        live,
        memory.c.expired_at.is_(None),
        memory.c.namespace_id.in_(spaces),
        starts_at <= now,
        memory.c.valid_to.is_(None) | (memory.c.valid_to > now),
    )
    rows = connection.execute(
        select(memory.c.id, memory.c.text, namespace.c.path)
        .join(namespace, namespace.c.id == memory.c.namespace_id)
        .where(*holds)
        .order_by(memory.c.row)
    )
    splitter = HashedEncoder()  # its words are those of any script
    split = [
        (row, tuple(row.text[start:end] for start, end in splitter.token_spans(row.text)))
        for row in rows
    ]
    counts = Counter(word for _, words in split for word in {word.lower() for word in words})
    rare = {word for word, count in counts.items() if count <= _RARE * len(split)}
    found = (make_source(row.id, row.path, words, rare) for row, words in split)
    return [
        source
        for source in found
        if len(source.words) >= _LEAST_WORDS and len(source.telling) >= _LEAST_RARE
    ]


def make_source(id_: str, path: str, words: tuple[str, ...], rare: Collection[str]) -> Source:
    """Return a memory, given which words are rare."""
    lower = [word.lower() for word in words]
    starts = tuple(
        start
        for start in range(len(words) - _WORDS + 1)
        if any(word in rare for word in lower[start : start + _WORDS])
    )
    return Source(id_, path, words, frozenset(lower).intersection(rare), starts)


def pseudo_queries(
    found: Sequence[Source], *, asked: str, limit: int, seed: int
) -> list[JudgedQuestion]:
    """Return at most `limit` questions, the same for the same memories and seed.

    Memories that say nearly the same as an answer are neither answers nor others.

    Args:
        asked: namespace of questions about memories whose own one is too small.
    """
    chance = random.Random(seed)
    spaces = defaultdict(list)
    for source in found:
        spaces[source.namespace].append(source)
    large = {path: own for path, own in spaces.items() if len(own) >= LEAST_MEMORIES}
    small = [source for path, own in spaces.items() if path not in large for source in own]
    if len(small) >= LEAST_MEMORIES:
        large[asked] = [*large.get(asked, []), *small]
    pool = [(path, source) for path, own in large.items() for source in own]
    questions = []
    for path, first in chance.sample(pool, min(limit, len(pool))):
        second = chance.choice([source for source in large[path] if source is not first])
        answers = {first.id, second.id}
        questions.append(
            JudgedQuestion(
                text=" ".join([*_cut(first, chance), *_cut(second, chance)]),
                relevant=frozenset(answers),
                namespace=path,
                uncertain=_near(large[path], (first, second)) - answers,
            )
        )
    return questions


def _cut(source: Source, chance: random.Random) -> Sequence[str]:
    start = chance.choice(source.starts)
    return source.words[start : start + _WORDS]


def _near(found: Sequence[Source], answers: Sequence[Source]) -> frozenset[str]:
    """Return the ids of those that say nearly the same as one of the answers."""
    near = set()
    for answer in answers:
        for source in found:
            shared = len(answer.telling & source.telling)
            either = len(answer.telling) + len(source.telling) - shared
            if shared >= _NEAR * either:
                near.add(source.id)
    return frozenset(near)
