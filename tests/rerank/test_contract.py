"""What every local reranker promises, checked on a small model of each architecture."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.rerank import Reranker, open_reranker
from memstore.surrogates import replace_surrogates

WriteModel = Callable[..., Path]
SMALL = ["bert", "xlm-roberta", "modernbert", "gte"]
# Of each small model: its tokens for a query and a document, special ones included.
LIMIT = {"bert": 64, "xlm-roberta": 63, "modernbert": 64, "gte": 64}

QUERY = "where lives ana"
DOCUMENTS = [
    "ana lives in berlin",
    "",
    "the city",
    "how many people? " * 5,
    "?",
    "https://example.org/berlin.png",
    "\ud800 a lone surrogate",
    "Ана живёт в Берлине",
    "the city where many people live " * 30,
]


@pytest.fixture(scope="module", params=SMALL)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(
    architecture: str, tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel
) -> Path:
    return write_model(tmp_path_factory.mktemp("rerankers") / architecture, architecture)


@pytest.fixture(scope="module")
def reranker(folder: Path) -> Reranker:
    return open_reranker(str(folder), device="cpu")


TokenIds = Callable[[str], list[int]]
SPECIAL = 3  # [CLS] query [SEP] document [SEP]


@pytest.fixture(scope="module")
def token_ids(folder: Path) -> TokenIds:
    """The tokens of a text by the checkpoint's own tokenizer, which nothing cuts."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


def test_it_satisfies_the_contract(reranker: Reranker, folder: Path) -> None:
    assert isinstance(reranker, Reranker)
    assert (reranker.name, reranker.kind) == (str(folder), "logit")
    assert reranker.parameters is not None
    assert reranker.parameters > 20_000


def test_every_document_has_a_finite_score_of_its_own(reranker: Reranker) -> None:
    scores = reranker.score(QUERY, DOCUMENTS)
    assert all(score is not None and math.isfinite(score) for score in scores)
    assert len(set(scores)) == len(DOCUMENTS)


def test_the_order_and_the_company_of_documents_do_not_matter(reranker: Reranker) -> None:
    scores = reranker.score(QUERY, DOCUMENTS)
    order = list(range(len(DOCUMENTS)))
    random.Random(0).shuffle(order)

    shuffled = reranker.score(QUERY, [DOCUMENTS[place] for place in order])
    alone = [reranker.score(QUERY, [document])[0] for document in DOCUMENTS]

    assert shuffled == pytest.approx([scores[place] for place in order], abs=1e-4)
    assert alone == pytest.approx(scores, abs=1e-4)


def test_the_same_call_gives_the_same_scores(reranker: Reranker, folder: Path) -> None:
    again = open_reranker(str(folder), device="cpu")
    assert reranker.score(QUERY, DOCUMENTS) == reranker.score(QUERY, DOCUMENTS)
    assert again.score(QUERY, DOCUMENTS) == reranker.score(QUERY, DOCUMENTS)


def test_no_document_needs_no_score(reranker: Reranker) -> None:
    told: list[int] = []
    assert reranker.score(QUERY, [], progress=told.append) == []
    assert reranker.windows(QUERY, []) == []
    assert told == []


def test_progress_counts_every_document_once(reranker: Reranker) -> None:
    told: list[int] = []
    assert reranker.score(QUERY, DOCUMENTS, progress=told.append) == reranker.score(
        QUERY, DOCUMENTS
    )
    assert sum(told) == len(DOCUMENTS)
    assert len(told) > 1


def test_several_threads_get_what_one_gets(reranker: Reranker) -> None:
    queries = [f"{QUERY} {word}" for word in ("city", "people", "berlin", "how")]
    alone = [
        (reranker.score(query, DOCUMENTS), reranker.windows(query, DOCUMENTS)) for query in queries
    ]
    told: list[list[int]] = [[] for _ in queries]
    found: dict[int, Any] = {}

    def work(place: int) -> None:
        scores = reranker.score(queries[place], DOCUMENTS, progress=told[place].append)
        found[place] = scores, reranker.windows(queries[place], DOCUMENTS)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(queries))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [found[place] for place in range(len(queries))] == alone
    assert [sum(counts) for counts in told] == [len(DOCUMENTS)] * len(queries)


