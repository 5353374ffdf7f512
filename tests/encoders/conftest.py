"""Encoders under test: real, without weights, and small ColBERT checkpoints built here."""

from __future__ import annotations

import json
import os
import string
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# Read by huggingface_hub when it is first imported: no test may reach for the network.
os.environ["HF_HUB_OFFLINE"] = "1"

WORDS = ["ana", "berlin", "city", "how", "lives", "many", "people", "the", "where"]
SPECIAL = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = [
    *SPECIAL,
    *string.punctuation,
    *string.ascii_lowercase,
    *(f"##{letter}" for letter in string.ascii_lowercase),
    *WORDS,
]
HIDDEN = 32

WriteCheckpoint = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the record of file hashes out of the home folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


def write_tokenizer(folder: Path) -> None:
    """A WordPiece tokenizer of BERT's kind with a vocabulary of a hundred tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(
        models.WordPiece({token: i for i, token in enumerate(VOCABULARY)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, VOCABULARY.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 64} | names,
    )


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def random_weights(dim: int) -> tuple[dict[str, object], object, object]:
    """Weights of a two-layer BERT, a projection to `dim`, and the BERT's configuration."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(dim)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        # Far larger than BERT's 0.02, so that vectors of different tokens differ.
        initializer_range=0.5,
    )
    model = BertModel(config, add_pooling_layer=False)
    return dict(model.state_dict()), torch.randn(dim, HIDDEN), config


@pytest.fixture(scope="session")
def write_stanford() -> WriteCheckpoint:
    """Write a checkpoint as colbert-ai does."""

    def write(folder: Path, *, dim: int = 16, attend: bool = False) -> Path:
        from safetensors.torch import save_file

        backbone, projection, config = random_weights(dim)
        folder.mkdir(parents=True)
        write_tokenizer(folder)
        settings = config.to_dict()  # type: ignore[attr-defined]
        write_json(folder / "config.json", settings | {"architectures": ["HF_ColBERT"]})
        write_json(
            folder / "artifact.metadata",
            {
                "dim": dim,
                "query_maxlen": 12,
                "doc_maxlen": 20,
                "query_token_id": "[unused0]",
                "doc_token_id": "[unused1]",
                "mask_punctuation": True,
                "attend_to_mask_tokens": attend,
            },
        )
        weights = {f"bert.{name}": tensor for name, tensor in backbone.items()}
        weights["linear.weight"] = projection
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return write


@pytest.fixture(scope="session")
def write_pylate() -> WriteCheckpoint:
    """Write a checkpoint as PyLate does."""

    def write(folder: Path, *, dim: int = 16, attend: bool = False) -> Path:
        from safetensors.torch import save_file

        backbone, projection, config = random_weights(dim)
        folder.mkdir(parents=True)
        write_tokenizer(folder)
        settings = config.to_dict()  # type: ignore[attr-defined]
        write_json(folder / "config.json", settings | {"architectures": ["BertModel"]})
        save_file(backbone, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "1_Dense").mkdir()
        write_json(
            folder / "1_Dense" / "config.json",
            {
                "in_features": HIDDEN,
                "out_features": dim,
                "bias": False,
                "activation_function": "torch.nn.modules.linear.Identity",
            },
        )
        save_file(
            {"linear.weight": projection},
            folder / "1_Dense" / "model.safetensors",
            metadata={"format": "pt"},
        )
        write_json(
            folder / "modules.json",
            [
                {
                    "idx": 0,
                    "name": "0",
                    "path": "",
                    "type": "sentence_transformers.models.Transformer",
                },
                {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
            ],
        )
        write_json(folder / "sentence_bert_config.json", {"max_seq_length": 64})
        write_json(
            folder / "config_sentence_transformers.json",
            {
                "model_type": "ColBERT",
                "query_prefix": "[unused0] ",
                "document_prefix": "[unused1] ",
                "query_length": 12,
                "document_length": 20,
                "attend_to_expansion_tokens": attend,
                "skiplist_words": list(string.punctuation),
                "do_query_expansion": True,
            },
        )
        return folder

    return write
