"""Whether the new version of a fact is found before the old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from memstore.errors import BadInput
from memstore.evaluation.arms import Arm
from memstore.evaluation.comparison import Answer, Observed
from memstore.evaluation.metrics import distinct
from memstore.evaluation.questions import Question, decoded, lines_of
from memstore.types import LineError

DEPTH = 100  # hits per question among which the two versions are looked for

NEW_ABOVE_OLD, STALE, FRESH, STALE_IN_5 = "new above old", "stale@1", "fresh@1", "stale in 5"


@dataclass(frozen=True, slots=True)
class Pair:
    """For a question, by its id, the keys of memories that hold no more and of their successors."""

    question: str
    old: tuple[str, ...]
    new: tuple[str, ...]


def read_pairs(path: Path, known: set[str]) -> tuple[list[Pair], list[LineError]]:
    """Return the pairs of a `supersession.tsv`, and the lines that hold none.

    The first line may be a heading: query-id, old-ids, new-ids, with tabs between them.

    Args:
        known: the ids of all queries.
    """
    pairs: list[Pair] = []
    errors: list[LineError] = []
    for number, raw in lines_of(path):
        try:
            fields = decoded(raw, number).rstrip("\r\n").split("\t")
            if number == 1 and len(fields) == 3 and fields[0] not in known:
                continue
            pairs.append(_pair(fields, known))
        except BadInput as error:
            errors.append(LineError(file=str(path), line=number, message=str(error)))
    return pairs, errors


def _pair(fields: Sequence[str], known: set[str]) -> Pair:
    if len(fields) != 3:
        raise BadInput(
            f"{len(fields)} fields; a line has a query's id, the keys of old memories and those of "
            "new ones, with tabs between them and spaces or commas between keys."
        )
    if fields[0] not in known:
        raise BadInput(f"no query has the id {fields[0]!r}.")
    old, new = (tuple(field.replace(",", " ").split()) for field in fields[1:])
    if not old or not new:
        raise BadInput("there are no old memories, or no new ones.")
    return Pair(fields[0], old, new)


def observe_pairs(
    pairs: Sequence[Pair], _: Arm, questions: Sequence[Question], answers: Sequence[Answer]
) -> Mapping[str, Observed]:
    """Return, per pair whose question was asked, which version was found first.

    What was not found is behind everything that was: if neither was, the new one is not above.
    """
    numbers = {question.id: number for number, question in enumerate(questions)}
    asked = [pair for pair in pairs if pair.question in numbers]
    of = np.array([numbers[pair.question] for pair in asked], dtype=np.int64)
    seen: dict[str, list[bool]] = {NEW_ABOVE_OLD: [], STALE: [], FRESH: [], STALE_IN_5: []}
    for pair in asked:
        keys = distinct([hit.key for hit in answers[numbers[pair.question]].hits])
        old, new = _first(keys, pair.old), _first(keys, pair.new)
        seen[NEW_ABOVE_OLD].append(new < old)
        seen[STALE].append(bool(keys) and old == 0)
        seen[FRESH].append(bool(keys) and new == 0)
        seen[STALE_IN_5].append(old < min(5, len(keys)))
    return {name: Observed(of, np.array(values, float)) for name, values in seen.items() if values}


def _first(keys: Sequence[str | None], wanted: Sequence[str]) -> int:
    """Return the place of the first of some keys; the number of keys if none is there."""
    return min((keys.index(key) for key in wanted if key in keys), default=len(keys))
