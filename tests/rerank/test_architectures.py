"""Each architecture against transformers alone, and GTE, which asks for code of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memstore.errors import RerankerUnavailable
from memstore.rerank import open_reranker
from memstore.rerank.gte import native_config
from memstore.settings import Settings

WriteModel = Callable[..., Path]
ChangeJson = Callable[..., None]

QUERY = "where lives ana"
DOCUMENTS = ["ana lives in berlin", "how many people?", "the city " * 8]


@pytest.fixture(scope="module")
def gte(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    return write_model(tmp_path_factory.mktemp("checkpoints") / "gte", "gte")


def scores_by_hand(model: Any, folder: Path) -> list[float]:
    """Score each pair alone: no batches, no padding, no library between model and tokens."""
    import torch
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    typed = getattr(model.config, "type_vocab_size", 1) > 1
    scores = []
    for document in DOCUMENTS:
        encoding = tokenizer.encode(QUERY, document)
        types = {"token_type_ids": torch.tensor([encoding.type_ids])} if typed else {}
        with torch.inference_mode():
            scores.append(model(input_ids=torch.tensor([encoding.ids]), **types).logits.item())
    return scores


@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta", "modernbert"])
def test_scores_are_the_logits_of_the_bare_model(
    architecture: str, tmp_path: Path, write_model: WriteModel
) -> None:
    from transformers import AutoModelForSequenceClassification

    folder = write_model(tmp_path / architecture, architecture)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()

    scores = open_reranker(str(folder), device="cpu").score(QUERY, DOCUMENTS)

    assert scores == pytest.approx(scores_by_hand(model, folder), abs=1e-4)


def test_gte_scores_as_the_native_model_of_the_same_weights(gte: Path) -> None:
    """Its weights are stored under other names, with query, key and value in one."""
    import torch
    from transformers import GteConfig, GteForSequenceClassification

    config = native_config(json.loads((gte / "config.json").read_text()))
    with torch.random.fork_rng():
        torch.manual_seed(1)  # as the checkpoint was made
        model = GteForSequenceClassification(GteConfig.from_dict(config)).eval()

    scores = open_reranker(str(gte), device="cpu").score(QUERY, DOCUMENTS)

    assert scores == pytest.approx(scores_by_hand(model, gte), abs=1e-4)


def test_gte_in_half_precision_is_computed_in_float32(tmp_path: Path, gte: Path) -> None:
    """As its publisher stores it."""
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(gte, tmp_path / "half"))
    weights = load_file(folder / "model.safetensors")
    halves = {name: values.half() for name, values in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    rounded = {name: values.float() for name, values in halves.items()}
    same = Path(shutil.copytree(gte, tmp_path / "rounded"))
    save_file(rounded, same / "model.safetensors", metadata={"format": "pt"})

    stored_half, stored_whole = (
        open_reranker(str(place), device="cpu").score(QUERY, DOCUMENTS) for place in (folder, same)
    )

    assert stored_half == stored_whole


def test_positions_of_gte_are_scaled_as_its_own_code_scales_them() -> None:
    """The publisher's NTK scaling by f: 1 / (theta f)^(2i / dim), divided by f^(2 / dim)."""
    import torch
    from transformers import GteConfig
    from transformers.models.gte.modeling_gte import GteRotaryEmbedding

    published = {
        "model_type": "new",
        "hidden_size": 768,
        "num_attention_heads": 12,
        "rope_theta": 20000,
        "rope_scaling": {"factor": 8.0, "type": "ntk"},
    }
    positions = GteRotaryEmbedding(GteConfig.from_dict(native_config(published)))

    expected = 1 / (20000 * 8) ** (torch.arange(0, 64, 2) / 64) / 8 ** (2 / 64)
    torch.testing.assert_close(positions.inv_freq, expected)
    assert positions.attention_scaling == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position_embedding_type": "absolute"}, "its position_embedding_type is 'absolute'"),
        ({"layer_norm_type": "rms_norm"}, "its layer_norm_type is 'rms_norm'"),
        ({"logn_attention_scale": True}, "its logn_attention_scale is True, and only False"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2}}, "only fixed NTK scaling is supported"),
        ({"rope_scaling": {"type": "ntk", "factor": 2, "mixed_b": 0.6}}, "only fixed NTK scaling"),
    ],
)
def test_a_gte_model_that_the_native_class_would_compute_wrongly_is_refused(
    tmp_path: Path,
    write_model: WriteModel,
    change_json: ChangeJson,
    changes: dict[str, Any],
    message: str,
) -> None:
    folder = write_model(tmp_path / "variant", "gte")
    change_json(folder / "config.json", **changes)
    with pytest.raises(RerankerUnavailable, match=message):
        open_reranker(str(folder), device="cpu")


