"""A store's scores become log-odds of relevance, fitted to what it holds."""

from __future__ import annotations

import numpy as np
import pytest

from memstore import MemoryStore
from memstore.errors import BadInput, IndexDamaged, StoreUnwritable
from memstore.rerank.late_interaction import LateInteractionReranker
from memstore.scoring.calibration import calibration_for
from memstore.store.pseudo_queries import make_source, pseudo_queries
from memstore.store.scorers import encoder_key

PEOPLE = ["Ana", "Bruno", "Carla", "Dario", "Elena", "Fabio", "Greta", "Hugo", "Ines", "Jonas"]
THINGS = ["piano", "boat", "garden", "bakery", "horse", "bicycle", "novel", "vineyard"]
TEXTS = [
    f"{person} bought a {thing} near {place} last {season} for the family."
    for number, person in enumerate(PEOPLE)
    for thing, place, season in zip(
        THINGS,
        ["Porto", "Lisbon", "Faro", "Braga", "Evora", "Coimbra", "Aveiro", "Sintra"],
        ["spring", "summer", "autumn", "winter"] * 2,
        strict=True,
    )
    if number < 10
]
QUESTIONS = [
    {"text": f"what did {person} get: {thing}?", "relevant": [f"{person}.{thing}"]}
    for person in PEOPLE
    for thing in THINGS[:5]
]


@pytest.fixture
def filled(store):
    keys = [f"{person}.{thing}" for person in PEOPLE for thing in THINGS]
    store.add_many([{"text": text, "key": key} for text, key in zip(TEXTS, keys, strict=True)])
    return store


def test_a_calibrated_store_has_log_odds_and_says_so(filled):
    before = filled.query("Ana bought a piano")
    assert "uncalibrated" in before.flags
    assert before.hits[0].probability is None
    report = filled.calibrate()
    after = filled.query("Ana bought a piano")
    assert after.flags == ()
    assert after.profile == "balanced"
    assert after.hits[0].relevance.nats is not None
    assert 0 < after.hits[0].probability < 1
    assert report.method == "pseudo-queries"
    assert report.stored
    assert report.scorer == encoder_key(filled._opened.identity)
    assert (report.log_loss_before, report.ece_before) == (None, None)


def test_relevance_alone_keeps_its_order(filled):
    ask = {"profile": "semantic", "limit": 80}
    before = filled.query("who has a boat in Faro?", **ask)
    filled.calibrate()
    after = filled.query("who has a boat in Faro?", **ask)
    assert [hit.memory.id for hit in after.hits] == [hit.memory.id for hit in before.hits]
    assert [hit.relevance.raw for hit in after.hits] == [hit.relevance.raw for hit in before.hits]


def test_judged_questions_are_fitted_to_as_they_are(filled):
    report = filled.calibrate(questions=QUESTIONS)
    assert (report.method, report.questions, report.relevant) == ("questions", 50, 50)
    assert report.candidates == 50 * 80
    assert report.ece < 0.02
    again = filled.calibrate(questions=QUESTIONS)
    assert again.parameters == report.parameters
    assert again.ece_before == pytest.approx(report.ece, abs=0.01)


def test_the_same_seed_makes_the_same_calibration(filled):
    first, second = filled.calibrate(seed=3), filled.calibrate(seed=3, dry_run=True)
    assert first.parameters == second.parameters
    assert filled.calibrate(seed=4, dry_run=True).parameters != first.parameters


def test_a_dry_run_stores_nothing(filled, fingerprint):
    before = fingerprint(filled.path)
    report = filled.calibrate(dry_run=True)
    assert not report.stored
    assert fingerprint(filled.path) == before
    assert "uncalibrated" in filled.query("Ana").flags


def test_a_new_fit_replaces_the_old_one_and_is_listed(filled):
    assert filled.calibrations() == ()
    filled.calibrate()
    second = filled.calibrate(seed=1)
    (listed,) = filled.calibrations()
    assert listed == second
    assert listed.log_loss_before is not None


