"""What is written to a segment or codec is read back to the bit, and what is damaged refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.errors import IndexDamaged
from memstore.index import (
    Codec,
    Segment,
    SegmentWriter,
    StoredCodec,
    copy_segment,
    damaged_files,
    segments,
    train,
    write_codec,
)
from memstore.index.codec import rows_of
from memstore.index.files import ArrayWriter, FolderWriter, read_array, read_json

DIM = 16
SEGMENT_FILES = [
    *("codes", "residuals", "inverse_norms", "passages", "lengths", "checksums"),
    *("ivf", "ivf_lengths"),
]
CODEC_FILES = ["centroids", "panels", "cutoffs", "weights"]


def unit_rows(count, dim=DIM, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return train(unit_rows(2000), tokens=2000, bits=4)


class Passages:
    """Passages to seal: ids in any order, and vectors."""

    def __init__(self, count, seed=0):
        rng = np.random.default_rng(seed)
        self.ids = 10 + rng.permutation(3 * count)[:count].astype(np.int64)
        self.rows = self.ids // 2
        self.lengths = rng.integers(1, 9, size=count)
        self.vectors = unit_rows(int(self.lengths.sum()), seed=seed)

    def part(self, passages):
        ends = np.cumsum(self.lengths)
        tokens = slice(
            int(ends[passages.start - 1]) if passages.start else 0,
            int(ends[passages.stop - 1]) if passages.stop else 0,
        )
        return (
            self.ids[passages], self.rows[passages], self.lengths[passages], self.vectors[tokens]
        )  # fmt: skip


class Sealed:
    """A codec and one segment on disk."""

    def __init__(self, folder: Path, codec: Codec, passages: Passages, block=7):
        self.folder = folder
        self.codec_manifest = write_codec(folder / "codec", codec, made_for=2000)
        self.stored = StoredCodec(folder / "codec", self.codec_manifest, codec.dim)
        with SegmentWriter(folder / "segment", codec) as writer:
            for first in range(0, len(passages.ids), block):
                last = min(first + block, len(passages.ids))
                writer.append_vectors(*passages.part(slice(first, last)))
            self.manifest = writer.finish()
        assert (writer.passages, writer.tokens) == (len(passages.ids), len(passages.vectors))

    def open(self):
        return Segment(self.folder / "segment", self.manifest, self.stored)

    def copy(self, keep, codec=None, name="copy", **options):
        source = self.open()
        with SegmentWriter(self.folder / name, codec or self.stored.codec) as writer:
            copy_segment(source, keep, writer, **options)
            manifest = writer.finish()
        return Segment(self.folder / name, manifest, self.stored)


@pytest.fixture
def sealed(tmp_path, codec):
    return Sealed(tmp_path, codec, Passages(40))


def assert_holds(segment, passages, codec):
    codes, residuals, inverse_norms = codec.encode(passages.vectors)
    np.testing.assert_array_equal(segment.passage_ids, passages.ids)
    np.testing.assert_array_equal(segment.rows, passages.rows)
    np.testing.assert_array_equal(np.diff(segment.offsets), passages.lengths)
    np.testing.assert_array_equal(segment.codes, codes)
    np.testing.assert_array_equal(segment.residuals, residuals)
    np.testing.assert_array_equal(segment.inverse_norms, inverse_norms)
    assert (len(segment), segment.tokens) == (len(passages.ids), len(passages.vectors))
    lists, offsets = segment.inverted
    owner = np.repeat(np.arange(len(segment)), passages.lengths)
    for centroid in range(len(codec.centroids)):
        expected = np.unique(owner[codes == centroid])
        np.testing.assert_array_equal(lists[offsets[centroid] : offsets[centroid + 1]], expected)


# round trips


@settings(max_examples=20)
@given(count=st.integers(0, 30), block=st.integers(1, 40), seed=st.integers(0, 100))
def test_a_segment_gives_back_what_was_written_in_any_blocks(tmp_path_factory, count, block, seed):
    vectors = unit_rows(300, seed=seed)
    codec = train(vectors, tokens=300, bits=4)
    passages = Passages(count, seed)
    folder = tmp_path_factory.mktemp("sealed")
    assert_holds(Sealed(folder, codec, passages, block).open(), passages, codec)


def test_a_codec_gives_back_what_was_written(sealed, codec):
    stored = sealed.stored
    assert (stored.made_for, stored.unit) == (2000, codec.integers[1])
    rows = rows_of(stored.panels, len(stored), stored.dim)
    np.testing.assert_array_equal(rows, codec.integers[0])
    for name in ("centroids", "cutoffs", "weights"):
        np.testing.assert_array_equal(getattr(stored.codec, name), getattr(codec, name))


@pytest.mark.parametrize("name", ["codes", "residuals", "inverse_norms"])
def test_what_was_written_is_mapped_and_cannot_be_written_to(sealed, name):
    array = getattr(sealed.open(), name)
    assert isinstance(array.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_an_empty_segment_is_one_too(tmp_path, codec):
    segment = Sealed(tmp_path, codec, Passages(0)).open()
    assert (len(segment), segment.tokens) == (0, 0)
    assert segment.slots_of(np.array([3])).tolist() == []
    assert list(segment.blocks(np.empty(0, dtype=np.bool_))) == []
    assert segment.tokens_of(np.empty(0, dtype=np.int64)).tolist() == []
    assert segment.inverted[0].tolist() == []


def test_the_manifest_names_every_file_by_size_and_hash(sealed):
    for folder, manifest, names in (
        (sealed.folder / "segment", sealed.manifest, SEGMENT_FILES),
        (sealed.folder / "codec", sealed.codec_manifest, CODEC_FILES),
    ):
        assert sorted(manifest) == sorted(path.name for path in folder.iterdir())
        assert set(manifest) == {f"{name}.npy" for name in names} | {f"{folder.name}.json"}
        assert damaged_files(folder, manifest) == []
        assert json.loads(json.dumps(manifest)) == manifest


# parts of a segment


@given(data=st.data())
def test_slots_are_found_by_ids_in_any_order_and_unknown_ids_are_passed_over(shared_segment, data):
    known = shared_segment.passage_ids.tolist()
    ids = data.draw(st.lists(st.sampled_from([*known, -1, 0, 5, 10**9]), max_size=60))
    found = shared_segment.slots_of(np.array(ids, dtype=np.int64))
    assert shared_segment.passage_ids[found].tolist() == [id_ for id_ in ids if id_ in known]


@pytest.fixture(scope="module")
def shared_segment(tmp_path_factory, codec):
    return Sealed(tmp_path_factory.mktemp("shared"), codec, Passages(40)).open()


@given(slots=st.lists(st.integers(0, 39)))
def test_tokens_come_slot_after_slot(shared_segment, slots):
    offsets = shared_segment.offsets
    expected = [token for slot in slots for token in range(offsets[slot], offsets[slot + 1])]
    assert shared_segment.tokens_of(np.array(slots, dtype=np.int64)).tolist() == expected


@given(keep=st.lists(st.booleans(), min_size=40, max_size=40), limit=st.integers(1, 200))
def test_blocks_are_all_that_is_kept_in_order_and_no_larger_than_asked(shared_segment, keep, limit):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "COPIED_TOKENS", limit)
        blocks = list(shared_segment.blocks(np.array(keep)))
    assert [slot for block in blocks for slot in block.tolist()] == np.flatnonzero(keep).tolist()
    sizes = [len(shared_segment.tokens_of(block)) for block in blocks]
    assert all(size <= limit or len(block) == 1 for size, block in zip(sizes, blocks, strict=True))
    for size, block in zip(sizes, blocks[1:], strict=False):  # and none is smaller than it could be
        assert size + len(shared_segment.tokens_of(block[:1])) > limit


# copying


def test_a_copy_with_the_same_codec_has_the_same_bytes(sealed, monkeypatch):
    monkeypatch.setattr(segments, "COPIED_TOKENS", 20)
    copied = sealed.copy(np.ones(40, dtype=np.bool_))
    for name in SEGMENT_FILES:
        one, other = (sealed.folder / place / f"{name}.npy" for place in ("segment", "copy"))
        assert one.read_bytes() == other.read_bytes()
    assert len(copied) == 40


def test_a_copy_holds_what_was_kept_in_order(sealed):
    keep = np.arange(40) % 3 > 0
    source, copied = sealed.open(), sealed.copy(keep)
    np.testing.assert_array_equal(copied.passage_ids, source.passage_ids[keep])
    np.testing.assert_array_equal(copied.rows, source.rows[keep])
    tokens = source.tokens_of(np.flatnonzero(keep))
    np.testing.assert_array_equal(copied.codes, source.codes[tokens])
    np.testing.assert_array_equal(copied.residuals, source.residuals[tokens])
    assert len(sealed.copy(np.zeros(40, dtype=np.bool_), name="none")) == 0


def test_a_copy_with_another_codec_holds_the_decoded_vectors_encoded_anew(sealed, codec):
    other = train(unit_rows(3000, seed=9), tokens=3000, bits=8)
    manifest = write_codec(sealed.folder / "other", other, made_for=3000)
    with SegmentWriter(sealed.folder / "copy", other) as writer:
        copy_segment(sealed.open(), np.ones(40, dtype=np.bool_), writer, decode_with=codec)
        files = writer.finish()
    copied = Segment(
        sealed.folder / "copy", files, StoredCodec(sealed.folder / "other", manifest, DIM)
    )
    source = sealed.open()
    before = codec.decode(source.codes, source.residuals)
    after = other.decode(copied.codes, copied.residuals)
    cosines = (before * after).sum(axis=1)
    assert cosines.mean() > 0.999
    assert cosines.min() > 0.98
    np.testing.assert_array_equal(copied.offsets, source.offsets)


def test_copying_tells_of_every_block_and_can_be_given_up(sealed, monkeypatch):
    monkeypatch.setattr(segments, "COPIED_TOKENS", 20)
    told = []
    sealed.copy(np.ones(40, dtype=np.bool_), progress=told.append)
    assert len(told) > 3
    assert sum(told) == sealed.open().tokens

    def give_up(tokens):
        if len(told) == tokens:
            raise InterruptedError
        told.append(tokens)
        raise InterruptedError

    with pytest.raises(InterruptedError):
        sealed.copy(np.ones(40, dtype=np.bool_), name="given up", progress=give_up)
    assert not (sealed.folder / "given up").exists()


# writing


def test_a_header_has_the_same_length_whatever_the_count(tmp_path):
    lengths = set()
    for count in (0, 1, 10**5, 2**31, 2**53):
        writer = ArrayWriter(tmp_path / f"{count}.npy", np.uint8, (3,))
        writer.rows = count
        writer.close()
        lengths.add((tmp_path / f"{count}.npy").stat().st_size)
    assert len(lengths) == 1
    assert lengths.pop() % 64 == 0  # numpy aligns what follows


@given(blocks=st.lists(st.integers(0, 40), max_size=6))
def test_rows_appended_in_blocks_are_one_array(tmp_path_factory, blocks):
    folder = tmp_path_factory.mktemp("array")
    rows = np.arange(2 * sum(blocks), dtype=np.float32).reshape(-1, 2)
    writer = ArrayWriter(folder / "x.npy", np.float32, (2,))
    first = 0
    for count in blocks:
        writer.append(rows[first : first + count])
        first += count
    writer.close()
    np.testing.assert_array_equal(np.load(folder / "x.npy", allow_pickle=False), rows)
    np.testing.assert_array_equal(read_array(folder, "x", np.float32, (2,)), rows)


def test_rows_of_another_shape_are_refused(tmp_path):
    writer = ArrayWriter(tmp_path / "x.npy", np.float32, (2,))
    with pytest.raises(ValueError, match=r"rows of shape \(3,\) for a file of \(2,\)"):
        writer.append(np.zeros((4, 3), np.float32))
    writer.abandon()


def test_lengths_that_do_not_add_up_are_refused_and_leave_nothing(tmp_path, codec):
    ids, rows, lengths, vectors = Passages(5).part(slice(0, 5))
    with (
        pytest.raises(ValueError, match="do not add up"),
        SegmentWriter(tmp_path / "segment", codec) as writer,
    ):
        writer.append_vectors(ids, rows, lengths + 1, vectors)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_removes_the_folder_that_was_begun(tmp_path, error):
    def begin():
        with FolderWriter(tmp_path / "deep" / "folder") as writer:
            writer.array("half", np.uint8).append(np.zeros(10, np.uint8))
            writer.whole_array("whole", np.zeros(3))
            writer.json("json", {"a": 1})
            raise error

    with pytest.raises(error):
        begin()
    assert list((tmp_path / "deep").iterdir()) == []


def test_a_segment_that_cannot_be_begun_leaves_no_folder(tmp_path, codec, monkeypatch):
    def full(self, name, dtype, row_shape=()):
        if name == "residuals":
            raise OSError(28, "No space left on device")
        return array(self, name, dtype, row_shape)

    array = FolderWriter.array
    monkeypatch.setattr(FolderWriter, "array", full)
    with pytest.raises(OSError, match="No space"), SegmentWriter(tmp_path / "segment", codec):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_neither_written_to_nor_removed(tmp_path, codec):
    (tmp_path / "segment").mkdir()
    (tmp_path / "segment" / "mine").write_text("mine")
    with pytest.raises(FileExistsError), SegmentWriter(tmp_path / "segment", codec):
        pass
    assert (tmp_path / "segment" / "mine").read_text() == "mine"


# damage


def rewrite(path: Path, values) -> None:
    """Replace an array, as someone might who also mends the manifest."""
    np.save(path, values, allow_pickle=values.dtype == object)


def entries(folder, manifest):
    return {
        name: {**entry, "size": (folder / name).stat().st_size} for name, entry in manifest.items()
    }


@pytest.mark.parametrize("name", SEGMENT_FILES)
@pytest.mark.parametrize("damage", ["cut", "longer", "empty"])
def test_a_segment_with_a_file_of_another_size_is_refused(sealed, name, damage):
    path = sealed.folder / "segment" / f"{name}.npy"
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-1], "longer": content + b"x", "empty": b""}[damage])
    with pytest.raises(IndexDamaged, match=f"{name}.npy has .* bytes, not .*verify --repair"):
        sealed.open()


@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in SEGMENT_FILES), "segment.json"])
def test_a_segment_without_one_of_its_files_is_said_to_be_gone(sealed, name):
    (sealed.folder / "segment" / name).unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(name)):
        sealed.open()


@pytest.mark.parametrize("name", [*(f"{name}.npy" for name in CODEC_FILES), "codec.json"])
def test_a_codec_without_one_of_its_files_is_said_to_be_gone(sealed, name):
    (sealed.folder / "codec" / name).unlink()
    with pytest.raises(FileNotFoundError, match=re.escape(name)):
        StoredCodec(sealed.folder / "codec", sealed.codec_manifest, DIM)


CONTRADICTIONS = {
    "codes of another type": ("codes", lambda a: a.astype(np.uint32)),
    "big-endian norms": ("inverse_norms", lambda a: a.astype(">f4")),
    "residuals of another width": ("residuals", lambda a: a[:, :-1].copy()),
    "residuals column by column": ("residuals", np.asfortranarray),
    "residuals without rows": ("residuals", lambda a: a.ravel()),
    "a token too few": ("codes", lambda a: a[:-1]),
    "a norm too many": ("inverse_norms", lambda a: np.append(a, a[:1])),
    "a passage too few": ("passages", lambda a: a[:-1]),
    "lengths that add up to more": ("lengths", lambda a: a + np.int32(1)),
    "a length below zero": ("lengths", lambda a: _moved(a, -10)),
    "lists of too few centroids": ("ivf_lengths", lambda a: a[:-1]),
    "Python objects": ("passages", lambda a: a.astype(object)),
}


def _moved(lengths, by):
    moved = lengths.copy()
    moved[0] += by
    moved[1] -= by
    return moved


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_segment_whose_arrays_contradict_each_other_is_refused(sealed, case):
    name, change = CONTRADICTIONS[case]
    path = sealed.folder / "segment" / f"{name}.npy"
    rewrite(path, change(np.load(path)))
    manifest = entries(sealed.folder / "segment", sealed.manifest)
    with pytest.raises(IndexDamaged, match="verify --repair"):
        Segment(sealed.folder / "segment", manifest, sealed.stored)


def test_lists_that_do_not_add_up_are_refused_when_they_are_used(sealed):
    path = sealed.folder / "segment" / "ivf_lengths.npy"
    rewrite(path, np.load(path) + np.int32(1))
    with pytest.raises(IndexDamaged, match="inverted lists do not add up"):
        _ = sealed.open().inverted


def test_a_list_of_a_negative_length_is_refused_although_all_add_up(sealed):
    path = sealed.folder / "segment" / "ivf_lengths.npy"
    rewrite(path, _moved(np.load(path), -100))
    with pytest.raises(IndexDamaged, match="inverted lists do not add up"):
        _ = sealed.open().inverted


def test_no_pickle_is_ever_loaded(tmp_path):
    loaded = []

    class Trap:
        def __reduce__(self):
            return loaded.append, (1,)

    np.save(tmp_path / "x.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(IndexDamaged, match="holds object values"):
        read_array(tmp_path, "x", np.int64, ())
    assert loaded == []


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"no array", b"\x93NUMPY\x01\x00", b"PK\x03\x04" * 20),
        npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': ("),
        npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (-1,)}"),
        npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (9" + b"9" * 99 + b",)}"),
        pytest.param(npy(b"(" * 9000), id="deep"),
        npy(b"{[]: 1}"),
        npy(b"{'descr': '<a8', 'fortran_order': False, 'shape': (0,)}"),  # deprecated
        npy(b"{'descr': '<i8', 'fortran_order': False, 'shape': (0L,)}"),  # of Python 2
    ],
)
def test_what_is_no_array_is_refused(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(IndexDamaged, match="cannot be read as an array"):
        read_array(tmp_path, "x", np.int64, ())


def test_an_array_whose_values_are_not_aligned_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(5))
    content = bytearray((tmp_path / "x.npy").read_bytes())
    content[8] -= 1  # the length of its header: the values begin a byte earlier
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(IndexDamaged, match="verify --repair"):
        read_array(tmp_path, "x", np.int64, ())


@pytest.mark.parametrize(
    "content", ["", "[1]", "{", "null", "\udcff", pytest.param("[" * 100_000, id="deep")]
)
def test_what_is_no_json_object_is_refused(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(IndexDamaged, match="no JSON"):
        read_json(tmp_path, "x")


CODEC_CONTRADICTIONS = {
    "weights of no width": ("weights", lambda a: a[:-1]),
    "cutoffs too many": ("cutoffs", lambda a: np.append(a, a[-1:])),
    "panels too few": ("panels", lambda a: a[:-1]),
    "centroids of another type": ("centroids", lambda a: a.astype(np.float32)),
    "centroids of another dimension": ("centroids", lambda a: a[:, :-1].copy()),
}


@pytest.mark.parametrize("case", CODEC_CONTRADICTIONS)
def test_a_codec_whose_arrays_contradict_each_other_is_refused(sealed, case):
    name, change = CODEC_CONTRADICTIONS[case]
    folder = sealed.folder / "codec"
    rewrite(folder / f"{name}.npy", change(np.load(folder / f"{name}.npy")))
    with pytest.raises(IndexDamaged, match="verify --repair"):
        StoredCodec(folder, entries(folder, sealed.codec_manifest), DIM)


@pytest.mark.parametrize(
    "described",
    [
        *({}, {"unit": "x", "made_for": 1}, {"unit": 1.0}, {"unit": 1, "made_for": None}),
        *({"unit": 1, "made_for": float("inf")}, {"unit": 10**400, "made_for": 1}),
    ],
)
def test_a_codec_that_is_described_wrongly_is_refused(sealed, described):
    folder = sealed.folder / "codec"
    (folder / "codec.json").write_text(json.dumps(described))
    with pytest.raises(IndexDamaged, match=r"codec\.json"):
        StoredCodec(folder, entries(folder, sealed.codec_manifest), DIM)


def test_a_codec_with_a_centroid_that_is_not_finite_decodes_nothing(sealed):
    folder = sealed.folder / "codec"
    centroids = np.load(folder / "centroids.npy")
    centroids[3, 0] = np.inf
    rewrite(folder / "centroids.npy", centroids)
    with pytest.raises(IndexDamaged, match="does not match its checksum"):
        StoredCodec(folder, entries(folder, sealed.codec_manifest), DIM)


def test_a_codec_of_another_dimension_is_refused(sealed):
    with pytest.raises(IndexDamaged, match="verify --repair"):
        StoredCodec(sealed.folder / "codec", sealed.codec_manifest, DIM + 1)


def test_every_flipped_byte_is_seen_by_its_hash(sealed):
    folder = sealed.folder / "segment"
    for name in sealed.manifest:
        content = (folder / name).read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            (folder / name).write_bytes(
                content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
            )
            [finding] = damaged_files(folder, sealed.manifest)
            assert name in finding
        (folder / name).write_bytes(content)
    (folder / "codes.npy").unlink()
    [finding] = damaged_files(folder, sealed.manifest)
    assert "No such file" in finding
