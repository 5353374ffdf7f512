"""Index folders become memories, their vectors as they are, and memories index folders."""

from __future__ import annotations

import dataclasses
import errno
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memstore import (
    BadInput,
    EncoderMismatch,
    MemoryStore,
    Settings,
    StoreLocked,
    StoreUnwritable,
)
from memstore.encoders import DocumentText, EncoderIdentity
from memstore.encoders.checkpoints import checkpoint_fingerprint
from memstore.encoders.hashed import HashedEncoder
from memstore.index import Codec, SegmentWriter, train
from memstore.index.interchange import IndexContent, read_colbert_index, write_colbert_index
from memstore.maxsim import maxsim
from memstore.store import index_exporting, sealing
from memstore.store.checkpoint_names import check_encoder_of_index
from memstore.store.index_files import FolderGone, open_codec, open_segments

TEXTS = [
    "Ana moved from Porto to Lisbon.",
    "Bruno plays chess on Sundays.",
    "The printer on the third floor is broken.",
    "Carla sings alto in a choir.",
    "Dora sails to the Azores every summer.",
    "The plan costs 14 euros per month.",
]


def encoded(texts: Sequence[str], dim: int = 32) -> list[np.ndarray]:
    return HashedEncoder(dim=dim).encode_documents([DocumentText(text) for text in texts])


def index_of(
    folder: Path,
    texts: Sequence[str] = TEXTS,
    *,
    ids: Sequence[str] | None = None,
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
    checkpoint: str | None = "hashed",
    deleted: Sequence[int] = (),
    with_texts: bool = True,
    dim: int = 32,
    bits: int = 2,
) -> IndexContent:
    """Write an index folder as colbert-ai or RAGatouille would, and return what is in it."""
    vectors = encoded(texts, dim)
    lengths = np.array([len(rows) for rows in vectors])
    lengths[list(deleted)] = 0
    rows = np.concatenate([v for v, length in zip(vectors, lengths, strict=True) if length])
    codec = train(rows, tokens=40, bits=bits, seed=1)
    codes, residuals, _ = codec.encode(rows)
    content = IndexContent(
        codec=codec,
        codes=codes,
        residuals=residuals,
        lengths=lengths,
        texts=texts if with_texts else None,
        document_ids=ids,
        document_metadata=metadata,
        checkpoint=checkpoint,
    )
    write_colbert_index(folder, content)
    if with_texts and ids is None:
        (folder / "pid_docid_map.json").unlink()
    return read_colbert_index(folder, texts=None if with_texts else texts)


def sealed(store: MemoryStore) -> tuple[Codec, list[Any]]:
    """The codec and the open segments of a store."""
    opened = store._opened
    with opened.engine.connect() as connection:
        stored = open_codec(connection, store.path / "index", opened.identity.dim)
        assert stored is not None
        return stored.codec, open_segments(connection, store.path / "index", stored)


def keys(store: MemoryStore, **options: Any) -> list[str | None]:
    return [item.key for item in store.list(**options).memories]


def files(store: MemoryStore) -> list[Path]:
    return sorted(path for path in (store.path / "index").rglob("*") if path.is_file())


