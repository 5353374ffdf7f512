"""Index folders of colbert-ai and RAGatouille: read exactly, written so that reading returns it."""

from __future__ import annotations

import json
import os
import pickle
import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.errors import BadInput, IndexDamaged, StoreUnwritable
from memstore.index.codec import Codec
from memstore.index.interchange import (
    ChosenRows,
    IndexContent,
    read_colbert_index,
    read_texts,
    write_colbert_index,
)

CENTROIDS = 20


def bucket_fields(packed: np.ndarray, bits: int) -> np.ndarray:
    """The bucket numbers of packed residuals, by the definition of the format."""
    stream = np.unpackbits(packed, axis=1).reshape(len(packed), -1, bits)
    return (stream << np.arange(bits)).sum(axis=2)  # each field from its least significant bit


def random_codec(*, dim: int = 16, bits: int = 2, seed: int = 0) -> Codec:
    rng = np.random.default_rng(seed)
    centroids = rng.standard_normal((CENTROIDS, dim))
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    return Codec(
        centroids.astype(np.float16).astype(np.float32),
        np.sort(rng.normal(0, 0.1, 2**bits - 1)).astype(np.float32),
        np.sort(rng.normal(0, 0.1, 2**bits)).astype(np.float32),
    )


def random_content(
    lengths: list[int], *, dim: int = 16, bits: int = 2, seed: int = 0
) -> IndexContent:
    rng = np.random.default_rng(seed)
    tokens = sum(lengths)
    return IndexContent(
        codec=random_codec(dim=dim, bits=bits, seed=seed),
        codes=rng.integers(0, CENTROIDS, tokens, dtype=np.int32),
        residuals=rng.integers(0, 256, (tokens, dim * bits // 8), dtype=np.uint8),
        lengths=np.array(lengths, dtype=np.int64),
        checkpoint="models/answers",
        model_settings={"doc_maxlen": 180, "query_maxlen": 32, "mask_punctuation": True},
    )


def save(path: Path, value: object) -> None:
    import torch

    torch.save(value, path)


def save_array(path: Path, array: np.ndarray) -> None:
    import torch

    save(path, torch.from_numpy(array.copy()))


def write_by_hand(folder: Path, content: IndexContent, *, passages: int = 3) -> Path:
    """Write the files that colbert-ai writes, without the code under test."""
    import torch

    folder.mkdir(parents=True)
    codec = content.codec
    save(folder / "centroids.pt", torch.from_numpy(codec.centroids.copy()).half())
    save(folder / "buckets.pt", (torch.tensor(codec.cutoffs), torch.tensor(codec.weights)))
    save(folder / "avg_residual.pt", torch.tensor(0.05))
    token = 0
    chunks = range(0, len(content.lengths), passages)
    for number, first in enumerate(chunks):
        lengths = content.lengths[first : first + passages].tolist()
        end = token + sum(lengths)
        save_array(folder / f"{number}.codes.pt", content.codes[token:end])
        save_array(folder / f"{number}.residuals.pt", content.residuals[token:end])
        (folder / f"doclens.{number}.json").write_text(json.dumps(lengths))
        token = end
    config = {"dim": codec.dim, "nbits": codec.bits, "checkpoint": content.checkpoint}
    config |= content.model_settings | {"ncells": None, "root": "experiments"}
    edit_json(
        folder / "metadata.json",
        # three times what is there, as after two updates by colbert-ai
        lambda _: {"config": config, "num_chunks": len(chunks), "num_embeddings": 3 * token},
    )
    return folder


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text()) if path.is_file() else None
    path.write_text(json.dumps(change(content)))


def assert_same_arrays(found: IndexContent, expected: IndexContent) -> None:
    for name in ("centroids", "cutoffs", "weights"):
        array = getattr(found.codec, name)
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, getattr(expected.codec, name))
    for name, dtype in (("codes", np.int32), ("residuals", np.uint8), ("lengths", np.int64)):
        array = getattr(found, name)
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, getattr(expected, name))


def load(path: Path) -> Any:
    import torch

    return torch.load(path, weights_only=True)


# reading


