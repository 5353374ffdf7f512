"""The script that made the shipped adapter, and the conversations it was made of."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from minilm_training import matching
from minilm_training.conversations import Conversation, Question, Turn, read, read_folder
from minilm_training.model import AdaptedMiniLM, between
from safetensors.numpy import load_file

from memstore.encoders import DocumentText, bert_weights
from memstore.encoders.bert import Linear, NativeModel, read_bert
from memstore.encoders.bert_weights import WEIGHTS_NAME, WeightFile
from memstore.encoders.minilm import ADAPTER_FILE, HEADS, LAYERS, NORM_EPSILON
from memstore.encoders.minilm_windows import Windows
from memstore.index import token_weights, weighted_scores

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_minilm"
CONVERSATIONS = SCRIPT.parent / "minilm_training" / "conversations"
TEXT = """\
# kind: friends
## 2023-04-02
1 Nadia: I signed up for those cello lessons.
2 Tomasz: With the teacher near the canal?
3 Nadia: The very one, Tomasz, on Mondays.
## 2023-04-19
4 Tomasz: My sister has a puppy.
## questions
Who teaches Nadia, and when? -> 2, 3
the pet of Tomasz's sister -> 4
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "friends-01.txt"
    path.write_text(TEXT)
    return path


class TestConversations:
    def test_a_file_is_read_as_it_is_written(self, file: Path) -> None:
        found = read(file)
        assert (found.name, found.kind) == ("friends-01", "friends")
        assert [turn.session for turn in found.turns] == [0, 0, 0, 1]
        assert found.turns[3] == Turn(1, "Tomasz", "Tomasz: My sister has a puppy.")
        assert found.questions[0] == Question("Who teaches Nadia, and when?", (1, 2))

    def test_context_is_what_precedes_in_the_same_session(self, file: Path) -> None:
        found = read(file)
        assert found.context(2, 2) == [turn.text for turn in found.turns[:2]]
        assert found.context(2, 1) == [found.turns[1].text]
        assert found.context(3, 2) == []
        file.write_text(TEXT.replace("friends", "notes"))
        assert read(file).context(2, 2) == []

    def test_people_are_renamed_wherever_they_are_mentioned(self, file: Path) -> None:
        renamed = read(file).renamed(["Nadia", "Ola", "Per"], random.Random(1))
        everything = " ".join(
            [*(turn.text for turn in renamed.turns), *map(str, renamed.questions)]
        )
        assert "Nadia" not in everything
        assert "Tomasz" not in everything
        assert {turn.speaker for turn in renamed.turns} == {"Nadia", "Tomasz"}, "as they were"
        assert renamed.questions[1].text in {"the pet of Ola's sister", "the pet of Per's sister"}

    @pytest.mark.parametrize(
        ("line", "other", "message"),
        [
            ("2 Tomasz:", "3 Tomasz:", r"friends-01\.txt:4: turn 3 comes after 1"),
            ("-> 4", "-> 5", r"friends-01\.txt:10: there are turns 1 to 4"),
            ("-> 4", "-> 0", "there are turns 1 to 4"),
            ("-> 4", "4", "cannot be read"),
            ("## 2023-04-19", "## spring", r"friends-01\.txt:6: cannot be read"),
            ("# kind: friends\n", "", "no '# kind:' line"),
        ],
    )
    def test_what_cannot_be_read_is_named(
        self, file: Path, line: str, other: str, message: str
    ) -> None:
        file.write_text(TEXT.replace(line, other))
        with pytest.raises(SystemExit, match=message):
            read(file)

    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(SystemExit, match="holds no conversations"):
            read_folder(tmp_path)

    def test_those_that_ship_are_many_and_of_many_kinds(self) -> None:
        found = read_folder(CONVERSATIONS)
        kinds = Counter(one.kind for one in found)
        assert len(kinds) == 8
        assert min(kinds.values()) >= 12
        assert sum(len(one.questions) for one in found) > 6_000
        texts = Counter(turn.text for one in found for turn in one.turns if len(turn.text) > 60)
        assert max(texts.values()) == 1, "nothing was written twice"


def test_scores_are_those_of_the_store() -> None:
    import torch

    rng = np.random.default_rng(0)

    def text(tokens: int) -> np.ndarray:
        rows = rng.standard_normal((tokens, 8), dtype=np.float32)
        unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    queries, documents = [text(n) for n in (3, 1, 6)], [text(n) for n in (4, 1, 9, 2)]
    factors = [rng.random(len(rows)).astype(np.float32) for rows in queries]
    scored = matching.scores(
        [torch.from_numpy(rows) for rows in queries],
        [torch.from_numpy(rows) for rows in documents],
        [torch.from_numpy(own) for own in factors],
    )
    for row, (query, factor) in enumerate(zip(queries, factors, strict=True)):
        maxima = np.stack([(rows @ query.T).max(axis=0) for rows in documents])
        weights = token_weights(maxima, factor, contrast=True)
        np.testing.assert_allclose(scored[row], weighted_scores(maxima, weights), atol=2e-5)


