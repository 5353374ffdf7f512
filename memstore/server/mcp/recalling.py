"""Recalling: what answers a question, within a budget that holds for text and data alike."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence

from memstore import Hit, MemoryStore, QueryResult, Suppressed
from memstore.rendering import element
from memstore.server.mcp.arguments import RecallArguments
from memstore.server.mcp.fencing import NOTICE
from memstore.server.mcp.results import LeftOut, Recalled, RecallResult, Why, brief, shortened
from memstore.server.scope import Scope
from memstore.times import iso

_TOKEN = re.compile(r"\w+|[^\w\s]")  # what tokenizers split at least


def recall(store: MemoryStore, scope: Scope, asked: RecallArguments) -> tuple[RecallResult, str]:
    """Return what is remembered of a question; neither form is longer than the budget.

    What explains it comes on top.
    """
    answer = store.query(
        asked.query,
        namespace=scope.to_read(),
        limit=asked.limit,
        max_tokens=asked.max_tokens,
        near_duplicates="drop",
        style="xml",
        where=asked.where,
        as_of=asked.as_of,
        profile=asked.profile,
        explain=asked.explain,
    )
    hits = list(answer.hits)
    reasons = Counter[str](item.reason for item in answer.dropped)
    cut: list[Hit] = []
    while True:
        result, block, after = _told(answer, hits, reasons, asked.max_tokens)
        said = "\n".join([*block, *after])
        if not hits or _tokens(answer, cut, result, said) <= asked.max_tokens:
            break
        cut.append(hits.pop())
        reasons["over_budget"] += 1
    if not asked.explain:
        return result, said
    for hit, shown in zip(hits, result.hits, strict=True):
        shown.score = round(hit.score, 3)
        shown.confidence = round(hit.memory.confidence, 2)
        shown.parts = [
            Why(name=part.name, nats=round(part.nats, 3), why=part.why) for part in hit.parts
        ]
    result.left_out_ids = _left_out(answer, cut)
    why = [*map(_reason, hits), *map(_past, answer.suppressed)]
    if not why:
        return result, said
    return result, "\n".join([*(block or [NOTICE]), "<reasons>", *why, "</reasons>", *after])


def _told(
    answer: QueryResult, hits: Sequence[Hit], reasons: Counter[str], budget: int
) -> tuple[RecallResult, list[str], list[str]]:
    """Return hits as data, and as text with what is said after them; without explanations."""
    cue = answer.temporal
    left = ", ".join(f"{number} {reason}" for reason, number in reasons.items())
    further = None
    if left:
        further = f"Left out: {left}. The budget was {budget} tokens."
    elif not hits:
        further = "Nothing is remembered of that."
    result = RecallResult(
        notice=NOTICE,
        hits=[Recalled(**brief(hit.memory, hit.passage.text), rank=hit.rank) for hit in hits],
        left_out=dict(reasons) or None,
        # of an encoder that is not calibrated, every answer would say so
        flags=[flag for flag in answer.flags if flag != "uncalibrated"] or None,
        suggested_as_of=iso(cue.suggested_as_of) if cue and cue.suggested_as_of else None,
        page=answer.page,
        next=further,
    )
    block = [NOTICE, dataclasses.replace(answer, hits=tuple(hits)).render()] if hits else []
    page = None if answer.page is None else f"The page of this is {answer.page}."
    return result, block, [sentence for sentence in (further, page) if sentence]


def _tokens(answer: QueryResult, cut: Sequence[Hit], result: RecallResult, said: str) -> int:
    """Return how many tokens the longer form of a result has.

    The store has counted those of the hits as XML. The words are the same in all forms, so that
    one has more tokens than another by what is around the words, of which each sign is one.
    """
    counted = (answer.tokens or 0) - sum(hit.tokens or 0 for hit in cut)
    hits = dataclasses.replace(answer, hits=answer.hits[: len(result.hits)]).render()
    written = result.model_dump_json(exclude_none=True)
    longer = max(len(_TOKEN.findall(form)) for form in (written, said))
    return counted + longer - len(_TOKEN.findall(hits))


def _left_out(answer: QueryResult, cut: Sequence[Hit]) -> list[LeftOut]:
    return [
        *(
            LeftOut(id=item.memory.id, reason=item.reason, instead=item.like)
            for item in answer.dropped
        ),
        *(LeftOut(id=hit.memory.id, reason="over_budget") for hit in cut),
        *(
            LeftOut(
                id=item.memory.id,
                reason=item.reason,
                instead=item.current_id,
                text=shortened(item.memory.text),
            )
            for item in answer.suppressed
        ),
    ]


def _reason(hit: Hit) -> str:
    parts = "; ".join(f"{part.name} {part.nats:+.2f}: {part.why}" for part in hit.parts)
    return element("reason", {"rank": str(hit.rank), "score": f"{hit.score:.2f}"}, parts)


def _past(item: Suppressed) -> str:
    attributes = {"id": item.memory.id, "reason": item.reason}
    if item.current_id is not None:
        attributes["instead"] = item.current_id
    return element("past", attributes, shortened(item.memory.text))