@pytest.mark.parametrize("passages", [3, 100])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_every_array_of_an_index_is_read_as_it_lies_there(tmp_path, bits, passages):
    content = random_content([4, 1, 7, 2, 5, 3, 6], dim=64, bits=bits)
    found = read_colbert_index(write_by_hand(tmp_path / "index", content, passages=passages))
    assert_same_arrays(found, content)
    assert found.checkpoint == "models/answers"
    assert found.model_settings == content.model_settings
    assert found.texts is None
    assert found.document_ids is None
    assert found.document_metadata is None


def test_what_was_read_decodes_to_the_vectors_of_the_format(tmp_path):
    content = random_content([4, 9], dim=32, bits=4)
    found = read_colbert_index(write_by_hand(tmp_path / "index", content))
    expected = found.codec.centroids[found.codes]
    expected = expected + found.codec.weights[bucket_fields(found.residuals, 4)]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    decoded = found.codec.decode(found.codes, found.residuals)
    np.testing.assert_allclose(decoded, expected, atol=1e-6)


def test_bucket_weights_of_an_index_built_on_a_gpu_are_widened(tmp_path):
    import torch

    content = random_content([3])
    folder = write_by_hand(tmp_path / "index", content)
    half = torch.tensor(content.codec.weights).half()
    save(folder / "buckets.pt", (torch.tensor(content.codec.cutoffs), half))
    found = read_colbert_index(folder)
    assert found.codec.weights.dtype == np.float32
    np.testing.assert_array_equal(found.codec.weights, half.float().numpy())


def test_files_in_the_older_serialisation_are_read(tmp_path):
    import torch

    content = random_content([3, 4])
    folder = write_by_hand(tmp_path / "index", content)
    for path in folder.glob("*.pt"):
        torch.save(load(path), path, _use_new_zipfile_serialization=False)
    assert_same_arrays(read_colbert_index(folder), content)


def test_an_older_index_without_config_and_number_of_chunks_is_read(tmp_path):
    content = random_content([3, 4, 1, 2])
    folder = write_by_hand(tmp_path / "index", content)
    edit_json(folder / "metadata.json", lambda old: old["config"])
    found = read_colbert_index(folder)
    assert_same_arrays(found, content)
    assert found.checkpoint == "models/answers"


def test_inverted_lists_are_not_needed_and_not_believed(tmp_path):
    content = random_content([3, 4])
    folder = write_by_hand(tmp_path / "index", content)
    (folder / "ivf.pid.pt").write_bytes(b"nothing")
    assert_same_arrays(read_colbert_index(folder), content)


def test_texts_and_document_ids_of_ragatouille_are_read(tmp_path):
    folder = write_by_hand(tmp_path / "index", random_content([3, 4, 2]))
    edit_json(folder / "collection.json", lambda _: ["Ana", "Größe", "Lisbon"])
    edit_json(folder / "pid_docid_map.json", lambda _: {"0": "a", "1": "a", "2": 7})
    edit_json(folder / "docid_metadata_map.json", lambda _: {"a": {"page": 1}, "7": None})
    found = read_colbert_index(folder)
    assert found.texts == ["Ana", "Größe", "Lisbon"]
    assert found.document_ids == ["a", "a", "7"]
    assert found.document_metadata == {"a": {"page": 1}}


def test_given_texts_stand_in_for_a_collection(tmp_path):
    folder = write_by_hand(tmp_path / "index", random_content([3, 0, 2]))
    found = read_colbert_index(folder, texts=["Ana", "gone", "Lisbon"])
    assert found.texts == ["Ana", "", "Lisbon"]
    with pytest.raises(BadInput, match="3 passages, but 2 texts were given"):
        read_colbert_index(folder, texts=["Ana", "Lisbon"])


def test_texts_by_pid_may_leave_out_deleted_passages_only(tmp_path):
    folder = write_by_hand(tmp_path / "index", random_content([2, 0, 3]))
    known = {2: "Lisbon", 0: "Ana"}
    assert read_colbert_index(folder, texts=known).texts == ["Ana", "", "Lisbon"]
    assert read_colbert_index(folder, texts={1: "gone"} | known).texts == ["Ana", "", "Lisbon"]
    with pytest.raises(BadInput, match="no text was given for passage 0 "):
        read_colbert_index(folder, texts={2: "Lisbon"})
    with pytest.raises(BadInput, match="passages 0 to 2, but a text was given for passage 3"):
        read_colbert_index(folder, texts={3: "more"} | known)


