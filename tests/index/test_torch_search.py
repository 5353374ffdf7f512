"""A GPU's search finds what the kernels find; on torch's own CPU device the same is tested."""

import gc
import subprocess
import sys
import weakref

import numpy as np
import pytest

from memstore.errors import BadInput, IndexDamaged
from memstore.index import (
    Depths,
    SealedView,
    Segment,
    SegmentWriter,
    StoredCodec,
    codec,
    train,
    write_codec,
)
from memstore.index.sealed import SealedSearch

DIM = 32
EVERYTHING = Depths(exact=20, exhaustive=10**9, nprobe=4)


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    # numbered, as torch itself names it
    return torch.device("cuda", 0) if request.param == "cuda" else torch.device("cpu")


@pytest.fixture
def torch_search():
    from memstore.index import torch_search

    return torch_search


def unit_rows(rng, count, dim=DIM):
    rows = (
        rng.standard_normal((count, dim))
        + 1.5 * rng.standard_normal((40, dim))[rng.integers(40, size=count)]
    )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Tier:
    """Writes segments with one codec, and looks at some of them."""

    def __init__(self, folder, *, bits=4, dim=DIM, seed=0):
        self.rng = np.random.default_rng(seed)
        self._folder = folder
        self._dim = dim
        self.codec = train(unit_rows(self.rng, 3000, dim), tokens=2000, bits=bits)
        manifest = write_codec(folder / "codec", self.codec, made_for=3000)
        self.stored = StoredCodec(folder / "codec", manifest, dim)
        self.segments = []

    def add(self, lengths):
        lengths = np.array(lengths, dtype=np.int64)
        folder = self._folder / f"segment-{len(self.segments)}"
        ids = np.arange(len(lengths))
        with SegmentWriter(folder, self.codec) as writer:
            vectors = unit_rows(self.rng, lengths.sum(), self._dim)
            writer.append_vectors(ids, ids, lengths, vectors)
            manifest = writer.finish()
        self.segments.append(Segment(folder, manifest, self.stored))
        return self

    def view(self):
        slots = sum(len(segment) for segment in self.segments)
        return SealedView(self.stored, tuple(self.segments), np.arange(slots))

    def query(self, tokens):
        return unit_rows(self.rng, tokens, self._dim)


@pytest.fixture
def tier(tmp_path):
    """Three segments of 300, one and 200 passages of up to 40 tokens."""
    made = Tier(tmp_path)
    lengths = made.rng.integers(1, 41, size=500)
    return made.add(lengths[:300]).add([1]).add(lengths[300:])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("tokens", [1, 7, 33, 200])
