"""An index that somebody else made runs nothing, and takes no more memory than it has bytes."""

from __future__ import annotations

import json
import os
import pickle
import resource
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memstore import IndexDamaged, MemoryStore
from memstore.index.interchange import read_colbert_index

TENSORS = ["centroids.pt", "buckets.pt", "0.codes.pt", "0.residuals.pt"]
MOST_GROWTH = 100 << 10  # KiB of memory, for files of some KiB


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    with MemoryStore.open(folder / "agent.mem", encoder="hashed") as store:
        store.add_many({"text": f"memory number {n} of tea", "key": f"k{n}"} for n in range(8))
        store.export_index(folder / "index")
    return folder / "index"


@pytest.fixture
def folder(tmp_path: Path, exported: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "index"))


def refused(folder: Path, said: str) -> None:
    """The folder is refused for what it says, before that much memory is taken."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(IndexDamaged, match=said):
        read_colbert_index(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_GROWTH


def repacked(
    path: Path, change: Callable[[str, bytes], bytes], kind: int = zipfile.ZIP_STORED
) -> None:
    """Write an archive of tensors anew, with other members."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, change(name, content))


def test_the_folder_is_read_as_it_is(folder: Path) -> None:
    assert len(read_colbert_index(folder).lengths) == 8


@pytest.mark.parametrize("name", ["centroids.pt", "0.residuals.pt"])
def test_a_compressed_archive_is_not_unpacked(folder: Path, name: str) -> None:
    bomb = bytes(30 << 20)
    repacked(
        folder / name,
        lambda member, content: bomb if member.endswith("data/0") else content,
        zipfile.ZIP_DEFLATED,
    )
    assert (folder / name).stat().st_size < 1 << 17
    refused(folder, f"{name} cannot be read as tensors and nothing else: a compressed archive")


def test_members_that_share_their_bytes_are_refused(folder: Path) -> None:
    path = folder / "0.codes.pt"
    with zipfile.ZipFile(path) as archive:
        name = next(item for item in archive.namelist() if item.endswith("/data/0"))
        offset = archive.getinfo(name).header_offset
    written = bytearray(path.read_bytes())
    # the central directory says that the member is much longer
    place = written.rindex(name.encode()) - 46
    assert written[place : place + 4] == b"PK\x01\x02"
    assert struct.unpack_from("<I", written, place + 42)[0] == offset
    struct.pack_into("<II", written, place + 20, 1 << 30, 1 << 30)
    path.write_bytes(bytes(written))
    refused(folder, "that says it holds")


def test_an_archive_of_thousands_of_members_is_refused(folder: Path) -> None:
    with zipfile.ZipFile(folder / "0.codes.pt", "a") as archive:
        for number in range(1_000):
            archive.writestr(f"more/{number}", b"")
    refused(folder, "an archive of 1,00. members")


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("number", [10**12, 2**62])
def test_a_tensor_larger_than_its_file_is_refused(folder: Path, older: bool, number: int) -> None:
    import torch

    tensor = torch.zeros(70_001, dtype=torch.int32)
    path = folder / "0.codes.pt"
    torch.save(tensor, path, _use_new_zipfile_serialization=not older)
    honest = b"J" + struct.pack("<i", 70_001)  # the number of values, in the pickle
    wrong = b"\x8a\x08" + struct.pack("<q", number)
    if older:
        assert honest in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(honest, wrong))
    else:
        repacked(path, lambda _, content: content.replace(honest, wrong))
    refused(folder, f"a tensor of {number:,} values in a file of")


def test_values_beyond_the_end_of_an_archive_are_not_read(folder: Path) -> None:
    import torch

    path = folder / "0.codes.pt"
    torch.save(torch.zeros(70_001, dtype=torch.int32), path)
    # fewer bytes than its pickle says, though more than the number of values
    repacked(path, lambda name, content: content[:80_000] if name.endswith("data/0") else content)
    refused(folder, r"0\.codes\.pt cannot be read as tensors and nothing else")


def test_a_large_array_inside_a_pickle_is_not_made(folder: Path) -> None:
    # the unpickler for tensors alone knows `bytearray`, and makes one of any length
    evil = b"\x80\x02cbuiltins\nbytearray\n\x8a\x08" + struct.pack("<q", 1 << 40) + b"\x85R."
    repacked(
        folder / "centroids.pt",
        lambda name, content: evil if name.endswith("data.pkl") else content,
    )
    refused(folder, "a tensor of 1,099,511,627,776 values")


def test_few_bytes_do_not_become_a_matrix_of_gigabytes(folder: Path) -> None:
    import torch

    # 100,000 tokens of 100,000 dimensions: ten gigabytes of residuals, were they there
    torch.save(torch.zeros((1, 100_000), dtype=torch.float16), folder / "centroids.pt")
    torch.save(torch.zeros(100_000, dtype=torch.int32), folder / "0.codes.pt")
    (folder / "doclens.0.json").write_text("[100000]")
    metadata = json.loads((folder / "metadata.json").read_text())
    metadata["config"]["dim"] = 100_000
    (folder / "metadata.json").write_text(json.dumps(metadata))
    refused(folder, r"0\.residuals\.pt has the shape")


class Planted:
    """What a hostile file would hold: unpickling it creates a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("how", ["archive", "pickle", "array"])
def test_a_file_that_would_run_code_is_refused_by_an_import(
    folder: Path, tmp_path: Path, name: str, how: str
) -> None:
    import torch

    planted = Planted(tmp_path / "was-here")
    if how == "archive":
        torch.save(planted, folder / name)
    elif how == "pickle":
        (folder / name).write_bytes(pickle.dumps(planted))
    else:
        with (folder / name).open("wb") as file:
            np.save(file, np.array([planted], dtype=object), allow_pickle=True)
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        with pytest.raises(IndexDamaged, match=f"{name} cannot be read as tensors"):
            store.import_index(folder, same_encoder=True)
        assert store.stats().memories == 0
    assert not planted.path.exists()


@pytest.mark.parametrize(
    ("name", "written", "said"),
    [
        ("doclens.0.json", "[2147483647, 2147483647, 2147483647]", "tokens"),
        ("doclens.0.json", "[" * 5_000 + "]" * 5_000, "nested more than 100 levels"),
        ("doclens.0.json", "[NaN]", "NaN is no JSON number"),
        ("metadata.json", '{"num_chunks": 1000000000000}', "says num_chunks"),
        ("metadata.json", '{"num_chunks": 1, "num_chunks": 2}', "twice"),
        ("metadata.json", '{"num_chunks": "../../victim"}', "says num_chunks"),
    ],
)
def test_what_its_json_says_is_not_believed(
    folder: Path, name: str, written: str, said: str
) -> None:
    (folder / name).write_text(written)
    refused(folder, said)


@pytest.mark.parametrize("name", ["0.codes.pt", "doclens.0.json"])
def test_a_pipe_in_an_index_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, "is no file")


def test_links_are_followed_as_those_of_a_model_cache_are(folder: Path, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / str(number))
        path.symlink_to(blobs / str(number))
    assert len(read_colbert_index(folder).lengths) == 8


def test_document_ids_that_look_like_paths_are_keys(folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = folder / "pid_docid_map.json"
    path.write_text(path.read_text().replace('"k0"', '"../victim"'))
    with MemoryStore.open(tmp_path / "agent.mem", encoder="hashed") as store:
        store.import_index(folder, same_encoder=True)
        assert store.get_by_key("../victim").text == "memory number 0 of tea"
        store.export_index(tmp_path / "again")
    assert victim.read_text() == "mine"
