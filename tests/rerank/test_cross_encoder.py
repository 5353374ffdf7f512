"""Raw logits only, nothing loaded by half, and every refusal says what to do."""

from __future__ import annotations

import json
import random
import runpy
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.errors import BadInput, RerankerUnavailable
from memstore.rerank import Reranker, open_reranker
from memstore.rerank.cross_encoder import most_tokens
from memstore.settings import Settings

WriteModel = Callable[..., Path]
ChangeJson = Callable[..., None]
Damage = Callable[[Path], None]

year = runpy.run_path(str(Path(__file__).with_name("fitted_cross_encoder.py")))

QUERY = "where lives ana"
DOCUMENTS = ["ana lives in berlin", "how many people?", "the city " * 8, "berlin", "", "people"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_model: WriteModel) -> Path:
    return write_model(tmp_path_factory.mktemp("rerankers") / "bert")


@pytest.fixture(scope="module")
def reranker(folder: Path) -> Reranker:
    return open_reranker(str(folder), device="cpu")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def opened(folder: Path, **settings: Any) -> Reranker:
    return open_reranker(str(folder), device="cpu", settings=Settings(**settings))


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def change_weights(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_importing_it_does_not_import_torch() -> None:
    program = "import sys, memstore.rerank.cross_encoder; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


@pytest.mark.parametrize(
    "saved",
    [
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}},
        {"sbert_ce_default_activation_function": "torch.nn.modules.activation.Sigmoid"},
        {"sbert_ce_default_activation_function": None},
        {},
    ],
)
def test_a_saved_or_default_sigmoid_never_touches_a_score(
    copy: Path, change_json: ChangeJson, saved: dict[str, Any]
) -> None:
    from sentence_transformers import CrossEncoder

    change_json(copy / "config.json", **saved)
    pairs = [(QUERY, document) for document in DOCUMENTS]
    squashed = CrossEncoder(str(copy), device="cpu").predict(pairs)
    assert all(0 < score < 1 for score in squashed), "the library's own scores are squashed"

    scores = opened(copy).score(QUERY, DOCUMENTS)

    assert any(score is not None and not 0 <= score <= 1 for score in scores)
    assert [1 / (1 + 2.718281828459045 ** -(score or 0)) for score in scores] == pytest.approx(
        squashed, abs=1e-4
    )


def test_a_model_saved_by_sentence_transformers_gives_the_same_logits(
    folder: Path, reranker: Reranker, tmp_path: Path
) -> None:
    """It is a folder with a modules.json, which names a sigmoid too."""
    from sentence_transformers import CrossEncoder

    CrossEncoder(str(folder), device="cpu").save_pretrained(str(tmp_path / "saved"))
    assert "Sigmoid" in (tmp_path / "saved" / "config_sentence_transformers.json").read_text()

    saved = opened(tmp_path / "saved")

    assert saved.score(QUERY, DOCUMENTS) == reranker.score(QUERY, DOCUMENTS)


def test_a_saved_prompt_is_read_and_takes_its_room(
    folder: Path, reranker: Reranker, tmp_path: Path
) -> None:
    from sentence_transformers import CrossEncoder

    prompt = "how many people lives the city "
    prompts = {"question": prompt}
    CrossEncoder(
        str(folder), device="cpu", prompts=prompts, default_prompt_name="question"
    ).save_pretrained(str(tmp_path / "prompted"))

    prompted = opened(tmp_path / "prompted")

    long = "the city " * 100
    assert prompted.score(QUERY, DOCUMENTS) == reranker.score(prompt + QUERY, DOCUMENTS)
    assert prompted.windows(QUERY, [long]) == reranker.windows(prompt + QUERY, [long])
    assert prompted.windows(QUERY, [long])[0][0] < reranker.windows(QUERY, [long])[0][0]


@pytest.mark.parametrize("place", ["config.json", "legacy", "config_sentence_transformers.json"])
def test_a_saved_activation_outside_torch_is_refused(
    copy: Path, change_json: ChangeJson, place: str
) -> None:
    activation = "my_package.activations.Squash"
    if place == "legacy":
        change_json(copy / "config.json", sbert_ce_default_activation_function=activation)
    elif place == "config.json":
        change_json(copy / place, sentence_transformers={"activation_fn": activation})
    else:
        write_json(copy / place, {"model_type": "CrossEncoder", "activation_fn": activation})
    with pytest.raises(RerankerUnavailable, match=r"code of its own, my_package\.activations"):
        opened(copy)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_scores_lie_near_those_of_float32(
    folder: Path, reranker: Reranker, dtype: str
) -> None:
    half = opened(folder, rerank_dtype=dtype).score(QUERY, DOCUMENTS)
    assert half == pytest.approx(reranker.score(QUERY, DOCUMENTS), abs=0.2)
    assert half != reranker.score(QUERY, DOCUMENTS)
    assert all(type(score) is float for score in half)


