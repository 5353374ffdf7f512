"""The named cross-encoders at their published sizes with random weights: for measuring time alone.

How long a model takes depends on its architecture and the lengths of texts, never on what its
weights are. Where the real ones cannot be had, latency can be measured all the same.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from memstore.encoders.bert_weights import TOKENIZER_NAME, find_model_folder
from memstore.errors import BadInput
from memstore.local_models import no_progress_bars
from memstore.rerank.gte import native_config

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_MINILM: Final = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": 384,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
}
# As in each repository's config.json, so far as it decides what is computed and is no default.
PUBLISHED: Final[dict[str, dict[str, Any]]] = {
    "minilm-l6": _MINILM | {"num_hidden_layers": 6},
    "minilm-l12": _MINILM | {"num_hidden_layers": 12},
    "bge-v2-m3": {
        "model_type": "xlm-roberta",
        "vocab_size": 250002,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "max_position_embeddings": 8194,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
    },
    "gte-modernbert": {
        "model_type": "modernbert",
        "vocab_size": 50368,
        "hidden_size": 768,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "intermediate_size": 1152,
        "max_position_embeddings": 8192,
        "local_attention": 128,
        "classifier_pooling": "mean",
    },
    "gte-multilingual": {
        "model_type": "new",
        "vocab_size": 250048,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "max_position_embeddings": 8192,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-12,
        "rope_theta": 20000,
        "rope_scaling": {"factor": 8.0, "type": "ntk"},
    },
}

_SPECIAL_TOKENS: Final = {"pad": 0, "bos": 101, "cls": 101, "eos": 102, "sep": 102}  # MiniLM's


def configuration(name: str) -> PretrainedConfig:
    """Return the published configuration of one of the named cross-encoders.

    Raises:
        BadInput: there is none of that name.
    """
    from transformers import AutoConfig

    if name not in PUBLISHED:
        raise BadInput(
            f"No configuration of a reranker {name!r} is known.\n"
            f"Choose one of {', '.join(PUBLISHED)}."
        )
    published = PUBLISHED[name]
    settings = native_config(published) if published["model_type"] == "new" else dict(published)
    config: PretrainedConfig = AutoConfig.for_model(**settings, num_labels=1)
    return config


def write_random_model(
    name: str,
    folder: Path,
    *,
    seed: int = 0,
    layers: int | None = None,
    vocabulary: int | None = None,
) -> Path:
    """Write a folder that `open_reranker` loads as it would load the real model, and return it.

    Its scores mean nothing. Its tokenizer is that of the encoder 'minilm', as none of the real ones
    is at hand: all its tokens are in every model's vocabulary, and the time of a token does not
    depend on which one it is. It makes other numbers of tokens of a text than the real ones.

    Args:
        folder: made if missing; needs up to 2.3 GB.
        seed: of the weights.
        layers: fewer than published.
        vocabulary: a smaller one than published, of at least 30,522 tokens.

    Raises:
        BadInput: no configuration of that name is known.
        EncoderUnavailable: the tokenizer was not found.
    """
    config: Any = configuration(name)
    tokenizer = find_model_folder() / TOKENIZER_NAME
    import torch
    from transformers import AutoModelForSequenceClassification

    config.num_hidden_layers = layers or config.num_hidden_layers
    if hasattr(config, "layer_types"):
        config.layer_types = config.layer_types[: config.num_hidden_layers]
    config.vocab_size = vocabulary or config.vocab_size
    for token, number in _SPECIAL_TOKENS.items():
        setattr(config, f"{token}_token_id", number)
    model_class: Any = AutoModelForSequenceClassification
    with torch.random.fork_rng(devices=[]), no_progress_bars():
        torch.manual_seed(seed)
        model_class.from_config(config).save_pretrained(folder)
    shutil.copyfile(tokenizer, folder / TOKENIZER_NAME)
    # Only BERT's classifiers are told which tokens are the query's.
    typed = ["token_type_ids"] if config.model_type == "bert" else []
    special = {f"{token}_token": f"[{token.upper()}]" for token in ("pad", "unk", "cls", "sep")}
    described = special | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", *typed, "attention_mask"],
        "model_max_length": min(config.max_position_embeddings, 8192),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(described), encoding="utf-8")
    return folder
