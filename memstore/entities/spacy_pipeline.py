"""Names by a spaCy pipeline, together with the rules: the pipeline adds labels and lower case."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from memstore.entities import Mention
from memstore.entities.rules import Rules, without_overlaps
from memstore.entities.words import words
from memstore.errors import BadInput, MissingExtra

# Components that find entities, and those that such components listen to. Everything else in a
# pipeline (tagger, parser, lemmatizer) costs time and changes no entity.
_FINDERS = frozenset(("ner", "entity_ruler", "span_ruler", "beam_ner"))
_FEEDERS = frozenset(("tok2vec", "transformer", "curated_transformer"))
# Quantities are no entities, and dates and money are read by the rules in one form.
_NOT_NAMES = words("CARDINAL ORDINAL PERCENT QUANTITY TIME DATE MONEY")
# Far below spaCy's own limit of a million characters: memory grows with the text of one call.
_MAX_CHARACTERS = 50_000
_CHUNK = re.compile(rf"(?s).{{1,{_MAX_CHARACTERS}}}(?!\S)\s*+|.{{1,{_MAX_CHARACTERS}}}")


class SpacyPipeline:
    """The union of an installed pipeline's entities and the rules'; the longer span wins.

    Args:
        pipeline: the name of an installed pipeline package, or a folder with a saved one.

    Raises:
        MissingExtra: spaCy or the pipeline is not installed.
        BadInput: the folder holds no pipeline, or the pipeline finds no entities.
    """

    def __init__(self, pipeline: str) -> None:
        self.name = f"spacy:{pipeline}"
        self._rules = Rules()
        # One call at a time: spaCy's vocabulary and memory zones are shared by all calls.
        self._lock = threading.Lock()
        self._language = _load(pipeline)

    def extract(self, text: str, *, common_words: AbstractSet[str] = frozenset()) -> list[Mention]:
        """Mentions in order of appearance, none overlapping another."""
        spans: list[tuple[int, int, str | None]] = [
            (mention.start, mention.end, mention.label)
            for mention in self._rules.extract(text, common_words=common_words)
        ]
        patterns = {(start, end) for start, end, label in spans if label is not None}
        spans.extend(span for span in self._pipeline_spans(text) if span[:2] not in patterns)
        return [
            Mention(start, end, text[start:end], label)
            for start, end, label in without_overlaps(spans, len(text))
        ]

    def _pipeline_spans(self, text: str) -> list[tuple[int, int, str | None]]:
        found: list[tuple[int, int, str | None]] = []
        for offset, chunk in _chunks(text):
            # A memory zone frees the strings of this text; only copies may leave it.
            zone = getattr(self._language, "memory_zone", nullcontext)
            with self._lock, zone():
                found.extend(
                    (offset + entity.start_char, offset + entity.end_char, str(entity.label_))
                    for entity in self._language(chunk).ents
                    if entity.label_ not in _NOT_NAMES
                )
        return [span for span in map(_trim(text), found) if span[0] < span[1]]


def _trim(text: str) -> Any:
    def trim(span: tuple[int, int, str | None]) -> tuple[int, int, str | None]:
        piece = text[span[0] : span[1]]
        left = len(piece) - len(piece.lstrip())
        return span[0] + left, span[0] + max(left, len(piece.rstrip())), span[2]

    return trim


def _chunks(text: str) -> Iterator[tuple[int, str]]:
    """Pieces of a text that a pipeline takes, cut at whitespace where there is any."""
    for match in _CHUNK.finditer(text):
        yield match.start(), match.group()


def _load(pipeline: str) -> Any:
    if find_spec("spacy") is None:
        raise MissingExtra(
            f"entity extractor 'spacy:{pipeline}' needs spaCy. Install it:\n    pip install spacy"
        )
    import spacy  # imports torch when that is installed: seconds that the rules need not pay

    folder = _folder(pipeline)
    config = spacy.util.load_config(folder / "config.cfg")
    names: list[str] = list(config["nlp"]["pipeline"])
    kinds = {name: config["components"][name].get("factory", name) for name in names}
    if not _FINDERS.intersection(kinds.values()):
        raise BadInput(
            f"spaCy pipeline {pipeline!r} finds no entities: it has "
            f"{', '.join(names) or 'no components'}. Use one with an 'ner' component, such as "
            "'spacy:en_core_web_sm'."
        )
    unneeded = [name for name in names if kinds[name] not in _FINDERS | _FEEDERS]
    return spacy.load(folder, exclude=unneeded)


def _folder(pipeline: str) -> Path:
    """Where the pipeline's config.cfg is."""
    import spacy

    folder = Path(pipeline)
    if spacy.util.is_package(pipeline):
        package = spacy.util.get_package_path(pipeline)
        meta = spacy.util.get_model_meta(package)
        folder = package / f"{meta['lang']}_{meta['name']}-{meta['version']}"
    elif not folder.exists():
        raise MissingExtra(
            f"spaCy pipeline {pipeline!r} is not installed, and there is no folder of that name. "
            f"Install it:\n    python -m spacy download {pipeline}\n"
            "or use the extractor 'rules'."
        )
    if not (folder / "config.cfg").is_file():
        raise BadInput(f"{folder} holds no spaCy pipeline: it has no config.cfg.")
    return folder
