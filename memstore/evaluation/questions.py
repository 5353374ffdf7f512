"""Questions whose answers are known, and the files they are read from."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

from memstore.errors import BadInput
from memstore.json_input import bounded_lines, not_utf8, parse_json, too_long
from memstore.store.drafts import check_namespace, check_number, check_string, check_text
from memstore.times import from_microseconds, to_microseconds
from memstore.types import LineError

_GRADES = (-1e9, 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A text to ask, and the keys of the memories that answer it.

    `relevant` maps keys to grades: above 0 a memory answers, the higher the better. `namespace`,
    `now` and `as_of` are those of `MemoryStore.query`; None leaves them to the run. `answer` is the
    answer in words, where the data set gives it.
    """

    id: str
    text: str
    relevant: Mapping[str, float]
    category: str | None = None
    namespace: str | None = None
    now: datetime | None = None
    as_of: datetime | None = None
    answer: str | None = None

    @property
    def answers(self) -> set[str]:
        """The keys that are judged relevant; a question without any says nothing."""
        return {key for key, grade in self.relevant.items() if grade > 0}


def sample(questions: Sequence[Question], size: int, *, seed: int) -> list[Question]:
    """Return some of the questions that have an answer, or all of those, in their order."""
    judged = [question for question in questions if question.answers]
    chosen = random.Random(seed).sample(range(len(judged)), min(size, len(judged)))
    return [judged[place] for place in sorted(chosen)]


def read_questions(
    path: Path, *, timezone: tzinfo | None, judged: bool
) -> tuple[list[Question], list[LineError]]:
    """Return the questions of a JSONL file, and the lines that hold none.

    Args:
        judged: every question must say what is `relevant`; otherwise that is ignored.
    """
    questions: list[Question] = []
    errors: list[LineError] = []
    lines: dict[str, int] = {}
    for number, raw in lines_of(path):
        try:
            question = _question(raw, number, timezone, judged=judged)
            _check_new(question.id, lines.setdefault(question.id, number), number)
        except BadInput as error:
            errors.append(LineError(file=str(path), line=number, message=str(error)))
        else:
            questions.append(question)
    return questions, errors


def _check_new(id_: str, first: int, number: int) -> None:
    if first != number:
        raise BadInput(f"id {id_!r} is that of line {first} already.")


def read_judgements(
    path: Path, known: set[str]
) -> tuple[dict[str, dict[str, float]], list[LineError]]:
    """Return query id -> key -> grade of a `qrels.tsv`, and the lines that hold no judgement.

    The first line may be a heading. Of two grades for the same pair the last one counts.

    Args:
        known: the ids of all queries.
    """
    judgements: dict[str, dict[str, float]] = {}
    errors: list[LineError] = []
    for number, raw in lines_of(path):
        try:
            fields = decoded(raw, number).rstrip("\r\n").split("\t")
            if number == 1 and len(fields) == 3 and _number(fields[2]) is None:
                continue
            query, key, grade = _judgement(fields, known)
        except BadInput as error:
            errors.append(LineError(file=str(path), line=number, message=str(error)))
        else:
            judgements.setdefault(query, {})[key] = grade
    return judgements, errors


def _judgement(fields: Sequence[str], known: set[str]) -> tuple[str, str, float]:
    if len(fields) != 3:
        raise BadInput(
            f"{len(fields)} fields; a judgement is a query's id, a memory's key and a grade, "
            "with tabs between them."
        )
    query, key, written = fields
    grade = _number(written)
    if grade is None:
        raise BadInput(f"the grade is {written!r}; give a number, above 0 for what is relevant.")
    if query not in known:
        raise BadInput(f"no query has the id {query!r}.")
    return query, key, grade


def _number(written: str) -> float | None:
    try:
        value = float(written)
    except ValueError:
        return None
    return value if _GRADES[0] <= value <= _GRADES[1] else None


def lines_of(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Yield number and content of each line that is not blank, None for one that is too long."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(bounded_lines(file), start=1):
                if raw is None or raw.strip():
                    yield number, raw
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}.") from error


def decoded(raw: bytes | None, number: int) -> str:
    """Return a line as text, without a byte-order mark in front of the first.

    Raises:
        BadInput: it is not UTF-8, or was too long to be read.
    """
    if raw is None:
        raise too_long()
    try:
        return raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(error) from error


def _question(raw: bytes | None, number: int, timezone: tzinfo | None, *, judged: bool) -> Question:
    try:
        item = parse_json(decoded(raw, number))
    except ValueError as error:
        raise BadInput(f"not a JSON object: {error}.") from error
    if not isinstance(item, dict) or item.get("text") is None:
        raise BadInput("a question is a JSON object with a text.")
    if item.get("where") is not None:
        raise BadInput("where is not read from a file of questions.")
    id_ = _name(_first(item, "id"), "id")
    namespace = _first(item, "namespace", "scope")
    return Question(
        id=str(number) if id_ is None else id_,
        text=check_text(item["text"], "the question"),
        relevant=_relevant(item.get("relevant")) if judged else {},
        category=_name(_first(item, "category"), "category"),
        namespace=None if namespace is None else check_namespace(namespace, allow_all=True),
        now=_time(_first(item, "now", "timestamp"), "now", timezone),
        as_of=_time(_first(item, "as_of"), "as_of", timezone),
        answer=_answer(item.get("answer")),
    )


def _answer(value: Any) -> str | None:
    """Return an answer in words; data sets also have lists and objects there, which say nothing."""
    written = str(value) if isinstance(value, (int, float)) else value
    return written.strip() or None if isinstance(written, str) else None


def _first(item: Mapping[str, Any], *names: str) -> Any:
    """Return the first of several fields that has a value: null is no value."""
    return next((item[name] for name in names if item.get(name) is not None), None)


def _name(value: Any, field: str) -> str | None:
    """Return a name; numbers, common as ids in data sets, as their decimal form."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return check_string(value, field)


def _time(value: Any, name: str, timezone: tzinfo | None) -> datetime | None:
    if value is None:
        return None
    return from_microseconds(to_microseconds(value, name=name, timezone=timezone))


def _relevant(value: Any) -> dict[str, float]:
    if isinstance(value, list):
        return {_key(key): 1.0 for key in value}
    if isinstance(value, dict):
        return {_key(key): check_number(grade, "a grade", *_GRADES) for key, grade in value.items()}
    raise BadInput(
        "relevant is missing or no list. Give the keys of the memories that answer the question, "
        '["key", …], or with grades, {"key": 2, …}.'
    )


def _key(value: Any) -> str:
    key = _name(value, "a relevant key")
    if key is None:
        raise BadInput("a relevant key is null. Leave it out.")
    return key