def test_answers_do_not_compete_with_each_other() -> None:
    import torch

    answers = torch.tensor([[True, True, False]])
    far, near = torch.tensor([[0.9, 0.1, 0.0]]), torch.tensor([[0.9, 0.9, 0.0]])
    assert matching.loss(near, answers) < matching.loss(far, answers)
    alone = matching.loss(far[:, [0, 2]], answers[:, [0, 2]])
    weak = matching.loss(far[:, [1, 2]], answers[:, [1, 2]])
    assert matching.loss(far, answers) == pytest.approx(float((alone + weak) / 2))
    np.testing.assert_allclose(matching.ndcg(far, answers), [1.0], rtol=1e-6)
    last_first = torch.tensor([[0.1, 0.0, 0.9]])
    expected = (1 / np.log2(3) + 1 / np.log2(4)) / (1 + 1 / np.log2(3))
    np.testing.assert_allclose(matching.ndcg(last_first, answers), [expected], rtol=1e-6)


def test_what_is_trained_is_what_the_encoder_computes() -> None:
    """In torch and in C++, before anything was trained and after."""
    import torch

    folder = bert_weights.find_model_folder()
    weights = WeightFile(folder / WEIGHTS_NAME)
    bert = read_bert(weights, layers=LAYERS, heads=HEADS, epsilon=NORM_EPSILON)
    rng = np.random.default_rng(0)
    head = Linear(rng.standard_normal((16, 384), dtype=np.float32), np.zeros(16, np.float32))
    torch.manual_seed(0)
    model = AdaptedMiniLM(bert, head, rank=4)
    windows = Windows(folder).documents(
        [DocumentText("In Lisbon.", ("Where do you live?",)), DocumentText("Ana, 2023. " * 40)]
    )

    def assert_same(native: NativeModel) -> list[np.ndarray]:
        with torch.inference_mode():
            trained = [rows.numpy() for rows in model.encode(windows)]
        for rows, window in zip(trained, windows, strict=True):
            (found,) = native.encode([window.ids])
            np.testing.assert_allclose(rows, found[window.kept], atol=1e-3)
        return trained

    before = assert_same(NativeModel(bert, head))
    with torch.no_grad():
        for part in model.parameters():  # to what half precision can hold
            part.copy_((part + 0.02 * torch.randn_like(part)).half())
    changes = {name: part.astype(np.float32) for name, part in model.tensors().items()}
    changed = read_bert(weights, layers=LAYERS, heads=HEADS, epsilon=NORM_EPSILON, changes=changes)
    head = Linear(changes["head.weight"], changes["head.bias"])
    after = assert_same(NativeModel(changed, head))
    assert not np.allclose(before[0], after[0], atol=0.1)


def test_a_share_of_training_is_that_share_of_what_it_changed() -> None:
    rng = np.random.default_rng(0)

    def half(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float16)

    start = {"a.down": half(4, 8), "a.up": np.zeros((8, 4), np.float16), "a.bias": half(8)}
    trained = {"a.down": half(4, 8), "a.up": half(8, 4), "a.bias": half(8)}
    found = between(start, trained, 0.25)

    def change(tensors: dict[str, np.ndarray]) -> np.ndarray:
        product: np.ndarray = tensors["a.up"].astype(np.float32) @ tensors["a.down"]
        return product

    np.testing.assert_allclose(change(found), change(trained) / 4, atol=0.01)
    bias = 0.75 * start["a.bias"] + 0.25 * trained["a.bias"]
    np.testing.assert_allclose(found["a.bias"], bias, atol=0.01)
    assert {part.dtype for part in found.values()} == {np.dtype(np.float16)}


def test_the_same_conversations_make_the_same_file(file: Path, tmp_path: Path) -> None:
    def train(output: Path) -> str:
        options = ["--conversations", str(file.parent), "--output", str(output), "--epochs", "3"]
        result = subprocess.run(
            [sys.executable, str(SCRIPT), *options, "--device", "cpu", "--rank", "2"],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stderr

    # renaming needs more names than a conversation has people
    (file.parent / "friends-02.txt").write_text(
        TEXT.replace("Nadia", "Ola").replace("Tomasz", "Per")
    )
    outputs = [tmp_path / "one.safetensors", tmp_path / "two.safetensors"]
    for output in outputs:
        assert "2 conversations, 8 turns, 4 questions, 0 held out" in train(output)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    made, ships = load_file(outputs[0]), load_file(ADAPTER_FILE)
    assert made.keys() == ships.keys()
    assert {part.dtype for part in made.values()} == {np.dtype(np.float16)}
    assert made["head.weight"].shape[1] == 384
    assert any(part.any() for name, part in made.items() if name.endswith(".up"))


def test_the_shipped_adapter_is_small() -> None:
    assert ADAPTER_FILE.stat().st_size < 2_000_000
    assert all(np.isfinite(part).all() for part in load_file(ADAPTER_FILE).values())


def test_a_conversation_needs_no_people() -> None:
    found = Conversation("n", "notes", [Turn(0, "note", "note: x")], [Question("x", (0,))])
    assert found.renamed(["Ola"], random.Random(0)) is found