PIECES = ["a", "à", " ", "?", "ﷺ", "漢", "\n", "\ud800", "berlin ", "people ", "unknownword "]
TEXTS = st.text(max_size=100) | st.lists(st.sampled_from(PIECES), max_size=300).map("".join)


@given(query=TEXTS, document=TEXTS)
def test_windows_cover_a_document_and_fit_beside_the_query(
    reranker: Reranker,
    architecture: str,
    token_ids: TokenIds,
    query: str,
    document: str,
) -> None:
    ((first, *others),) = reranker.windows(query, [document])
    query, document = replace_surrogates(query), replace_surrogates(document)

    reached = first[1]
    assert first[0] == 0
    for start, end in others:
        assert start <= reached < end
        reached = end
    assert reached == len(document)
    room = LIMIT[architecture] - SPECIAL
    beside = max(room - len(token_ids(query)), room // 2)
    assert all(len(token_ids(document[start:end])) <= beside for start, end in (first, *others))
    assert (len(token_ids(document)) <= beside) == (not others), "what fits is one window"


def test_what_fits_is_one_window_and_one_token_more_is_two(
    reranker: Reranker, architecture: str, token_ids: TokenIds
) -> None:
    document = "city"
    while SPECIAL + len(token_ids(QUERY)) + len(token_ids(document)) < LIMIT[architecture]:
        document += " city"
    longer = document + " city"

    whole, divided = reranker.windows(QUERY, [document, longer])

    assert whole == [(0, len(document))]
    (first, start), (second, end) = divided
    assert (first, end) == (0, len(longer))
    assert second < start


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The token ids of each pair that a model has read, without padding."""
    from sentence_transformers import CrossEncoder

    rows: list[list[int]] = []
    original = CrossEncoder.preprocess

    def recording(self: Any, *arguments: Any, **options: Any) -> Any:
        features = original(self, *arguments, **options)
        for ids, mask in zip(features["input_ids"], features["attention_mask"], strict=True):
            rows.append(ids[mask.bool()].tolist())
        return features

    monkeypatch.setattr(CrossEncoder, "preprocess", recording)
    return rows


@pytest.mark.parametrize("words", [15, 500])
def test_a_long_query_is_cut_and_every_window_is_read_whole(
    reranker: Reranker,
    architecture: str,
    token_ids: TokenIds,
    read: list[list[int]],
    words: int,
) -> None:
    query, document = "how many people " * words, "ana lives in berlin the city " * 10
    (spans,) = reranker.windows(query, [document])
    windows = [document[start:end] for start, end in spans]

    for window in windows:
        reranker.score(query, [window])

    room = LIMIT[architecture] - SPECIAL
    for row, window in zip(read, windows, strict=True):
        whole = token_ids(window)
        assert len(whole) <= room // 2
        left = token_ids(query)[: room - len(whole)]
        assert row == [1, *left, 2, *whole, 2], "[CLS] query [SEP] window [SEP]"


def test_of_two_long_texts_each_keeps_its_half(
    reranker: Reranker,
    architecture: str,
    token_ids: TokenIds,
    read: list[list[int]],
) -> None:
    query, document = "how many people " * 100, "the city where ana lives " * 100
    reranker.score(query, [document])
    (row,) = read
    middle = row.index(2)
    assert len(row) == LIMIT[architecture]
    assert row[1:middle] == token_ids(query)[: middle - 1]
    assert row[middle + 1 : -1] == token_ids(document)[: len(row) - middle - 2]
    assert abs(middle - len(row) / 2) < 1.5