def test_another_process_calibrates_and_the_next_query_knows(filled):
    filled.query("Ana")
    with MemoryStore.open(filled.path) as other:
        other.calibrate()
    assert "uncalibrated" not in filled.query("Ana").flags


def test_a_calibration_of_another_encoder_never_applies(filled):
    filled.calibrate()
    filled.rebuild(encoder="minilm")
    (listed,) = filled.calibrations()
    assert not listed.used
    hit = filled.query("Ana bought a piano").hits[0]
    assert hit.relevance.scorer == "minilm"
    assert hit.relevance.nats is not None  # the shipped one
    filled.rebuild(encoder="hashed")
    assert filled.query("Ana bought a piano").flags == ()


def test_a_store_s_own_calibration_comes_before_the_shipped_one(tmp_path):
    with MemoryStore.open(tmp_path / "own.mem") as store:
        store.add_many(TEXTS)
        shipped = store.query("who has a piano?").hits[0].relevance
        report = store.calibrate(limit=60)
        own = store.query("who has a piano?").hits[0].relevance
        assert report.log_loss_before is not None
        assert own.raw == shipped.raw
        assert own.nats != shipped.nats


def reranker(fingerprint=None):
    from memstore.encoders import DocumentText, open_encoder

    hashed = open_encoder("hashed")
    return LateInteractionReranker(
        name="own",
        document_length=256,
        token_spans=hashed.token_spans,
        encode_query=lambda text: hashed.encode_queries([text])[0].vectors,
        encode_documents=lambda texts: hashed.encode_documents([DocumentText(t) for t in texts]),
        fingerprint=fingerprint,
    )


def test_a_reranker_that_no_one_calibrated_can_be(filled):
    asked = {"rerank": reranker("a" * 64), "limit": 5}
    assert "uncalibrated" in filled.query("Ana bought a piano", **asked).flags
    report = filled.calibrate(rerank=reranker("a" * 64))
    assert report.scorer == f"reranker own {'a' * 16}"
    assert set(report.parameters) == {"bias", "slope"}
    result = filled.query("Ana bought a piano", **asked)
    assert "uncalibrated" not in result.flags
    assert result.hits[0].relevance.nats is not None
    # other weights under the same name: their scores mean something else
    other = filled.query("Ana bought a piano", rerank=reranker("b" * 64), limit=5)
    assert "uncalibrated" in other.flags
    # and the encoder's own scores are as uncalibrated as before
    assert "uncalibrated" in filled.query("Ana bought a piano").flags


def test_documents_that_are_not_stored_are_ranked_with_the_store_s_calibration(filled):
    documents = ["Ana bought a piano.", "It rained."]
    assert filled.rank("Ana's piano", documents)[0].probability is None
    filled.calibrate()
    assert filled.rank("Ana's piano", documents)[0].probability is not None


def test_too_few_memories_are_refused_with_what_to_do(store):
    store.add_many(TEXTS[:49])
    with pytest.raises(BadInput, match="49 memories that questions can be made of; it takes 50"):
        store.calibrate()


@pytest.mark.parametrize(
    "questions", [QUESTIONS[:29], [], [{"text": "?", "relevant": ["no"]}] * 40]
)
def test_too_few_answered_questions_are_refused(filled, questions):
    with pytest.raises(BadInput, match="a fit needs 30"):
        filled.calibrate(questions=questions)


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ("who?", "no list"),
        ([{"text": "who?", "relevant": "ana"}], "Question 0: relevant is no list"),
        ([{"text": "who?"}], "relevant is no list"),
        ([{"text": " ", "relevant": ["a"]}], "Question 0"),
        ([{"text": "who?", "relevant": ["a"], "answer": "b"}], "'answer' is unknown"),
        ([{"text": "who?", "relevant": ["a"], "now": "2026-01-01"}], "now"),
        (["who?"], "no mapping"),
    ],
)
def test_questions_that_cannot_be_read_are_refused_by_their_place(filled, questions, message):
    with pytest.raises(BadInput, match=message):
        filled.calibrate(questions=questions)


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"seed": 0.5}, {"limit": 0}, {"namespace": "a//b"}, {"rerank": 3}]
)
def test_wrong_options_are_refused(filled, wrong):
    with pytest.raises(BadInput):
        filled.calibrate(**wrong)


