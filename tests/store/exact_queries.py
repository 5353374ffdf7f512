"""A made-up store of things that a query names exactly, each among others that are nearly the same."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass

KINDS = 10  # of each of the kinds of things
ALIKE = 4  # memories in which something stands that is nearly the same


@dataclass(frozen=True)
class Asked:
    """Something that stands in one memory alone: the thing, a sentence that asks for it, and the
    key of the memory.
    """

    kind: str
    bare: str
    sentence: str
    key: str


Make = Callable[[random.Random], str]
Change = Callable[[random.Random, str], str]

_SYLLABLES = ("bra zel kor min thu vas lin dro pek sul mar gwy hest ork ul tam nev jis quo fen").split()
_THINGS = ("boiler lantern orchard ferry archive turbine cellar bridge canal pantry loom quarry").split()
_PEOPLE = "the auditor,the night shift,our supplier,the clerk,the new intern,a neighbour".split(",")


def _word(chance: random.Random, syllables: int) -> str:
    return "".join(chance.choices(_SYLLABLES, k=syllables))


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.digits[1:], k=count))


def _swapped(chance: random.Random, thing: str) -> str:
    """Return a thing with two neighbouring digits or letters swapped, or one of them replaced."""
    places = [place for place, one in enumerate(thing) if one.isalnum()]
    pairs = [(a, b) for a, b in zip(places, places[1:], strict=False) if thing[a] != thing[b]]
    changed = list(thing)
    if pairs and chance.random() < 0.6:
        a, b = chance.choice(pairs)
        changed[a], changed[b] = changed[b], changed[a]
        return "".join(changed)
    at = chance.choice(places)
    changed[at] = chance.choice([one for one in string.digits + "bdkmz" if one != thing[at].lower()])
    return "".join(changed)


def _longer(chance: random.Random, thing: str) -> str:
    return thing + chance.choice([".1", ".bak", "-b", "_2", ".org"])


def _quote(chance: random.Random) -> str:
    return f"the {_word(chance, 2)} {chance.choice(_THINGS)} is {chance.choice(_THINGS)} {_digits(chance, 1)}"


def _other_quote(chance: random.Random, thing: str) -> str:
    words = thing.split()
    at = chance.randrange(1, len(words))
    words[at - 1], words[at] = words[at], words[at - 1]
    return " ".join(words)


_MAKERS: dict[str, tuple[Make, tuple[Change, ...], str]] = {
    "invoice": (lambda c: f"INV-{_digits(c, 5)}", (_swapped,), "what happened to {}?"),
    "error": (lambda c: f"ERR-{_digits(c, 4)}", (_swapped, _longer), "how do I get rid of {}"),
    "code": (
        lambda c: f"E_{_word(c, 1).upper()}_{_digits(c, 4)}",
        (_swapped, _longer),
        "the log says {} again",
    ),
    "hexadecimal": (lambda c: f"0x{c.getrandbits(32):08x}", (_swapped,), "who has seen {} before?"),
    "path": (
        lambda c: f"/etc/{_word(c, 2)}/{_word(c, 1)}.conf",
        (_swapped, _longer),
        "what did we write in {}?",
    ),
    "version": (
        lambda c: f"{_digits(c, 1)}.{_digits(c, 2)}.{_digits(c, 1)}",
        (_swapped, _longer),
        "is {} safe to install?",
    ),
    "address": (
        lambda c: f"{_word(c, 2)}@{_word(c, 2)}.com",
        (_swapped, _longer),
        "when did {} write to us?",
    ),
    "function": (
        lambda c: f"{_word(c, 1)}{_word(c, 1).title()}{_word(c, 1).title()}",
        (_swapped,),
        "where is {} called?",
    ),
    "name": (lambda c: _word(c, 3).title(), (_swapped,), "what do we know of {}?"),
    "quoted": (_quote, (_other_quote,), 'who said "{}" and when?'),
}
_SENTENCES = (
    "{who} wrote down {thing} beside the {place}",
    "{thing} came up again when {who} looked at the {place}",
    "Near the {place}, {who} asked about {thing}",
)


def exact_queries(seed: int, memories: int) -> tuple[list[tuple[str, str]], list[Asked]]:
    """Return (key, text) of that many memories in a mixed order, and 100 things to ask."""
    chance = random.Random(seed)
    texts: list[tuple[str, str]] = []
    asked: list[Asked] = []
    for kind, (make, changes, sentence) in _MAKERS.items():
        for number in range(KINDS):
            thing = make(chance)
            key = f"{kind}-{number}"
            texts.append((key, _say(chance, thing)))
            others = {thing}
            for place in range(ALIKE):
                while (other := changes[place % len(changes)](chance, thing)) in others:
                    pass
                others.add(other)
                texts.append((f"{key}-{place}", _say(chance, other)))
            bare = f'"{thing}"' if kind == "quoted" else thing
            asked.append(Asked(kind, bare, sentence.format(thing), key))
    for number in range(memories - len(texts)):
        texts.append((f"other-{number}", _say(chance, _other(chance))))
    chance.shuffle(texts)
    return texts, asked


def _other(chance: random.Random) -> str:
    return f"a {chance.choice(_THINGS)} with {_digits(chance, 1)} {chance.choice(_THINGS)}s"


def _say(chance: random.Random, thing: str) -> str:
    return chance.choice(_SENTENCES).format(
        thing=thing, who=chance.choice(_PEOPLE), place=chance.choice(_THINGS)
    )


def firsts(found: Iterator[str | None], asked: list[Asked]) -> list[Asked]:
    """Return what was not found first."""
    return [one for one, key in zip(asked, found, strict=True) if key != one.key]
