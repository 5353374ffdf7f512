"""Test sets: a folder with a corpus and judged queries, or a file of questions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from memstore.errors import BadInput
from memstore.evaluation.questions import Question, read_judgements, read_questions
from memstore.evaluation.supersession import Pair, read_pairs
from memstore.types import LineError

_CORPUS, _QUERIES, _JUDGEMENTS = "corpus.jsonl", "queries.jsonl", "qrels.tsv"
_PAIRS = "supersession.tsv"
_SHOWN_ERRORS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Questions with their answers; `corpus` holds the memories, None for questions alone.

    `pairs` say which memories are old versions of others.
    """

    name: str
    questions: tuple[Question, ...]
    corpus: Path | None = None
    pairs: tuple[Pair, ...] = ()


def read_dataset(
    path: Path, *, timezone: tzinfo | None = None, needs_corpus: bool = False
) -> Dataset:
    """Read a test set.

    Args:
        path: a folder with `queries.jsonl`, `qrels.tsv` (without it the queries say what is
            `relevant`), `corpus.jsonl` and maybe `supersession.tsv`; or a file of questions that
            say what is relevant.
        timezone: of times without an offset; without it they are refused.
        needs_corpus: a folder without `corpus.jsonl` is refused.

    Raises:
        BadInput: a file is missing; lines of it cannot be read, all of them named; or nothing is
            judged relevant.
    """
    dataset = _folder(path, timezone, needs_corpus) if path.is_dir() else _file(path, timezone)
    if not any(question.answers for question in dataset.questions):
        raise BadInput(f"{path} judges nothing relevant to any question, so nothing can be scored.")
    return dataset


def _file(path: Path, timezone: tzinfo | None) -> Dataset:
    questions, errors = read_questions(path, timezone=timezone, judged=True)
    _refuse(errors)
    return Dataset(name=path.stem, questions=tuple(questions))


def _folder(folder: Path, timezone: tzinfo | None, needs_corpus: bool) -> Dataset:
    queries, judgements, corpus = (folder / name for name in (_QUERIES, _JUDGEMENTS, _CORPUS))
    for file in (queries, corpus) if needs_corpus else (queries,):
        if not file.exists():
            raise BadInput(
                f"{folder} has no {file.name}. A dataset folder holds {_CORPUS}, {_QUERIES} and "
                f"{_JUDGEMENTS}. To ask a store you have, give --in-store or a file of questions."
            )
    apart = judgements.exists()
    questions, errors = read_questions(queries, timezone=timezone, judged=not apart)
    if apart and not errors:  # else the judgements of a bad line would look bad too
        grades, errors = read_judgements(judgements, {question.id for question in questions})
        questions = [
            dataclasses.replace(question, relevant=grades.get(question.id, {}))
            for question in questions
        ]
    pairs: list[Pair] = []
    if (folder / _PAIRS).exists() and not errors:
        pairs, errors = read_pairs(folder / _PAIRS, {question.id for question in questions})
    _refuse(errors)
    return Dataset(
        name=folder.resolve().name,
        questions=tuple(questions),
        corpus=corpus if corpus.exists() else None,
        pairs=tuple(pairs),
    )


def _refuse(errors: Sequence[LineError]) -> None:
    if not errors:
        return
    shown = "\n".join(f"  {error}" for error in errors[:_SHOWN_ERRORS])
    more = len(errors) - _SHOWN_ERRORS
    raise BadInput(
        f"{len(errors)} {'line' if len(errors) == 1 else 'lines'} of the test set cannot be read. "
        f"Correct or remove them:\n{shown}" + (f"\n  … and {more} more" if more > 0 else "")
    )
