"""The C++ forward pass equals BERT's arithmetic in double precision, on all instruction sets."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from memstore.encoders._bert import Model, instruction_sets
from memstore.encoders.bert import Adapter, Bert, Layer, Linear, NativeModel, Norm, usable_threads

every_instruction_set = pytest.mark.parametrize("instruction_set", instruction_sets())

Array = NDArray[np.float64]
erf = np.vectorize(math.erf, otypes=[np.float64])


def random_bert(
    seed: int,
    *,
    layers: int = 2,
    heads: int = 2,
    head_size: int = 8,
    intermediate: int = 40,
    rank: int | None = None,
    longest: int = 300,
    epsilon: float = 1e-12,
) -> Bert:
    """Weights of lengths as a trained model has them."""
    rng = np.random.default_rng(seed)
    hidden = heads * head_size

    def normal(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)

    def linear(outputs: int, inputs: int) -> Linear:
        weight = normal(outputs, inputs, scale=inputs**-0.5)
        adapter = None
        if rank is not None:
            adapter = Adapter(
                normal(rank, inputs, scale=inputs**-0.5), normal(outputs, rank, scale=rank**-0.5)
            )
        return Linear(weight, normal(outputs, scale=0.1), adapter)

    def norm() -> Norm:
        return Norm(1 + normal(hidden, scale=0.1), normal(hidden, scale=0.1))

    def layer() -> Layer:
        return Layer(
            *(linear(hidden, hidden) for _ in range(4)),
            norm(),
            linear(intermediate, hidden),
            linear(hidden, intermediate),
            norm(),
        )

    return Bert(
        words=normal(50, hidden),
        positions=normal(longest, hidden, scale=0.3),
        segment=normal(hidden, scale=0.1),
        norm=norm(),
        layers=[layer() for _ in range(layers)],
        heads=heads,
        epsilon=epsilon,
    )


def apply(linear: Linear, x: Array) -> Array:
    y: Array = x @ linear.weight.T.astype(np.float64)
    if linear.bias is not None:
        y = y + linear.bias
    if linear.adapter is not None:
        y = y + x @ linear.adapter.down.T.astype(np.float64) @ linear.adapter.up.T
    return y


def reference(
    bert: Bert, head: Linear | None, ids: Sequence[int], seen: int | None = None
) -> Array:
    def normalised(x: Array, norm: Norm) -> Array:
        centred = x - x.mean(axis=1, keepdims=True)
        variance = (centred**2).mean(axis=1, keepdims=True)
        result: Array = centred / np.sqrt(variance + bert.epsilon) * norm.scale + norm.shift
        return result

    def split(linear: Linear) -> Array:
        return apply(linear, states).reshape(len(ids), bert.heads, -1).transpose(1, 0, 2)

    states: Array = bert.words[list(ids)].astype(np.float64)
    states = normalised(states + bert.positions[: len(ids)] + bert.segment, bert.norm)
    for layer in bert.layers:
        query, key, value = split(layer.query), split(layer.key), split(layer.value)
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[2])
        scores[:, :, len(ids) if seen is None else seen :] = -np.inf
        powers = np.exp(scores - scores.max(axis=2, keepdims=True))
        powers /= powers.sum(axis=2, keepdims=True)
        attended = (powers @ value).transpose(1, 0, 2).reshape(len(ids), -1)
        states = normalised(apply(layer.attention_output, attended) + states, layer.attention_norm)
        expanded = apply(layer.intermediate, states)
        expanded *= (1 + erf(expanded / math.sqrt(2))) / 2
        states = normalised(apply(layer.output, expanded) + states, layer.output_norm)
    if head is None:
        return states
    projected = apply(head, states / np.linalg.norm(states, axis=1, keepdims=True))
    result: Array = projected / np.linalg.norm(projected, axis=1, keepdims=True)
    return result


def random_head(seed: int, hidden: int, dim: int, rank: int | None = None) -> Linear:
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((dim, hidden), dtype=np.float32)
    adapter = None
    if rank is not None:
        adapter = Adapter(
            rng.standard_normal((rank, hidden), dtype=np.float32) / np.float32(hidden**0.5),
            rng.standard_normal((dim, rank), dtype=np.float32),
        )
    return Linear(weight, rng.standard_normal(dim, dtype=np.float32), adapter)


def random_ids(seed: int, lengths: Sequence[int]) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 50, length).tolist() for length in lengths]


def run(
    bert: Bert,
    head: Linear | None,
    sequences: Sequence[Sequence[int]],
    *,
    instruction_set: str | None = None,
    threads: int = 1,
) -> list[NDArray[np.float32]]:
    lengths = np.array([len(ids) for ids in sequences], dtype=np.int64)
    ids = np.concatenate([np.array(ids, dtype=np.int32) for ids in sequences])
    model = Model(*bert[:5], heads=bert.heads, epsilon=bert.epsilon, head=head)
    rows = model.encode(ids, lengths, threads=threads, instruction_set=instruction_set)
    return np.split(rows, np.cumsum(lengths)[:-1])


class TestArithmetic:
    @every_instruction_set
    @given(
        seed=st.integers(0, 2**32),
        heads=st.integers(1, 5),
        head_size=st.integers(1, 21),
        intermediate=st.integers(1, 70),
        layers=st.integers(1, 3),
        dim=st.integers(1, 40) | st.none(),
        rank=st.integers(1, 32) | st.none(),
        lengths=st.lists(st.integers(1, 40), min_size=1, max_size=5),
        epsilon=st.sampled_from([1e-12, 1e-5]),
    )
    def test_models_of_any_size_give_what_double_precision_gives(
        self,
        instruction_set: str,
        seed: int,
        heads: int,
        head_size: int,
        intermediate: int,
        layers: int,
        dim: int | None,
        rank: int | None,
        lengths: list[int],
        epsilon: float,
    ) -> None:
        assume(heads * head_size >= 8)  # the variance of two or three may be next to nothing
        bert = random_bert(
            seed,
            layers=layers,
            heads=heads,
            head_size=head_size,
            intermediate=intermediate,
            rank=rank,
            epsilon=epsilon,
        )
        head = None if dim is None else random_head(seed, heads * head_size, dim, rank)
        sequences = random_ids(seed, lengths)
        found = run(bert, head, sequences, instruction_set=instruction_set)
        for ids, rows in zip(sequences, found, strict=True):
            assert rows.dtype == np.float32
            np.testing.assert_allclose(rows, reference(bert, head, ids), atol=1e-5)

    @every_instruction_set
    @pytest.mark.parametrize("length", [1, 8, 9, 16, 17, 24, 25, 255, 256, 300])
    def test_sequences_of_any_length(self, instruction_set: str, length: int) -> None:
        bert = random_bert(1, heads=4, head_size=16, intermediate=96)
        head = random_head(1, 64, 32)
        (ids,) = random_ids(length, [length])
        (rows,) = run(bert, head, [ids], instruction_set=instruction_set)
        np.testing.assert_allclose(rows, reference(bert, head, ids), atol=1e-5)

    @every_instruction_set
    @given(
        seed=st.integers(0, 2**32),
        lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
        hidden_from=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    )
    def test_tokens_that_are_not_looked_at(
        self, instruction_set: str, seed: int, lengths: list[int], hidden_from: list[float]
    ) -> None:
        bert = random_bert(seed)
        sequences = random_ids(seed, lengths)
        seen = [max(1, int(n * share)) for n, share in zip(lengths, hidden_from, strict=False)]
        model = Model(*bert[:5], heads=bert.heads, epsilon=bert.epsilon)
        rows = model.encode(
            np.concatenate([np.array(ids, dtype=np.int32) for ids in sequences]),
            np.array(lengths),
            seen=np.array(seen),
            threads=1,
            instruction_set=instruction_set,
        )
        expected = [
            reference(bert, None, ids, some) for ids, some in zip(sequences, seen, strict=True)
        ]
        np.testing.assert_allclose(rows, np.concatenate(expected), atol=1e-5)

    @every_instruction_set
    def test_scores_far_apart_leave_one_token_to_look_at(self, instruction_set: str) -> None:
        bert = random_bert(2, layers=1)
        (layer,) = bert.layers
        sharp = layer._replace(query=Linear(layer.query.weight * np.float32(300)))
        sharp_bert = bert._replace(layers=[sharp])
        (ids,) = random_ids(3, [20])
        (rows,) = run(sharp_bert, None, [ids], instruction_set=instruction_set)
        np.testing.assert_allclose(rows, reference(sharp_bert, None, ids), atol=1e-3)

    @every_instruction_set
    def test_gelu_is_exact_to_single_precision(self, instruction_set: str) -> None:
        """By tokens (x, -x), and norms that hardly change what is small to their epsilon."""
        values = np.linspace(-8, 8, 2001, dtype=np.float32)
        words = np.stack([values, -values], axis=1)
        zero = np.zeros(2, np.float32)
        norm = Norm(np.full(2, 1000, np.float32), zero)
        nothing = Linear(np.zeros((2, 2), np.float32))
        to_one = Linear(np.array([[1, 0]], np.float32))
        to_two = Linear(np.array([[1], [-1]], np.float32))
        layer = Layer(nothing, nothing, nothing, nothing, norm, to_one, to_two, norm)
        bert = Bert(words, np.zeros_like(words), zero, norm, [layer], heads=1, epsilon=1e6)
        ids = list(range(len(values)))
        (rows,) = run(bert, None, [ids], instruction_set=instruction_set)
        np.testing.assert_allclose(rows, reference(bert, None, ids), rtol=5e-7, atol=1e-6)


class TestDeterminism:
    """A sequence has the same bits wherever it is computed."""

    @pytest.fixture
    def bert(self) -> Bert:
        return random_bert(5, heads=3, head_size=12, intermediate=50, rank=4)

    @every_instruction_set
    @pytest.mark.parametrize("threads", [1, 2, 3, 8])
    def test_alone_in_company_and_on_any_number_of_threads(
        self, bert: Bert, instruction_set: str, threads: int
    ) -> None:
        head = random_head(5, 36, 20)
        sequences = random_ids(6, [1, 7, 8, 16, 3, 100, 256, 40, 33, 5, 30, 30, 30, 299, 12])
        alone = [run(bert, head, [ids], instruction_set=instruction_set)[0] for ids in sequences]
        options = {"instruction_set": instruction_set, "threads": threads}
        for order in (slice(None), slice(None, None, -1), slice(2, None, 3)):
            together = run(bert, head, sequences[order], **options)
            for one, same in zip(alone[order], together, strict=True):
                assert one.tobytes() == same.tobytes()

    def test_calls_side_by_side_do_not_meet(self, bert: Bert) -> None:
        model = NativeModel(bert, None)
        calls = [random_ids(seed, [20, 90, 3, 250]) for seed in range(4)]
        expected = [model.encode(call, threads=1) for call in calls]
        wrong: list[int] = []

        def work(number: int) -> None:
            for _ in range(5):
                found = model.encode(calls[number], threads=2)
                pairs = zip(found, expected[number], strict=True)
                if not all(one.tobytes() == same.tobytes() for one, same in pairs):
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_a_forked_child_computes_the_same(self, bert: Bert) -> None:
        model = NativeModel(bert, None)
        sequences = random_ids(8, [200, 100, 200])
        expected = model.encode(sequences, threads=2)
        child = os.fork()
        if child == 0:
            found = model.encode(sequences, threads=2)
            same = all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True))
            os._exit(0 if same else 1)
        assert os.waitpid(child, 0)[1] == 0

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_a_child_forked_in_the_middle_of_a_call_computes_the_same(self, bert: Bert) -> None:
        """It has none of the threads that compute in the parent, and waits for none."""
        model = NativeModel(bert, None)
        sequences = random_ids(8, [200, 100, 200])
        expected = model.encode(sequences, threads=2)
        thread = threading.Thread(target=lambda: model.encode(sequences * 200, threads=2))
        thread.start()
        child = os.fork()
        if child == 0:
            found = model.encode(sequences, threads=2)
            same = all(a.tobytes() == b.tobytes() for a, b in zip(found, expected, strict=True))
            os._exit(0 if same else 1)
        thread.join()
        assert os.waitpid(child, 0)[1] == 0


def test_an_adapter_is_what_it_adds_to_the_weights() -> None:
    bert = random_bert(9, rank=7)

    def merged(linear: Linear) -> Linear:
        assert linear.adapter is not None
        return Linear(linear.weight + linear.adapter.up @ linear.adapter.down, linear.bias)

    whole = bert._replace(
        layers=[
            Layer(*(merged(part) if isinstance(part, Linear) else part for part in layer))
            for layer in bert.layers
        ]
    )
    sequences = random_ids(9, [5, 30])
    for one, other in zip(run(bert, None, sequences), run(whole, None, sequences), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_nothing_to_encode_gives_nothing() -> None:
    assert NativeModel(random_bert(0), None).encode([]) == []


@pytest.mark.parametrize(
    ("limit", "least"), [("1", True), ("100000", False), ("", False), ("many", False), ("0", False)]
)
def test_threads_are_the_cores_one_may_use_or_fewer(
    monkeypatch: pytest.MonkeyPatch, limit: str, least: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 6}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert usable_threads() == (1 if least else 3)


class TestWrongArguments:
    """They are errors of Python, and never a read of what is not there."""

    @pytest.fixture
    def bert(self) -> Bert:
        return random_bert(0, rank=3)

    @pytest.mark.parametrize("ids", [[-1], [50], [2**31 - 1], [3, -(2**31)]])
    def test_a_token_that_there_is_none_of(self, bert: Bert, ids: list[int]) -> None:
        with pytest.raises(IndexError, match=r"and there are 50 words"):
            run(bert, None, [ids])

    @pytest.mark.parametrize("length", [0, 301])
    def test_a_sequence_that_is_empty_or_too_long(self, bert: Bert, length: int) -> None:
        with pytest.raises(ValueError, match=rf"has {length} tokens, not 1 to 300"):
            NativeModel(bert, None).encode([[1, 2], [0] * length])

    @pytest.mark.parametrize("lengths", [[3], [1, 1], [], [2, -1], [1, 2**62], [-(2**63)]])
    def test_lengths_that_do_not_fit_the_ids(self, bert: Bert, lengths: list[int]) -> None:
        model = Model(*bert[:5], heads=bert.heads, epsilon=bert.epsilon)
        ids = np.ones(4, dtype=np.int32)
        with pytest.raises(ValueError, match=r"tokens, not 1 to|the lengths add up to"):
            model.encode(ids, np.array(lengths, dtype=np.int64), threads=1)

    @pytest.mark.parametrize("seen", [[0, 2], [3, 3], [2], [2, 2, 2], [-1, 1]])
    def test_more_tokens_seen_than_there_are_or_none(self, bert: Bert, seen: list[int]) -> None:
        with pytest.raises(
            ValueError, match=r"tokens, not 1 to 2|there are 2 lengths, and \d seen"
        ):
            NativeModel(bert, None).encode([[1, 2], [3, 4]], seen=seen)

    @pytest.mark.parametrize(
        ("ids", "lengths"),
        [
            (np.ones(2, np.int64), np.array([2])),
            (np.ones(2, np.int32), np.array([2], np.int32)),
            (np.ones(4, np.int32)[::2], np.array([2])),
            (np.ones((1, 2), np.int32), np.array([2])),
            ([1, 2], np.array([2])),
        ],
    )
    def test_arrays_of_another_kind(self, bert: Bert, ids: object, lengths: object) -> None:
        model = Model(*bert[:5], heads=bert.heads, epsilon=bert.epsilon)
        with pytest.raises(TypeError):
            model.encode(ids, lengths, threads=1)  # type: ignore[arg-type]

    def test_unknown_instruction_sets_and_no_threads(self, bert: Bert) -> None:
        with pytest.raises(ValueError, match="instruction set 'sse9' is not one of this machine's"):
            run(bert, None, [[1]], instruction_set="sse9")
        with pytest.raises(ValueError, match="no threads"):
            run(bert, None, [[1]], threads=0)

    @pytest.mark.parametrize("heads", [0, 3, 17])
    def test_heads_that_do_not_divide_the_features(self, bert: Bert, heads: int) -> None:
        with pytest.raises(ValueError, match=f"16 features are no multiple of {heads} heads"):
            NativeModel(bert._replace(heads=heads), None)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda bert: bert._replace(layers=[]), "there are no layers"),
            (lambda bert: bert._replace(epsilon=-1.0), "epsilon is negative"),
            (lambda bert: bert._replace(epsilon=math.nan), "epsilon is negative or not a number"),
            (lambda bert: bert._replace(words=bert.words[:0]), r"words are \(0, 16\)"),
            (
                lambda bert: bert._replace(segment=bert.segment[:-1]),
                r"segment is \(15\), not \(16\)",
            ),
            (
                lambda bert: bert._replace(norm=Norm(bert.norm.scale, bert.norm.shift[1:])),
                r"norm\.shift is \(15\), not \(16\)",
            ),
            (
                lambda bert: with_layer(bert, key=Linear(bert.layers[1].key.weight[1:])),
                r"layer 1 key\.weight is \(15, 16\), not \(16, 16\)",
            ),
            (
                lambda bert: with_layer(
                    bert, value=bert.layers[1].value._replace(bias=np.ones(3, np.float32))
                ),
                r"layer 1 value\.bias is \(3\), not \(16\)",
            ),
            (
                lambda bert: with_layer(bert, output=bert.layers[1].intermediate),
                r"layer 1 output\.weight is \(40, 16\), not \(16, 40\)",
            ),
            (
                lambda bert: with_layer(
                    bert,
                    query=bert.layers[1].query._replace(
                        adapter=Adapter(np.ones((2, 16), np.float32), np.ones((16, 3), np.float32))
                    ),
                ),
                r"layer 1 query\.up is \(16, 3\), not \(16, 2\)",
            ),
        ],
    )
    def test_weights_whose_shapes_do_not_fit(
        self, bert: Bert, change: Callable[[Bert], Bert], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            NativeModel(change(bert), None)

    @pytest.mark.parametrize("head", [np.ones((4, 15)), np.ones((0, 16))])
    def test_a_head_that_does_not_fit(self, bert: Bert, head: Array) -> None:
        with pytest.raises(ValueError, match="head"):
            NativeModel(bert, Linear(head.astype(np.float32)))

    @pytest.mark.parametrize(
        "words",
        [
            np.ones((50, 16), np.float64),
            np.ones((50, 16), np.float16),
            np.ones((50, 32), np.float32)[:, ::2],
            np.ones((16, 50), np.float32).T,
            np.ones(16, np.float32),
            None,
        ],
    )
    def test_weights_of_another_kind(self, bert: Bert, words: object) -> None:
        with pytest.raises(TypeError):
            NativeModel(bert._replace(words=words), None)  # type: ignore[arg-type]

    def test_weights_that_are_not_aligned(self, bert: Bert) -> None:
        data = np.zeros(50 * 16 * 4 + 1, np.uint8)
        words = np.frombuffer(data, np.float32, 50 * 16, offset=1).reshape(50, 16)
        with pytest.raises(ValueError, match="words is not aligned"):
            NativeModel(bert._replace(words=words), None)


def with_layer(bert: Bert, **parts: Linear) -> Bert:
    return bert._replace(layers=[bert.layers[0], bert.layers[1]._replace(**parts)])


def test_weights_live_as_long_as_the_model() -> None:
    def make() -> tuple[NativeModel, NDArray[np.float32]]:
        bert = random_bert(11)
        (states,) = NativeModel(bert, None).encode([[1, 2, 3]])
        return NativeModel(bert, None), states

    model, expected = make()
    rubbish = [np.full(100_000, np.nan, dtype=np.float32) for _ in range(50)]
    (found,) = model.encode([[1, 2, 3]])
    assert found.tobytes() == expected.tobytes()
    assert len(rubbish) == 50
