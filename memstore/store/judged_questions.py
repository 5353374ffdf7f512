"""Questions whose answers are known, as the store takes them: plain data, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from memstore.errors import BadInput
from memstore.store import drafts
from memstore.types import When

_FIELDS = ("text", "relevant", "namespace", "now", "as_of")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedQuestion:
    """A text to ask, and the memories that answer it, by key or id.

    `namespace`, `now` and `as_of` are those of `MemoryStore.query`; None leaves them to the call.
    `uncertain` ids count neither as answers nor as others.
    """

    text: str
    relevant: frozenset[str]
    namespace: str | None = None
    now: When | None = None
    as_of: When | None = None
    uncertain: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Questions that an update of weights must not harm; `name` is for the report."""

    name: str
    questions: Sequence[JudgedQuestion | Mapping[str, Any]]


def check_questions(
    questions: Sequence[JudgedQuestion | Mapping[str, Any]],
) -> list[JudgedQuestion]:
    """Return the questions that have an answer.

    Args:
        questions: JudgedQuestion objects, or mappings with their fields; `relevant` is a list of
            keys, or a mapping of keys to grades, of which those above 0 count.

    Raises:
        BadInput: one of them cannot be accepted, by its place from 0.
    """
    if isinstance(questions, (str, Mapping)) or not isinstance(questions, Sequence):
        raise BadInput(
            "questions is no list. Give one of mappings such as "
            '{"text": "where does Ana live?", "relevant": ["ana.city"]}.'
        )
    checked = []
    for place, item in enumerate(questions):
        try:
            question = item if isinstance(item, JudgedQuestion) else _question(item)
        except BadInput as error:
            raise BadInput(f"Question {place}: {error}") from error
        if question.relevant:
            checked.append(question)
    return checked


def _question(item: Any) -> JudgedQuestion:
    if not isinstance(item, Mapping):
        raise BadInput(f"{item!r} is no mapping with a text and what is relevant to it.")
    for name in item:
        if name not in _FIELDS:
            raise BadInput(f"Field {name!r} is unknown. Known: {', '.join(_FIELDS)}.")
    relevant = item.get("relevant")
    if isinstance(relevant, Mapping):
        relevant = [
            key
            for key, grade in relevant.items()
            if drafts.check_number(grade, "a grade", -1e9, 1e9) > 0
        ]
    if isinstance(relevant, str) or not isinstance(relevant, (Sequence, set, frozenset)):
        raise BadInput("relevant is no list. Give the keys or ids of the memories that answer it.")
    namespace = item.get("namespace")
    for name in ("now", "as_of"):
        drafts.check_time(item.get(name), name)
    return JudgedQuestion(
        text=drafts.check_text(item.get("text"), "the question"),
        relevant=frozenset(drafts.check_text(key, "a relevant key") for key in relevant),
        namespace=None if namespace is None else drafts.check_namespace(namespace, allow_all=True),
        now=item.get("now"),
        as_of=item.get("as_of"),
    )