def test_maxima_are_those_of_the_kernels(tmp_path, torch_search, device, bits, tokens):
    tier = Tier(tmp_path, bits=bits, seed=bits).add([3, 1, 40, 7]).add([5, 2])
    view, query = tier.view(), tier.query(tokens)
    for slots in ([0, 1, 2, 3, 4, 5], [2, 5], [4], []):
        slots = np.array(slots, dtype=np.int64)
        found = torch_search.TorchSearch(view, query, device).maxima(slots)
        assert found.dtype == np.float32
        assert found.shape == (len(slots), tokens)
        np.testing.assert_allclose(found, view.search(query).maxima(slots), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dim", [8, 128, 200])
def test_maxima_agree_in_any_dimension(tmp_path, torch_search, device, dim):
    tier = Tier(tmp_path, dim=dim).add([9] * 30)
    view, query, slots = tier.view(), tier.query(16), np.arange(30)
    found = torch_search.TorchSearch(view, query, device).maxima(slots)
    np.testing.assert_allclose(found, view.search(query).maxima(slots), atol=1e-4, rtol=0)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_maxima_are_those_of_the_decoded_vectors(tmp_path, torch_search, device, bits):
    tier = Tier(tmp_path, bits=bits, dim=128).add([5, 12, 30])
    view, query = tier.view(), tier.query(20)
    found = torch_search.TorchSearch(view, query, device).maxima(np.arange(3))
    expected = [(vectors @ query.T).max(axis=0) for vectors in view.vectors(np.arange(3))]
    np.testing.assert_allclose(found, expected, atol=4e-5, rtol=0)  # centroids are rounded


def test_similarities_below_zero_stay_below_zero(tmp_path, torch_search, device):
    tier = Tier(tmp_path).add([1] * 20)
    view = tier.view()
    query = -next(view.vectors(np.array([7])))
    found = torch_search.TorchSearch(view, query, device).maxima(np.array([7]))
    np.testing.assert_allclose(found, [[-1]], atol=1e-4)


def test_the_ten_best_are_those_of_the_kernels(tier, torch_search, device):
    view = tier.view()
    for tokens in (1, 8, 32, 70):
        query = tier.query(tokens)
        weights = tier.rng.random(tokens)
        ranked = []
        for search in (view.search(query), torch_search.TorchSearch(view, query, device)):
            # of ties in bytes the kernels may keep others: deep enough not to meet them
            depths = Depths(exact=300, exhaustive=10**9, nprobe=4)
            slots = search.candidates(weights, np.ones(len(view), dtype=np.bool_), depths)
            scores = search.maxima(slots) @ weights
            ranked.append(slots[np.argsort(-scores, kind="stable")[:10]].tolist())
        assert ranked[0] == ranked[1]


def test_candidates_are_the_best_of_the_allowed_by_their_centroids(tier, torch_search, device):
    view, query = tier.view(), tier.query(5)
    weights = tier.rng.random(5).astype(np.float32)
    allowed = tier.rng.random(len(view)) < 0.3
    integers, unit = tier.codec.integers
    table = (integers @ query.T.astype(np.float64) * unit) * weights
    expected = {
        base + slot: table[segment.codes[segment.offsets[slot] : segment.offsets[slot + 1]]]
        .max(axis=0)
        .sum()
        for base, segment in view.parts()
        for slot in range(len(segment))
        if allowed[base + slot]
    }
    search = torch_search.TorchSearch(view, query, device)
    found = search.candidates(weights, allowed, EVERYTHING)
    assert found.dtype == np.int64
    assert found.tolist() == sorted(sorted(expected, key=expected.__getitem__)[-20:])


def test_inverted_lists_do_not_narrow_what_is_ranked(tier, torch_search, device):
    view, query = tier.view(), tier.query(5)
    search = torch_search.TorchSearch(view, query, device)
    allowed = np.ones(len(view), dtype=np.bool_)
    probing = Depths(exact=20, exhaustive=0, nprobe=1)
    weights = np.ones(5)
    found = search.candidates(weights, allowed, probing)
    assert found.tolist() == search.candidates(weights, allowed, EVERYTHING).tolist()


@pytest.mark.parametrize("count", [0, 1, 20])
def test_few_allowed_passages_are_all_candidates(tier, torch_search, device, count):
    view = tier.view()
    allowed = np.zeros(len(view), dtype=np.bool_)
    allowed[np.arange(count) * 25] = True
    search = torch_search.TorchSearch(view, tier.query(3), device)
    found = search.candidates(np.ones(3), allowed, EVERYTHING)
    assert found.tolist() == np.flatnonzero(allowed).tolist()


def test_ties_go_to_earlier_passages(tmp_path, torch_search, device):
    view = Tier(tmp_path).add([2] * 50).add([2] * 50).view()
    search = torch_search.TorchSearch(view, np.ones((1, DIM), np.float32), device)
    found = search.candidates(np.zeros(1), np.ones(100, dtype=np.bool_), EVERYTHING)
    assert found.tolist() == list(range(20))


def test_blocks_change_nothing(tier, torch_search, device, monkeypatch):
    view, query = tier.view(), tier.query(4)
    slots, allowed = np.arange(len(view)), np.ones(len(view), dtype=np.bool_)

    def found():
        search = torch_search.TorchSearch(view, query, device)
        return search.maxima(slots), search.candidates(np.ones(4), allowed, EVERYTHING)

    whole = found()
    for tokens in (1, 64, 1000):  # also fewer than one passage has
        monkeypatch.setattr(torch_search, "_RANKED_TOKENS", tokens)
        monkeypatch.setattr(torch_search, "_EXACT_TOKENS", tokens)
        maxima, candidates = found()
        np.testing.assert_allclose(maxima, whole[0], atol=1e-6)
        assert candidates.tolist() == whole[1].tolist()


def test_witnesses_are_those_of_the_kernels(tier, torch_search, device):
    view, query = tier.view(), tier.query(12)
    allowed = tier.rng.random(len(view)) < 0.5
    found = torch_search.TorchSearch(view, query, device).witnesses(allowed)
    assert found.tolist() == view.search(query).witnesses(allowed).tolist()
    assert allowed[found].all()
    assert len(found)


def test_passages_without_tokens_match_nothing(tmp_path, torch_search, device):
    tier = Tier(tmp_path).add([0, 3, 0, 2, 0]).add([0]).add([])
    view, query = tier.view(), tier.query(2)
    search = torch_search.TorchSearch(view, query, device)
    found = search.maxima(np.arange(6))
    np.testing.assert_allclose(found, view.search(query).maxima(np.arange(6)), atol=1e-4)
    assert np.isneginf(found[[0, 2, 4, 5]]).all()
    two = Depths(exact=2, exhaustive=10**9, nprobe=4)
    assert search.candidates(np.ones(2), np.ones(6, dtype=np.bool_), two).tolist() == [1, 3]


def test_a_process_that_allows_coarser_products_gets_the_same(tier, torch_search, device):
    import torch

    view, query, slots = tier.view(), tier.query(16), np.arange(100)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        found = torch_search.TorchSearch(view, query, device).maxima(slots)
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_allclose(found, view.search(query).maxima(slots), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "query",
    [np.ones((0, DIM)), np.ones((2, DIM + 1)), np.full((1, DIM), np.nan)],
    ids=["no token", "another dimension", "not finite"],
)
def test_a_query_that_the_kernels_refuse_is_refused(tier, torch_search, device, query):
    view = tier.view()
    with pytest.raises(BadInput, match="cannot search"):
        torch_search.TorchSearch(view, query, device)
    with pytest.raises(BadInput, match="cannot search"):
        view.search(query)


def test_codes_of_no_centroid_are_refused_before_a_device_reads_them(tier, torch_search, device):
    view = tier.view()
    tier.segments[1].codes = np.array([60_000], dtype=np.uint16)
    with pytest.raises(IndexDamaged, match="segment-1: a code of 60000 with"):
        torch_search.TorchSearch(view, tier.query(1), device).maxima(np.arange(len(view)))


# what lies on a device


def test_a_segment_is_copied_once_and_again_by_no_later_view(
    tier, torch_search, device, monkeypatch
):
    copied = []

    class Counted(torch_search._SegmentCopy):
        def __init__(self, segment, *rest):
            copied.append(tier.segments.index(segment))
            super().__init__(segment, *rest)

    monkeypatch.setattr(torch_search, "_SegmentCopy", Counted)

    def search():
        view = tier.view()
        made = torch_search.TorchSearch(view, tier.query(2), device)
        made.maxima(np.arange(len(view)))
        made.candidates(np.ones(2), np.ones(len(view), dtype=np.bool_), EVERYTHING)

    search()
    search()
    assert copied == [0, 1, 2]
    tier.add([4] * 30)
    search()
    assert copied == [0, 1, 2, 3]


def test_a_copy_goes_with_its_segment(tier, torch_search, device):
    view = tier.view()
    torch_search.TorchSearch(view, tier.query(2), device).maxima(np.arange(len(view)))
    copies = [weakref.ref(torch_search._segments[item][device]) for item in view.segments]
    del view, tier.segments[1:]
    gc.collect()
    assert [copy() is None for copy in copies] == [False, True, True]


# which device


@pytest.mark.parametrize(
    ("device", "passages", "loaded", "driver", "asked"),
    [
        ("cpu", 10**9, True, True, False),
        ("mps", 10**9, True, True, False),
        ("auto", 130_000, True, True, False),
        ("auto", 140_000, True, True, True),
        ("auto", 140_000, True, False, False),
        ("auto", 140_000, False, True, False),
        ("cuda", 1, False, False, True),
        ("cuda:1", 1, False, False, True),
    ],
)
def test_torch_is_asked_for_a_gpu_where_one_may_pay(
    tier, torch_search, monkeypatch, tmp_path, device, passages, loaded, driver, asked
):
    import torch

    asked_for = []
    monkeypatch.setattr(torch_search, "place_for", lambda view, name: asked_for.append(name))
    monkeypatch.setattr(codec, "GPU_DRIVERS", (str(tmp_path if driver else tmp_path / "none"),))
    monkeypatch.delitem(sys.modules, "torch")
    if loaded:
        monkeypatch.setitem(sys.modules, "torch", torch)
    search = tier.view().search(tier.query(1), device, passages=passages)
    assert type(search) is SealedSearch  # there was no place
    assert asked_for == [device] * asked


def test_a_search_without_a_gpu_loads_no_torch(tier):
    code = """
import sys, numpy as np
from memstore.index import codec, SealedView, StoredCodec
view = SealedView(StoredCodec(__import__("pathlib").Path(sys.argv[1]), {}, 32), (), np.empty(0))
codec.GPU_DRIVERS = ()
for device in ("cpu", "auto"):
    view.search(np.ones((1, 32)), device, passages=10**9)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(tier.stored.folder)], check=True)


def test_auto_is_the_kernels_where_torch_has_no_gpu(tier, monkeypatch, tmp_path):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(codec, "GPU_DRIVERS", (str(tmp_path),))
    assert type(tier.view().search(tier.query(1), "auto", passages=10**9)) is SealedSearch


class _Gpu:
    """A torch whose only GPU has so many bytes free."""

    def __init__(self, monkeypatch, free):
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", self.properties)
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda place: 0)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda place: 0)
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (free, 10**12))

    @staticmethod
    def properties(place):
        if place.index != 0:
            raise AssertionError("Invalid device id")


def test_a_gpu_with_room_is_taken(tier, torch_search, monkeypatch):
    import torch

    _Gpu(monkeypatch, 10**10)
    for name in ("auto", "cuda", "cuda:0"):
        assert torch_search.place_for(tier.view(), name) == torch.device("cuda", 0)


def test_a_gpu_without_room_is_left_alone_or_the_need_for_it_is_said(
    tier, torch_search, monkeypatch
):
    _Gpu(monkeypatch, 10**9)
    assert torch_search.place_for(tier.view(), "auto") is None
    with pytest.raises(BadInput, match=r"needs 2\.1 GB there, and 1\.0 GB are free"):
        torch_search.place_for(tier.view(), "cuda")


@pytest.mark.parametrize("name", ["cuda:7", "cuda:x", "cudax"])
def test_a_named_gpu_that_is_not_there_is_an_error(tier, monkeypatch, name):
    _Gpu(monkeypatch, 10**10)
    with pytest.raises(BadInput, match=f"The device '{name}' cannot be used"):
        tier.view().search(tier.query(1), name)


def test_a_gpu_that_cannot_start_is_left_alone_by_auto(tier, torch_search, monkeypatch):
    import torch

    def fail():
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess.")

    _Gpu(monkeypatch, 10**10)
    monkeypatch.setattr(torch.cuda, "current_device", fail)
    assert torch_search.place_for(tier.view(), "auto") is None
    with pytest.raises(BadInput, match="in forked subprocess"):
        torch_search.place_for(tier.view(), "cuda")


def test_a_search_on_cuda_is_chosen_by_the_view(tier, torch_search):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    view, query, slots = tier.view(), tier.query(9), np.arange(50)
    search = view.search(query, "cuda")
    assert type(search) is torch_search.TorchSearch
    np.testing.assert_allclose(
        search.maxima(slots), view.search(query).maxima(slots), atol=1e-4, rtol=0
    )