def test_weights_stored_in_half_precision_are_computed_in_float32(copy: Path) -> None:
    change_weights(copy, lambda weights: weights.update((k, v.half()) for k, v in weights.items()))
    half = opened(copy).score(QUERY, DOCUMENTS)
    change_weights(copy, lambda weights: weights.update((k, v.float()) for k, v in weights.items()))
    # sums are ordered by where weights lie in memory; half precision is far further off
    assert half == pytest.approx(opened(copy).score(QUERY, DOCUMENTS), abs=1e-5)


def test_the_batch_size_is_that_of_the_settings_and_4_on_a_cpu(folder: Path) -> None:
    def batches(**settings: Any) -> list[int]:
        told: list[int] = []
        opened(folder, **settings).score(QUERY, DOCUMENTS, progress=told.append)
        return told

    assert batches() == [4, 2]
    assert batches(rerank_batch_size=5) == [5, 1]
    assert batches(rerank_batch_size=100) == [6]


def test_what_progress_returns_does_not_matter(reranker: Reranker) -> None:
    scores = reranker.score(QUERY, DOCUMENTS, progress=lambda _count: {"scores": []})
    assert scores == reranker.score(QUERY, DOCUMENTS)


def test_an_error_of_progress_ends_the_call_and_leaves_nothing_behind(reranker: Reranker) -> None:
    def stop(count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reranker.score(QUERY, DOCUMENTS, progress=stop)
    assert len(reranker.score(QUERY, DOCUMENTS)) == len(DOCUMENTS)


def test_fewer_tokens_than_the_model_can_read_are_read_if_the_settings_say_so(
    folder: Path,
) -> None:
    document = "city " * 40
    (spans,) = opened(folder, rerank_max_length=22).windows(QUERY, [document])
    # 22 tokens less 3 special and 3 of the query: windows of 16, a quarter of them shared
    assert spans[:2] == [(0, 16 * 5 - 1), (12 * 5, 28 * 5 - 1)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rerank_dtype": "int8"}, "rerank_dtype='int8' is unknown"),
        ({"rerank_batch_size": 0}, "rerank_batch_size=0 is no number of pairs"),
        ({"rerank_max_length": 4}, "rerank_max_length=4 leaves .* no room"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused(
    folder: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        opened(folder, **settings)


def test_an_unknown_device_is_refused(folder: Path) -> None:
    with pytest.raises(RerankerUnavailable, match="The device 'abacus' cannot be used"):
        open_reranker(str(folder), device="abacus")


def without(*names: str) -> Damage:
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def written(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content) and None


def configured(**changes: Any) -> Damage:
    def damage(folder: Path) -> None:
        path = folder / "config.json"
        write_json(path, json.loads(path.read_text()) | changes)

    return damage


def without_weight(name: str) -> Damage:
    return lambda folder: change_weights(folder, lambda weights: weights.pop(name))


def cut_short(name: str) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100]) and None


def with_pickled_weights(content: bytes) -> Damage:
    def damage(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "pytorch_model.bin").write_bytes(content)

    return damage


def with_a_shard_missing(folder: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="30KB")
    sorted(folder.glob("model-*.safetensors"))[1].unlink()


def with_a_module_of_its_own(folder: Path) -> None:
    module = {"idx": 0, "name": "0", "path": "", "type": "os.path"}
    write_json(folder / "modules.json", [module])
    write_json(folder / "config_sentence_transformers.json", {"model_type": "CrossEncoder"})


def with_another_kind_of_module(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    kind = "sentence_transformers.base.modules.dense.Dense"
    module = {"idx": 0, "name": "0", "path": "0_Dense", "type": kind}
    write_json(folder / "modules.json", [module])
    write_json(folder / "config_sentence_transformers.json", {"model_type": "CrossEncoder"})
    (folder / "0_Dense").mkdir()
    sizes = {"in_features": 2, "out_features": 1, "bias": False}
    write_json(folder / "0_Dense" / "config.json", sizes)
    save_file({"linear.weight": torch.ones(1, 2)}, folder / "0_Dense" / "model.safetensors")


THREE_LABELS = {"id2label": {str(i): f"label {i}" for i in range(3)}}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("config.json"), r"it has no config\.json"),
        (written("config.json", b"{"), r"config\.json cannot be read"),
        (written("config.json", b"\xff\xfe"), r"config\.json cannot be read"),
        (written("config.json", b"[]"), r"config\.json holds no JSON object"),
        (written("config.json", b"{}"), "Unrecognized model"),
        (configured(model_type="abacus"), "abacus"),
        (without("model.safetensors"), "no file named model.safetensors"),
        (cut_short("model.safetensors"), "incomplete metadata, file not fully covered"),
        (written("model.safetensors", b""), "header too small"),
        (written("model.safetensors", b"no weights at all"), "header too large"),
        (with_pickled_weights(b""), "EOFError"),
        (with_pickled_weights(b"no weights at all"), "Weights only load failed"),
        (with_a_shard_missing, "model-00002-of"),
        (without_weight("classifier.weight"), r"1 weights are missing .* as classifier\.weight"),
        (without_weight("bert.pooler.dense.bias"), r"such as bert\.pooler\.dense\.bias"),
        (
            without_weight("bert.encoder.layer.1.output.dense.weight"),
            r"such as bert\.encoder\.layer\.1\.output\.dense\.weight",
        ),
        (configured(intermediate_size=48), r"6 weights are missing or have another shape"),
        (configured(num_hidden_layers=3), r"16 weights are missing .*encoder\.layer\.2"),
        (configured(**THREE_LABELS), r"2 weights are missing or have another shape"),
        (without("tokenizer.json"), "no tokenizer|Can't instantiate"),
        (without("tokenizer.json", "tokenizer_config.json"), "it has no tokenizer"),
        (written("tokenizer.json", b"{"), "tokenizer"),
        (with_a_module_of_its_own, "not part of Sentence Transformers"),
        (with_another_kind_of_module, "it has no transformer"),
    ],
)
def test_an_incomplete_folder_is_refused(copy: Path, damage: Damage, message: str) -> None:
    damage(copy)
    with pytest.raises(RerankerUnavailable, match=message) as refused:
        opened(copy)
    what, to_do = str(refused.value).split("\n")
    assert str(copy) in what
    assert "hf download" in to_do