# what becomes of an index


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_the_segment_holds_every_code_and_residual_byte_of_the_index(store, tmp_path, bits):
    content = index_of(tmp_path / "index", bits=bits)
    report = store.import_index(tmp_path / "index")
    assert (report.added, report.unchanged, report.skipped) == (len(TEXTS), 0, 0)
    assert report.vectors == content.lengths.sum()
    codec, (segment,) = sealed(store)
    for name in ("centroids", "cutoffs", "weights"):
        np.testing.assert_array_equal(getattr(codec, name), getattr(content.codec, name))
    np.testing.assert_array_equal(segment.files.codes, content.codes)
    np.testing.assert_array_equal(segment.files.residuals, content.residuals)
    np.testing.assert_array_equal(np.diff(segment.files.offsets), content.lengths)
    decoded = content.codec.decode(content.codes, content.residuals)
    lengths = np.linalg.norm(
        codec.centroids[content.codes] + codec._bucket_table[content.residuals].reshape(-1, 32),
        axis=1,
    )
    np.testing.assert_allclose(segment.files.inverse_norms, 1 / lengths, rtol=1e-6)
    assert np.linalg.norm(decoded, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_query_scores_the_decoded_vectors_of_the_index(store, tmp_path):
    content = index_of(tmp_path / "index")
    store.import_index(tmp_path / "index")
    decoded = content.codec.decode(content.codes, content.residuals)
    documents = np.split(decoded, np.cumsum(content.lengths)[:-1])
    for text in ("the printer is broken", "who sails to Lisbon", "chess"):
        query = HashedEncoder().encode_queries([text])[0].vectors
        expected = {
            str(pid): maxsim(query, vectors) / len(query) for pid, vectors in enumerate(documents)
        }
        hits = store.query(text, profile="semantic").hits
        assert {hit.memory.key: hit.score for hit in hits} == pytest.approx(expected, abs=1e-4)


def test_a_passage_without_document_id_has_its_number_as_key(store, tmp_path):
    index_of(tmp_path / "index")
    store.import_index(tmp_path / "index", namespace="team/ana", source="wiki")
    assert keys(store, namespace="team") == [str(pid) for pid in range(len(TEXTS))]
    memory = store.get_by_key("0", namespace="team/ana")
    assert memory.text == TEXTS[0]
    assert memory.source == "wiki"
    assert memory.session is memory.title is memory.occurred_at is None
    assert memory.entities == ("Ana", "Lisbon", "Porto")
    assert [event.verb for event in store.history(memory.id)] == ["import"]
    (hit,) = store.query("Porto", namespace="team", limit=1).hits
    assert (hit.passage.start, hit.passage.end) == (0, len(TEXTS[0]))


def test_documents_give_keys_metadata_and_the_session_of_what_was_split(store, tmp_path):
    index_of(
        tmp_path / "index",
        ids=["whole", "split", "split", "other", "split", "last"],
        metadata={"split": {"page": 3}, "last": {"tags": ["a", None]}},
    )
    store.import_index(tmp_path / "index")
    assert keys(store) == ["whole", "split#0", "split#1", "other", "split#2", "last"]
    second = store.get_by_key("split#1")
    assert second.text == TEXTS[2]
    assert second.session == "split"
    assert second.metadata == {"page": 3}
    assert store.get_by_key("whole").session is None
    assert store.get_by_key("whole").metadata == {}
    found = store.query("x", where={"metadata.page": 3}).hits
    assert {hit.memory.key for hit in found} == {"split#0", "split#1", "split#2"}


def test_deleted_passages_and_those_without_a_text_are_skipped(store, tmp_path):
    content = index_of(tmp_path / "index", ["", *TEXTS, "  \n"], deleted=[3])
    report = store.import_index(tmp_path / "index")
    assert (report.added, report.skipped) == (len(TEXTS) - 1, 3)
    assert keys(store) == ["1", "2", "4", "5", "6"]
    _, (segment,) = sealed(store)
    kept = np.repeat([0, 1, 1, 0, 1, 1, 1, 0], content.lengths).astype(bool)
    np.testing.assert_array_equal(segment.files.residuals, content.residuals[kept])
    assert store.query("Carla sings", limit=1).hits[0].memory.key == "4"
    assert store.verify().clean


# texts


def written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "given",
    [
        lambda folder: TEXTS,
        lambda folder: tuple(TEXTS),
        lambda folder: dict(enumerate(TEXTS)),
        lambda folder: written(folder / "t.json", json.dumps(TEXTS)),
        lambda folder: written(folder / "m.json", json.dumps(dict(enumerate(TEXTS)))),
        lambda folder: str(
            written(folder / "t.tsv", "".join(f"{n}\t{t}\n" for n, t in enumerate(TEXTS)))
        ),
    ],
    ids=["list", "tuple", "mapping", "json list", "json object", "tsv"],
)
def test_texts_come_as_a_list_a_mapping_or_a_file(store, tmp_path, given):
    index_of(tmp_path / "index", with_texts=False)
    store.import_index(tmp_path / "index", texts=given(tmp_path))
    assert [item.text for item in store.list().memories] == TEXTS


