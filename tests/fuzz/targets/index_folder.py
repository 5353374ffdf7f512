"""An index folder of colbert-ai and RAGatouille, damaged: refused, or read so that all of it fits.

The first byte chooses the serialisation of the tensors; the rest is damage.
"""

from __future__ import annotations

import functools
import io
import json
import shutil
from typing import Any

import numpy as np
import torch

from fuzz.damaging import Folder
from fuzz.scratch import new_folder
from memstore.errors import BadInput, IndexDamaged
from memstore.index import StoredCodec, write_codec
from memstore.index.interchange import read_colbert_index

MUTATIONS = 150
TOKENS = (b"num_chunks", b"config", b"nbits", b"dim", b"checkpoint", b"doc_maxlen", b"null")
_LENGTHS = ((3, 0, 2), (4,))
_CENTROIDS, _DIM, _BITS = 6, 8, 2


def _tensors(name: str, arrays: tuple[Any, ...], *, zipped: bool) -> bytes:
    """Return arrays as a `.pt` file, the buckets' as a pair."""
    tensors = tuple(_tensor(array) for array in arrays)
    file = io.BytesIO()
    torch.save(
        tensors if name == "buckets.pt" else tensors[0],
        file,
        _use_new_zipfile_serialization=zipped,
    )
    return file.getvalue()


def _tensor(array: Any) -> Any:
    try:
        return torch.from_numpy(np.ascontiguousarray(array))
    except (TypeError, ValueError):  # a type or byte order that torch does not know
        return torch.zeros(array.shape, dtype=torch.bfloat16)


def _files() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    files: dict[str, Any] = {
        "centroids.pt": (rng.standard_normal((_CENTROIDS, _DIM)).astype(np.float16),),
        "buckets.pt": tuple(
            np.sort(rng.normal(0, 0.1, 2**_BITS - part)).astype(np.float32) for part in (1, 0)
        ),
        "collection.json": b'["Ana", "", "Lisbon", "caf\\u00e9"]',
        "pid_docid_map.json": b'{"0": "a", "2": "a", "3": 7}',
        "docid_metadata_map.json": b'{"a": {"page": 1}, "7": null}',
    }
    for number, lengths in enumerate(_LENGTHS):
        tokens = sum(lengths)
        files[f"doclens.{number}.json"] = json.dumps(lengths).encode()
        files[f"{number}.codes.pt"] = (rng.integers(0, _CENTROIDS, tokens, dtype=np.int32),)
        width = _DIM * _BITS // 8
        files[f"{number}.residuals.pt"] = (rng.integers(0, 256, (tokens, width), dtype=np.uint8),)
    config = {"dim": _DIM, "nbits": _BITS, "checkpoint": "models/a", "doc_maxlen": 180}
    files["metadata.json"] = json.dumps({"config": config, "num_chunks": 2}).encode()
    return files


FOLDERS = [Folder(_files(), functools.partial(_tensors, zipped=zipped)) for zipped in (True, False)]


_PLACE = new_folder()


def check(data: bytes) -> None:
    choice = data[0] if data else 0
    with FOLDERS[choice % 2].damaged(data[1:]) as folder:
        try:
            content = read_colbert_index(folder, deleted_at_once=bool(choice & 2))
        except (BadInput, IndexDamaged):
            return
    codec, tokens = content.codec, int(content.lengths.sum())
    assert len(content.codes) == len(content.residuals) == tokens
    assert content.texts is None or len(content.texts) == len(content.lengths)
    assert content.document_ids is None or len(content.document_ids) == len(content.lengths)
    vectors = codec.decode(content.codes, content.residuals)
    assert vectors.shape == (tokens, codec.dim)
    assert np.isfinite(vectors).all()
    folder = _PLACE / "codec"
    try:  # what is adopted has to be opened afterwards
        StoredCodec(folder, write_codec(folder, codec, made_for=1), codec.dim)
    finally:
        shutil.rmtree(folder)
