"""Checkpoints in both layouts, and everything that must not load silently wrong."""

from __future__ import annotations

import json
import os
import shutil
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memstore import MemoryStore
from memstore.encoders import DocumentText, colbert, open_encoder
from memstore.encoders.bert_weights import find_model_folder
from memstore.encoders.colbert import ColBERTEncoder
from memstore.encoders.colbert_bert import open_plain_bert
from memstore.encoders.colbert_library import LibraryCheckpoint
from memstore.errors import EncoderUnavailable
from memstore.maxsim import maxsim

WriteCheckpoint = Callable[..., Path]


@pytest.fixture(scope="module")
def stanford(tmp_path_factory: pytest.TempPathFactory, write_stanford: WriteCheckpoint) -> Path:
    return write_stanford(tmp_path_factory.mktemp("checkpoints") / "stanford")


@pytest.fixture(scope="module")
def encoder(stanford: Path) -> ColBERTEncoder:
    return ColBERTEncoder(stanford, device="cpu")


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("dim", [8, 16, 48])
@pytest.mark.parametrize("attend", [False, True])
def test_both_layouts_of_the_same_weights_give_the_same_vectors(
    tmp_path: Path,
    write_stanford: WriteCheckpoint,
    write_pylate: WriteCheckpoint,
    dim: int,
    attend: bool,
) -> None:
    encoders = [
        ColBERTEncoder(write(tmp_path / name, dim=dim, attend=attend), device="cpu")
        for name, write in (("stanford", write_stanford), ("pylate", write_pylate))
    ]
    first, second = encoders
    texts = ["where lives ana?", "berlin, the city"]

    for one, other in zip(
        first.encode_documents([DocumentText(text) for text in texts]),
        second.encode_documents([DocumentText(text) for text in texts]),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=5e-6)
        assert one.shape[1] == dim == first.identity.dim
    for query, same in zip(first.encode_queries(texts), second.encode_queries(texts), strict=True):
        np.testing.assert_allclose(query.vectors, same.vectors, atol=5e-6)
        assert query.tokens == same.tokens
    assert first.identity.options == second.identity.options


TEXTS = [
    "Where lives Ana?",
    "berlin, the city: how many people!? " * 4,
    "",
    "[SEP] ana [MASK] [unused0] [unused1] [unused5] [CLS]x [UNK] [PAD]",
    "Ána's CAFÉ \x00\x07 \u200b 我昨天 🎉 ##s a##b",
    "x" * 300,
    "[unused0]",
    "  [unused1]ana",
]


def assert_runs_as_the_library_does(folder: Path, texts: list[str]) -> None:
    own, library = open_plain_bert(folder), LibraryCheckpoint(folder, device="cpu")
    assert own is not None
    assert own.settings == library.settings
    pairs = zip(own.encode_queries(texts), library.encode_queries(texts), strict=True)
    for query, same in pairs:
        assert query.tokens == same.tokens
        assert query.length == same.length
        np.testing.assert_allclose(query.vectors, same.vectors, atol=1e-5)
    documents = [
        *(DocumentText(text) for text in texts),
        *(DocumentText(text, context=("berlin", "the city, ana")) for text in texts),
        *(DocumentText(text, before="berlin, the city " * 9) for text in texts),
    ]
    for one, other in zip(
        own.encode_documents(documents), library.encode_documents(documents), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for text in texts:
        assert own.vector_spans(text) == library.vector_spans(text)
        assert own.token_spans(text) == library.token_spans(text)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attend_to_mask_tokens": True},
        {"mask_punctuation": False},
        {"query_maxlen": None, "doc_maxlen": 40},
        {"query_token_id": "ana", "doc_token_id": "[MASK]"},
        {"query_token_id": "[unused1]", "doc_token_id": None},
    ],
)
def test_a_plain_bert_without_torch_gives_what_the_library_gives(
    tmp_path: Path, write_stanford: WriteCheckpoint, changes: dict[str, Any]
) -> None:
    folder = write_stanford(tmp_path / "stanford")
    change_json(folder / "artifact.metadata", **changes)
    assert_runs_as_the_library_does(folder, TEXTS)