def test_a_title_of_a_tab_separated_line_goes_in_front_as_colbert_ai_puts_it(store, tmp_path):
    index_of(tmp_path / "index", with_texts=False, deleted=[2, 3, 4, 5])
    texts = written(tmp_path / "t.tsv", "id\tpassage\r\n1\tBruno plays.\tChess\n")
    store.import_index(tmp_path / "index", texts=texts)
    assert [item.text for item in store.list().memories] == ["passage", "Chess | Bruno plays."]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (None, "holds no texts"),
        (TEXTS[:-1], "6 passages, but 5 texts were given"),
        (dict(enumerate(TEXTS[:-1])), "no text was given for passage 5"),
        (dict(enumerate([*TEXTS, "more"])), "a text was given for passage 6"),
        ({"0": "text"}, "texts has the key '0'"),
        ([*TEXTS[:-1], 7], "Passage 5 of .*: text is int"),
        ([*TEXTS[:-1], "half \ud800"], "Passage 5 of .*: text has half of a surrogate pair"),
        ([" "] * 6, "has no passage with a text"),
        (7, "texts is int"),
        ("nowhere.tsv", "nowhere.tsv cannot be read"),
        ("0 no tab\n", "texts.tsv:1: no passage's number, tab and text"),
        ("0\tone\n\nx\ttwo\n", "texts.tsv:3: no passage's number"),
        ("0\tone\n0\ttwo\n", "texts.tsv:2: passage 0 has a text in an earlier line"),
        (b"0\t\xff\n", "not UTF-8: byte 0xff at position 2"),
        ("{", "texts.json is no JSON"),
        ('"text"', "texts.json holds no list of texts"),
        ('["text", 3]', "texts.json has 1: 3"),
        ('{"one": "text"}', "texts.json has 'one'"),
    ],
)
def test_texts_that_do_not_fit_are_refused_and_nothing_is_stored(
    store, tmp_path, fingerprint, texts, said
):
    index_of(tmp_path / "index", with_texts=False)
    if isinstance(texts, bytes) or (isinstance(texts, str) and texts != "nowhere.tsv"):
        content = texts if isinstance(texts, bytes) else texts.encode()
        texts = tmp_path / ("texts.json" if content[:1] in b'{["' else "texts.tsv")
        texts.write_bytes(content)
    before = fingerprint(store.path)
    with pytest.raises(BadInput, match=said):
        store.import_index(tmp_path / "index", texts=texts)
    assert fingerprint(store.path) == before
    assert files(store) == []


# what is there already


def test_importing_the_same_folder_again_changes_nothing(store, tmp_path, fingerprint):
    index_of(tmp_path / "index", ids=[f"doc-{n % 4}" for n in range(6)])
    store.import_index(tmp_path / "index")
    store.update(store.get_by_key("doc-2").id, text="Carla was ill.")
    before, there = fingerprint(store.path), files(store)
    report = store.import_index(tmp_path / "index")
    assert (report.added, report.unchanged, report.vectors) == (0, len(TEXTS), 0)
    assert fingerprint(store.path) == before
    assert files(store) == there
    assert store.get_by_key("doc-2").text == "Carla was ill."


def test_hot_memories_stay_beside_the_imported_ones(store, tmp_path):
    index_of(tmp_path / "index")
    store.add("Edgar keeps bees.", key="edgar")
    same = store.add(TEXTS[1], key="1")
    assert store.query("bees").hits[0].memory.key == "edgar"  # the snapshot is in use already
    report = store.import_index(tmp_path / "index")
    assert (report.added, report.unchanged) == (len(TEXTS) - 1, 1)
    assert store.get_by_key("1").id == same.id
    stats = store.stats()
    assert (stats.memories, stats.hot_passages, stats.segments) == (7, 2, 1)
    found = {hit.memory.key: hit.score for hit in store.query("keeps chess").hits}
    assert set(found) == {"edgar", *map(str, range(6))}
    assert sorted(found, key=found.__getitem__)[-2:] in (["1", "edgar"], ["edgar", "1"])
    assert store.verify().clean


def test_other_content_under_a_key_is_not_superseded(store, tmp_path, fingerprint):
    index_of(tmp_path / "index")
    store.add("Something else.", key="4")
    before = fingerprint(store.path)
    with pytest.raises(BadInput, match=r"other content under the key '4'.*another namespace"):
        store.import_index(tmp_path / "index")
    assert fingerprint(store.path) == before
    assert store.import_index(tmp_path / "index", namespace="other").added == len(TEXTS)


