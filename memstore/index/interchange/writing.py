"""Writing an index folder: complete or not at all, chunk by chunk."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from memstore.errors import BadInput, StoreUnwritable
from memstore.index.codec import BITS
from memstore.index.interchange.content import MODEL_SETTINGS, IndexContent, fits_half
from memstore.private_files import create_file, create_folder, sync_file, sync_folder

CHUNK_PASSAGES: Final = 25_000  # colbert-ai's own
# RAGatouille probes 8 or 16 centroids and fails where there are fewer. colbert-ai trains at least
# 16, so its own indexes are never padded.
LEAST_CENTROIDS: Final = 16


def write_colbert_index(
    folder: Path,
    content: IndexContent,
    *,
    chunk_passages: int = CHUNK_PASSAGES,
    progress: Callable[[int], None] = lambda tokens: None,
) -> None:
    """Write an index folder that colbert-ai's Searcher and RAGatouille's `from_index` open.

    They need a checkpoint to encode queries, and RAGatouille the texts. The folder appears
    complete or not at all; the arrays are read chunk by chunk.

    Args:
        folder: must not exist yet. RAGatouille finds the index by this name.
        chunk_passages: the most passages per file.
        progress: called with the number of token vectors written since the last call.

    Raises:
        BadInput: the folder exists, or the content is not what such an index can hold.
        StoreUnwritable: the disk is full, or the system refused to write.
    """
    folder = Path(os.path.abspath(folder))
    _check_content(content)
    check_absent(folder)
    partial = None
    try:
        create_folder(folder.parent, exist_ok=True)
        partial = Path(
            tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent)
        )
        _write_files(partial, content, chunk_passages, progress, final=folder)
        for path in partial.iterdir():
            sync_file(path)
        sync_folder(partial)
        check_absent(folder)  # a rename would replace an empty folder
        partial.rename(folder)
        partial = None
        sync_folder(folder.parent)
    except OSError as error:
        raise StoreUnwritable(
            f"The index folder {folder} could not be written: {error}.\n"
            "Free space or choose another place; nothing was left behind."
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def check_absent(folder: Path) -> None:
    """Refuse a folder that is there already, be it as a broken link."""
    if os.path.lexists(folder):
        raise BadInput(f"{folder} exists already.\nName a folder that does not exist yet.")


def _check_content(content: IndexContent) -> None:
    codec, passages = content.codec, len(content.lengths)
    width = codec.dim * codec.bits // 8
    if codec.bits not in BITS or codec.dim % (8 * codec.bits):
        raise BadInput(
            f"colbert-ai cannot hold {codec.bits} bits for each of {codec.dim} dimensions: "
            f"the dimensions must be a multiple of 8 * bits.\n"
            "Use an encoder with another number of dimensions, or fewer bits."
        )
    if not np.isfinite(codec.centroids).all() or not fits_half(codec.centroids):
        raise BadInput(
            "The centroids hold values that 16-bit floats cannot.\n"
            "Round them before the residuals are computed."
        )
    if (content.lengths < 0).any():
        raise BadInput(f"A passage has {content.lengths.min()} tokens.")
    tokens = int(content.lengths.sum())
    if not tokens:
        raise BadInput(
            "There is nothing to export: no passage has a token vector, and colbert-ai cannot open "
            "an empty index."
        )
    if content.codes.shape != (tokens,) or content.residuals.shape != (tokens, width):
        raise BadInput(
            f"The passages have {tokens} tokens, which need codes of shape ({tokens},) and "
            f"residuals of shape ({tokens}, {width}); given were {content.codes.shape} and "
            f"{content.residuals.shape}."
        )
    if content.residuals.dtype != np.uint8 or not np.issubdtype(content.codes.dtype, np.integer):
        raise BadInput(
            f"Codes must be integers and residuals uint8; given were {content.codes.dtype} and "
            f"{content.residuals.dtype}."
        )
    for what, values in (("texts", content.texts), ("document_ids", content.document_ids)):
        if values is not None and len(values) != passages:
            raise BadInput(f"There are {passages} passages, but {len(values)} {what}.")
    for key, value in content.model_settings.items():
        if type(value) is not MODEL_SETTINGS.get(key):
            known = ", ".join(f"{name} ({kind.__name__})" for name, kind in MODEL_SETTINGS.items())
            raise BadInput(f"The model setting {key!r} cannot be {value!r}; there are {known}.")
    for pid, document_id in enumerate(content.document_ids or ()):
        if content.lengths[pid] and not document_id:
            raise BadInput(f"Passage {pid} has no document id.")


def _write_files(
    folder: Path,
    content: IndexContent,
    chunk_passages: int,
    progress: Callable[[int], None],
    *,
    final: Path,
) -> None:
    import torch

    centroids = content.codec.centroids.astype(np.float16)
    missing = max(0, LEAST_CENTROIDS - len(centroids))
    centroids = np.concatenate([centroids, np.zeros((missing, content.codec.dim), np.float16)])
    _save(folder / "centroids.pt", torch.from_numpy(centroids))
    buckets = (content.codec.cutoffs, content.codec.weights)
    tensors = tuple(torch.from_numpy(np.array(part, dtype=np.float32)) for part in buckets)
    _save(folder / "buckets.pt", tensors)
    # Nothing computes with it; of buckets that hold equal shares this is the true mean.
    mean = float(np.abs(content.codec.weights).mean())
    _save(folder / "avg_residual.pt", torch.tensor(mean, dtype=torch.float32))

    chunks = list(_chunks(content.lengths, chunk_passages))
    for number, chunk in enumerate(chunks):
        _write_chunk(folder, number, chunk, content)
        progress(int(chunk.lengths.sum()))
    _write_inverted_lists(folder, chunks, content, len(centroids))
    _write_metadata(folder, content, len(chunks), len(centroids), final=final)
    _write_collection(folder, content)


@dataclass(frozen=True, slots=True)
class _Chunk:
    first_pid: int
    first_token: int
    lengths: NDArray[np.int64]

    @property
    def tokens(self) -> slice:
        return slice(self.first_token, self.first_token + int(self.lengths.sum()))


def _chunks(lengths: NDArray[np.int64], passages: int) -> Iterator[_Chunk]:
    token = 0
    for start in range(0, len(lengths), passages):
        chunk = _Chunk(start, token, np.asarray(lengths[start : start + passages], np.int64))
        token = chunk.tokens.stop
        yield chunk


def _write_chunk(folder: Path, number: int, chunk: _Chunk, content: IndexContent) -> None:
    import torch

    codes = content.codes[chunk.tokens]
    centroids = len(content.codec.centroids)
    if codes.size and not 0 <= codes.min() <= codes.max() < centroids:
        wrong = codes[(codes < 0) | (codes >= centroids)][0]
        raise BadInput(f"A code is {wrong}, but there are {centroids} centroids.")
    # copies: torch refuses arrays mapped for reading
    _save(folder / f"{number}.codes.pt", torch.from_numpy(np.array(codes, dtype=np.int32)))
    residuals = np.array(content.residuals[chunk.tokens], order="C")
    _save(folder / f"{number}.residuals.pt", torch.from_numpy(residuals))
    _write_json(folder / f"doclens.{number}.json", chunk.lengths.tolist())
    _write_json(
        folder / f"{number}.metadata.json",
        {
            "passage_offset": chunk.first_pid,
            "num_passages": len(chunk.lengths),
            "num_embeddings": len(codes),
            "embedding_offset": chunk.first_token,
        },
    )


def _write_inverted_lists(
    folder: Path, chunks: Sequence[_Chunk], content: IndexContent, centroids: int
) -> None:
    """Write, per centroid, the ascending pids of the passages that have a token of it.

    colbert-ai's own file ends with padding, which its `IndexUpdater.add` stumbles over. Its readers
    pad what they read, so it is left out here.
    """
    import torch

    lengths = np.zeros(centroids, dtype=np.int64)
    for chunk in chunks:
        lengths += np.bincount(_postings(chunk, content)[0], minlength=centroids)
    # on disk, so that memory stays bounded by one chunk
    scratch = folder / "ivf.partial"
    create_file(scratch).close()
    lists = np.memmap(scratch, dtype=np.int32, mode="w+", shape=(int(lengths.sum()),))
    ends = np.cumsum(lengths) - lengths
    for chunk in chunks:
        codes, pids = _postings(chunk, content)
        counts = np.bincount(codes, minlength=centroids)
        within = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
        lists[ends[codes] + within] = pids
        ends += counts
    _save(folder / "ivf.pid.pt", (torch.from_numpy(lists), torch.from_numpy(lengths)))
    del lists
    scratch.unlink()


def _postings(chunk: _Chunk, content: IndexContent) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct pairs of centroid and pid of a chunk, in order."""
    passages = len(chunk.lengths)
    positions = np.repeat(np.arange(passages), chunk.lengths)
    pairs = np.unique(content.codes[chunk.tokens].astype(np.int64) * passages + positions)
    return pairs // passages, pairs % passages + chunk.first_pid


