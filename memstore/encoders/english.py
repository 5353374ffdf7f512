"""The rules of English that weight a query's tokens: questions and stopwords."""

from __future__ import annotations

import re
from typing import Final

QUESTION_MARKS: Final = "?？؟"

# "may" is left out: at the start of a query it is the month more often than the verb.
QUESTION_OPENERS: Final = frozenset(
    """
    what who whom whose when where which why how
    am is are was were be do does did has have had can could will would shall should might must
    """.split()  # noqa: SIM905  one word per line would hide the groups
)

# Function words, and the pieces that contractions leave behind ("don", "t", "ll").
STOPWORDS: Final = frozenset(
    """
    a an the this that these those
    i me my mine myself we us our ours ourselves you your yours yourself yourselves
    he him his himself she her hers herself it its itself they them their theirs themselves
    what which who whom whose when where why how
    am is are was were be been being do does did doing done have has had having
    can could will would shall should may might must ought
    and or but nor so if then than because as until while although though
    of at by for with about against between into through during before after above below
    to from up down in out on off over under upon within without
    again further once here there all any both each few more most other some such
    no not only own same too very just also ever
    s t d ll m re ve don doesn didn isn aren wasn weren hasn haven hadn won wouldn shouldn couldn
    """.split()  # noqa: SIM905  one word per line would hide the groups
)

_FIRST_WORD: Final = re.compile(r"[a-z]+")


def is_question(text: str) -> bool:
    """Tell whether a text ends in a question mark or begins as an English question does.

    >>> is_question("who's Ana?"), is_question("Where is Ana"), is_question("Ana's new flat")
    (True, True, False)
    """
    stripped = text.strip().lower()
    if stripped.endswith(tuple(QUESTION_MARKS)):
        return True
    first = _FIRST_WORD.match(stripped.lstrip("\"'“‘¿("))
    return first is not None and first.group() in QUESTION_OPENERS