def test_a_store_with_a_codec_of_its_own_is_left_as_it_is(store, tmp_path, fingerprint):
    index_of(tmp_path / "index")
    store.add("Edgar keeps bees.")
    store.compact()
    before, there = fingerprint(store.path), files(store)
    with pytest.raises(BadInput, match=r"one codec: 6 of .*\n    memstore --store NEW init"):
        store.import_index(tmp_path / "index")
    assert fingerprint(store.path) == before
    assert files(store) == there


def test_two_documents_that_would_share_a_key_are_refused(store, tmp_path):
    index_of(tmp_path / "index", ids=["a", "a", "a#1", "b", "c", "d"])
    with pytest.raises(BadInput, match="Key 'a#1' occurs twice"):
        store.import_index(tmp_path / "index")
    assert store.stats().memories == 0


# the encoder


def test_an_index_of_another_model_is_refused_with_the_command_that_helps(
    store, tmp_path, fingerprint
):
    index_of(tmp_path / "index", checkpoint="colbert-ir/colbertv2.0")
    before = fingerprint(store.path)
    with pytest.raises(EncoderMismatch) as refusal:
        store.import_index(tmp_path / "index")
    assert "made with 'colbert-ir/colbertv2.0'" in str(refusal.value)
    assert "memstore --store NEW init --encoder colbert-ir/colbertv2.0" in str(refusal.value)
    assert fingerprint(store.path) == before
    assert store.import_index(tmp_path / "index", same_encoder=True).added == len(TEXTS)


def test_other_dimensions_are_refused_whatever_the_caller_says(store, tmp_path):
    index_of(tmp_path / "index", dim=16)
    with pytest.raises(EncoderMismatch, match="vectors of 16 dimensions, the store's encoder 'has"):
        store.import_index(tmp_path / "index", same_encoder=True)


def test_an_index_that_names_no_checkpoint_is_taken_at_its_word(store, tmp_path):
    index_of(tmp_path / "index", checkpoint=None)
    assert store.import_index(tmp_path / "index").added == len(TEXTS)


CACHED = "/c/hub/models--colbert-ir--colbertv2.0/snapshots/c1e84128e85ef755c096a95bdb06b47793b13acf"


@pytest.mark.parametrize(
    ("encoder", "checkpoint", "same"),
    [
        ("minilm", "minilm", True),
        ("colbertv2", "colbert-ir/colbertv2.0", True),
        ("colbert-ir/colbertv2.0", "colbertv2", True),
        ("colbertv2", "colbert-ir/ColBERTv2.0", True),
        ("colbertv2", CACHED, True),
        (CACHED, "colbert-ir/colbertv2.0", True),
        ("colbertv2", "/gone/downloads/colbertv2.0/", True),
        ("/models/colbertv2.0", "colbert-ir/colbertv2.0", True),
        ("/models/answers", "/elsewhere/answers", True),
        ("colbertv2", "someone/colbertv2.0", False),
        ("colbertv2", "minilm", False),
        ("minilm", "minilm-64", False),
        ("/models/answers", "/models/questions", False),
        ("/models/colbertv2.0", "answerdotai/answerai-colbert-small-v1", False),
    ],
)
def test_a_checkpoint_is_known_by_its_names(encoder, checkpoint, same):
    identity = EncoderIdentity(encoder, "f" * 64, 32, 180, 32)
    codec = Codec(np.zeros((1, 32), np.float32), np.zeros(1, np.float32), np.zeros(2, np.float32))
    content = IndexContent(
        codec=codec,
        codes=np.zeros(1, np.int32),
        residuals=np.zeros((1, 4), np.uint8),
        lengths=np.ones(1, np.int64),
        checkpoint=checkpoint,
    )
    if same:
        check_encoder_of_index(identity, content, same_encoder=False)
    else:
        with pytest.raises(EncoderMismatch, match="under two names"):
            check_encoder_of_index(identity, content, same_encoder=False)
    check_encoder_of_index(identity, content, same_encoder=True)


