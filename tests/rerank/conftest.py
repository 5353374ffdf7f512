"""Small cross-encoders of every architecture, built here with random weights."""

from __future__ import annotations

import json
import os
import runpy
import string
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

# Read by huggingface_hub when it is first imported: no test may reach for the network.
os.environ["HF_HUB_OFFLINE"] = "1"

WORDS = ["ana", "berlin", "city", "how", "lives", "many", "people", "the", "where"]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "num_labels": 1,
    # Far larger than the usual 0.02, so that scores of different texts differ.
    "initializer_range": 0.5,
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "bert": {},
    "xlm-roberta": {"type_vocab_size": 1},
    "modernbert": {
        "cls_token_id": 1,
        "bos_token_id": 1,
        "sep_token_id": 2,
        "eos_token_id": 2,
        "local_attention": 16,
    },
    "gte": {"type_vocab_size": 1, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
}

WriteModel = Callable[..., Path]
ChangeJson = Callable[..., None]


@pytest.fixture(scope="session")
def write_model() -> WriteModel:
    """Write a small cross-encoder as `save_pretrained` does; `changes` are of its configuration."""

    def write(
        folder: Path, architecture: str = "bert", *, shard: str = "1GB", **changes: Any
    ) -> Path:
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification

        tokenizer = TOKENIZERS[architecture]()
        settings = SIZES | ARCHITECTURES[architecture] | changes
        config = AutoConfig.for_model(
            architecture, vocab_size=tokenizer.get_vocab_size(), **settings
        )
        with torch.random.fork_rng():
            torch.manual_seed(1)
            model = AutoModelForSequenceClassification.from_config(config)
        model.save_pretrained(folder, max_shard_size=shard)
        if architecture == "gte":
            write_as_new(folder, model, shard)
        tokenizer.save(str(folder / "tokenizer.json"))
        names = ["input_ids", *(["token_type_ids"] if architecture == "bert" else [])]
        special = {
            f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "unk", "mask")
        }
        write_json(
            folder / "tokenizer_config.json",
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_input_names": [*names, "attention_mask"],
                **special,
            },
        )
        return folder

    return write


def write_as_new(folder: Path, model: torch.nn.Module, shard: str) -> None:
    """Rewrite a GTE model as its publisher's repositories have it: other names, code of its own."""
    import torch
    from huggingface_hub import save_torch_state_dict

    weights: dict[str, torch.Tensor] = {}
    parts = dict(model.state_dict())
    for name in list(parts):
        new = name.replace("gte.", "new.", 1).replace("layers.", "encoder.layer.")
        if "q_proj" in name:
            qkv = [parts[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            weights[new.replace("self_attn.q_proj", "attention.qkv_proj")] = torch.cat(qkv)
        elif "up_proj" in name:
            both = [parts[name], parts[name.replace("up_proj", "gate_proj")]]
            weights[new.replace("up_proj", "up_gate_proj")] = torch.cat(both)
        elif not any(part in name for part in ("k_proj", "v_proj", "gate_proj")):
            new = new.replace("self_attn.o_proj", "attention.o_proj")
            new = new.replace("post_attention_layernorm", "attn_ln")
            weights[new.replace("post_mlp_layernorm", "mlp_ln")] = parts[name]
    for path in folder.glob("model*"):
        path.unlink()
    save_torch_state_dict(weights, folder, max_shard_size=shard)

    config = json.loads((folder / "config.json").read_text())
    rope = config.pop("rope_parameters")
    write_json(
        folder / "config.json",
        config
        | {
            "model_type": "new",
            "architectures": ["NewForSequenceClassification"],
            "auto_map": {
                "AutoConfig": "configuration.NewConfig",
                "AutoModelForSequenceClassification": "modeling.NewForSequenceClassification",
            },
            "rope_theta": rope["rope_theta"],
            "rope_scaling": None,
            "position_embedding_type": "rope",
            "layer_norm_type": "layer_norm",
            "pack_qkv": True,
            "logn_attention_scale": False,
            "unpad_inputs": False,
            "use_memory_efficient_attention": False,
        },
    )
    for name in ("configuration.py", "modeling.py"):
        (folder / name).write_text("raise SystemExit('code of a checkpoint was run')\n")


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def change_json() -> ChangeJson:
    def change(path: Path, **changes: Any) -> None:
        write_json(path, json.loads(path.read_text()) | changes)

    return change


@pytest.fixture(scope="session")
def tokenizers() -> dict[str, Tokenizer]:
    """The three kinds that the architectures use."""
    return {kind.__name__: kind() for kind in (word_piece, sentence_piece, byte_pairs)}


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a cross-encoder that has learned something: see fitted_cross_encoder.py."""
    module = runpy.run_path(str(Path(__file__).with_name("fitted_cross_encoder.py")))
    folder: Path = module["write_fitted"](tmp_path_factory.mktemp("rerankers") / "fitted")
    return folder


SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]


def word_piece() -> Tokenizer:
    """As BERT has it: words, and letters for the others."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase)]
    vocabulary = [*SPECIAL, *string.punctuation, *letters, *WORDS]
    tokenizer = Tokenizer(
        models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return finished(tokenizer)


def sentence_piece() -> Tokenizer:
    """As XLM-R and GTE have it: NFKC, a mark for spaces, the most likely pieces."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    pieces = [(token, 0.0) for token in SPECIAL]
    pieces += [(f"▁{word}", -5.0) for word in WORDS]
    pieces += [(letter, -9.0) for letter in ["▁", *string.ascii_letters, *string.punctuation]]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index("[UNK]")))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return finished(tokenizer)


def byte_pairs() -> Tokenizer:
    """As ModernBERT has it: bytes, and pairs of them for frequent words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"{word} {word}" for word in WORDS], trainer)
    return finished(tokenizer)


def finished(tokenizer: Tokenizer) -> Tokenizer:
    from tokenizers import processors

    second_type = 1 if type(tokenizer.model).__name__ == "WordPiece" else 0
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=f"[CLS] $A [SEP] $B:{second_type} [SEP]:{second_type}",
        special_tokens=[(token, SPECIAL.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "bert": word_piece,
    "xlm-roberta": sentence_piece,
    "gte": sentence_piece,
    "modernbert": byte_pairs,
}