@pytest.mark.parametrize(
    "changes",
    [{"do_lower_case": False}, {"strip_accents": False}, {"tokenizer_class": "BertTokenizerFast"}],
)
def test_the_tokenizers_settings_count_as_for_the_library(
    tmp_path: Path, write_stanford: WriteCheckpoint, changes: dict[str, Any]
) -> None:
    folder = write_stanford(tmp_path / "stanford")
    change_json(folder / "tokenizer_config.json", **changes)
    assert_runs_as_the_library_does(folder, TEXTS)


def test_a_vocabulary_of_thirty_thousand_is_read_as_the_library_reads_it(
    tmp_path: Path, write_stanford: WriteCheckpoint
) -> None:
    from safetensors.numpy import load_file, save_file

    folder = write_stanford(tmp_path / "stanford")
    shutil.copy(find_model_folder() / "tokenizer.json", folder / "tokenizer.json")
    (folder / "vocab.txt").unlink()
    weights = load_file(folder / "model.safetensors")
    words = np.random.default_rng(0).standard_normal((30522, 32), dtype=np.float32)
    weights["bert.embeddings.word_embeddings.weight"] = words
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    change_json(folder / "config.json", vocab_size=30522)
    assert_runs_as_the_library_does(folder, TEXTS)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"hidden_act": "relu"}),
        ("config.json", {"position_embedding_type": "relative_key"}),
        ("config.json", {"model_type": "roberta"}),
        ("config.json", {"vocab_size": None}),
        ("artifact.metadata", {"query_token_id": "[no such token]"}),
        ("artifact.metadata", {"doc_maxlen": None}),
        ("artifact.metadata", {"doc_maxlen": 65}),
        ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"}),
        ("tokenizer.json", {"version": "none that is known"}),
    ],
)
def test_what_is_no_plain_bert_is_left_to_the_library(
    tmp_path: Path, write_stanford: WriteCheckpoint, file: str, changes: dict[str, Any]
) -> None:
    folder = write_stanford(tmp_path / "stanford")
    change_json(folder / file, **changes)
    assert open_plain_bert(folder) is None