def test_a_checkpoint_folder_that_is_there_is_compared_by_its_content(tmp_path):
    for name, weights in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        folder = tmp_path / name / "answers"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(weights)
    identity = EncoderIdentity(
        str(tmp_path / "a" / "answers"),
        checkpoint_fingerprint(tmp_path / "a" / "answers"),
        *(32, 180, 32),
    )
    content = index_of(tmp_path / "index", checkpoint=str(tmp_path / "b" / "answers"))
    check_encoder_of_index(identity, content, same_encoder=False)
    content = index_of(tmp_path / "other", checkpoint=str(tmp_path / "c" / "answers"))
    with pytest.raises(EncoderMismatch):
        check_encoder_of_index(identity, content, same_encoder=False)


# life after the import


def test_imported_memories_live_like_any_others(store, tmp_path):
    index_of(tmp_path / "index")
    store.import_index(tmp_path / "index")
    changed = store.update(store.get_by_key("2").id, text="The scanner was repaired.")
    assert store.query("scanner", limit=1).hits[0].memory.id == changed.id
    store.forget(store.get_by_key("3").id)
    assert "3" not in {hit.memory.key for hit in store.query("Carla sings alto").hits}
    store.forget(store.get_by_key("4").id, purge=True)
    for path in store.path.rglob("*"):
        assert path.is_dir() or b"Azores" not in path.read_bytes()
    store.add("Edgar keeps bees.", key="edgar")
    report = store.compact()
    assert not report.trained  # the codec of the index serves on
    assert store.verify().clean
    stats = store.stats()
    assert (stats.memories, stats.hot_passages, stats.segments) == (5, 0, 1)
    assert store.query("bees", limit=1).hits[0].memory.key == "edgar"
    with MemoryStore.open(store.backup(tmp_path / "copy.mem")) as other:
        assert other.verify().clean
        assert other.query("scanner", limit=1).hits[0].memory.id == changed.id
    store.export(tmp_path / "all.jsonl")
    store.rebuild()
    assert store.verify().clean
    assert store.stats().segments == 0
    assert store.query("Lisbon", limit=1).hits[0].memory.key == "0"


def test_what_is_sealed_later_uses_the_codec_of_the_index(store, tmp_path):
    content = index_of(tmp_path / "index")
    store.import_index(tmp_path / "index")
    texts = [f"Memory {number} mentions the word w{number}." for number in range(20)]
    store.add_many(texts)
    store.compact()
    codec, (segment,) = sealed(store)
    np.testing.assert_array_equal(codec.centroids, content.codec.centroids)
    np.testing.assert_array_equal(segment.files.residuals[: len(content.codes)], content.residuals)
    assert store.query("w7", limit=1).hits[0].memory.text == texts[7]


def test_another_open_store_finds_what_was_imported(store, tmp_path):
    index_of(tmp_path / "index")
    with MemoryStore.open(store.path) as reader:
        assert reader.query("chess").hits == ()
        store.import_index(tmp_path / "index")
        assert reader.query("chess", limit=1).hits[0].memory.key == "1"


def test_token_matches_name_the_tokens_of_imported_passages(store, tmp_path):
    index_of(tmp_path / "index", bits=4)
    store.import_index(tmp_path / "index")
    (hit,) = store.query("Lisbon", limit=1, explain=True).hits
    (match,) = hit.token_matches
    assert (match.query_token, match.passage_token) == ("lisbon", "Lisbon")


# all or nothing


def test_a_full_disk_leaves_the_store_as_it_was(store, tmp_path, monkeypatch):
    index_of(tmp_path / "index")
    with monkeypatch.context() as patch:
        patch.setattr(SegmentWriter, "finish", _raise(OSError(errno.ENOSPC, "No space left")))
        with pytest.raises(StoreUnwritable, match="Nothing was imported"):
            store.import_index(tmp_path / "index")
    assert files(store) == []
    assert store.stats().memories == 0
    assert store.import_index(tmp_path / "index").added == len(TEXTS)
    assert store.verify().clean


def _raise(error: BaseException) -> Callable[..., Any]:
    def raising(*_: Any, **__: Any) -> Any:
        raise error

    return raising


