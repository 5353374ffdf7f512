"""Questions that ask for the present or the past, and those that only look as if they did."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memstore.errors import BadInput
from memstore.scoring.cues import find_cues
from memstore.scoring.intent import Intent, read_intent
from memstore.scoring.profiles import PROFILES
from memstore.times import to_microseconds

BALANCED = PROFILES["balanced"]
NOW = "2026-06-01T12:00:00Z"


def at(written):
    return to_microseconds(written, name="at")


def last_before(written):
    return at(written) - 1


def read(text, *, temporal="auto", profile=BALANCED, moment=NOW):
    return read_intent(text, temporal=temporal, profile=profile, moment=at(moment))


CURRENT = [
    ("What is my current address?", "current"),
    ("Is this address current?", "current"),
    ("Is this current?", "current"),
    ("Which of these is still current?", "current"),
    ("List my current and former employers", "current"),
    ("Where does Alice currently live?", "currently"),
    ("Currently, who leads the team?", "Currently"),
    ("Where do I live now?", "now"),
    ("Who is CEO right now?", "right now"),
    ("From now on, which desk is mine?", "now"),
    ("What should I call her from now on?", "now"),
    ("What is the plan for now?", "now"),
    ("Now what is my phone number?", "Now"),
    ("Are there any changes now?", "now"),
    ("What's the latest?", "latest"),
    ("the LATEST version of the contract", "LATEST"),
    ("Look at the latest draft", "latest"),
    ("Which is the newest phone I own?", "newest"),
    ("my most recent dentist visit", "most recent"),
    ("What did I most recently order?", "most recently"),
    ("What does Bob eat these days?", "these days"),
    ("Who is my doctor as of today?", "as of today"),
    ("How many cats do we have as of now", "as of now"),
    ("What am I reading at the moment?", "at the moment"),
    ("Who nowadays runs the bakery?", "nowadays"),
    ("What Is My Current Job Title", "Current"),
    ("WHERE DO I LIVE NOW", "NOW"),
]
HISTORICAL = [
    ("What did I originally plan for the kitchen?", "originally"),
    ("What did I previously say about tea?", "previously"),
    ("Which firm did Ann formerly work for?", "formerly"),
    ("What was the dog initially called?", "initially"),
    ("When did I first meet Alice?", "first"),
    ("When did Alice Cooper first visit Rome?", "first"),
    ("Who first suggested the name?", "first"),
    ("the year we first moved", "first"),
    ("What was my first job?", "first"),
    ("What was Tom's first car?", "first"),
    ("What was Ann’s first laptop?", "first"),
    ("The first time I saw the sea", "first"),
    ("What was the first car that I had?", "first"),
    ("Which was the first flat we rented?", "first"),
    ("What was the first price quoted?", "first"),
    ("Where was the album first released?", "first"),
    ("The bar Alice first visited", "first"),
    ("Where was it first seen?", "first"),
    ("What was my first day like?", "first"),
    ("What did she say at first?", "at first"),
    ("Where did you used to work?", "used to"),
    ("the town where I used to live", "used to"),
    ("What was it I used to sing?", "used to"),
    ("Which bar did Alice used to visit?", "used to"),
    ("The bar that Alice used to visit", "used to"),
    ("Where my dad used to smoke", "used to"),
    ("the shop on the corner used to be ours", "used to"),
    ("Who is the person you never used to like?", "used to"),
    ("Where did I use to live?", "use to"),
    ("What did we agree back in March?", "back in March"),
    ("What was I called back in the day?", "back in the day"),
    ("Where did we live back in the 90s?", "back in the 90s"),
    ("What was my hobby back then?", "back then"),
    ("What’s the job I’d previously had?", "previously"),
]
NEITHER = [
    # current
    "How much current through the wire is safe?",
    "Which ocean current warms Norway?",
    "Is the electric current too high?",
    "the current in the circuit",
    "The current flowed east",
    "Can I swim against the current?",
    "Is this the current?",
    "What is current flowing through a wire?",
    "current and voltage of the pump",
    "What is my current account number?",
    "What about currents and undercurrents?",
    "a current-carrying wire",
    # now
    "What changed now that we moved?",
    "She should be there by now",
    "Do you know him?",
    "What did I do every now and then?",
    "What have we spent up to now?",
    "What was true until now?",
    "Where will I be a year from now?",
    "The parcel comes any day now",
    "Was it now or never?",
    "Who directed the film Apocalypse Now for the studio?",
    # latest, these days
    "Be back on Friday at the latest",
    "At the latest by when must I pay?",
    "What is the latest possible date?",
    "One of these days I will call",
    "Are you free on these days?",
    "What happened at the moment of impact?",
    # ambiguous on purpose
    "Do I still like tea?",
    "What did I read recently?",
    "When was the last time we met?",
    "What did I do today?",
    # first
    "What is his first name?",
    "Who lives on the first floor?",
    "First of all, who is Bob?",
    "Which shop is on First Street in town?",
    "First Street is where?",
    "Did I like it at first glance?",
    "Was it love at first sight?",
    "Where is the first aid kit?",
    "What do I do first thing in the morning?",
    "When did Anna buy first class tickets?",
    "Which comes first?",
    "Ladies first",
    "a first-class ticket",
    "What is on the first page?",
    "What was the first line of the poem?",
    "the first day of the month",
    "When is my first meeting tomorrow?",
    "What is the first book I should buy?",
    "The form I first need to sign",
    "Did he read a first draft?",
    "What was a very good first draft?",
    "Which weekday was the first day of the month?",
    "What are the first three steps?",
    "What is the first song on the album?",
    "Should I first update the driver?",
    "Who fought in the First World War and why?",
    "my first and last name",
    "Where is the shop at First Avenue?",
    # used to
    "I am used to it",
    "I'm not used to the cold",
    "We’re used to work on Sundays",
    "I am still not used to work on Sundays",
    "Did she get used to getting up early?",
    "Has he grown used to work?",
    "A barometer is used to measure pressure",
    "Is it used to open doors?",
    "What tool is often used to cut glass?",
    "the tool used to measure pressure",
    "Is Python used to build websites?",
    "Which knife have I used to cut bread?",
    "What did I use to open the box?",
    "Where is my knife used to cut bread?",
    # back in
    "I want to go back in time for dinner",
    "When is the lamp back in stock?",
    "When is she back in the office?",
    "I come back in March",
    "Are you back in March?",
    "She will open the shop back in March",
    "",
    "?!",
]


@pytest.mark.parametrize(("text", "cue"), CURRENT)
def test_words_for_the_present_raise_the_weight_of_currency(text, cue):
    assert read(text) == Intent(1.0, "current", cue, None)


@pytest.mark.parametrize(("text", "cue"), HISTORICAL)
def test_words_for_the_past_take_the_weight_of_currency_away(text, cue):
    assert read(text) == Intent(0.0, "historical", cue, None)


@pytest.mark.parametrize("text", NEITHER)
def test_words_that_only_look_like_cues_change_nothing(text):
    assert read(text) == Intent(BALANCED.currency, None, None, None)


@pytest.mark.parametrize(
    ("text", "cue", "suggested"),
    [
        ("Where did I work in 2023?", "in 2023", last_before("2024-01-01T00:00:00Z")),
        ("What did I eat in May 2023?", "in May 2023", last_before("2023-06-01T00:00:00Z")),
        ("Where was I on 5 May 2023?", "on 5 May 2023", last_before("2023-05-06T00:00:00Z")),
        ("What held on 2023-05-05", "on 2023-05-05", last_before("2023-05-06T00:00:00Z")),
        ("Our address as of 2023?", "as of 2023", last_before("2024-01-01T00:00:00Z")),
        ("our plan by the end of 2024", "by the end of 2024", last_before("2025-01-01T00:00:00Z")),
        ("In early 2021, who led?", "In early 2021", last_before("2022-01-01T00:00:00Z")),
        ("back in 2019 we met", "back in 2019", last_before("2020-01-01T00:00:00Z")),
        ("back in May 2025 we met", "back in May 2025", last_before("2025-06-01T00:00:00Z")),
        ("Who was mayor before 2020?", "before 2020", last_before("2020-01-01T00:00:00Z")),
        ("my job prior to May 2023", "prior to May 2023", last_before("2023-05-01T00:00:00Z")),
        ("my job until 5 May 2023", "until 5 May 2023", last_before("2023-05-05T00:00:00Z")),
        ("my job before 2026", "before 2026", last_before("2026-01-01T00:00:00Z")),
        ("What did we decide after 2023?", "after 2023", None),
        ("What happened after 5 May 2023?", "after 5 May 2023", None),
        # the one that says until when, before the one that does not
        ("after 2020 but before 2023", "before 2023", last_before("2023-01-01T00:00:00Z")),
        ("in 2019 or in 2021", "in 2019", last_before("2020-01-01T00:00:00Z")),
    ],
)
def test_a_date_that_has_passed_is_of_the_past_and_suggested(text, cue, suggested):
    assert read(text) == Intent(0.0, "historical", cue, suggested)


@pytest.mark.parametrize(
    "text",
    [
        "What did I do in 2026?",  # this year
        "Where will I live in 2027?",
        "What must be paid before 2027?",
        "What is due after 2026?",
        "Which events are on 5 May 2031?",
        "We have the flat back in May 2027",
        "What was spent in June 2026?",  # this month
        "Where have I lived since 2019?",
        "What is the 2023 budget?",
        "Which steps lead to room 2023?",
        "Who answered in 2000 words?",
        "Is it in 20235 or 999?",
        "What do I do before lunch?",
        "What happened after the party?",
    ],
)
def test_dates_ahead_and_of_now_and_numbers_say_nothing_of_the_past(text):
    assert read(text) == Intent(BALANCED.currency, None, None, None)


def test_whether_a_year_has_passed_is_judged_by_the_moment_asked_of():
    text = "Where did I work in 2023?"
    assert read(text, moment="2023-12-31T23:59:59.999999Z").kind is None
    assert read(text, moment="2024-01-01T00:00:00Z").kind == "historical"
    assert read("my job before 2020", moment="2019-12-31T23:59:59.999999Z").kind is None
    assert read("my job before 2020", moment="2020-01-01T00:00:00Z").kind == "historical"


@given(
    year=st.integers(1600, 2100),
    days=st.integers(-(10**5), 10**5),
    lead=st.sampled_from(["in", "before", "after", "as of"]),
)
def test_what_is_suggested_lies_before_the_moment_asked_of(year, days, lead):
    moment = at((datetime(2026, 6, 1, tzinfo=UTC) + timedelta(days=days)).isoformat())
    text = f"who was it {lead} {year}"
    intent = read_intent(text, temporal="auto", profile=BALANCED, moment=moment)
    asked_in = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment)).year
    passed = year <= asked_in if lead == "before" else year < asked_in
    assert (intent.kind == "historical") == passed
    if intent.suggested_as_of is not None:
        assert passed
        assert intent.suggested_as_of < moment
        boundary = year if lead == "before" else year + 1
        assert intent.suggested_as_of == at(f"{boundary}-01-01T00:00:00Z") - 1
    else:
        assert not passed or lead == "after"


def test_of_a_question_with_both_a_date_that_ends_it_decides():
    intent = read("What is the latest we knew in 2023?")
    assert (intent.kind, intent.cue, intent.currency) == ("historical", "in 2023", 0.0)
    assert intent.suggested_as_of == last_before("2024-01-01T00:00:00Z")


def test_the_present_after_a_date_is_the_present():
    assert read("What is my newest job after 2020?") == Intent(1.0, "current", "newest", None)


def test_words_for_both_leave_the_profiles_weight():
    assert read("Where did I originally live and where do I live now?") == Intent(0.25)


def test_the_first_of_several_cues_is_named():
    assert read("What do I currently do, and where am I now?").cue == "currently"
    assert read("What did I previously and originally do?").cue == "previously"


def test_a_weight_above_that_of_the_present_stays():
    assert read("Where do I live now?", profile=PROFILES["recent"]).currency == 6.0
    weightless = dataclasses.replace(BALANCED, currency=0.0)
    assert read("Where do I live now?", profile=weightless).currency == 1.0


def test_what_the_caller_says_comes_before_the_words():
    text = "What did I originally do in 2023?"
    assert read(text, temporal="current") == Intent(1.0, "current", "temporal='current'", None)
    assert read(text, temporal="none") == Intent(0.25, None, None, None)
    assert read("Where do I live now?", temporal="historical") == Intent(
        0.0, "historical", "temporal='historical'", None
    )
    dated = read(text, temporal="historical")
    assert dated.cue == "temporal='historical'"
    assert dated.suggested_as_of == last_before("2024-01-01T00:00:00Z")


@pytest.mark.parametrize("temporal", ["auto", "current", "historical", "none"])
@pytest.mark.parametrize("text", ["Where do I live now?", "my job in 2023", "my first job"])
def test_without_a_cap_no_cue_is_read(text, temporal):
    assert read(text, temporal=temporal, profile=PROFILES["semantic"]) == Intent(0.0)


@pytest.mark.parametrize("temporal", ["past", "", None, "AUTO", 1])
def test_an_unknown_intent_is_refused_with_the_known_ones(temporal):
    with pytest.raises(BadInput, match="auto, current, historical, none") as refused:
        read("now", temporal=temporal)
    assert repr(temporal) in str(refused.value)


WORDS = (
    *("now", "first", "the", "of", "my", "used", "to", "current", "back", "in", "March", "I"),
    *("was", "at", "Latest", "did", "2019", "before", ",", ".", "’", "-"),
)


@given(text=st.text(max_size=80) | st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join))
def test_a_cue_is_named_as_it_stands_in_the_text(text):
    cues = find_cues(text)
    places = [place for cue in cues for place in (cue.start, cue.end)]
    assert places == sorted(places)
    assert all(0 <= cue.start < cue.end <= len(text) for cue in cues)
    intent = read(text)
    assert (intent.kind is None) == (intent.cue is None)
    assert intent.cue is None or intent.cue in text
