"""Which query token met which token of a hit's passage, as an explained query tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memstore import Memory, MemoryStore, Passage, TokenMatch
from memstore.encoders import DocumentText, Encoder, open_encoder
from memstore.encoders.hashed import HashedEncoder
from memstore.store.token_matches import token_matches

LONG = "The weather was fine. " * 60 + "Zeno keeps a quagga in Évora. " + "It rained again. " * 60


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return open_encoder("minilm", device="cpu")


@pytest.fixture
def meaning(tmp_path: Path, minilm: Encoder) -> Iterator[MemoryStore]:
    """A store of the real encoder."""
    with MemoryStore.open(tmp_path / "meaning.mem", encoder=minilm) as opened:
        yield opened


def assert_places_hold(matches: tuple[TokenMatch, ...], memory: Memory, passage: Passage) -> None:
    for match in matches:
        if match.start is None:
            assert match.end is None
        else:
            assert match.end is not None
            assert passage.start <= match.start < match.end <= passage.end
            assert match.passage_token == memory.text[match.start : match.end]


def shown(matches: tuple[TokenMatch, ...]) -> list[tuple[str, str]]:
    return [(match.query_token, match.passage_token) for match in matches]


# The function alone


def matched(
    encoder: Encoder, query: str, memory: Memory, passage: Passage | None = None
) -> tuple[TokenMatch, ...]:
    """Match a query with a passage whose vectors are those the encoder makes now."""
    from memstore.encoders import DocumentText

    passage = passage or Passage(text=memory.text, start=0, end=len(memory.text))
    heading = f"{memory.title} " if memory.title else ""
    [stored] = encoder.encode_documents([DocumentText(f"{heading}{passage.text}")])
    [asked] = encoder.encode_queries([query])
    weights = np.arange(1.0, len(asked.tokens) + 1)
    found = token_matches(encoder, memory, passage, stored=stored, query=asked, weights=weights)
    assert [match.query_token for match in found] == list(asked.tokens)
    assert sum(match.weight for match in found) == pytest.approx(1)
    assert_places_hold(found, memory, passage)
    return found


def test_each_query_token_meets_its_most_similar_token(store: MemoryStore) -> None:
    memory = store.add("Ana moved to Lisbon, and Lisbon is far.")
    found = matched(HashedEncoder(), "lisbon ana", memory)
    assert shown(found) == [("lisbon", "Lisbon"), ("ana", "Ana")]
    assert [(match.start, match.end) for match in found] == [(13, 19), (0, 3)]  # the first Lisbon
    assert [match.similarity for match in found] == pytest.approx([1, 1])
    assert [match.weight for match in found] == pytest.approx([1 / 3, 2 / 3])


def test_places_are_of_the_memory_and_not_of_its_passage_or_title(store: MemoryStore) -> None:
    memory = store.add("Ana lives here. Bruno lives there.", title="Two homes")
    passage = Passage(text=memory.text[16:], start=16, end=len(memory.text))
    bruno, homes = matched(HashedEncoder(), "bruno homes", memory, passage)
    assert (bruno.start, bruno.end) == (16, 21)
    assert (homes.passage_token, homes.start, homes.end) == ("homes", None, None)


def test_a_special_token_is_named_and_has_no_place(store: MemoryStore, minilm: Encoder) -> None:
    found = matched(minilm, "...", store.add("?!"))
    assert shown(found)[0] == ("[CLS]", "[CLS]")
    assert found[0].start is None


def test_a_word_has_no_space_in_front_where_the_tokenizer_counts_it(store: MemoryStore) -> None:
    class Spaced(HashedEncoder):
        """Counts the space before a word as its first character, as byte-level tokenizers do."""

        def vector_spans(self, text: str) -> Any:
            return [(max(0, start - 1), end) for start, end in self.token_spans(text)]

    memory = store.add("Ana moved to Lisbon.", title="A home")
    found = matched(Spaced(), "ana lisbon home", memory)
    assert [match.passage_token for match in found] == ["Ana", "Lisbon", "home"]
    assert [match.start for match in found] == [0, 13, None]


def test_vectors_that_the_text_no_longer_has_are_matched_with_nothing(store: MemoryStore) -> None:
    memory = store.add("Ana moved to Lisbon.")
    encoder = HashedEncoder()
    [asked] = encoder.encode_queries(["ana"])
    for tokens in (1, 3, 5):
        found = token_matches(
            encoder,
            memory,
            Passage(text=memory.text, start=0, end=20),
            stored=np.ones((tokens, 32), dtype=np.float32),
            query=asked,
            weights=np.ones(1),
        )
        assert found == ()


# Through the store


def test_matches_are_there_only_when_asked_for(store: MemoryStore) -> None:
    store.add("Ana moved to Lisbon.", title="Home")
    [hit] = store.query("lisbon home", explain=True).hits
    assert shown(hit.token_matches) == [("lisbon", "Lisbon"), ("home", "Home")]
    assert [match.weight for match in hit.token_matches] == pytest.approx([0.5, 0.5])
    assert [match.similarity for match in hit.token_matches] == pytest.approx([1, 1], abs=0.01)
    assert store.query("lisbon home").hits[0].token_matches == ()
    [same], _ = (result.hits for result in store.query_many(["lisbon home", "x"], explain=True))
    assert same.token_matches == hit.token_matches


def test_similarities_times_weights_are_the_score(meaning: MemoryStore) -> None:
    meaning.add("Ana moved from Porto to Lisbon.", session="s")
    meaning.add("She lives near the river there!", session="s")
    meaning.add("The dentist called about the appointment.", title="Calls")
    meaning.add(LONG)
    for question in ("where does Ana live?", "Calls of dentists", "Who keeps a quagga?"):
        result = meaning.query(question, explain=True)
        assert len(result.hits) == 4
        assert "token_matches_unavailable" not in result.flags
        for hit in result.hits:
            assert hit.token_matches
            assert_places_hold(hit.token_matches, hit.memory, hit.passage)
            assert sum(match.weight for match in hit.token_matches) == pytest.approx(1)
            total = sum(match.weight * match.similarity for match in hit.token_matches)
            maxsim = float(hit.parts[0].why.removeprefix("MaxSim "))
            assert total == pytest.approx(maxsim, abs=1e-3)


def test_the_matches_of_a_long_text_lie_where_its_words_are(meaning: MemoryStore) -> None:
    meaning.add(LONG)
    meaning.add("Something else.")
    hit = meaning.query("who keeps a quagga in Evora?", explain=True).hits[0]
    assert hit.passage.start > 0
    start = LONG.index("Évora")
    match = next(match for match in hit.token_matches if match.query_token.startswith("ev"))
    assert match.start is not None
    assert start <= match.start < start + len("Évora")


def test_a_passage_whose_vectors_no_longer_fit_has_no_matches_and_is_flagged(
    store: MemoryStore,
    sql: Callable[..., list[tuple[Any, ...]]],
    stamp: Callable[[Path, str], None],
) -> None:
    store.add("Ana moved to Lisbon.", key="a")
    store.add("Bruno moved to Faro.", key="b")
    assert "token_matches_unavailable" not in store.query("moved", explain=True).flags
    sql(
        store.path,
        "UPDATE passage SET end = end - 8 WHERE memory_row IN "
        "(SELECT row FROM memory WHERE text LIKE 'Ana%')",
    )
    stamp(store.path, "passage")
    result = store.query("moved", explain=True)
    assert "token_matches_unavailable" in result.flags
    matches = {hit.memory.key: shown(hit.token_matches) for hit in result.hits}
    assert matches == {"a": [], "b": [("moved", "moved")]}
    assert "token_matches_unavailable" not in store.query("moved").flags


@pytest.mark.parametrize("sealed", [False, True])
def test_a_pooled_vector_is_told_with_all_its_tokens(
    tmp_path: Path, minilm: Encoder, sealed: bool
) -> None:
    settings = {"pooling": 2, "residual_bits": 1}
    with MemoryStore.open(tmp_path / "pooled.mem", encoder=minilm, settings=settings) as store:
        for n in range(30):  # so that a codec has something to tell apart
            store.add(f"The printer on floor {n} is out of paper again.", namespace="office")
        store.add("Bo: What does your brother play?", session="s")
        text = "Ana: My brother plays the cello in an orchestra, and the viola at home."
        memory = store.add(text, session="s", title="Music")
        if sealed:
            store.compact()
        [hit, *_] = store.query("who plays the cello?", explain=True).hits
    assert hit.memory.id == memory.id
    assert_places_hold(hit.token_matches, hit.memory, hit.passage)
    assert "cello" in [match.passage_token for match in hit.token_matches]
    assert any(match.pooled_with for match in hit.token_matches)
    told = {token for match in hit.token_matches for token in match.pooled_with}
    assert told <= {text[start:end] for start, end in minilm.token_spans(text)} | {"Music"}
    total = sum(match.weight * match.similarity for match in hit.token_matches)
    assert hit.relevance is not None
    assert total == pytest.approx(hit.relevance.raw, abs=1e-3)


def test_pooled_vectors_of_another_text_are_matched_with_nothing(store: MemoryStore) -> None:
    memory = store.add("Ana moved to Lisbon.")
    encoder = HashedEncoder()
    [asked] = encoder.encode_queries(["ana"])
    [other] = encoder.encode_documents([DocumentText("four words of others")])
    found = token_matches(
        encoder,
        memory,
        Passage(text=memory.text, start=0, end=20),
        stored=other[:2],
        query=asked,
        weights=np.ones(1),
        pooling=2,
        read_again=lambda: encoder.encode_documents([DocumentText(memory.text)])[0],
    )
    assert found == ()
