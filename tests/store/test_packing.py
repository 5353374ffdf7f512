"""A budget of tokens, no repetitions, and the order of a prompt."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from memstore import BadInput, MemoryStore
from memstore.encoders import open_encoder
from memstore.encoders.hashed import HashedEncoder


def _fill(store: MemoryStore) -> None:
    for n in range(1, 8):
        store.add("tea " * n, key=str(n), occurred_at=f"2026-01-0{n}T00:00:00Z")


@pytest.mark.parametrize("style", ["text", "markdown", "xml"])
def test_a_rendered_result_stays_within_its_budget(store: MemoryStore, style: str) -> None:
    _fill(store)
    encoder = open_encoder("hashed")
    for budget in (1, 10, 30, 60, 100, 10_000):
        result = store.query("tea", max_tokens=budget, style=style)  # type: ignore[arg-type]
        written = result.render()
        assert result.tokens == len(encoder.token_spans(written))
        assert result.tokens <= budget or not result.hits
        assert [hit.rank for hit in result.hits] == list(range(1, len(result.hits) + 1))
        assert len(result.hits) + len(result.dropped) == 7
        assert {item.reason for item in result.dropped} <= {"over_budget"}
    assert len(result.hits) == 7


def test_a_tokenizer_that_counts_line_breaks_stays_within_the_budget(tmp_path: Path) -> None:
    class Lines(HashedEncoder):
        """As byte-level tokenizers do: line breaks count, and three in a row for one more."""

        def token_spans(self, text: str) -> list[tuple[int, int]]:
            found = re.finditer(r"\n|\w+|[^\w\s]", text)
            more = [(0, 0)] * (text.count("\n") // 3)
            return [match.span() for match in found] + more

    with MemoryStore.open(tmp_path / "agent.mem", encoder=Lines()) as store:
        _fill(store)
        for budget in range(10, 120, 7):
            result = store.query("tea", max_tokens=budget)
            assert result.tokens == len(Lines().token_spans(result.render()))
            assert result.tokens <= budget
            assert len(result.hits) + len(result.dropped) == 7


def test_without_a_budget_nothing_is_suppressed_that_could_not_be_a_hit(
    store: MemoryStore,
) -> None:
    store.add("old tea", key="k", occurred_at="2026-01-01T00:00:00Z")
    store.add("other words", key="k", occurred_at="2026-02-01T00:00:00Z")
    store.add("tea and a long tail " + "word " * 40, key="long")
    store.add("tea", key="short")
    for budget in (None, 20):
        result = store.query("tea", limit=2, max_tokens=budget, explain=True, profile="semantic")
        lowest = min([hit.score for hit in result.hits] + [item.score for item in result.dropped])
        assert all(item.score > lowest for item in result.suppressed)


def test_a_hit_that_does_not_fit_is_passed_over_for_a_shorter_one(store: MemoryStore) -> None:
    store.add("tea " + "word " * 60, key="long", importance=1.0)
    store.add("tea word", key="short")
    whole = store.query("tea word", max_tokens=1000)
    long, short = (
        next(hit for hit in whole.hits if hit.memory.key == key) for key in ("long", "short")
    )
    assert long.tokens is not None
    assert short.tokens is not None
    assert whole.tokens == long.tokens + short.tokens
    some = store.query("tea word", max_tokens=short.tokens + 1)
    assert [hit.memory.key for hit in some.hits] == ["short"]
    (left_out,) = some.dropped
    assert (left_out.memory.key, left_out.reason) == ("long", "over_budget")
    assert left_out.tokens == pytest.approx(long.tokens, abs=1)


def test_without_a_budget_nothing_is_counted(store: MemoryStore) -> None:
    _fill(store)
    result = store.query("tea", limit=3)
    assert result.tokens is None
    assert [hit.tokens for hit in result.hits] == [None] * 3
    assert result.dropped == ()


def test_the_next_memory_takes_the_place_of_one_that_repeats_a_better_one(
    store: MemoryStore,
) -> None:
    for n, mark in enumerate(("", "!", "?")):
        store.add(f"the rent of the flat is due on mondays{mark}", key=f"same {n}")
    store.add("the rent of the boat is due", key="boat")
    kept = store.query("the rent of the flat is due on mondays", limit=2)
    assert {hit.memory.key for hit in kept.hits} < {"same 0", "same 1", "same 2"}
    result = store.query("the rent of the flat is due on mondays", limit=2, near_duplicates="drop")
    first, second = result.hits
    assert first.memory == kept.hits[0].memory
    assert second.memory.key == "boat"
    assert second.rank == 2
    assert [item.reason for item in result.dropped] == ["near_duplicate"] * 2
    assert {item.like for item in result.dropped} == {first.memory.id}
    assert [item.score for item in result.dropped] == sorted(
        (item.score for item in result.dropped), reverse=True
    )


class Shortest:
    """A reranker for which the shortest text is the best."""

    name, kind, parameters = "shortest", "logit", None

    def windows(self, query: str, documents: Sequence[str]) -> list[list[tuple[int, int]]]:
        return [[(0, len(text))] for text in documents]

    def score(self, query: str, documents: Sequence[str], **_: object) -> list[float | None]:
        return [-float(len(text)) for text in documents]


def test_behind_reranked_repetitions_come_the_others(store: MemoryStore) -> None:
    store.add_many({"text": "the rent is due" + "!" * n, "key": str(n)} for n in range(30))
    store.add_many({"text": f"the boat {n} is due", "key": f"b{n}"} for n in range(9))
    result = store.query(
        "the rent is due", limit=10, rerank=Shortest(), rerank_depth=20, near_duplicates="drop"
    )
    assert len(result.hits) == 10
    assert result.hits[0].memory.text == "the rent is due"
    assert "not_reranked" in result.flags


def test_repetitions_cost_no_budget(store: MemoryStore) -> None:
    for mark in ("", "!", "?"):
        store.add(f"the rent of the flat is due on mondays{mark}")
    store.add("the rent of the boat is due")
    one = store.query("the rent of the flat", limit=1, max_tokens=100).tokens
    assert one is not None
    both = store.query("the rent of the flat", max_tokens=2 * one, near_duplicates="drop")
    assert len(both.hits) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("the order is number 4411 and ships today", "the order is number 4412 and ships today"),
        ("Ana does eat peanuts", "Ana does not eat peanuts"),
        ("Ana lives in Porto", "Ana lives in Lisbon"),
        ("the ground floor is rented to a dentist", "the first floor is rented to a dentist"),
        ("Ana owes Bruno money", "Bruno owes Ana money"),
        ("👍", "👎"),
        ("I like C++ a lot", "I like C# a lot"),
        ("it is -5 degrees", "it is 5 degrees"),
        ("वह राम जाता है", "वह रोम जाता है"),
        ("she passed the exam", "she almost passed the exam"),
    ],
)
def test_what_differs_in_a_word_or_a_sign_is_no_repetition(
    store: MemoryStore, first: str, second: str
) -> None:
    store.add(first)
    store.add(second)
    result = store.query(first, near_duplicates="drop")
    assert {hit.memory.text for hit in result.hits} == {first, second}


def test_what_differs_in_time_title_or_namespace_is_no_repetition(store: MemoryStore) -> None:
    for month in (1, 2, 3):
        store.add("Paid the rent.", occurred_at=f"2026-0{month}-01T00:00:00Z", key=str(month))
    store.add("Paid the rent.", title="Bruno", occurred_at="2026-01-01T00:00:00Z", key="title")
    store.add("Paid the rent.", namespace="users/ana", occurred_at="2026-01-01T00:00:00Z")
    store.add("paid  the rent!", key="again", occurred_at="2026-03-01T00:00:00Z")
    result = store.query("rent", namespace="*", near_duplicates="drop")
    assert len(result.hits) == 5
    (again,) = result.dropped
    assert {again.memory.key, store.get(again.like or "").key} == {"again", "3"}


def test_documents_that_share_their_best_passage_are_no_repetitions(store: MemoryStore) -> None:
    for n in range(2):
        own = " ".join(f"word{n}x{place}" for place in range(600))
        store.add(f"all rights are reserved by the publisher\n\n{own}", key=str(n))
    result = store.query("all rights are reserved by the publisher", near_duplicates="drop")
    assert [hit.memory.key for hit in result.hits] != []
    assert {hit.memory.key for hit in result.hits} == {"0", "1"}


def test_more_repetitions_than_candidates_hide_nothing(store: MemoryStore) -> None:
    store.add_many({"text": "the rent is due" + "!" * n, "key": str(n)} for n in range(150))
    store.add_many({"text": f"the boat {n} is due", "key": f"b{n}"} for n in range(4))
    result = store.query("the rent is due", limit=5, near_duplicates="drop")
    assert len(result.hits) == 5
    assert len(result.dropped) == 5  # named are no more than were asked for
    assert len({hit.memory.key for hit in result.hits} & {f"b{n}" for n in range(4)}) == 4


def test_rendered_by_time_hits_keep_their_ranks(store: MemoryStore) -> None:
    _fill(store)
    result = store.query("tea", style="xml")
    root = ElementTree.fromstring(result.render(order="time"))
    times = [element.attrib["time"] for element in root]
    assert times == sorted(times)
    ranks = [int(element.attrib["rank"]) for element in root]
    assert sorted(ranks) == list(range(1, 8))
    assert ranks != sorted(ranks)
    by_score = ElementTree.fromstring(result.render())
    assert [int(element.attrib["rank"]) for element in by_score] == list(range(1, 8))
    assert result.render("text", order="time").splitlines()[0].startswith(f"[{ranks[0]}] ")


def test_wrong_arguments_are_named(store: MemoryStore) -> None:
    for arguments, named in (
        ({"near_duplicates": "hide"}, "near_duplicates is 'hide'"),
        ({"style": "html"}, "style 'html'"),
        ({"max_tokens": 0}, "max_tokens"),
    ):
        with pytest.raises(BadInput, match=named):
            store.query("tea", **arguments)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="order 'rank'"):
        store.query("tea").render(order="rank")  # type: ignore[arg-type]