def test_half_precision_and_other_layouts_are_left_to_the_library(
    tmp_path: Path, write_stanford: WriteCheckpoint, write_pylate: WriteCheckpoint
) -> None:
    from safetensors.numpy import load_file, save_file

    assert open_plain_bert(write_pylate(tmp_path / "pylate")) is None
    folder = write_stanford(tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    halves = {name: rows.astype(np.float16) for name, rows in weights.items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    assert open_plain_bert(folder) is None
    (query,) = ColBERTEncoder(folder, device="cpu").encode_queries(["how many people?"])
    assert query.vectors.dtype == np.float32


def test_weights_that_do_not_fit_together_are_refused(
    tmp_path: Path, write_stanford: WriteCheckpoint
) -> None:
    folder = write_stanford(tmp_path / "stanford")
    change_json(folder / "config.json", num_attention_heads=5)
    with pytest.raises(EncoderUnavailable, match="32 features are no multiple of 5 heads"):
        ColBERTEncoder(folder, device="cpu")


def test_a_plain_bert_answers_without_importing_torch(stanford: Path) -> None:
    program = f"""
import sys
from memstore.encoders import DocumentText, open_encoder
encoder = open_encoder({str(stanford)!r}, device="cpu")
encoder.encode_queries(["where does Ana live?"])
encoder.encode_documents([DocumentText("In Lisbon.")])
heavy = {{"torch", "transformers", "sentence_transformers", "scipy"}}
print(sorted(heavy & {{name.partition(".")[0] for name in sys.modules}}))
"""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert result.stdout == "[]\n"


def test_vectors_follow_the_contract_of_colbert_ai(stanford: Path, encoder: ColBERTEncoder) -> None:
    """Computed here from the weights alone, token by token, as colbert-ai does."""
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    weights = load_file(stanford / "model.safetensors")
    projection = weights.pop("linear.weight")
    backbone = BertModel(BertConfig.from_pretrained(stanford), add_pooling_layer=False).eval()
    backbone.load_state_dict({name.removeprefix("bert."): rows for name, rows in weights.items()})
    vocabulary = (stanford / "vocab.txt").read_text().split("\n")

    def vectors(tokens: list[str], attended: int) -> Any:
        ids = torch.tensor([[vocabulary.index(token) for token in tokens]])
        mask = (torch.arange(len(tokens)) < attended).long()[None]
        with torch.inference_mode():
            states = backbone(input_ids=ids, attention_mask=mask).last_hidden_state[0]
            return torch.nn.functional.normalize(states @ projection.T, dim=1).numpy()

    tokens = ["[CLS]", "[unused1]", "berlin", ",", "the", "city", ".", "[SEP]"]
    kept = [place for place, token in enumerate(tokens) if token not in string.punctuation]
    (document,) = encoder.encode_documents([DocumentText("Berlin, the city.")])
    np.testing.assert_allclose(document, vectors(tokens, len(tokens))[kept], atol=1e-6)

    tokens = ["[CLS]", "[unused0]", "how", "many", "people", "?", "[SEP]", *["[MASK]"] * 5]
    (query,) = encoder.encode_queries(["how many people?"])
    assert query.tokens == tuple(tokens)
    np.testing.assert_allclose(query.vectors, vectors(tokens, 7), atol=1e-6)


def test_the_identity_reports_what_the_checkpoint_says(encoder: ColBERTEncoder) -> None:
    identity = encoder.identity
    assert (identity.document_length, identity.query_length) == (20, 12)
    assert identity.options == {
        "query_prefix": "[unused0] ",
        "document_prefix": "[unused1] ",
        "query_expansion": "fixed",
        "attend_to_expansion": False,
        "skiplist": "punctuation",
    }


def test_the_fingerprint_changes_with_the_weights_and_with_the_settings(
    tmp_path: Path, write_stanford: WriteCheckpoint, encoder: ColBERTEncoder
) -> None:
    folder = write_stanford(tmp_path / "copy")
    assert ColBERTEncoder(folder).identity.fingerprint == encoder.identity.fingerprint

    change_json(folder / "artifact.metadata", query_maxlen=13)
    longer = ColBERTEncoder(folder).identity
    assert longer.query_length == 13
    assert longer.fingerprint != encoder.identity.fingerprint

    other = write_stanford(tmp_path / "other", attend=True)
    assert ColBERTEncoder(other).identity.fingerprint != longer.fingerprint


def test_a_document_is_cut_at_the_document_length(encoder: ColBERTEncoder) -> None:
    long, cut = encoder.encode_documents([DocumentText("ana " * 40), DocumentText("ana " * 17)])
    assert len(long) == len(cut) == 20
    np.testing.assert_allclose(long, cut, atol=1e-6)


def test_vectors_of_markers_are_named_and_those_of_words_have_their_span(
    encoder: ColBERTEncoder,
) -> None:
    spans = encoder.vector_spans("Berlin, the city.")
    assert spans == ["[CLS]", "[unused1]", (0, 6), (8, 11), (12, 16), "[SEP]"]
    assert encoder.vector_spans("?!") == ["[CLS]", "[unused1]", "[SEP]"]
    # what someone wrote is text, even where the tokenizer takes it for a marker
    assert encoder.vector_spans("[SEP] ana") == ["[CLS]", "[unused1]", (0, 5), (6, 9), "[SEP]"]


@pytest.fixture(params=["plain", "library", "pylate"])
def any_checkpoint(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    stanford: Path,
    write_pylate: WriteCheckpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> ColBERTEncoder:
    """A checkpoint by each way there is to run one."""
    if request.param == "library":
        monkeypatch.setattr(colbert, "open_plain_bert", lambda folder: None)
    folder = write_pylate(tmp_path / "pylate") if request.param == "pylate" else stanford
    return ColBERTEncoder(folder, device="cpu")


def test_a_document_behind_context_keeps_the_vectors_of_its_own_tokens(
    any_checkpoint: ColBERTEncoder,
) -> None:
    text = "the city, ana"
    alone, after, other, without, following = any_checkpoint.encode_documents(
        [
            DocumentText(text),
            DocumentText(text, context=("berlin", "ana")),
            DocumentText(text, context=("ana", "berlin")),
            DocumentText(text, context=("",)),
            DocumentText(text, before="berlin ana"),
        ]
    )
    spans = any_checkpoint.vector_spans(text)
    assert len(alone) == len(after) == len(other) == len(spans)
    np.testing.assert_allclose(alone, without, atol=1e-5)
    for changed in (after, other, following):  # all tokens see it, in their order
        assert np.abs(changed - alone).max(axis=1).min() > 1e-3
    assert np.abs(after - other).max() > 1e-3
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), 1.0, atol=1e-5)


def test_a_long_document_leaves_its_context_the_room_that_is_left(
    any_checkpoint: ColBERTEncoder,
) -> None:
    text = "ana " * 15  # with markers 18 of 20 tokens
    context = ("berlin the city", "the city berlin")
    after, same, full, cut = any_checkpoint.encode_documents(
        [
            DocumentText(text, context),
            DocumentText(text, ("berlin", "the")),
            DocumentText("ana " * 17, context),
            DocumentText("ana " * 17),
        ]
    )
    np.testing.assert_allclose(after, same, atol=1e-5)  # the beginning of each
    np.testing.assert_allclose(full, cut, atol=1e-5)


def test_no_store_gives_a_checkpoint_context_unless_it_is_told_to(
    tmp_path: Path, encoder: ColBERTEncoder
) -> None:
    def score(**settings: int) -> float:
        path = tmp_path / f"{settings}.mem"
        with MemoryStore.open(path, encoder=encoder, settings=settings) as store:
            store.add("berlin", session="s")
            memory = store.add("the city", session="s")
            hits = {hit.memory.id: hit for hit in store.query("ana").hits}
        relevance = hits[memory.id].relevance
        assert relevance is not None
        return relevance.raw

    assert score() == score(session_context=0) != score(session_context=2)


def test_a_folder_and_its_name_open_the_same_encoder(
    stanford: Path, encoder: ColBERTEncoder
) -> None:
    opened = open_encoder(str(stanford), device="cpu")
    assert opened.identity.name == str(stanford)
    assert opened.identity.fingerprint == encoder.identity.fingerprint


def without_metadata(folder: Path) -> None:
    (folder / "artifact.metadata").unlink()


def with_another_dim(folder: Path) -> None:
    change_json(folder / "artifact.metadata", dim=99)


def without_tensor(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(folder / "model.safetensors")
        del weights[name]
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def with_damaged_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not a safetensors file at all")


def as_plain_bert(folder: Path) -> None:
    change_json(folder / "config.json", architectures=["BertModel"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_metadata, "artifact.metadata is missing"),
        (with_another_dim, "dim 99, its projection has 16"),
        (without_tensor("linear.weight"), "no projection"),
        (
            without_tensor("bert.encoder.layer.1.output.dense.weight"),
            r"1 weights of its backbone are missing, such as encoder\.layer\.1\.output",
        ),
        (without_weights, "none of model.safetensors"),
        (with_damaged_weights, "cannot be read"),
        (as_plain_bert, "neither a modules.json nor the architecture HF_ColBERT"),
    ],
)
def test_an_incomplete_stanford_checkpoint_is_refused(
    tmp_path: Path,
    write_stanford: WriteCheckpoint,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    folder = write_stanford(tmp_path / "damaged")
    damage(folder)
    with pytest.raises(EncoderUnavailable, match=message):
        ColBERTEncoder(folder)


def without_dense(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:1]))


