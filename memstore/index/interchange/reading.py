"""Reading an index folder. Everything in it is checked before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from memstore.errors import BadInput, IndexDamaged, StoreUnwritable
from memstore.index.codec import BITS, Codec, ascend
from memstore.index.interchange.content import MODEL_SETTINGS, IndexContent, fits_half
from memstore.index.interchange.tensor_files import check_tensor_file
from memstore.json_input import parse_json

LONGEST_PASSAGE: Final = 2**31 - 1
MOST_CHUNKS: Final = 1_000_000  # of 25,000 passages each

_ADVICE = "Copy the folder again, or build the index again with the library that wrote it."


def read_colbert_index(
    folder: Path,
    *,
    texts: Sequence[str] | Mapping[int, str] | None = None,
    deleted_at_once: bool = False,
) -> IndexContent:
    """Return what an index folder holds: codes as int32, everything in memory.

    The counts in its metadata are not used: colbert-ai lets them grow with every update.

    Args:
        texts: one per pid (a mapping may leave out the deleted ones), for a folder without a
            `collection.json`, or instead of it.
        deleted_at_once: RAGatouille deleted passages from this index in a single call, so that the
            texts it kept are those of the other passages. After a second call they are not.

    Raises:
        BadInput: it is no such index, or `texts` does not fit it.
        IndexDamaged: its files contradict each other.
        StoreUnwritable: the system refused to read it.
    """
    folder = Path(folder)
    metadata = _read_metadata(folder)
    config = metadata.get("config", metadata)  # older indexes have no level of their own for it
    if not isinstance(config, dict):
        raise _damaged(folder / "metadata.json", "has a config that is no JSON object")
    codec = _read_codec(folder, config)
    chunks = _read_lengths(folder, metadata)
    codes = _read_codes(folder, chunks, len(codec.centroids))
    residuals = _read_residuals(folder, chunks, codec)
    lengths = np.array([length for chunk in chunks for length in chunk], dtype=np.int64)
    return IndexContent(
        codec=codec,
        codes=codes,
        residuals=residuals,
        lengths=lengths,
        texts=_read_texts(folder, lengths, texts, deleted_at_once=deleted_at_once),
        document_ids=_read_document_ids(folder, lengths),
        document_metadata=_read_document_metadata(folder),
        checkpoint=config["checkpoint"] if isinstance(config.get("checkpoint"), str) else None,
        model_settings=_read_model_settings(folder, config),
    )


def _damaged(path: Path, what: str) -> IndexDamaged:
    return IndexDamaged(f"{path} {what}.\n{_ADVICE}")


def _read_metadata(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise BadInput(f"There is no folder {folder}.\nName the folder of a colbert-ai index.")
    if (folder / "centroids.npy").is_file():
        raise BadInput(
            f"{folder} is an index of fast-plaid, which names neither its model nor its texts.\n"
            "Ingest the texts instead."
        )
    names = ("metadata.json", "centroids.pt", "buckets.pt")
    missing = [name for name in names if not (folder / name).is_file()]
    if "metadata.json" in missing and (folder / "plan.json").is_file():
        raise BadInput(
            f"{folder} has a plan.json but no metadata.json: building it was interrupted.\n"
            "Build it again with the library that began it."
        )
    if missing:
        raise BadInput(
            f"{folder} is no colbert-ai index: it has no {', '.join(missing)}.\n"
            "Name the folder that holds them; RAGatouille's lies below .ragatouille/, in "
            "colbert/indexes/NAME."
        )
    metadata = _read_json(folder / "metadata.json")
    if not isinstance(metadata, dict):
        raise _damaged(folder / "metadata.json", "holds no JSON object")
    return metadata


def _read_codec(folder: Path, config: Mapping[str, Any]) -> Codec:
    path = folder / "centroids.pt"
    centroids = _floats(path, _load(path))
    if centroids.ndim != 2 or 0 in centroids.shape:
        raise _damaged(path, f"has the shape {centroids.shape}, not (centroids, dimensions)")
    if not fits_half(centroids):
        raise _damaged(path, f"holds {centroids.dtype} values that 16-bit floats cannot")

    path = folder / "buckets.pt"
    pair = _load(path)
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise _damaged(path, "holds no pair of cutoffs and weights")
    cutoffs, weights = (_floats(path, tensor).astype(np.float32) for tensor in pair)
    codec = Codec(centroids.astype(np.float32), cutoffs, weights)
    if weights.ndim != 1 or len(weights) != 2**codec.bits or codec.bits not in BITS:
        raise _damaged(path, f"has weights of shape {weights.shape}, not 2, 4, 16 or 256")
    if cutoffs.shape != (len(weights) - 1,) or not (ascend(cutoffs) and ascend(weights)):
        raise _damaged(
            path,
            f"has {cutoffs.size} cutoffs for {len(weights)} weights, or some of them are not in "
            "order or too large",
        )
    if codec.dim * codec.bits % 8:
        raise _damaged(path, f"has {codec.bits} bits for each of {codec.dim} dimensions: no bytes")
    for key, value in (("dim", codec.dim), ("nbits", codec.bits)):
        if key in config and config[key] != value:
            raise _damaged(
                folder / "metadata.json", f"says {key} {config[key]!r}, the tensors have {value}"
            )
    return codec


def _read_lengths(folder: Path, metadata: Mapping[str, Any]) -> list[list[int]]:
    """Return the lengths of the passages, chunk by chunk."""
    count = metadata.get("num_chunks")
    if count is None:  # as in indexes older than the key
        count = 0
        while (folder / f"doclens.{count}.json").is_file():
            count += 1
    if type(count) is not int or not 0 <= count <= MOST_CHUNKS:
        raise _damaged(folder / "metadata.json", f"says num_chunks {count!r}")
    if (folder / f"doclens.{count}.json").exists():
        raise _damaged(
            folder / "metadata.json",
            f"says num_chunks {count}, but there is a doclens.{count}.json: an update was "
            "interrupted, or an older index was left in the same folder",
        )
    chunks = []
    for number in range(count):
        path = folder / f"doclens.{number}.json"
        lengths = _read_json(path)
        if not isinstance(lengths, list) or not all(
            type(length) is int and 0 <= length <= LONGEST_PASSAGE for length in lengths
        ):
            raise _damaged(path, "is no list of numbers of tokens")
        chunks.append(lengths)
    return chunks


def _read_codes(folder: Path, chunks: list[list[int]], centroids: int) -> NDArray[np.int32]:
    parts = [np.zeros(0, dtype=np.int32)]
    for number, lengths in enumerate(chunks):
        path = folder / f"{number}.codes.pt"
        codes = _array(path, _load(path), ("int32", "int64"))
        if codes.shape != (sum(lengths),):
            raise _damaged(
                path,
                f"has the shape {codes.shape}, but the passages of doclens.{number}.json have "
                f"{sum(lengths)} tokens",
            )
        if codes.size and not 0 <= codes.min() <= codes.max() < centroids:
            wrong = codes[(codes < 0) | (codes >= centroids)][0]
            raise _damaged(path, f"names the centroid {wrong}, but there are {centroids}")
        parts.append(codes.astype(np.int32))
    return np.concatenate(parts)


def _read_residuals(folder: Path, chunks: list[list[int]], codec: Codec) -> NDArray[np.uint8]:
    width = codec.dim * codec.bits // 8
    parts = [np.zeros((0, width), dtype=np.uint8)]
    for number, lengths in enumerate(chunks):
        path = folder / f"{number}.residuals.pt"
        rows = _array(path, _load(path), ("uint8",))
        if rows.shape != (sum(lengths), width):
            raise _damaged(
                path,
                f"has the shape {rows.shape}, not ({sum(lengths)}, {width}): {sum(lengths)} tokens "
                f"with {codec.bits} bits for each of {codec.dim} dimensions",
            )
        parts.append(rows)
    return np.concatenate(parts)  # only now: what these files say is in them is in them


def _read_texts(
    folder: Path,
    lengths: NDArray[np.int64],
    given: Sequence[str] | Mapping[int, str] | None,
    *,
    deleted_at_once: bool,
) -> list[str] | None:
    path = folder / "collection.json"
    passages, deleted = len(lengths), int((lengths == 0).sum())
    if isinstance(given, Mapping):
        texts = _by_pid(folder, lengths, given)
    elif given is not None:
        if len(given) != passages:
            raise BadInput(
                f"{folder} has {passages} passages, but {len(given)} texts were given.\n"
                "Give one text per passage, in order; deleted passages count."
            )
        texts = list(given)
    elif not path.is_file():
        return None
    else:
        texts = _read_json(path)
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise _damaged(path, "is no list of texts")
        if deleted and len(texts) == passages - deleted:
            if deleted > 1 and not deleted_at_once:
                raise _moved_texts(folder, passages, deleted)
            kept = iter(texts)
            texts = [next(kept) if length else "" for length in lengths.tolist()]
        elif len(texts) != passages:
            raise _damaged(path, f"has {len(texts)} texts for {passages} passages")
    return [text if length else "" for text, length in zip(texts, lengths.tolist(), strict=True)]


def _by_pid(folder: Path, lengths: NDArray[np.int64], given: Mapping[int, str]) -> list[str]:
    live = np.flatnonzero(lengths).tolist()
    missing = [pid for pid in live if pid not in given]
    unknown = [pid for pid in given if not 0 <= pid < len(lengths)]
    if unknown or missing:
        wrong = (
            f"a text was given for passage {unknown[0]}"
            if unknown
            else f"no text was given for passage {missing[0]} ({len(missing)} in all)"
        )
        raise BadInput(
            f"{folder} has passages 0 to {len(lengths) - 1}, but {wrong}.\n"
            "Give the text of each passage under its pid; only deleted ones need none."
        )
    return [given.get(pid, "") for pid in range(len(lengths))]


def _moved_texts(folder: Path, passages: int, deleted: int) -> BadInput:
    # `delete_from_index` takes texts out by pid, counted from the start of what earlier calls left
    return BadInput(
        f"{deleted} of {passages} passages were deleted from {folder}. Where RAGatouille did that "
        "in more than one call, it took out the texts of other passages.\n"
        "If it was one call, say so: deleted_at_once=True (--deleted-at-once). Else give the texts "
        f"of all {passages} passages, '' for deleted ones: texts= (--texts)."
    )


def _read_document_ids(folder: Path, lengths: NDArray[np.int64]) -> list[str] | None:
    path = folder / "pid_docid_map.json"
    if not path.is_file():
        return None
    mapping = _read_json(path)
    if not isinstance(mapping, dict):
        raise _damaged(path, "holds no JSON object")
    advice = "to import without document ids, move the file away"
    ids = [""] * len(lengths)
    for key, document_id in mapping.items():
        pid = int(key) if key.isdecimal() and key.isascii() and len(key) < 19 else -1
        if not 0 <= pid < len(lengths):
            raise _damaged(path, f"names the passage {key!r} of {len(lengths)}; {advice}")
        if type(document_id) not in (str, int) or document_id == "":
            raise _damaged(path, f"gives passage {pid} the id {document_id!r}; {advice}")
        ids[pid] = str(document_id)
    for pid, (document_id, length) in enumerate(zip(ids, lengths.tolist(), strict=True)):
        if length and not document_id:
            raise _damaged(path, f"has no document id for passage {pid}; {advice}")
        if not length:
            ids[pid] = ""
    return ids


def _read_document_metadata(folder: Path) -> dict[str, Mapping[str, Any]] | None:
    path = folder / "docid_metadata_map.json"
    if not path.is_file():
        return None
    mapping = _read_json(path)
    if not isinstance(mapping, dict):
        raise _damaged(path, "holds no JSON object")
    for document_id, metadata in mapping.items():
        if metadata is not None and not isinstance(metadata, dict):
            raise _damaged(path, f"gives document {document_id!r} metadata that is no JSON object")
    return {key: metadata for key, metadata in mapping.items() if metadata is not None}


def _read_model_settings(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    settings = {key: config[key] for key in MODEL_SETTINGS if config.get(key) is not None}
    for key, value in settings.items():
        if type(value) is not MODEL_SETTINGS[key]:
            raise _damaged(folder / "metadata.json", f"says {key} {value!r}")
    return settings


def _read_json(path: Path) -> Any:
    try:
        _check_file(path)
        return parse_json(path.read_bytes().decode())
    except FileNotFoundError as error:
        raise _damaged(path, "is missing") from error
    except OSError as error:
        raise StoreUnwritable(f"{path} could not be read: {error}.") from error
    except ValueError as error:
        raise _damaged(path, f"is no JSON: {error}") from error


def _check_file(path: Path) -> None:
    """Refuse what is no file, or no link to one: a pipe could be waited for without end."""
    if path.exists() and not path.is_file():
        raise _damaged(path, "is no file")


def _load(path: Path) -> Any:
    """Return the tensors of a file, never anything else that its pickle may ask for.

    Those of an archive are mapped into memory: what it says of their sizes cannot reach beyond it.
    """
    import torch

    try:
        _check_file(path)
        archive = check_tensor_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
    except FileNotFoundError as error:
        raise _damaged(path, "is missing") from error
    except OSError as error:
        raise StoreUnwritable(f"{path} could not be read: {error}.") from error
    except IndexDamaged:
        raise
    except Exception as error:  # whatever a file made to break the reader raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _damaged(path, f"cannot be read as tensors and nothing else: {reason}") from error


def _array(path: Path, value: Any, types: tuple[str, ...]) -> NDArray[Any]:
    import torch

    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided:
        raise _damaged(path, f"holds {type(value).__name__}, no plain tensor")
    if value.dtype not in {getattr(torch, name) for name in types}:
        raise _damaged(path, f"holds {value.dtype}, not {' or '.join(types)}")
    if not value.is_contiguous():  # may be far larger than its file
        raise _damaged(path, "holds a tensor whose values do not lie one after another")
    array: NDArray[Any] = value.detach().numpy()
    return array


def _floats(path: Path, value: Any) -> NDArray[np.floating[Any]]:
    array = _array(path, value, ("float16", "float32"))
    if not np.isfinite(array).all():
        raise _damaged(path, "holds values that are not finite")
    return array
