"""ColBERT checkpoints on disk: finding or fetching them, and checking them before they are loaded.

Two layouts are known. *Stanford*: `config.json` with the architecture `HF_ColBERT`, the projection
as `linear.weight` beside the backbone, settings in `artifact.metadata`. *Modules*: `modules.json`,
as PyLate and sentence-transformers write it, the projection in a folder of its own.

The libraries that load them replace what is missing by random weights or default settings, with a
warning at most. Here whatever is missing is an error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from memstore.encoders import DocumentText, VectorSpan
from memstore.encoders.file_hashes import sha256_of
from memstore.errors import EncoderUnavailable
from memstore.local_models import WEIGHTS, NotFetchedError, fetch, first_line
from memstore.maxsim import TokenVectors

_SETTINGS: Final = (
    "config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "artifact.metadata",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
)


class CheckpointSettings(NamedTuple):
    """What decides a vector besides weights and vocabulary; lengths are tokens, all included."""

    dim: int
    document_length: int
    query_length: int
    query_prefix: str
    document_prefix: str
    query_expansion: str | None
    attend_to_expansion: bool
    skiplist: list[str]


class EncodedQuery(NamedTuple):
    """Vectors and names of the tokens that count, and how many there were before it was cut."""

    vectors: TokenVectors
    tokens: tuple[str, ...]
    length: int


class Checkpoint(Protocol):
    """A way to run a checkpoint. Texts hold no lone surrogates."""

    @property
    def settings(self) -> CheckpointSettings: ...

    @property
    def parameters(self) -> int: ...

    def token_spans(self, text: str) -> list[tuple[int, int]]: ...

    def vector_spans(self, text: str) -> list[VectorSpan]: ...

    def encode_documents(self, documents: Sequence[DocumentText]) -> list[TokenVectors]: ...

    def encode_queries(self, texts: Sequence[str]) -> list[EncodedQuery]: ...


def fetch_checkpoint(hub_id: str) -> Path:
    """Return a local folder with the checkpoint: from the cache, else downloaded into it.

    Raises:
        EncoderUnavailable: it is not in the cache, and the hub is unreachable or has no such model.
    """
    try:
        return fetch(hub_id)
    except NotFetchedError as error:
        raise EncoderUnavailable(
            f"The checkpoint {hub_id} is not in the Hugging Face cache, and {error}.\n"
            f"Where there is a network, run `hf download {hub_id} --local-dir my-colbert`, copy "
            "the folder here, and name it: encoder='./my-colbert'. The encoder 'minilm' needs no "
            "network."
        ) from error


def check_checkpoint(folder: Path) -> None:
    """Refuse a folder from which a loader would build something else than the trained model.

    Raises:
        EncoderUnavailable: no ColBERT checkpoint, or one without its projection or settings.
    """
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if "HF_ColBERT" in (config.get("architectures") or []):
        _check_stanford(folder)
    elif (folder / "modules.json").is_file():
        _check_modules(folder)
    else:
        raise _refused(
            folder,
            "it has neither a modules.json nor the architecture HF_ColBERT in a config.json",
        )


def _check_stanford(folder: Path) -> None:
    if not (folder / "artifact.metadata").is_file():
        raise _refused(
            folder,
            "artifact.metadata is missing, which holds the lengths and markers it was trained with",
        )
    metadata = read_json(folder / "artifact.metadata")
    shapes = tensor_shapes(folder)
    if "linear.weight" not in shapes:
        raise _refused(folder, "its weights have no projection (linear.weight)")
    dim = metadata.get("dim")
    if dim is not None and dim != shapes["linear.weight"][0]:
        raise _refused(
            folder,
            f"artifact.metadata says dim {dim}, its projection has {shapes['linear.weight'][0]}",
        )


def _check_modules(folder: Path) -> None:
    name = "config_sentence_transformers.json"
    settings = read_json(folder / name) if (folder / name).is_file() else {}
    # sentence-transformers' own class, PyLate 3 and later, and older PyLate in this order.
    native = settings.get("model_type") == "MultiVectorEncoder"
    if not native and settings.get("model_type") != "ColBERT" and "query_prefix" not in settings:
        raise _refused(folder, f"{name} describes no ColBERT model")
    projections = [
        folder / module["path"]
        for module in json.loads(_read_text(folder / "modules.json"))
        if module["type"].rpartition(".")[2] == "Dense"
    ]
    if not projections and not native:
        raise _refused(folder, "modules.json lists no projection (Dense)")
    for projection in projections:
        if not any((projection / name).is_file() for name in WEIGHTS):
            raise _refused(folder, f"{projection.name} has no weights")


def tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every tensor of the folder's weight file.

    Raises:
        EncoderUnavailable: there is no weight file, or it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise _refused(folder, f"it has none of {', '.join(WEIGHTS)}")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="np") as file:
                return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  it is no mapping
        import torch

        tensors = torch.load(path, map_location="meta", weights_only=True)
        return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise _refused(folder, f"{path.name} cannot be read ({first_line(error)})") from error


def check_backbone(folder: Path, expected: dict[str, tuple[int, ...]]) -> None:
    """Refuse a checkpoint that lacks weights of its backbone, which a loader would fill at random.

    Names are compared by their end, since files prefix them with the class ("bert.encoder…").

    Args:
        expected: name and shape of every parameter of the loaded backbone.
    """
    known: set[tuple[str, tuple[int, ...]]] = set()
    for name, shape in tensor_shapes(folder).items():
        parts = name.split(".")
        known.update((".".join(parts[start:]), shape) for start in range(min(3, len(parts))))
    # The pooler makes one vector of the first token: late interaction never uses it.
    missing = [
        name
        for name, shape in expected.items()
        if (name, shape) not in known and not name.startswith("pooler.")
    ]
    if missing:
        raise _refused(
            folder, f"{len(missing)} weights of its backbone are missing, such as {missing[0]}"
        )


def checkpoint_fingerprint(folder: Path) -> str:
    """Return the SHA-256 over the names and contents of all files that decide a vector."""
    folders = [folder]
    if (folder / "modules.json").is_file():
        modules = json.loads(_read_text(folder / "modules.json"))
        folders += sorted({folder / module["path"] for module in modules if module["path"]})
    whole = hashlib.sha256()
    for part in folders:
        weights = [name for name in WEIGHTS if (part / name).is_file()][:1]
        for name in sorted([*weights, *(name for name in _SETTINGS if (part / name).is_file())]):
            whole.update(f"{(part / name).relative_to(folder)} {sha256_of(part / name)}\n".encode())
    return whole.hexdigest()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EncoderUnavailable(f"{path} cannot be read: {error}.") from error


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read_text(path))
    except ValueError as error:
        raise EncoderUnavailable(f"{path} is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise EncoderUnavailable(f"{path} holds no JSON object.")
    return content


def _refused(folder: Path, reason: str) -> EncoderUnavailable:
    return EncoderUnavailable(
        f"{folder} cannot be used as a ColBERT checkpoint: {reason}.\n"
        "Use a folder that `hf download` or the model's own `save_pretrained` wrote completely."
    )
