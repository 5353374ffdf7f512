"""Text to the entities it names: the contract of extractors, and what a memory's entities are.

A memory's entities are its speaker, what the caller gave, and what an extractor finds in the text.
Queries are not extracted from: `query_ngrams` are looked up among the entities a store knows.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal, Protocol, cast, runtime_checkable

from memstore.entities.names import canonical, longest_names, lowercase_words, query_ngrams
from memstore.errors import BadInput
from memstore.periods import parse_period

__all__ = [
    "EntityExtractor",
    "EntityLink",
    "Mention",
    "canonical",
    "longest_names",
    "lowercase_words",
    "memory_entities",
    "open_extractor",
    "query_ngrams",
]


@dataclass(frozen=True, slots=True)
class Mention:
    """A span of a text that names something: `text == whole[start:end]`."""

    start: int
    end: int
    text: str
    label: str | None


@dataclass(frozen=True, slots=True)
class EntityLink:
    """One entity of one memory, and how it came to be one."""

    canon: str
    display: str
    label: str | None
    role: Literal["speaker", "given", "extracted"]


@runtime_checkable
class EntityExtractor(Protocol):
    """Finds mentions in texts. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """What `open_extractor` was given."""

    def extract(self, text: str, *, common_words: AbstractSet[str] = frozenset()) -> list[Mention]:
        """Mentions in order of appearance, none overlapping another.

        Args:
            common_words: lower-case words known not to be names.
        """


def open_extractor(name: str) -> EntityExtractor:
    """The extractor of this name: "rules", or "spacy:" and an installed pipeline or a folder.

    Raises:
        BadInput: there is no such extractor, or the pipeline finds no entities.
        MissingExtra: spaCy or the pipeline is not installed.
    """
    if name == "rules":
        rules = importlib.import_module("memstore.entities.rules")
        return cast(EntityExtractor, rules.Rules())
    kind, colon, pipeline = name.partition(":")
    if kind == "spacy" and colon and pipeline.strip():
        module = importlib.import_module("memstore.entities.spacy_pipeline")
        return cast(EntityExtractor, module.SpacyPipeline(pipeline.strip()))
    raise BadInput(
        f"there is no entity extractor {name!r}. Use 'rules', or 'spacy:NAME_OR_PATH' with an "
        "installed spaCy pipeline, such as 'spacy:en_core_web_sm'."
    )


def memory_entities(
    text: str,
    *,
    extractor: EntityExtractor,
    speaker: str | None = None,
    given: Sequence[str] | None = None,
    participants: Iterable[str] = (),
    common_words: AbstractSet[str] = frozenset(),
) -> tuple[EntityLink, ...]:
    """The entities of one memory: speaker, then given, then extracted ones in text order.

    Names of the dialogue's participants in the text are left out, whole, by first name or by the
    beginning of it ("Mel" beside Melanie): a name in a turn is mostly the person addressed, and
    was measured to be evidence against the turn.
    Each entity is there once, in the strongest of its roles. Names without a canonical form are
    left out. Of a coarse date that is its ISO form: "8 May 2023" and "May 8, 2023" are one entity.

    Args:
        speaker: who says the text; a "Speaker:" prefix of the text is not read again.
        given: the caller's own entities; if not None, nothing is extracted, even if it is empty.
        participants: everyone in the same dialogue.
        common_words: lower-case words known not to be names.
    """
    links: dict[str, EntityLink] = {}

    def link(name: str, label: str | None, role: Literal["speaker", "given", "extracted"]) -> None:
        period = parse_period(name) if label == "DATE" else None
        canon = canonical(name) if period is None else period.canonical
        if canon and canon not in links:
            links[canon] = EntityLink(canon, " ".join(name.split()), label, role)

    if speaker is not None:
        link(speaker, None, "speaker")
    if given is not None:
        for name in given:
            link(name, None, "given")
        return tuple(links.values())
    addressed = set()
    for participant in participants:
        whole = canonical(participant)
        first_name = canonical(whole.partition(" ")[0])
        addressed.add(whole)
        addressed.update(first_name[:length] for length in range(2, len(first_name) + 1))
    for mention in extractor.extract(_without_speaker(text, speaker), common_words=common_words):
        if canonical(mention.text) not in addressed:
            link(mention.text, mention.label, "extracted")
    return tuple(links.values())


def _without_speaker(text: str, speaker: str | None) -> str:
    """The text after its "Speaker:" prefix, if it has one."""
    prefix, colon, rest = text.partition(":")
    if colon and speaker is not None and canonical(prefix) == canonical(speaker):
        return rest
    return text
