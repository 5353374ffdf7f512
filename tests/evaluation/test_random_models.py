"""Models of published sizes with random weights: the right size, and open like any folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from memstore.errors import BadInput
from memstore.evaluation.random_models import PUBLISHED, configuration, write_random_model
from memstore.rerank import CROSS_ENCODERS, open_reranker

# Counted on the published weights.
MILLIONS = {
    "minilm-l6": 22.7,
    "minilm-l12": 33.4,
    "bge-v2-m3": 567.8,
    "gte-modernbert": 149.6,
    "gte-multilingual": 306.0,
}
SMALLEST_VOCABULARY = 30_522
QUERY = "Where does Ana live now?"
DOCUMENTS = ["Ana moved from Porto to Lisbon.", "The cat is grey.", "Frost. " * 300]


def test_every_named_cross_encoder_has_a_configuration() -> None:
    assert PUBLISHED.keys() == CROSS_ENCODERS.keys() == MILLIONS.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_configuration_has_as_many_parameters_as_the_published_weights(name: str) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification

    with torch.device("meta"):  # no memory, no time
        model: Any = AutoModelForSequenceClassification.from_config(configuration(name))
    assert round(model.num_parameters() / 1e6, 1) == MILLIONS[name]


@pytest.mark.parametrize("name", ["minilm-l6", "minilm-l12"])
def test_a_small_model_opens_whole(tmp_path: Path, name: str) -> None:
    reranker = open_reranker(str(write_random_model(name, tmp_path / name)), device="cpu")
    assert round((reranker.parameters or 0) / 1e6, 1) == MILLIONS[name]
    scores = reranker.score(QUERY, DOCUMENTS)
    assert len(set(scores)) == len(DOCUMENTS)
    assert len(reranker.windows(QUERY, DOCUMENTS)[2]) > 1, "512 tokens are a window"


@pytest.mark.parametrize("name", ["gte-modernbert", "gte-multilingual", "bge-v2-m3"])
def test_a_large_model_opens_with_two_of_its_layers(tmp_path: Path, name: str) -> None:
    folder = write_random_model(name, tmp_path / name, layers=2, vocabulary=SMALLEST_VOCABULARY)
    reranker = open_reranker(str(folder), device="cpu")
    assert len(set(reranker.score(QUERY, DOCUMENTS))) == len(DOCUMENTS)


@pytest.mark.skipif(
    os.environ.get("MEMSTORE_TORTURE") != "1",
    reason="writes 4 GB, and takes minutes: scripts/test --torture",
)
@pytest.mark.parametrize("name", ["gte-modernbert", "gte-multilingual", "bge-v2-m3"])
def test_a_large_model_opens_whole(tmp_path: Path, name: str) -> None:
    folder = write_random_model(name, tmp_path / name)
    reranker = open_reranker(str(folder), device="cpu")
    assert round((reranker.parameters or 0) / 1e6, 1) == MILLIONS[name]
    assert len(set(reranker.score(QUERY, DOCUMENTS))) == len(DOCUMENTS)
    (folder / "model.safetensors").unlink()  # pytest keeps the folders of three runs


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    first, same, other = (
        write_random_model("minilm-l6", tmp_path / str(place), seed=seed, layers=1)
        for place, seed in enumerate((1, 1, 2))
    )
    weights = [(folder / "model.safetensors").read_bytes() for folder in (first, same, other)]
    assert weights[0] == weights[1] != weights[2]


def test_making_one_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    write_random_model("minilm-l6", tmp_path / "model", layers=1)
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a reranker 'abacus' is known.\nChoose one of minilm-l6"):
        write_random_model("abacus", tmp_path / "abacus")