def test_a_model_with_several_labels_is_refused(tmp_path: Path, write_model: WriteModel) -> None:
    write_model(tmp_path / "labels", num_labels=3)
    with pytest.raises(RerankerUnavailable, match="a pair 3 numbers instead of one score"):
        opened(tmp_path / "labels")


def test_the_folder_of_a_plain_encoder_is_refused() -> None:
    from memstore.encoders.bert_weights import find_model_folder

    with pytest.raises(RerankerUnavailable, match=r"2 weights are missing .* classifier\."):
        opened(find_model_folder())


def as_stanford(folder: Path) -> None:
    configured(architectures=["HF_ColBERT"])(folder)


def as_pylate(folder: Path) -> None:
    write_json(folder / "config_sentence_transformers.json", {"model_type": "ColBERT"})


def as_old_pylate(folder: Path) -> None:
    write_json(folder / "config_sentence_transformers.json", {"query_prefix": "[Q] "})


def as_multi_vector_encoder(folder: Path) -> None:
    write_json(folder / "config_sentence_transformers.json", {"model_type": "MultiVectorEncoder"})


@pytest.mark.parametrize("change", [as_stanford, as_pylate, as_old_pylate, as_multi_vector_encoder])
def test_a_colbert_checkpoint_is_refused_with_the_name_it_works_under(
    copy: Path, change: Damage
) -> None:
    change(copy)
    with pytest.raises(RerankerUnavailable, match="is a ColBERT checkpoint") as refused:
        opened(copy)
    assert f"rerank='colbert:{copy}'" in str(refused.value)


def test_weights_that_the_model_does_not_use_are_no_hindrance(
    copy: Path, reranker: Reranker
) -> None:
    import torch

    change_weights(copy, lambda weights: weights.update({"cls.predictions.bias": torch.zeros(3)}))
    assert opened(copy).score(QUERY, DOCUMENTS) == reranker.score(QUERY, DOCUMENTS)