def test_lines_of_a_collection_may_hold_characters_that_end_lines_elsewhere(tmp_path):
    path = tmp_path / "collection.tsv"
    path.write_text("0\tone\u2028two\x0bthree\n\n2\tfour\n", encoding="utf-8")
    assert read_texts(path) == {0: "one\u2028two\x0bthree", 2: "four"}


def test_the_text_of_the_one_deleted_passage_is_left_out_where_ragatouille_left_it_out(tmp_path):
    folder = write_by_hand(tmp_path / "index", random_content([3, 0, 2]))
    edit_json(folder / "collection.json", lambda _: ["Ana", "Lisbon"])
    edit_json(folder / "pid_docid_map.json", lambda _: {"0": "a", "2": "c"})
    found = read_colbert_index(folder)
    assert found.texts == ["Ana", "", "Lisbon"]
    assert found.document_ids == ["a", "", "c"]


def test_texts_that_ragatouille_may_have_moved_are_not_guessed(tmp_path):
    folder = write_by_hand(tmp_path / "index", random_content([3, 0, 2, 0]))
    edit_json(folder / "collection.json", lambda _: ["Ana", "Lisbon"])
    with pytest.raises(BadInput, match="2 of 4 passages were deleted"):
        read_colbert_index(folder)
    texts = ["Ana", "", "Lisbon", ""]
    assert read_colbert_index(folder, deleted_at_once=True).texts == texts
    assert read_colbert_index(folder, texts=texts).texts == texts


def test_an_index_whose_passages_were_all_deleted_is_empty(tmp_path):
    found = read_colbert_index(write_by_hand(tmp_path / "index", random_content([0, 0])))
    assert found.codes.shape == (0,)
    assert found.residuals.shape == (0, 4)
    assert found.lengths.tolist() == [0, 0]


# folders that are no such index, or a damaged one


def test_a_folder_that_is_no_index_is_refused_with_what_it_lacks(tmp_path):
    with pytest.raises(BadInput, match="There is no folder"):
        read_colbert_index(tmp_path / "nowhere")
    with pytest.raises(BadInput, match=r"has no metadata\.json, centroids\.pt, buckets\.pt"):
        read_colbert_index(tmp_path)


def test_an_interrupted_build_and_an_index_of_fast_plaid_are_recognised(tmp_path):
    folder = write_by_hand(tmp_path / "index", random_content([3]))
    (folder / "metadata.json").rename(folder / "plan.json")
    with pytest.raises(BadInput, match="building it was interrupted"):
        read_colbert_index(folder)
    (folder / "centroids.npy").touch()
    with pytest.raises(BadInput, match="fast-plaid"):
        read_colbert_index(folder)