@pytest.mark.parametrize("step", ["reading texts", "writing vectors", "storing memories"])
def test_an_import_that_is_interrupted_stores_nothing(store, tmp_path, step):
    index_of(tmp_path / "index")

    def interrupt(what: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        if what == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.import_index(tmp_path / "index", progress=interrupt)
    assert files(store) == []
    assert store.stats().memories == 0
    assert store.verify().clean
    assert store.import_index(tmp_path / "index").added == len(TEXTS)


KILLED = """
import os, sys
from memstore import MemoryStore

def progress(what, done, total):
    if what == sys.argv[3]:
        os._exit(9)

MemoryStore.open(sys.argv[1]).import_index(sys.argv[2], progress=progress)
"""


@pytest.mark.parametrize("step", ["writing vectors", "storing memories"])
def test_a_killed_import_stores_nothing_and_the_next_one_removes_its_files(
    store, tmp_path, child, step
):
    index_of(tmp_path / "index")
    killed = child(KILLED, store.path, tmp_path / "index", step)
    assert killed.wait() == 9, killed.stderr.read()
    assert {path.parent.name for path in files(store)} == {"codec-000001", "segment-000001"}
    assert store.stats().memories == 0
    assert store.verify().clean
    assert store.import_index(tmp_path / "index").added == len(TEXTS)
    assert {path.parent.name for path in files(store)} == {
        *("codec-000001", "segment-000001", "columns-000002"),
    }
    assert store.verify().clean


def test_others_may_write_while_the_files_are_written(store, tmp_path):
    index_of(tmp_path / "index")

    def write(what: str, done: int, total: int) -> None:
        if what == "writing vectors":
            store.add(f"Edgar keeps bees, {done} of {total}.", key="edgar")

    assert store.import_index(tmp_path / "index", progress=write).added == len(TEXTS)
    assert store.query("bees", limit=1).hits[0].memory.key == "edgar"
    assert store.query("Azores", limit=1).hits[0].memory.key == "4"
    assert store.verify().clean


def test_an_import_that_another_writer_overtook_stores_nothing(store, tmp_path):
    index_of(tmp_path / "index")

    def write(what: str, done: int, total: int) -> None:
        if what == "writing vectors":
            store.add(TEXTS[5], key="5")

    with pytest.raises(StoreLocked, match="run it again"):
        store.import_index(tmp_path / "index", progress=write)
    assert keys(store) == ["5"]
    assert files(store) == []
    report = store.import_index(tmp_path / "index")
    assert (report.added, report.unchanged) == (len(TEXTS) - 1, 1)


def test_a_store_opened_for_reading_imports_nothing(store, tmp_path):
    index_of(tmp_path / "index")
    with (
        MemoryStore.open(store.path, read_only=True) as reader,
        pytest.raises(StoreUnwritable, match="read_only"),
    ):
        reader.import_index(tmp_path / "index")


@pytest.mark.parametrize(
    ("option", "value"), [("namespace", "a//b"), ("namespace", "*"), ("source", 7)]
)
def test_options_are_checked_like_those_of_add(store, tmp_path, option, value):
    index_of(tmp_path / "index")
    with pytest.raises(BadInput, match=option):
        store.import_index(tmp_path / "index", **{option: value})


# export


def sealed_rows(store: MemoryStore) -> dict[str, tuple[bytes, bytes]]:
    """Text → codes and residual bytes of every live sealed passage."""
    texts = {}
    opened = store._opened
    with opened.engine.connect() as connection:
        for row in connection.exec_driver_sql(
            "SELECT passage.id, substr(text, start + 1, end - start) FROM passage"
            " JOIN memory ON memory.row = memory_row WHERE forgotten_at IS NULL"
        ):
            texts[row[0]] = row[1]
    found = {}
    for item in sealed(store)[1]:
        for slot, id_ in enumerate(item.files.passage_ids.tolist()):
            if id_ in texts:
                tokens = slice(item.files.offsets[slot], item.files.offsets[slot + 1])
                found[texts[id_]] = (
                    item.files.codes[tokens].astype(np.int32).tobytes(),
                    item.files.residuals[tokens].tobytes(),
                )
    return found


def exported_rows(content: IndexContent) -> dict[str, tuple[bytes, bytes]]:
    ends = np.cumsum(content.lengths)
    return {
        content.texts[pid]: (
            content.codes[end - length : end].tobytes(),
            content.residuals[end - length : end].tobytes(),
        )
        for pid, (end, length) in enumerate(zip(ends, content.lengths, strict=True))
    }


def test_an_index_that_passed_through_a_store_is_the_same_index(store, tmp_path):
    ids = [f"doc-{n}" for n in range(6)]
    content = index_of(tmp_path / "index", ids=ids, metadata={"doc-2": {"page": 3}})
    store.import_index(tmp_path / "index")
    report = store.export_index(tmp_path / "again")
    assert (report.memories, report.passages, report.encoded) == (6, 6, 0)
    again = read_colbert_index(tmp_path / "again")
    for name in ("codes", "residuals", "lengths"):
        np.testing.assert_array_equal(getattr(again, name), getattr(content, name))
    for name in ("centroids", "cutoffs", "weights"):
        np.testing.assert_array_equal(getattr(again.codec, name), getattr(content.codec, name))
    assert again.texts == TEXTS
    assert again.document_ids == ids
    assert again.document_metadata == {"doc-2": {"page": 3}}
    assert again.checkpoint == "hashed"


def numbered(first: int, last: int) -> list[dict[str, str]]:
    return [{"text": f"Memory {n} is about w{n}.", "key": f"k{n}"} for n in range(first, last)]


def test_bytes_of_several_segments_are_exported_without_deleted_passages(tmp_path):
    with MemoryStore.open(tmp_path / "a.mem", encoder="hashed") as store:
        due = dataclasses.replace(store._opened, settings=Settings(hot_tokens=40))
        for first in range(0, 60, 20):
            store.add_many(numbered(first, first + 20))
            sealing.seal_if_due(due, now=0)
        store.forget([store.get_by_key(f"k{n}").id for n in (0, 7, 8, 25, 59)])
        store.add_many(numbered(60, 63))
        assert store.stats().segments == 3
        before = sealed_rows(store)
        hot = store.stats().hot_passages
        report = store.export_index(tmp_path / "index")
    content = read_colbert_index(tmp_path / "index")
    assert report.passages == len(content.lengths) == 58
    assert report.encoded == hot
    after = exported_rows(content)
    assert len(before) == 58 - hot
    assert {text: after[text] for text in before} == before
    gone = {f"k{n}" for n in (0, 7, 8, 25, 59)}
    assert set(content.document_ids) == {f"k{n}" for n in range(63)} - gone
    assert set(content.texts) == {f"Memory {n} is about w{n}." for n in range(63)} - {
        f"Memory {key[1:]} is about w{key[1:]}." for key in gone
    }


@pytest.mark.parametrize("compacted", [False, True])
def test_vectors_of_an_export_are_close_to_those_of_the_texts(
    store, tmp_path, fingerprint, compacted
):
    store.add_many(TEXTS[:3])
    if compacted:
        store.compact()
    store.add_many(TEXTS[3:])
    before, there = fingerprint(store.path), files(store)
    calls: list[tuple[str, int, int]] = []
    report = store.export_index(tmp_path / "index", progress=lambda *call: calls.append(call))
    assert fingerprint(store.path) == before
    assert files(store) == there
    assert report.encoded == (3 if compacted else 6)
    training = [] if compacted else ["training"]
    assert [call[0] for call in calls] == [*training, "encoding", "writing vectors"]
    assert calls[-1][1] == calls[-1][2] == report.vectors
    content = read_colbert_index(tmp_path / "index")
    decoded = content.codec.decode(content.codes, content.residuals)
    true = dict(zip(TEXTS, encoded(TEXTS), strict=True))
    exact = np.concatenate([true[text] for text in content.texts])
    assert (decoded * exact).sum(axis=1).min() > 0.9
    with MemoryStore.open(tmp_path / "other.mem", encoder="hashed") as other:
        assert other.import_index(tmp_path / "index").added == len(TEXTS)
        assert other.query("Azores", limit=1).hits[0].memory.text == TEXTS[4]


def test_only_the_namespace_asked_for_is_exported(store, tmp_path):
    store.add(TEXTS[0], namespace="team/ana")
    store.add(TEXTS[1], namespace="team")
    store.compact()
    store.add(TEXTS[2], namespace="team/ana")
    store.add(TEXTS[3])
    store.export_index(tmp_path / "team", namespace="team")
    assert set(read_colbert_index(tmp_path / "team").texts) == {*TEXTS[:3]}
    store.export_index(tmp_path / "ana", namespace="team/ana")
    assert read_colbert_index(tmp_path / "ana").texts == [TEXTS[0], TEXTS[2]]
    store.export_index(tmp_path / "all")
    assert len(read_colbert_index(tmp_path / "all").texts) == 4
    for path, said in (
        ("nowhere", "no memory is in namespace 'nowhere'"),
        ("a//b", "is not a path"),
    ):
        with pytest.raises(BadInput, match=said):
            store.export_index(tmp_path / "none", namespace=path)
    assert not (tmp_path / "none").exists()


def test_a_document_is_named_by_its_key_where_that_is_its_own(store, tmp_path):
    old = store.add("The plan costs 10 euros.", key="plan", metadata={"year": 2025})
    new = store.add("The plan costs 14 euros.", key="plan")  # ends the first one
    store.add("Edgar keeps bees.", key="edgar", metadata={"year": 2026})
    plain = store.add("Nothing names this.")
    store.export_index(tmp_path / "index")
    content = read_colbert_index(tmp_path / "index")
    assert content.document_ids == [old.id, new.id, "edgar", plain.id]
    assert content.document_metadata == {old.id: {"year": 2025}, "edgar": {"year": 2026}}


def test_all_passages_of_a_long_memory_are_of_one_document(tmp_path):
    settings = {"passage_tokens": 16, "overlap_tokens": 0}
    text = " ".join(f"Sentence {n} is about w{n}." for n in range(20))
    with MemoryStore.open(tmp_path / "a.mem", encoder="hashed", settings=settings) as store:
        store.add(text, key="long")
        report = store.export_index(tmp_path / "index")
    content = read_colbert_index(tmp_path / "index")
    assert report.memories == 1
    assert report.passages > 5
    assert set(content.document_ids) == {"long"}
    assert " ".join(content.texts) == text


def test_a_store_that_may_only_be_read_is_exported(store, tmp_path):
    store.add_many(TEXTS)
    store.compact()
    with MemoryStore.open(store.path, read_only=True) as reader:
        reader.export_index(tmp_path / "index")
    assert set(read_colbert_index(tmp_path / "index").texts) == set(TEXTS)


def test_an_export_that_cannot_be_made_leaves_nothing(store, tmp_path):
    with pytest.raises(BadInput, match="nothing to export"):
        store.export_index(tmp_path / "index")
    store.add("Edgar keeps bees.")
    (tmp_path / "there").mkdir()
    with pytest.raises(BadInput, match="there exists already"):
        store.export_index(tmp_path / "there")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnwritable, match="could not be written"):
        store.export_index(tmp_path / "file" / "index")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["agent.mem", "file", "there"]


