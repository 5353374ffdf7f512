"""Reads the training conversations: plain text that people can write and correct.

    # kind: friends
    ## 2023-04-02
    1 Nadia: I signed up for those cello lessons.
    2 Tomasz: With the teacher near the canal?
    3 Nadia: The very one, on Mondays.
    ## questions
    Who teaches Nadia, and when? -> 2, 3

A date begins a session. Turn numbers run through the file; a question names the turns that answer
it, and no other turn of the file does. Documents are written the same way, one on each line.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

# Kinds whose texts do not follow from each other, though they may be of one date.
_UNCONNECTED = ("abstracts", "documents", "notes")

_KIND = re.compile(r"# kind: (\w+)")
_DATE = re.compile(r"## \d{4}-\d\d-\d\d")
_TURN = re.compile(r"(\d+) ([^\s:]+): (.+)")
_QUESTION = re.compile(r"(.+?) -> (\d+(?:, ?\d+)*)")


class Turn(NamedTuple):
    """`session` counts from 0 in the order of the file; `text` is "speaker: …"."""

    session: int
    speaker: str
    text: str


class Question(NamedTuple):
    """`answers` are places in the conversation's turns."""

    text: str
    answers: tuple[int, ...]


@dataclass(frozen=True)
class Conversation:
    name: str
    kind: str
    turns: Sequence[Turn]
    questions: Sequence[Question]

    def context(self, place: int, count: int) -> list[str]:
        """Return the texts of up to `count` turns that precede one in its session."""
        if self.kind in _UNCONNECTED:
            return []
        before = self.turns[max(0, place - count) : place]
        return [turn.text for turn in before if turn.session == self.turns[place].session]

    @property
    def people(self) -> list[str]:
        """Return the speakers that are called by a name."""
        speakers = {turn.speaker for turn in self.turns}
        return sorted(speaker for speaker in speakers if speaker[0].isupper())

    def renamed(self, names: Sequence[str], chance: random.Random) -> Conversation:
        """Return the same with other names for its people, wherever they are mentioned."""
        if not self.people:
            return self
        others = [name for name in names if name not in self.people]
        new = dict(zip(self.people, chance.sample(others, len(self.people)), strict=True))
        pattern = re.compile(rf"\b({'|'.join(map(re.escape, new))})\b")

        def replaced(text: str) -> str:
            return pattern.sub(lambda match: new[match[1]], text)

        return Conversation(
            self.name,
            self.kind,
            [turn._replace(text=replaced(turn.text)) for turn in self.turns],
            [question._replace(text=replaced(question.text)) for question in self.questions],
        )


def read_folder(folder: Path) -> list[Conversation]:
    """Return the conversations of a folder, in the order of their names."""
    paths = sorted(folder.glob("*.txt"))
    if not paths:
        raise SystemExit(f"{folder} holds no conversations (*.txt).")
    return [read(path) for path in paths]


def read(path: Path) -> Conversation:
    """Read a file; what cannot be read ends the program, with its line."""
    kind: str | None = None
    turns: list[Turn] = []
    questions: list[Question] = []
    session = -1
    asking = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        if asking and (match := _QUESTION.fullmatch(line.strip())):
            answers = tuple(sorted({int(place) - 1 for place in match[2].split(",")}))
            if answers[0] < 0 or answers[-1] >= len(turns):
                raise SystemExit(f"{path}:{number}: there are turns 1 to {len(turns)}: {line}")
            questions.append(Question(match[1], answers))
        elif match := _KIND.fullmatch(line.strip()):
            kind = match[1]
        elif line.strip() == "## questions":
            asking = True
        elif _DATE.fullmatch(line.strip()):
            session += 1
        elif session >= 0 and not asking and (match := _TURN.fullmatch(line.strip())):
            if int(match[1]) != len(turns) + 1:
                raise SystemExit(f"{path}:{number}: turn {match[1]} comes after {len(turns)}.")
            turns.append(Turn(session, match[2], f"{match[2]}: {match[3]}"))
        else:
            raise SystemExit(f"{path}:{number}: cannot be read: {line[:80]}")
    if kind is None or not questions:
        raise SystemExit(f"{path}: has no '# kind:' line or no questions.")
    return Conversation(path.stem, kind, turns, questions)