def test_loading_prints_nothing_and_restores_the_logs_levels(
    copy: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import logging

    import torch

    change_weights(copy, lambda weights: weights.update({"cls.predictions.bias": torch.zeros(3)}))
    loggers = [logging.getLogger(name) for name in ("transformers", "sentence_transformers")]
    levels = [logger.level for logger in loggers]
    capfd.readouterr()

    opened(copy).score(QUERY, DOCUMENTS)

    assert capfd.readouterr() == ("", "")
    assert [logger.level for logger in loggers] == levels


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_an_error(copy: Path, value: float) -> None:
    change_weights(copy, lambda weights: weights["classifier.bias"].fill_(value))
    with pytest.raises(RerankerUnavailable, match=rf"{copy.name} gave 6 of 6 scores") as refused:
        opened(copy).score(QUERY, DOCUMENTS)
    assert "rerank_dtype='float32'" in str(refused.value)


def test_too_little_memory_is_an_error_that_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from sentence_transformers import CrossEncoder

    reranker = opened(folder)

    def exhaust(*_arguments: object, **_options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(CrossEncoder, "preprocess", exhaust)
    with pytest.raises(RerankerUnavailable, match=r"with 4 pairs at once.\nChoose a smaller"):
        reranker.score(QUERY, DOCUMENTS)

    # it is loaded before it is moved to the device
    monkeypatch.setattr(CrossEncoder, "eval", exhaust)
    with pytest.raises(RerankerUnavailable, match="The memory of cpu is too small"):
        opened(folder)


def test_a_model_of_the_hub_that_is_not_here_says_how_to_bring_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RerankerUnavailable) as refused:
        open_reranker("minilm-l6")
    hub_id = "cross-encoder/ms-marco-MiniLM-L-6-v2"
    assert f"{hub_id} is not in the Hugging Face cache, and HF_HUB_OFFLINE" in str(refused.value)
    assert f"hf download {hub_id} --local-dir my-reranker" in str(refused.value)
    assert "rerank='./my-reranker'" in str(refused.value)


def test_a_model_in_the_hub_cache_is_used_without_the_network(
    tmp_path: Path, folder: Path, reranker: Reranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    repository = tmp_path / "models--cross-encoder--ms-marco-MiniLM-L-6-v2"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    cached = open_reranker("minilm-l6", device="cpu")

    assert cached.name == "minilm-l6"
    assert cached.score(QUERY, DOCUMENTS) == reranker.score(QUERY, DOCUMENTS)


def test_the_number_of_parameters_is_counted(folder: Path, reranker: Reranker) -> None:
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    assert reranker.parameters == sum(values.numel() for values in weights.values())


def test_no_character_has_a_longer_normal_form_than_the_bound_on_tokens_allows() -> None:
    lengths = [
        len(unicodedata.normalize(form, text).encode())
        for text in (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
        for form in ("NFKC", "NFKD")
        if not text.isascii()
    ]
    assert max(lengths) == 33


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_no_tokenizer_finds_more_tokens_than_the_bound(
    tokenizers: dict[str, Any], text: str
) -> None:
    bound = most_tokens(text)
    for tokenizer in tokenizers.values():
        assert len(tokenizer.encode(text, add_special_tokens=False).ids) <= bound


def best(reranker: Reranker, query: str, text: str) -> tuple[float, int, int]:
    """The score of the best window, and where it starts and ends."""
    (spans,) = reranker.windows(query, [text])
    scores = reranker.score(query, [text[start:end] for start, end in spans])
    return max((score or 0.0, *span) for score, span in zip(scores, spans, strict=True))


@pytest.mark.xdist_group("fitted_cross_encoder")
def test_a_fitted_model_ranks_the_answer_first_among_ten(fitted: Path) -> None:
    reranker = opened(fitted)
    questions, others = year["unseen"]()[::2], year["learned"]()
    chance = random.Random(1)
    first = 0
    for question, answer in questions:
        scores = [best(reranker, question, text)[0] for text in (answer, *chance.sample(others, 9))]
        first += scores[0] == max(scores)
    assert first / len(questions) > 0.5, "0.1 by chance; 0.75 when this was written"


@pytest.mark.xdist_group("fitted_cross_encoder")
def test_an_answer_at_the_end_of_a_long_document_is_found_by_its_window(fitted: Path) -> None:
    reranker = opened(fitted, rerank_max_length=96)
    questions, others = year["unseen"]()[::2], year["learned"]()
    chance = random.Random(2)
    found = better = asked = 0
    for question, answer in questions:
        if len(answer.split()) > 40:
            continue
        asked += 1
        text = " ".join(chance.sample(others, 15))
        score, _, end = best(reranker, question, f"{text} {answer}")
        found += end > len(text) + 1
        better += score > best(reranker, question, text)[0]
        cut = reranker.score(question, [f"{text} {answer}", text])
        assert cut[0] == pytest.approx(cut[1], abs=1e-4), "the model alone never sees the answer"
    assert found / asked > 0.4, "some 0.2 by chance; 0.63 when this was written"
    assert better / asked > 0.4, "the same"