def test_dimensions_that_the_format_cannot_hold_are_refused(tmp_path):
    settings = {"residual_bits": 8}
    with MemoryStore.open(tmp_path / "a.mem", encoder="hashed", settings=settings) as store:
        store.add("Edgar keeps bees.")
        with pytest.raises(BadInput, match="8 bits for each of 32 dimensions"):
            store.export_index(tmp_path / "index")


def test_an_export_that_meets_replaced_files_looks_again(store, tmp_path, monkeypatch):
    store.add_many(TEXTS)
    store.compact()
    tries = []

    def once_gone(*arguments: Any) -> Any:
        tries.append(arguments)
        if len(tries) == 1:
            raise FolderGone("segment-000001")
        return open_segments(*arguments)

    monkeypatch.setattr(index_exporting, "open_segments", once_gone)
    store.export_index(tmp_path / "index")
    assert len(tries) == 2
    assert set(read_colbert_index(tmp_path / "index").texts) == set(TEXTS)


def test_an_export_goes_on_while_the_store_is_compacted(store, tmp_path):
    store.add_many(TEXTS)
    store.compact()
    store.add("Edgar keeps bees.")
    compacted = []

    def compact(what: str, done: int, total: int) -> None:
        if what == "encoding" and not compacted:
            compacted.append(store.compact())

    store.export_index(tmp_path / "index", progress=compact)
    assert compacted[0].merged == 2
    assert set(read_colbert_index(tmp_path / "index").texts) == {*TEXTS, "Edgar keeps bees."}


# documentation


def test_the_examples_of_the_page_about_interchange_run(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "interchange.md"
    program = "".join(
        re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    )
    assert program.count("assert") >= 3
    monkeypatch.chdir(tmp_path)
    exec(compile(program, str(page), "exec"), {})
