"""The entities of a memory: roles, participants, and one link per entity."""

from __future__ import annotations

from memstore.entities import EntityLink, memory_entities, open_extractor

rules = open_extractor("rules")


def links(text: str, **options: object) -> list[tuple[str, str]]:
    return [(e.display, e.role) for e in memory_entities(text, extractor=rules, **options)]


def test_speaker_comes_first_then_names_in_text_order():
    assert links("We saw Rome and Paris.", speaker="Ana Lima") == [
        ("Ana Lima", "speaker"),
        ("Rome", "extracted"),
        ("Paris", "extracted"),
    ]


def test_given_entities_replace_extraction():
    assert links("We saw Rome.", speaker="Ana", given=["Trip", "Oslo"]) == [
        ("Ana", "speaker"),
        ("Trip", "given"),
        ("Oslo", "given"),
    ]


def test_an_empty_list_of_given_entities_means_none():
    assert links("We saw Rome.", given=[]) == []


def test_an_entity_is_linked_once_in_its_strongest_role():
    assert links("", speaker="Ana", given=["ANA", "Bo", "bo!"]) == [
        ("Ana", "speaker"),
        ("Bo", "given"),
    ]
    assert links("Rome, ROME and Rome's gates with Ana", speaker="ana") == [
        ("ana", "speaker"),
        ("Rome", "extracted"),
    ]


def test_names_of_participants_in_the_text_are_left_out():
    text = "Hey Mel! Melanie, did you and Caroline Smith meet Oscar? Smith did."
    people = ["Melanie", "Caroline Smith"]
    assert links(text, speaker="Caroline Smith", participants=people) == [
        ("Caroline Smith", "speaker"),
        ("Oscar", "extracted"),
        ("Smith", "extracted"),
    ]
    assert links("Thanks, Caroline!", participants=people) == []


def test_the_speaker_prefix_of_a_text_is_not_read_as_a_name():
    text = "Dr. Ana Lima: We saw Rome: lovely."
    assert links(text, speaker="Dr. Ana Lima") == [
        ("Dr. Ana Lima", "speaker"),
        ("Rome", "extracted"),
    ]


def test_names_without_a_canonical_form_are_left_out():
    assert links("Rome", speaker="??", given=["!", "Oslo"]) == [("Oslo", "given")]


def test_labels_are_kept():
    assert memory_entities("ask @ana", extractor=rules) == (
        EntityLink("ana", "@ana", "HANDLE", "extracted"),
    )


def test_words_known_to_be_common_are_no_entities():
    assert links("Kombucha again", common_words={"kombucha"}) == []


def test_a_date_is_one_entity_however_it_is_written():
    text = "On 8 May 2023, I mean May 8th, 2023 or 2023-05-08, and again in May 2023 and on 8 May."
    found = memory_entities(text, extractor=rules)
    assert [(link.canon, link.display, link.label) for link in found] == [
        ("2023-05-08", "8 May 2023", "DATE"),
        ("2023-05", "May 2023", "DATE"),
        ("8 may", "8 May", "DATE"),
    ]


def test_a_given_name_that_looks_like_a_date_stays_the_name_it_is():
    (link,) = memory_entities("", extractor=rules, given=["May 2023"])
    assert (link.canon, link.label) == ("may 2023", None)