def without_dense_weights(folder: Path) -> None:
    (folder / "1_Dense" / "model.safetensors").unlink()


def as_single_vector_model(folder: Path) -> None:
    (folder / "config_sentence_transformers.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_dense, "lists no projection"),
        (without_dense_weights, "1_Dense has no weights"),
        (as_single_vector_model, "describes no ColBERT model"),
        (without_tensor("embeddings.LayerNorm.bias"), "1 weights of its backbone are missing"),
    ],
)
def test_an_incomplete_pylate_checkpoint_is_refused(
    tmp_path: Path,
    write_pylate: WriteCheckpoint,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    folder = write_pylate(tmp_path / "damaged")
    damage(folder)
    with pytest.raises(EncoderUnavailable, match=message):
        ColBERTEncoder(folder)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids to download it"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "the hub did not give it"),
    ],
)
def test_an_unreachable_checkpoint_says_how_to_use_a_folder(
    tmp_path: Path, environment: dict[str, str], reason: str
) -> None:
    """In a process of its own: huggingface_hub reads its environment when it is imported."""
    program = (
        "from memstore.encoders import open_encoder\n"
        "from memstore.errors import EncoderUnavailable\n"
        "import sys\n"
        "try:\n"
        "    open_encoder('colbertv2')\n"
        "except EncoderUnavailable as error:\n"
        "    print(error)\n"
        "print('torch' in sys.modules)\n"
    )
    offline = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # the hub client obeys either
    inherited = {name: value for name, value in os.environ.items() if name not in offline}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=inherited | {"HF_HOME": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "colbert-ir/colbertv2.0 is not in the Hugging Face cache" in result.stdout
    assert reason in result.stdout
    assert "hf download colbert-ir/colbertv2.0 --local-dir my-colbert" in result.stdout
    assert result.stdout.endswith("False\n"), "torch was imported to find nothing"


def test_a_checkpoint_in_the_hub_cache_is_used_without_the_network(
    tmp_path: Path, write_stanford: WriteCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--colbert-ir--colbertv2.0"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    write_stanford(repository / "snapshots" / ("0" * 40))
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    opened = open_encoder("colbertv2", device="cpu")

    assert opened.identity.name == "colbertv2"
    assert opened.identity.dim == 16


def test_an_interrupted_download_does_not_count_as_cached(
    tmp_path: Path, write_stanford: WriteCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--colbert-ir--colbertv2.0"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    without_weights(write_stanford(repository / "snapshots" / ("0" * 40)))
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(EncoderUnavailable, match="is not in the Hugging Face cache"):
        open_encoder("colbertv2")


def test_a_checkpoint_reranks_for_a_store_with_another_encoder(
    tmp_path: Path, stanford: Path, encoder: ColBERTEncoder
) -> None:
    texts = ["Ana lives in Berlin.", "how many people", "the city where Ana lives"]
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        store.add_many(texts)
        name = f"colbert:{stanford}"
        result = store.query("where is the city", rerank=name)
        reranker = store.reranker(name)
    assert (result.reranker, reranker.parameters) == (name, encoder.parameters)
    (query,) = encoder.encode_queries(["where is the city"])
    for hit in result.hits:
        (document,) = encoder.encode_documents([DocumentText(hit.memory.text)])
        expected = maxsim(query.vectors, document) / len(query.vectors)
        assert hit.score == hit.relevance.raw == pytest.approx(expected, abs=1e-5)
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)


def test_a_text_longer_than_the_checkpoints_length_counts_by_its_best_window(
    tmp_path: Path, stanford: Path
) -> None:
    """The document length is 20 tokens, of which 3 are special."""
    text = "many people " * 30 + "ana lives where berlin"
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        (long,) = store.rank("ana lives where berlin", [text], rerank=f"colbert:{stanford}")
        (alone,) = store.rank("ana lives where berlin", [text[:150]], rerank=f"colbert:{stanford}")
    assert long.relevance.raw > alone.relevance.raw
    assert "ana lives where berlin" in long.passage.text
    assert len(long.passage.text.split()) <= 17