def test_scores_that_say_nothing_of_relevance_are_refused(filled):
    upside_down = [
        {"text": question["text"], "relevant": [f"{PEOPLE[-1 - number % 9]}.{THINGS[-1]}"]}
        for number, question in enumerate(QUESTIONS)
    ]
    with pytest.raises(BadInput, match="say nothing of relevance"):
        filled.calibrate(questions=upside_down)


def test_a_store_opened_for_reading_is_not_calibrated(filled):
    with MemoryStore.open(filled.path, read_only=True) as reader:
        assert not reader.calibrate(dry_run=True).stored
        with pytest.raises(StoreUnwritable, match="read_only"):
            reader.calibrate()


def test_a_damaged_calibration_is_said_and_never_guessed(filled, sql):
    filled.calibrate()
    sql(filled.path, "UPDATE calibration SET parameters = '{\"slope\": -1}'")
    with pytest.raises(IndexDamaged, match="memstore calibrate"):
        filled.query("Ana")


@pytest.mark.parametrize("name", ["minilm", "minilm-96", "minilm-64"])
def test_the_shipped_calibration_is_of_the_encoder_that_ships(name):
    from memstore.encoders import open_encoder
    from memstore.scoring.calibration import FITTED_FOR

    assert open_encoder(name).identity.fingerprint == FITTED_FOR[name]
    assert calibration_for(name).rises


# questions made of memories


def source(number, text, namespace="a"):
    words = tuple(text.split())
    return make_source(f"id{number}", namespace, words, {word.lower() for word in words})


def test_a_made_up_question_has_words_in_order_of_its_two_answers():
    found = [source(n, f"w{n}a w{n}b w{n}c w{n}d w{n}e w{n}f") for n in range(30)]
    texts = {one.id: " ".join(one.words) for one in found}
    for question in pseudo_queries(found, asked="*", limit=20, seed=0):
        words = question.text.split()
        first, second = " ".join(words[:3]), " ".join(words[3:])
        assert len(question.relevant) == 2
        matching = {id_ for id_, text in texts.items() if first in text or second in text}
        assert matching == question.relevant
        assert question.namespace == "a"


def test_near_duplicates_of_an_answer_are_neither_answers_nor_others():
    same = "the plan costs ten euros a month"
    found = [source(n, f"w{n}a w{n}b w{n}c w{n}d w{n}e w{n}f") for n in range(30)]
    found += [source(30, same), source(31, f"{same} now")]
    asked = [q for q in pseudo_queries(found, asked="*", limit=32, seed=0) if "id30" in q.relevant]
    assert asked
    for question in asked:
        assert "id31" in question.uncertain | question.relevant
        assert not question.uncertain & question.relevant


def test_words_are_cut_where_they_say_which_memory_it_is():
    words = ("it", "was", "in", "the", "year", "that", "Ana", "came", "to", "us")
    found = make_source("id", "a", words, {"ana"})
    cuts = [" ".join(words[start : start + 3]) for start in found.starts]
    assert cuts == ["year that Ana", "that Ana came", "Ana came to"]


def test_small_namespaces_are_asked_together():
    found = [source(n, f"w{n}a w{n}b w{n}c w{n}d w{n}e", f"n{n}") for n in range(30)]
    asked = pseudo_queries(found, asked="*", limit=40, seed=0)
    assert len(asked) == 30
    assert {question.namespace for question in asked} == {"*"}


def test_a_calibration_never_turns_an_order_around(filled):
    filled.calibrate()
    result = filled.query("boat", profile="semantic", limit=80)
    raw = [hit.relevance.raw for hit in result.hits]
    nats = [hit.relevance.nats for hit in result.hits]
    assert np.all(np.diff(raw) <= 0)
    assert np.all(np.diff(nats) <= 0)