def test_a_gte_folder_stays_as_it_is_and_no_shadow_is_left(
    gte: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = {entry.name: entry.stat().st_mtime_ns for entry in gte.iterdir()}
    open_reranker(str(gte), device="cpu")
    assert {entry.name: entry.stat().st_mtime_ns for entry in gte.iterdir()} == before
    assert list(tmp_path.iterdir()) == []


def test_gte_loads_where_links_are_not_possible(
    gte: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(gte, tmp_path / "gte"))
    (folder / "onnx").mkdir()
    linked = open_reranker(str(folder), device="cpu").score(QUERY, DOCUMENTS)

    def refuse(*_arguments: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "symlink", refuse)
    assert open_reranker(str(folder), device="cpu").score(QUERY, DOCUMENTS) == linked


def test_gte_from_a_relative_path_loads(gte: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(gte.parent)
    assert open_reranker("./gte", device="cpu").score(QUERY, DOCUMENTS)


def test_a_checkpoint_never_runs_its_code_nor_asks_nor_prints(
    tmp_path: Path, gte: Path, write_model: WriteModel, change_json: ChangeJson
) -> None:
    """In a process of its own, whose standard input would answer yes."""
    unknown = write_model(tmp_path / "unknown", "gte")
    change_json(unknown / "config.json", model_type="newer")
    program = (
        "import sys\n"
        "from memstore.errors import RerankerUnavailable\n"
        "from memstore.rerank import open_reranker\n"
        "print(len(open_reranker(sys.argv[1], device='cpu').score('ana', ['the city'])))\n"
        "try:\n"
        "    open_reranker(sys.argv[2], device='cpu')\n"
        "except RerankerUnavailable as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(gte), str(unknown)],
        input="y\n" * 10,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert result.stdout.startswith("1\n")
    assert "contains custom code" in result.stdout
    assert "code of their own (trust_remote_code) are not supported" in result.stdout
    assert result.stderr == ""


def test_more_text_than_a_model_has_positions_for_is_cut(
    tmp_path: Path, write_model: WriteModel
) -> None:
    """XLM-R numbers its positions from behind the padding index: of 64, it has 63."""
    folder = write_model(tmp_path / "positions", "xlm-roberta", pad_token_id=1)
    reranker = open_reranker(str(folder), device="cpu", settings=Settings(rerank_max_length=512))
    (spans,) = reranker.windows("city", ["the city " * 100])
    assert len(spans) > 3
    assert len(reranker.score("city", ["the city " * 100])) == 1


@pytest.mark.parametrize("architecture", ["bert", "gte"])
def test_weights_in_several_files_load(
    architecture: str, tmp_path: Path, write_model: WriteModel
) -> None:
    whole = write_model(tmp_path / "whole", architecture)
    parts = write_model(tmp_path / "parts", architecture, shard="30KB")
    assert len(list(parts.glob("model-*.safetensors"))) > 2

    one, several = (
        open_reranker(str(folder), device="cpu").score(QUERY, DOCUMENTS)
        for folder in (whole, parts)
    )

    assert one == several
