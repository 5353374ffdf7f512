"""A cross-encoder that has learned something, for tests where the meaning of a score matters.

The first three layers of the encoder 'minilm' under a new head, fitted in ten seconds to tell the
memory that some words are from among others. Load it from any test folder:
    write_fitted = runpy.run_path("tests/rerank/fitted_cross_encoder.py")["write_fitted"]
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

YEAR = Path(__file__).parents[2] / "examples" / "year"

STEPS = 30
QUERIES = 5  # per step
OTHERS = 4  # wrong texts per query
TOKENS = 40
LEARNING_RATE = 3e-4  # three times that for the head


def read_lines(name: str) -> list[dict[str, Any]]:
    with (YEAR / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def unseen() -> list[tuple[str, str]]:
    """Questions, each with a memory that answers it: the model has seen neither."""
    texts = {memory["id"]: memory["text"] for memory in read_lines("memories.jsonl")}
    return [
        (question["text"], texts[question["relevant"][0]])
        for question in read_lines("questions.jsonl")
    ]


def learned() -> list[str]:
    """The texts of memories that answer none of the questions."""
    answers = {name for question in read_lines("questions.jsonl") for name in question["relevant"]}
    return [line["text"] for line in read_lines("memories.jsonl") if line["id"] not in answers]


def write_fitted(folder: Path) -> Path:
    """Fit a cross-encoder and write it as `save_pretrained` does; always the same one."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from memstore.encoders.bert_weights import find_model_folder
    from memstore.local_models import no_progress_bars

    source = find_model_folder()
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    chance = random.Random(0)
    short = [text for text in learned() if len(text.split()) <= 45]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same sums everywhere, and no waiting on a busy machine
    with torch.random.fork_rng(devices=[]), no_progress_bars():
        torch.manual_seed(0)
        config = BertConfig.from_pretrained(source, num_labels=1, num_hidden_layers=3)
        model = BertForSequenceClassification(config).eval()  # without dropout
        model.bert.load_state_dict(load_file(source / "model.safetensors"), strict=False)
        model.bert.embeddings.requires_grad_(False)
        head = [*model.bert.pooler.parameters(), *model.classifier.parameters()]
        layers = list(model.bert.encoder.parameters())
        optimizer = torch.optim.AdamW(
            [{"params": layers, "lr": LEARNING_RATE}, {"params": head, "lr": 3 * LEARNING_RATE}],
            weight_decay=0.0,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1, (step + 1) / 5) * (1 - step / STEPS)
        )
        for _ in range(STEPS):
            drawn = chance.sample(short, QUERIES + OTHERS)
            queries, documents = [], []
            for right in drawn[:QUERIES]:
                others = chance.sample([text for text in drawn if text != right], OTHERS)
                queries += [some_words(right, chance)] * (1 + OTHERS)
                documents += [right, *others]
            batch = tokenizer(
                queries,
                documents,
                padding=True,
                truncation=True,
                max_length=TOKENS,
                return_tensors="pt",
            )
            scores = model(**batch).logits.view(QUERIES, 1 + OTHERS)
            loss = torch.nn.functional.cross_entropy(scores, torch.zeros(QUERIES, dtype=torch.long))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        model.save_pretrained(folder)
    torch.set_num_threads(threads)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source / name, folder / name)
    return folder


def some_words(text: str, chance: random.Random) -> str:
    """From one place in the text, some of the words, in any order."""
    words = text.split()
    count = chance.randint(3, 8)
    start = chance.randrange(max(1, len(words) - 2 * count))
    near = words[start : start + 2 * count]
    return " ".join(chance.sample(near, min(count, len(near))))
