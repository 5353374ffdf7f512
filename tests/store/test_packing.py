"""A budget of tokens, no repetitions, and the order of a prompt."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from memstore import BadInput, MemoryStore
from memstore.encoders import open_encoder


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
        if result.hits:
            assert result.tokens == len(encoder.token_spans(written)) <= budget
        assert result.tokens == 0 or result.hits
        assert [hit.rank for hit in result.hits] == list(range(1, len(result.hits) + 1))
        assert len(result.hits) + len(result.dropped) == 7
        assert {item.reason for item in result.dropped} <= {"over_budget"}
    assert len(result.hits) == 7


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
        ("Ana does eat peanuts with her lunch", "Ana does not eat peanuts with her lunch"),
        ("Ana can eat peanuts with her lunch", "Ana can't eat peanuts with her lunch"),
        ("Ana lives in Porto", "Ana lives in Lisbon"),
        (
            "the ground floor is rented to a dentist until May",
            "the first floor is rented to a dentist until May",
        ),
        ("Ana owes Bruno money", "Bruno owes Ana money"),
        ("Ana lives in Porto with Bruno", "Ana lives in Porto with Bruno and Carla"),
        ("yes", "yes, that is what I said to the dentist"),
    ],
)
def test_what_says_something_of_its_own_is_no_repetition(
    store: MemoryStore, first: str, second: str
) -> None:
    store.add(first)
    store.add(second)
    result = store.query(first, near_duplicates="drop")
    assert {hit.memory.text for hit in result.hits} == {first, second}


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
