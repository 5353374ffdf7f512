"""Arms are asked the same questions: what comes out, and what is refused."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest

from memstore import BadInput, MemoryStore, RerankerUnavailable, ServiceError
from memstore.evaluation import Arm, Question, combined, compare, open_arms, read_dataset
from memstore.evaluation.comparison import NO_CATEGORY
from memstore.scoring import calibration

PLAIN = Arm("none", "semantic")


@pytest.fixture
def questions(dataset, store):
    store.ingest(dataset / "corpus.jsonl")
    return read_dataset(dataset).questions


def test_a_real_reranker_finds_what_words_alone_do_not(store, questions):
    comparison = compare(store, questions, combined(["none", "colbert:minilm"], ["semantic"]))
    words, meaning = comparison.summaries()
    assert words.metrics["ndcg@10"] < meaning.metrics["ndcg@10"]
    assert meaning.metrics["r@1"] == pytest.approx(15 / 16)  # of the last one's two answers, one
    assert words.differences == {}
    better = meaning.differences["ndcg@10"]
    assert better.mean == pytest.approx(meaning.metrics["ndcg@10"] - words.metrics["ndcg@10"])
    assert better.low < better.mean < better.high
    assert (words.parameters, words.candidates, meaning.candidates) == (0, 8, 8)
    assert meaning.questions == 8
    assert 0 < meaning.p50_ms <= meaning.p95_ms


def test_the_same_seed_gives_the_same_numbers(store, questions):
    arms = combined(["none", "colbert"], ["semantic", "balanced"])
    now = datetime(2026, 3, 2, tzinfo=UTC)
    first, second = (compare(store, questions, arms, now=now, seed=4) for _ in range(2))
    for one, other in zip(first.summaries(), second.summaries(), strict=True):
        assert (one.metrics, one.differences) == (other.metrics, other.differences)


def test_an_arm_is_no_better_than_itself(store, questions):
    first, second = compare(store, questions, [PLAIN, PLAIN]).summaries()
    assert second.metrics == first.metrics
    difference = second.differences["ndcg@10"]
    assert (difference.mean, difference.low, difference.high) == (0.0, 0.0, 0.0)
    assert not difference.certain


def test_categories_are_summed_up_apart(store, questions):
    comparison = compare(store, questions, [PLAIN])
    assert comparison.categories == ["food", "hobby", "pet", "place", "work"]
    (everything,) = comparison.summaries()
    parts = [comparison.summaries(name)[0] for name in comparison.categories]
    assert [part.questions for part in parts] == [2, 2, 1, 1, 2]
    for metric, mean in everything.metrics.items():
        total = sum(part.questions * part.metrics[metric] for part in parts)
        assert total / 8 == pytest.approx(mean)


def test_questions_without_a_category_are_one_group_beside_the_others(store, questions):
    bare = [dataclasses.replace(question, category=None) for question in questions]
    assert compare(store, bare, [PLAIN]).categories == []
    mixed = compare(store, [*questions[:2], *bare[2:]], [PLAIN])
    assert mixed.categories == [NO_CATEGORY, "place", "work"]
    assert mixed.summaries(NO_CATEGORY)[0].questions == 6


def test_of_a_handful_of_questions_no_interval_is_given(store, questions):
    _, second = compare(
        store, questions[:5], combined(["none", "colbert"], ["semantic"])
    ).summaries()
    difference = second.differences["ndcg@10"]
    assert (difference.low, difference.high, difference.certain) == (None, None, False)


def test_a_question_sees_its_own_namespace_time_and_validity(store):
    old, new = "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
    store.add("The plan costs 10 euros.", key="plan", occurred_at=old)
    store.add("The plan costs 14 euros.", key="plan.new", occurred_at=new)
    store.add("The plan costs nothing.", key="plan.team", namespace="team", occurred_at=old)
    text = "What does the plan cost?"
    early, late = datetime(2025, 6, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
    asked = [
        Question(id="now", text=text, relevant={"plan": 1}, now=early),
        Question(id="as of", text=text, relevant={"plan": 1}, as_of=early),
        Question(id="team", text=text, relevant={"plan.team": 1}, namespace="team"),
        Question(id="default", text=text, relevant={"plan": 1}),
    ]
    (measured,) = compare(store, asked, [PLAIN], now=late).measured
    found = [{hit.key for hit in answer.hits} for answer in measured.answers]
    assert found == [{"plan"}, {"plan"}, {"plan.team"}, {"plan", "plan.new"}]


def test_the_namespace_holds_for_questions_that_name_none(store):
    store.add("Ana sails.", key="ana", namespace="team")
    question = Question(id="1", text="Who sails?", relevant={"ana": 1})
    assert compare(store, [question], [PLAIN], namespace="team").summaries()[0].metrics["r@1"] == 1
    with pytest.raises(BadInput, match="None of the 1 keys"):
        compare(store, [question], [PLAIN])


def test_keys_that_no_memory_has_count_and_are_named(store, questions):
    strange = Question(id="s", text="Who?", relevant={"nobody": 1})
    partly = dataclasses.replace(questions[0], relevant={"ana.city": 1, "ana.town": 1, "x": 0})
    comparison = compare(store, [strange, partly], [PLAIN])
    assert comparison.unknown_keys == ("nobody", "ana.town")
    assert comparison.summaries()[0].metrics["r@10"] == pytest.approx((0 + 1 / 2) / 2)


def test_if_no_key_is_known_nothing_is_asked(store, questions):
    strange = [Question(id="s", text="Who?", relevant=dict.fromkeys("dcba", 1.0))]
    with pytest.raises(BadInput, match=r"None of the 4 keys .*: 'a', 'b', 'c' …\. A memory's key"):
        compare(store, strange, [PLAIN])


def test_keys_are_looked_up_however_many_there_are(store):
    store.add_many(
        [{"text": f"Fact number {number}.", "key": f"k{number}"} for number in range(700)]
    )
    asked = Question(id="1", text="Facts?", relevant={f"k{number}": 1.0 for number in range(1200)})
    comparison = compare(store, [asked], [PLAIN])
    assert len(comparison.unknown_keys) == 500


def test_questions_that_nothing_answers_are_not_asked(store, questions):
    useless = Question(id="u", text="Who?", relevant={"ana.city": 0.0})
    comparison = compare(store, [useless, *questions], [PLAIN])
    assert (len(comparison.questions), comparison.unjudged) == (8, 1)
    with pytest.raises(BadInput, match="No question has a relevant key"):
        compare(store, [useless], [PLAIN])


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        (Arm("minilm-16", "semantic"), "There is no reranker 'minilm-16'"),
        (Arm("none", "clever"), "Profile 'clever' is unknown"),
    ],
)
def test_an_unknown_name_is_refused_before_a_reranker_is_opened(store, arm, said, monkeypatch):
    monkeypatch.setattr(MemoryStore, "reranker", lambda *_: pytest.fail("a reranker was opened"))
    with pytest.raises(BadInput, match=said):
        open_arms(store, [Arm("minilm-l6", "semantic"), arm])
    with pytest.raises(BadInput, match=said):
        combined(["none", arm.reranker], [arm.profile])


def test_a_reranker_that_is_not_here_is_an_error_or_left_out(store, questions, monkeypatch):
    def missing(_: MemoryStore, name: str) -> None:
        if name == "minilm-l6":
            raise RerankerUnavailable("It is not here.")

    monkeypatch.setattr(MemoryStore, "reranker", missing)
    arms = combined(["minilm-l6", "none"], ["semantic", "balanced"])
    with pytest.raises(RerankerUnavailable):
        compare(store, questions, arms)
    comparison = compare(store, questions, arms, on_rerank_error="skip")
    assert [item.arm for item in comparison.measured] == arms[2:]
    assert [(item.arm, item.reason) for item in comparison.left_out] == [
        (arm, "It is not here.") for arm in arms[:2]
    ]
    with pytest.raises(BadInput, match=r"There is no arm to measure.\n  minilm-l6 semantic: It is"):
        compare(store, questions, arms[:1], on_rerank_error="skip")
    with pytest.raises(BadInput, match="on_rerank_error is 'ignore'"):
        compare(store, questions, arms, on_rerank_error="ignore")


def test_an_arm_that_fails_half_way_is_left_out_entirely(store, questions, monkeypatch):
    asked = []
    query = MemoryStore.query

    def failing(self: MemoryStore, text: str, **options: object) -> object:
        asked.append(text)
        if options["rerank"] == "colbert" and len(asked) > 13:
            raise ServiceError("The service is closed.")
        return query(self, text, **options)

    monkeypatch.setattr(MemoryStore, "query", failing)
    arms = combined(["none", "colbert"], ["semantic"])
    comparison = compare(store, questions, arms, on_rerank_error="skip")
    assert [str(item.arm) for item in comparison.measured] == ["none semantic"]
    assert comparison.left_out[0].reason == "The service is closed."


def test_a_later_arm_gains_no_time_from_texts_that_were_encoded_before(store, questions):
    first, second = compare(store, questions, [PLAIN, PLAIN]).measured
    for one, other in zip(first.answers, second.answers, strict=True):
        assert one.took["encode"] == other.took["encode"]
        assert sum(other.took.values()) <= other.seconds


def test_the_depth_is_what_the_reranker_reads(store, questions):
    (shallow,) = compare(
        store, questions, [Arm("colbert:minilm", "semantic")], rerank_depth=1
    ).measured
    assert shallow.candidates == 1
    (deep,) = compare(
        store, questions, [Arm("colbert:minilm", "semantic")], rerank_depth=8
    ).measured
    assert shallow.scores[:, 0].mean() < deep.scores[:, 0].mean()


def test_fewer_hits_than_the_metrics_look_at_are_refused(store, questions):
    with pytest.raises(BadInput, match="limit is 9; the metrics look at 10 hits"):
        compare(store, questions, [PLAIN], limit=9)


def test_progress_is_told_of_every_question_of_every_arm(store, questions):
    told = []
    arms = combined(["none"], ["semantic", "balanced"])
    compare(store, questions, arms, progress=lambda *args: told.append(args))
    assert told == [(str(arm), number, 8) for arm in arms for number in range(1, 9)]


def test_the_scores_have_a_row_per_question_and_a_column_per_metric(store, questions):
    (measured,) = compare(store, questions, [PLAIN]).measured
    assert measured.scores.shape == (8, 5)
    assert measured.scores.dtype == np.float64
    assert measured.seconds.shape == (8,)


def test_an_arm_without_currency_heeds_no_word_that_would_bring_it_back(store, monkeypatch):
    fitted = calibration.ContrastCalibration(-1.0, 3.0, 0.0, 0.0)
    monkeypatch.setitem(calibration._SHIPPED, "hashed", fitted)
    for key, year in (("old", 2020), ("new", 2025), ("other", 2022)):
        text = f"The plan costs {year - 2000} euros in {key} words."
        store.add(text, key=key, occurred_at=f"{year}-01-01T00:00:00Z", entities=[])
    question = Question(id="q", text="What does the plan cost now?", relevant={"new": 1})
    now = datetime(2025, 2, 1, tzinfo=UTC)
    arms = combined(["none"], ["semantic", "balanced"], ablate=True)
    measured = {item.arm.label: item for item in compare(store, [question], arms, now=now).measured}

    def scores(label: str) -> list[float]:
        return [hit.score for hit in measured[label].answers[0].hits]

    assert scores("balanced -currency") == scores("semantic")
    assert scores("balanced only entity") == scores("semantic")
    assert scores("balanced only currency") != scores("semantic")
