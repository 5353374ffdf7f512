"""Words that ask for the present or for the past, and the company in which they do not.

Each rule gets the words before and after the cue within its clause. A rule says no in doubt: a cue
missed leaves the profile's weight, a cue read where none was meant changes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

Kind = Literal["current", "historical"]
_Rule = Callable[[Sequence[str], Sequence[str]], bool]  # (words before, words after)


@dataclass(frozen=True, slots=True)
class Cue:
    """Words that fired: `text[start:end]`."""

    kind: Kind
    start: int
    end: int


def find_cues(text: str) -> list[Cue]:
    """Return the cues of a text, in order.

    >>> [text[cue.start : cue.end] for text in ["Is it raining now?"] for cue in find_cues(text)]
    ['now']
    """
    cues = []
    titled = _LOWER.search(text) is None
    for clause in _clauses(text):
        words = [word.group().replace("’", "'") for word in clause]
        lowered = [word.lower() for word in words]
        place = 0
        while place < len(words):
            found = _phrase_at(lowered, place)
            if found is None:
                place += 1
                continue
            length, kind, rule = found
            past = place + length
            first, last = clause[place], clause[past - 1]
            # what is long before or after says nothing of a cue, and would make the search slow
            before, after = words[max(0, place - 8) : place], words[past : past + 8]
            # a capital within a clause is a name's (Apocalypse Now), but not in a title
            named = not titled and any(map(_is_name, words[max(place, 1) : past]))
            if not named and rule(before, after):
                cues.append(Cue(kind, first.start(), last.end()))
            place = past
    return cues


# "first-class" and "I'm" are one word each
_WORD = re.compile(r"[^\W_]+(?:[-'’][^\W_]+)*")
_CLAUSE_END = re.compile(r"[^\w\s'’-]|\n")
_LOWER = re.compile(r"(?<![\w'’-])[a-z]{4,}")


def _clauses(text: str) -> Iterator[list[re.Match[str]]]:
    """Yield the words between one mark of punctuation and the next."""
    ends = [-1, *(match.start() for match in _CLAUSE_END.finditer(text)), len(text)]
    for before, end in pairwise(ends):
        yield list(_WORD.finditer(text, before + 1, end))


def _is_name(word: str) -> bool:
    return word[0].isupper() and not word.isupper() and word.lower() not in _MONTHS


def _phrase_at(words: Sequence[str], place: int) -> tuple[int, Kind, _Rule] | None:
    for length in range(_LONGEST, 0, -1):
        found = _PHRASES.get(tuple(words[place : place + length]))
        if found is not None and place + length <= len(words):
            return length, *found
    return None


def _set(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_SUBJECTS = _set("i we you he she they it who there everyone everybody nobody people")
_POSSESSIVES = _set("my our your his her its their whose")
_CONTRACTED = _set("what's who's that's it's let's he's she's there's here's where's how's when's")
_MODALS = _set("should must can could will would shall may might do does need have has want to")
_BE = _set(
    "am is are was were be been being isn't aren't wasn't weren't ain't i'm we're you're they're "
    "he's she's it's who's that's what's there's"
)
_ACCUSTOMED = _BE | _set(
    "get gets got getting gotten become becomes became becoming grow grows grew grown growing have "
    "has had having haven't hasn't hadn't i've we've you've they've feel seem"
)
_AHEAD = _set("today tomorrow tonight next upcoming")


def _at(words: Sequence[str], place: int) -> str:
    """Return the lower-case word at a place from either end; empty where there is none."""
    inside = -len(words) <= place < len(words)
    return words[place].lower() if inside else ""


def _is_possessive(word: str) -> bool:
    return word in _POSSESSIVES or (word.endswith("'s") and word not in _CONTRACTED)


def _is_written_as_name(words: Sequence[str]) -> bool:
    """Return whether the last word has a capital without being the first of its clause."""
    return len(words) > 1 and words[-1][0].isupper() and words[-1].lower() not in _SUBJECTS


def _always(before: Sequence[str], after: Sequence[str]) -> bool:
    return True


def _now(before: Sequence[str], after: Sequence[str]) -> bool:
    last, following = _at(before, -1), _at(after, 0)
    if last == "from":
        return following == "on"
    if last in {"by", "until", "till", "before", "every"} or following == "that":
        return False
    if last == "to" and _at(before, -2) == "up":
        return False
    if _at(before, -2) == "any" and last in {"day", "time", "minute", "moment", "second"}:
        return False
    return (following, _at(after, 1)) not in {
        ("and", "then"),
        ("and", "again"),
        ("or", "never"),
    }


_FLOWING = _set(
    "ocean sea river water tidal gulf rip eddy air wind warm cold strong electric electrical "
    "electricity alternating direct induced magnetic high low maximum against"
)
_AFTER_A_FLOW = _set(
    "through of in into is was will can would flow flows flowing flowed runs running carry "
    "carries carrying carried draw draws density along across between to from at that which with "
    "against near under over when if account accounts"
)
_OTHER_TIMES = _set("former previous past prior future next planned old new upcoming desired")


def _current(before: Sequence[str], after: Sequence[str]) -> bool:
    """The adjective, not what flows: that has no noun after it."""
    last, following = _at(before, -1), _at(after, 0)
    if last in _FLOWING:
        return False
    if following in {"and", "or"}:
        return _at(after, 1) in _OTHER_TIMES
    if not following:
        said = last in _BE | {"still", "not", "stay", "stays", "remain", "remains"}
        asked = _at(before, 0) in _BE and last not in {"the", "a", "an", "of", "any", "no", "much"}
        return said or asked
    return following not in _AFTER_A_FLOW


def _latest(before: Sequence[str], after: Sequence[str]) -> bool:
    deadline = (_at(before, -2), _at(before, -1)) == ("at", "the")
    if deadline and _at(after, 0) in {"", "by", "on", "in", "before", "for", "at", "or", "and"}:
        return False
    return _at(after, 0) != "possible"


def _these_days(before: Sequence[str], after: Sequence[str]) -> bool:
    return _at(before, -1) not in {"of", "on", "during", "for", "between", "in"}


def _at_the_moment(before: Sequence[str], after: Sequence[str]) -> bool:
    return _at(after, 0) not in {"of", "when", "that", "i", "we", "you", "he", "she", "they", "it"}


_RANKED = _set(
    "name names floor class aid lady person half quarter row rows column page pages line lines "
    "chapter verse item items step steps letter letters digit digits word words paragraph question "
    "option cousin cousins degree language base prize place principles choice edition gear thing "
    "things hand light glance sight blush look street avenue responder responders officer string "
    "tier party round instance few couple two three four five six seven eight nine ten "
    "dozen hundred thousand of and or in on to from at as for come served last second world"
)
_SPANS = _set("day week weekend month year decade hour minute")
_NOT_A_SUBJECT = _set(
    "a an at in on of from for to and or by with come came go goes went put ladies family safety"
)

_PARTICIPLES = _set("seen made built sold told written shown known found held given taken sent")


def _first(before: Sequence[str], after: Sequence[str]) -> bool:
    """The earliest in time, not the one at the head of a list, a building or a name."""
    last, following = _at(before, -1), _at(after, 0)
    if not following or following in _RANKED or following[0].isdigit():
        return False
    if following in _SPANS and _at(after, 1) == "of":
        return False
    if any(word.lower() in _AHEAD for word in after):
        return False
    if last == "the":
        return _the_first(before, after)
    if _is_possessive(last):
        return True
    if last in _SUBJECTS:  # "I first met", not "should I first meet" or "I first need"
        return following not in _MODALS and _at(before, -2) not in _MODALS
    if last in {"was", "were", "had"}:
        return True
    if last in _NOT_A_SUBJECT:
        return False
    asked = {word.lower() for word in before[-4:]}
    if "did" in asked:
        return True
    happened = following.endswith("ed") or following in _PARTICIPLES
    return happened and (_is_written_as_name(before) or not asked.isdisjoint({"was", "were"}))


def _the_first(before: Sequence[str], after: Sequence[str]) -> bool:
    if _at(after, 0) == "time":
        return True
    told = 2 if _at(after, 1) == "that" else 1  # the first car (that) I had
    if _at(after, told) in _SUBJECTS:
        return _at(after, told + 1) not in _MODALS
    return _at(before, -2) in {"was", "were"}


def _at_first(before: Sequence[str], after: Sequence[str]) -> bool:
    ranked = _RANKED - _set("and or in on to from as for of")
    return _at(after, 0) not in ranked | _set(
        "opportunity impression impressions attempt try chance contact reading bite hearing"
    )


_HABITS = _set("be have live work like love hate think believe know own belong want seem look")
_OBJECTS = _set(
    "the a an this that these those it them him me us my our your his her their its all such"
)
_ENDING_ALIKE = _set("sing bring ring swing cling spring sting string wring")
_ADVERBS = _set(
    "also always never often still really once only mainly commonly usually sometimes not ever "
    "just all both typically generally primarily widely now so quite well"
)


def _used_to(before: Sequence[str], after: Sequence[str]) -> bool:
    """What was once the habit, not what one is accustomed to nor what a tool serves."""
    verb = _at(after, 0)
    accustomed_to = verb.endswith("ing") and verb not in _ENDING_ALIKE
    if not verb or verb in _OBJECTS or accustomed_to:
        return False
    told = [word for word in before if word.lower() not in _ADVERBS]
    last, prior = _at(told, -1), _at(told, -2)
    if last in _ACCUSTOMED:
        return False
    if last in _SUBJECTS or _is_written_as_name(told):  # not "is it used to open doors"
        return prior not in _ACCUSTOMED
    if _is_possessive(prior):  # "my dad used to smoke", not "is my knife used to cut"
        return _at(told, -3) not in _ACCUSTOMED
    return _did_before(told) or verb in _HABITS


def _use_to(before: Sequence[str], after: Sequence[str]) -> bool:
    return _did_before(before) and _at(after, 0) in _HABITS


def _did_before(words: Sequence[str]) -> bool:
    return any(word.lower() in {"did", "didn't"} for word in words[-4:])


def _back_in(before: Sequence[str], after: Sequence[str]) -> bool:
    """Not a return ahead; nor a month with its year, a date of which is known if it has passed."""
    ahead = any(word.lower() in {"will", "i'll", "we'll", "you'll", "they'll"} for word in before)
    returning = _set("be am are is i'm we're you're they're come comes coming go get")
    returns = not returning.isdisjoint((_at(before, -1), _at(before, -2)))
    return not ahead and not returns and not _at(after, 0).isdigit()


_MONTHS = _set(
    "january february march april may june july august september october november december"
)
_THEN = (
    "spring|summer|autumn|fall|winter|the spring|the summer|the autumn|the fall|the winter"
    "|the day|the days|those days|the old days|high school|childhood|my childhood|my youth|my day"
    "|the fifties|the sixties|the seventies|the eighties|the nineties|the 50s|the 60s|the 70s"
    "|the 80s|the 90s|the 1950s|the 1960s|the 1970s|the 1980s|the 1990s|the 2000s|the 2010s"
)
_RULES: dict[Kind, dict[str, _Rule]] = {
    "current": {
        "current": _current,
        "currently": _always,
        "now": _now,
        "right now": _always,
        "as of now": _always,
        "as of today": _always,
        "nowadays": _always,
        "these days": _these_days,
        "at the moment": _at_the_moment,
        "at present": _always,
        "latest": _latest,
        "newest": _always,
        "most recent": _always,
        "most recently": _always,
    },
    "historical": {
        "originally": _always,
        "initially": _always,
        "previously": _always,
        "formerly": _always,
        "back then": _always,
        "first": _first,
        "at first": _at_first,
        "used to": _used_to,
        "use to": _use_to,
        **{f"back in {then}": _back_in for then in (*sorted(_MONTHS), *_THEN.split("|"))},
    },
}
_PHRASES: dict[tuple[str, ...], tuple[Kind, _Rule]] = {
    tuple(phrase.split()): (kind, rule)
    for kind, rules in _RULES.items()
    for phrase, rule in rules.items()
}
_LONGEST = max(len(phrase) for phrase in _PHRASES)