def _write_metadata(
    folder: Path, content: IndexContent, chunks: int, centroids: int, *, final: Path
) -> None:
    config: dict[str, Any] = {
        **content.model_settings,
        "dim": content.codec.dim,
        "nbits": content.codec.bits,
        "index_name": final.name,
    }
    if final.parent.name == "indexes" and final.parents[1].name:
        # where RAGatouille looks for an index that it is to change
        config |= {"root": str(final.parents[2]), "experiment": final.parents[1].name}
    if content.checkpoint is not None:
        config["checkpoint"] = content.checkpoint
    tokens = len(content.codes)
    mean_length = tokens / len(content.lengths)
    counts = {"num_chunks": chunks, "num_partitions": centroids}
    estimates = {"num_embeddings_est": float(tokens), "avg_doclen_est": mean_length}
    _write_json(folder / "plan.json", {"config": config, **counts, **estimates})
    metadata = {
        "config": config,
        **counts,
        "num_embeddings": tokens,
        "avg_doclen": mean_length,
        "RAGatouille": {"index_config": {"index_type": "PLAID", "index_name": final.name}},
    }
    _write_json(folder / "metadata.json", metadata)


def _write_collection(folder: Path, content: IndexContent) -> None:
    """Write what RAGatouille needs besides; nothing of a deleted passage."""
    lengths = content.lengths.tolist()
    if content.texts is not None:
        texts = zip(content.texts, lengths, strict=True)
        _write_json(folder / "collection.json", [text if length else "" for text, length in texts])
    if content.texts is not None or content.document_ids is not None:
        ids = content.document_ids or [str(pid) for pid in range(len(lengths))]
        live = {str(pid): ids[pid] for pid, length in enumerate(lengths) if length}
        _write_json(folder / "pid_docid_map.json", live)
        if content.document_metadata is not None:
            known = set(live.values())
            kept = {
                key: dict(data) for key, data in content.document_metadata.items() if key in known
            }
            _write_json(folder / "docid_metadata_map.json", kept)


def _write_json(path: Path, value: object) -> None:
    with io.TextIOWrapper(create_file(path), encoding="ascii") as file:
        try:
            json.dump(value, file, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BadInput(f"{path.name} cannot be written as JSON: {error}.") from error


def _save(path: Path, value: object) -> None:
    import torch

    create_file(path).close()  # torch would make it as the umask says
    try:
        torch.save(value, path)
    except RuntimeError as error:  # how torch reports that writing failed
        raise OSError(f"{path.name}: {error}") from error