class Planted:
    """What a hostile index would hold: unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("name", ["centroids.pt", "buckets.pt", "0.codes.pt", "0.residuals.pt"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_that_would_run_code_is_refused(tmp_path, name, zipped):
    import torch

    folder = write_by_hand(tmp_path / "index", random_content([3]))
    planted = Planted(tmp_path / "was-here")
    if zipped:
        torch.save(planted, folder / name)
    else:
        (folder / name).write_bytes(pickle.dumps(planted))
    with pytest.raises(IndexDamaged, match=f"{name} cannot be read as tensors and nothing else"):
        read_colbert_index(folder)
    assert not planted.path.exists()


def set_tensor(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda folder: save(folder / name, change(load(folder / name)))


def set_json(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda folder: edit_json(folder / name, change)


def set_bytes(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content)  # type: ignore[return-value]


def with_value(tensor: Any, value: float) -> Any:
    tensor.view(-1)[1] = value
    return tensor


DAMAGE = {
    "a missing chunk": (
        lambda folder: (folder / "1.codes.pt").unlink(),
        r"1\.codes\.pt is missing",
    ),
    "an empty file": (set_bytes("1.codes.pt", b""), "cannot be read"),
    "a truncated file": (
        lambda folder: os.truncate(folder / "0.residuals.pt", 300),
        r"0\.residuals\.pt cannot be read",
    ),
    "text for tensors": (set_bytes("centroids.pt", b"hello"), r"centroids\.pt cannot be read"),
    "a code too high": (
        set_tensor("1.codes.pt", lambda codes: with_value(codes, CENTROIDS)),
        "names the centroid 20, but there are 20",
    ),
    "a negative code": (
        set_tensor("1.codes.pt", lambda codes: with_value(codes, -1)),
        "names the centroid -1",
    ),
    "codes as floats": (set_tensor("0.codes.pt", lambda codes: codes.float()), "torch.float32"),
    "a code too few": (
        set_tensor("0.codes.pt", lambda codes: codes[1:].clone()),
        r"shape \(11,\), but the passages of doclens\.0\.json have 12",
    ),
    "residuals of other bits": (
        set_tensor("0.residuals.pt", lambda rows: rows[:, :2].clone()),
        r"shape \(12, 2\), not \(12, 4\)",
    ),
    "residuals for other tokens": (
        set_tensor("0.residuals.pt", lambda rows: rows[:5].clone()),
        r"shape \(5, 4\), not \(12, 4\)",
    ),
    "a tensor larger than its file": (
        set_tensor("0.codes.pt", lambda codes: codes[:1].expand(12)),
        "do not lie one after another",
    ),
    "a dictionary": (set_tensor("0.codes.pt", lambda codes: {"codes": codes}), "holds dict"),
    "a sparse tensor": (set_tensor("0.codes.pt", lambda codes: codes.to_sparse()), "no plain"),
    "lengths that are no numbers": (set_json("doclens.0.json", lambda _: [4, True, 7]), "no list"),
    "negative lengths": (set_json("doclens.0.json", lambda _: [4, -1, 9]), "no list"),
    "enormous lengths": (set_json("doclens.0.json", lambda _: [2**31 - 1] * 3), "shape"),
    "lengths as an object": (set_json("doclens.0.json", lambda _: {"0": 12}), "no list"),
    "lengths cut off": (set_bytes("doclens.0.json", b"[4, 1, "), "is no JSON"),
    "lengths nested without end": (set_bytes("doclens.0.json", b"[" * 100_000), "is no JSON"),
    "a chunk that is not counted": (
        set_json("metadata.json", lambda old: old | {"num_chunks": 1}),
        "says num_chunks 1, but there is a doclens.1.json",
    ),
    "more chunks than there are": (
        set_json("metadata.json", lambda old: old | {"num_chunks": 3}),
        r"doclens\.2\.json is missing",
    ),
    "chunks as text": (set_json("metadata.json", lambda old: old | {"num_chunks": "2"}), "'2'"),
    "metadata as a list": (set_json("metadata.json", lambda _: []), "holds no JSON object"),
    "a config as text": (set_json("metadata.json", lambda old: old | {"config": "x"}), "config"),
    "other dimensions": (
        set_json("metadata.json", lambda old: old | {"config": {"dim": 128}}),
        "says dim 128, the tensors have 16",
    ),
    "other bits": (
        set_json("metadata.json", lambda old: old | {"config": {"nbits": 4}}),
        "says nbits 4, the tensors have 2",
    ),
    "a setting of another type": (
        set_json("metadata.json", lambda old: old | {"config": {"query_maxlen": "32"}}),
        "says query_maxlen '32'",
    ),
    "centroids in one row": (
        set_tensor("centroids.pt", lambda rows: rows.reshape(-1)),
        r"shape \(320,\)",
    ),
    "no centroids": (set_tensor("centroids.pt", lambda rows: rows[:0].clone()), "shape"),
    "a centroid that is no number": (
        set_tensor("centroids.pt", lambda rows: with_value(rows, float("nan"))),
        "not finite",
    ),
    "centroids too fine": (
        set_tensor("centroids.pt", lambda rows: with_value(rows.float(), 0.1)),
        "16-bit floats cannot",
    ),
    "weights without cutoffs": (set_tensor("buckets.pt", lambda pair: pair[:1]), "no pair"),
    "three weights": (
        set_tensor("buckets.pt", lambda pair: (pair[0], pair[1][:3].clone())),
        r"shape \(3,\)",
    ),
    "too few cutoffs": (
        set_tensor("buckets.pt", lambda pair: (pair[0][:2].clone(), pair[1])),
        "2 cutoffs for 4 weights",
    ),
    "cutoffs out of order": (
        set_tensor("buckets.pt", lambda pair: (pair[0].flip(0), pair[1])),
        "not in order",
    ),
    "weights out of order": (
        set_tensor("buckets.pt", lambda pair: (pair[0], pair[1].flip(0))),
        "not in order",
    ),
    "a weight out of all proportion": (
        set_tensor("buckets.pt", lambda pair: (pair[0], with_value(pair[1], 1e30))),
        "too large",
    ),
    "an infinite weight": (
        set_tensor("buckets.pt", lambda pair: (pair[0], with_value(pair[1], float("inf")))),
        "not finite",
    ),
    "a text too few": (set_json("collection.json", lambda _: ["one"]), "1 texts for 5 passages"),
    "texts that are none": (set_json("collection.json", lambda _: [1, 2, 3, 4, 5]), "no list"),
    "a passage without a document": (
        set_json("pid_docid_map.json", lambda _: {"0": "a", "1": "b"}),
        "no document id for passage 2",
    ),
    "a document of no passage": (
        set_json("pid_docid_map.json", lambda _: {"5": "a"}),
        "names the passage '5' of 5",
    ),
    "a passage that is no number": (
        set_json("pid_docid_map.json", lambda _: {"first": "a"}),
        "names the passage 'first'",
    ),
    "an id that is none": (set_json("pid_docid_map.json", lambda _: {"0": [1]}), "the id"),
    "ids as a list": (set_json("pid_docid_map.json", lambda _: ["a"]), "no JSON object"),
    "metadata that is none": (
        set_json("docid_metadata_map.json", lambda _: {"a": "page 1"}),
        "metadata that is no JSON object",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_with_its_file(tmp_path, damage):
    folder = write_by_hand(tmp_path / "index", random_content([4, 1, 7, 2, 5]))
    harm, message = DAMAGE[damage]
    harm(folder)
    with pytest.raises(IndexDamaged, match=message) as raised:
        read_colbert_index(folder)
    assert str(folder) in str(raised.value)
    assert "\n" in str(raised.value)  # what happened, then what to do


def test_a_few_changed_bytes_are_refused_or_read_but_never_more(tmp_path):
    content = random_content([4, 1, 7])
    folder = write_by_hand(tmp_path / "index", content)
    rng = np.random.default_rng(5)
    for name in ("0.codes.pt", "buckets.pt", "metadata.json"):
        original = (folder / name).read_bytes()
        for _ in range(40):
            damaged = bytearray(original)
            for position in rng.integers(0, len(damaged), 3):
                damaged[position] = rng.integers(0, 256)
            (folder / name).write_bytes(damaged)
            try:
                found = read_colbert_index(folder)
            except (IndexDamaged, BadInput):
                continue
            assert found.codes.shape == content.codes.shape
            assert found.codes.max() < len(found.codec.centroids)
        (folder / name).write_bytes(original)


# writing


@pytest.mark.parametrize(("dim", "bits"), [(64, 1), (64, 2), (64, 4), (64, 8), (96, 4)])
@pytest.mark.parametrize("passages", [2, 25_000])
def test_what_is_written_is_read_back_unchanged(tmp_path, dim, bits, passages):
    content = replace(
        random_content([4, 0, 7, 2, 5], dim=dim, bits=bits),
        texts=["Ana", "", "Größe 🎈", "Lisbon", "x"],
        document_ids=["a", "", "b", "b", "c"],
        document_metadata={"b": {"page": [1, None]}},
    )
    folder = tmp_path / "deep" / "index"
    write_colbert_index(folder, content, chunk_passages=passages)
    found = read_colbert_index(folder)
    assert_same_arrays(found, content)
    assert found.texts == content.texts
    assert found.document_ids == content.document_ids
    assert found.document_metadata == content.document_metadata
    assert found.checkpoint == content.checkpoint
    assert found.model_settings == content.model_settings


def test_reading_and_writing_again_repeats_every_file(tmp_path):
    content = replace(random_content([4, 1, 7, 2, 5]), texts=list("abcde"))
    first, second = tmp_path / "first" / "index", tmp_path / "second" / "index"
    write_colbert_index(first, content, chunk_passages=2)
    write_colbert_index(second, read_colbert_index(first), chunk_passages=2)
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    for name in names:
        if not name.endswith(".pt"):
            assert (first / name).read_bytes() == (second / name).read_bytes(), name
    import torch

    for name in ("0.codes.pt", "2.residuals.pt", "centroids.pt", "avg_residual.pt"):
        assert torch.equal(load(first / name), load(second / name))


def test_the_files_have_the_types_that_native_readers_expect(tmp_path):
    import torch

    folder = tmp_path / "index"
    content = random_content([4, 1, 7])
    wide = replace(content, codes=content.codes.astype(np.uint16))
    write_colbert_index(folder, wide, chunk_passages=2)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("0.codes.pt", "0.metadata.json", "0.residuals.pt"),
        *("1.codes.pt", "1.metadata.json", "1.residuals.pt"),
        *("avg_residual.pt", "buckets.pt", "centroids.pt", "doclens.0.json", "doclens.1.json"),
        *("ivf.pid.pt", "metadata.json", "plan.json"),
    ]
    assert load(folder / "0.codes.pt").dtype == torch.int32
    assert load(folder / "0.residuals.pt").dtype == torch.uint8
    assert load(folder / "centroids.pt").dtype == torch.float16
    assert load(folder / "avg_residual.pt").shape == ()
    assert [part.dtype for part in load(folder / "buckets.pt")] == [torch.float32] * 2
    assert [part.dtype for part in load(folder / "ivf.pid.pt")] == [torch.int32, torch.int64]
    assert json.loads((folder / "1.metadata.json").read_text()) == {
        "passage_offset": 2,
        "num_passages": 1,
        "num_embeddings": 7,
        "embedding_offset": 5,
    }
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["config"]["dim"] == 16
    assert metadata["config"]["nbits"] == 2
    assert metadata["config"]["index_name"] == "index"
    assert metadata["num_chunks"] == 2
    assert metadata["num_partitions"] == CENTROIDS
    assert metadata["num_embeddings"] == 12
    assert metadata["avg_doclen"] == 4.0


@pytest.mark.parametrize("passages", [1, 2, 25_000])
def test_inverted_lists_name_each_passage_once_per_centroid(tmp_path, passages):
    content = random_content([30, 0, 1, 50, 4], seed=3)
    write_colbert_index(tmp_path / "index", content, chunk_passages=passages)
    lists, lengths = load(tmp_path / "index" / "ivf.pid.pt")
    pids = np.repeat(np.arange(5), content.lengths)
    expected = [sorted(set(pids[content.codes == k].tolist())) for k in range(CENTROIDS)]
    assert lengths.tolist() == [len(part) for part in expected]
    assert lists.tolist() == [pid for part in expected for pid in part]


def test_memory_mapped_arrays_are_written(tmp_path):
    content = random_content([4, 1, 7])
    np.save(tmp_path / "codes.npy", content.codes.astype(np.uint16))
    np.save(tmp_path / "residuals.npy", content.residuals)
    mapped = replace(
        content,
        codes=np.load(tmp_path / "codes.npy", mmap_mode="r"),
        residuals=np.load(tmp_path / "residuals.npy", mmap_mode="r"),
    )
    write_colbert_index(tmp_path / "index", mapped)
    assert_same_arrays(read_colbert_index(tmp_path / "index"), content)


def test_rows_that_are_read_when_asked_for_are_written_as_an_array_is(tmp_path):
    content = random_content([3, 5, 1, 4, 2, 6])
    ends = np.cumsum(content.lengths)
    keep = np.array([1, 2, 4])
    starts, stops = (ends - content.lengths)[keep], ends[keep]
    kept = np.isin(np.repeat(np.arange(6), content.lengths), keep)
    lengths = content.lengths[keep]
    chosen = replace(
        content,
        codes=ChosenRows([(content.codes, starts, stops)]),
        residuals=ChosenRows([(content.residuals, starts, stops)]),
        lengths=lengths,
    )
    told: list[int] = []
    write_colbert_index(tmp_path / "index", chosen, chunk_passages=2, progress=told.append)
    assert told == [6, 2]
    expected = replace(
        content, codes=content.codes[kept], residuals=content.residuals[kept], lengths=lengths
    )
    assert_same_arrays(read_colbert_index(tmp_path / "index"), expected)


@given(
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    seed=st.integers(0, 999),
    first=st.integers(0, 40),
    count=st.integers(0, 40),
)
def test_a_slice_of_chosen_rows_is_that_of_the_rows_put_together(sizes, seed, first, count):
    rng = np.random.default_rng(seed)
    parts, expected = [], [np.empty((0, 2), np.int64)]
    for number, size in enumerate(sizes):
        array = 100 * number + np.arange(2 * size).reshape(-1, 2)
        bounds = np.sort(rng.integers(0, size + 1, 2 * rng.integers(0, 4)))
        starts, stops = bounds[::2], bounds[1::2]
        parts.append((array, starts, stops))
        expected += [array[start:stop] for start, stop in zip(starts, stops, strict=True)]
    rows, whole = ChosenRows(parts), np.concatenate(expected)
    assert (len(rows), rows.shape, rows.dtype) == (len(whole), whole.shape, whole.dtype)
    np.testing.assert_array_equal(rows[first : first + count], whole[first : first + count])


def test_the_text_of_a_deleted_passage_is_in_no_file(tmp_path):
    content = replace(
        random_content([4, 0]),
        texts=["kept", "secret"],
        document_ids=["a", "secret-id"],
        document_metadata={"a": {}, "secret-id": {"note": "secret"}},
    )
    write_colbert_index(tmp_path / "index", content)
    assert all(b"secret" not in path.read_bytes() for path in (tmp_path / "index").iterdir())


def test_texts_without_document_ids_get_their_positions_as_ids(tmp_path):
    write_colbert_index(tmp_path / "index", replace(random_content([4, 2]), texts=["a", "b"]))
    assert read_colbert_index(tmp_path / "index").document_ids == ["0", "1"]


def test_fewer_centroids_than_ragatouille_probes_are_filled_up(tmp_path):
    content = random_content([4, 2])
    codec = content.codec
    few = replace(
        content,
        codec=Codec(codec.centroids[:3], codec.cutoffs, codec.weights),
        codes=content.codes % 3,
    )
    write_colbert_index(tmp_path / "index", few)
    found = read_colbert_index(tmp_path / "index")
    assert found.codec.centroids.shape == (16, 16)
    np.testing.assert_array_equal(found.codec.centroids[:3], few.codec.centroids)
    assert not found.codec.centroids[3:].any()
    np.testing.assert_array_equal(found.codes, few.codes)


def test_an_existing_folder_file_or_link_is_not_touched(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "file", "link"):
        with pytest.raises(BadInput, match="exists already"):
            write_colbert_index(tmp_path / name, random_content([4]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_content_that_the_format_cannot_hold_is_refused_and_leaves_nothing(tmp_path):
    good = random_content([4, 1])
    codec = good.codec
    fine = Codec(codec.centroids + np.float32(1e-5), codec.cutoffs, codec.weights)
    large = Codec(codec.centroids * np.float32(1e6), codec.cutoffs, codec.weights)
    wrong = {
        "multiple of 8 \\* bits": random_content([4, 1], dim=24, bits=2),
        "16-bit floats": replace(good, codec=fine),
        "holds? values that 16-bit": replace(good, codec=large),
        "nothing to export": random_content([0, 0]),
        "5 tokens, which need": replace(good, codes=good.codes[:4]),
        r"residuals of shape \(5, 4\)": replace(good, residuals=good.residuals[:, :3]),
        "Codes must be integers": replace(good, codes=good.codes.astype(np.float32)),
        "A code is 20, but there are 20": replace(good, codes=good.codes * 0 + 20),
        "A code is -1": replace(good, codes=good.codes * 0 - 1),
        "A passage has -1": replace(good, lengths=np.array([6, -1])),
        "2 passages, but 1 texts": replace(good, texts=["a"]),
        "2 passages, but 3 document_ids": replace(good, document_ids=["a", "b", "c"]),
        "Passage 1 has no document id": replace(good, document_ids=["a", ""]),
        "model setting 'bsize'": replace(good, model_settings={"bsize": 3}),
        "model setting 'doc_maxlen'": replace(good, model_settings={"doc_maxlen": True}),
        r"docid_metadata_map\.json cannot be written": replace(
            good, document_ids=["a", "b"], document_metadata={"a": {"x": float("nan")}}
        ),
    }
    for message, content in wrong.items():
        with pytest.raises(BadInput, match=message):
            write_colbert_index(tmp_path / "index", content)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [0, 300, 5_000, 20_000])
def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path, limit):
    content = replace(random_content([300, 100]), texts=["a" * 30_000, "b"])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(StoreUnwritable, match="could not be written"):
            write_colbert_index(tmp_path / "index", content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
    write_colbert_index(tmp_path / "index", content)
    assert_same_arrays(read_colbert_index(tmp_path / "index"), content)
