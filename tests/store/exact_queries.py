"""A store of things that queries name exactly, each among others that are nearly the same."""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Callable
from dataclasses import dataclass

OF_A_KIND = 10
ALIKE = 4  # memories in which something stands that is nearly the same
_SYLLABLES = (
    *("bra", "zel", "kor", "min", "thu", "vas", "lin", "dro", "pek", "sul"),
    *("mar", "gwy", "hest", "ork", "ul", "tam", "nev", "jis", "quo", "fen"),
)
_THINGS = (
    *("boiler", "lantern", "orchard", "ferry", "archive", "turbine"),
    *("cellar", "bridge", "canal", "pantry", "loom", "quarry"),
)
_PEOPLE = (
    *("the auditor", "the night shift", "our supplier"),
    *("the clerk", "the new intern", "a neighbour"),
)
_SENTENCES = (
    "{who} wrote down {thing} beside the {place}",
    "{thing} came up again when {who} looked at the {place}",
    "Near the {place}, {who} asked about {thing}",
)
_ENDINGS = (".1", ".bak", "-b", "_2", ".org")


@dataclass(frozen=True)
class Asked:
    """Something that one memory alone holds: as a query of its own, in a sentence, and whose."""

    bare: str
    sentence: str
    key: str


def exact_queries(seed: int, memories: int) -> tuple[list[dict[str, str]], list[Asked]]:
    """Return that many memories (at least 500) in a mixed order, and 100 things to ask."""
    chance = random.Random(seed)
    made: list[dict[str, str]] = []
    asked: list[Asked] = []
    for kind, (make, changes, sentence) in _KINDS.items():
        for number in range(OF_A_KIND):
            key, thing = f"{kind} {number}", make(chance)
            made.append({"key": key, "text": _said(chance, thing)})
            others = {thing}
            for place in range(ALIKE):
                while (other := changes[place % len(changes)](chance, thing)) in others:
                    pass
                others.add(other)
                made.append({"key": f"{key} {place}", "text": _said(chance, other)})
            bare = f'"{thing}"' if kind == "quoted" else thing
            asked.append(Asked(bare, sentence.format(thing), key))
    for number in range(memories - len(made)):
        thing = f"a {chance.choice(_THINGS)} with {_digits(chance, 1)} wheels"
        made.append({"key": f"other {number}", "text": _said(chance, thing)})
    chance.shuffle(made)
    return made, asked


def _said(chance: random.Random, thing: str) -> str:
    who, place = chance.choice(_PEOPLE), chance.choice(_THINGS)
    return chance.choice(_SENTENCES).format(thing=thing, who=who, place=place)


def _word(chance: random.Random, syllables: int) -> str:
    return "".join(chance.choices(_SYLLABLES, k=syllables))


def _digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices(string.digits[1:], k=count))


def _quote(chance: random.Random) -> str:
    name, (one, other) = _word(chance, 2), chance.sample(_THINGS, 2)
    return f"the {name} {one} is {other} {_digits(chance, 1)}"


def _changed(chance: random.Random, thing: str) -> str:
    """Return a thing with two of its characters in the other order, or one replaced."""
    places = [place for place, one in enumerate(thing) if one.isalnum()]
    swaps = [pair for pair in itertools.pairwise(places) if thing[pair[0]] != thing[pair[1]]]
    written = list(thing)
    if swaps and chance.random() < 0.6:
        a, b = chance.choice(swaps)
        written[a], written[b] = written[b], written[a]
    else:
        at = chance.choice(places)
        written[at] = chance.choice([*({*string.digits} - {written[at]})])
    return "".join(written)


def _longer(chance: random.Random, thing: str) -> str:
    return thing + chance.choice(_ENDINGS)


def _reordered(chance: random.Random, thing: str) -> str:
    words = thing.split()
    at = chance.randrange(1, len(words))
    words[at - 1], words[at] = words[at], words[at - 1]
    return " ".join(words)


_Make = Callable[[random.Random], str]
_Change = Callable[[random.Random, str], str]
_KINDS: dict[str, tuple[_Make, tuple[_Change, ...], str]] = {
    "invoice": (lambda c: f"INV-{_digits(c, 5)}", (_changed,), "what happened to {}?"),
    "error": (lambda c: f"ERR-{_digits(c, 4)}", (_changed, _longer), "how do I get rid of {}"),
    "code": (
        lambda c: f"E_{_word(c, 1).upper()}_{_digits(c, 4)}",
        (_changed, _longer),
        "the log says {} again",
    ),
    "hexadecimal": (
        lambda c: f"0x{c.getrandbits(32):08x}",
        (_changed,),
        "who has seen {} before?",
    ),
    "path": (
        lambda c: f"/etc/{_word(c, 2)}/{_word(c, 1)}.conf",
        (_changed, _longer),
        "what did we write in {}?",
    ),
    "version": (
        lambda c: ".".join(_digits(c, count) for count in (1, 2, 1)),
        (_changed, _longer),
        "is {} safe to install?",
    ),
    "address": (
        lambda c: f"{_word(c, 2)}@{_word(c, 2)}.com",
        (_changed, _longer),
        "when did {} write to us?",
    ),
    "function": (
        lambda c: _word(c, 1) + "".join(_word(c, 1).title() for _ in range(2)),
        (_changed,),
        "where is {} called?",
    ),
    "name": (lambda c: _word(c, 3).title(), (_changed,), "what do we know of {}?"),
    "quoted": (_quote, (_reordered,), 'who said "{}" and when?'),
}
