"""What every extractor keeps, over both kinds; and what a spaCy pipeline adds to the rules."""

from __future__ import annotations

import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memstore.entities import EntityExtractor, open_extractor
from memstore.errors import BadInput, MissingExtra

SENTENCES = [
    ("yesterday i flew to lisbon", "lisbon", "GPE"),
    ("my trip to oslo was great", "oslo", "GPE"),
    ("we live in lisbon now", "lisbon", "GPE"),
    ("she moved to oslo last year", "oslo", "GPE"),
    ("i work for initech these days", "initech", "ORG"),
    ("the boss of initech called", "initech", "ORG"),
    ("then Maria Lopez Garcia called", "Maria Lopez Garcia", "PERSON"),
    ("we invited Maria Lopez Garcia", "Maria Lopez Garcia", "PERSON"),
    ("nothing happened today", None, None),
    ("i made dinner and slept", None, None),
]


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory):
    """A pipeline trained on ten sentences until it knows them, with a component we do not need."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spaCy's dependencies warn on import
        import spacy
        from spacy.training import Example

        random.seed(7)
        spacy.util.fix_random_seed(7)
        language = spacy.blank("en")
        recognizer = language.add_pipe("ner")
        examples = []
        for text, name, label in SENTENCES:
            spans = []
            if name is not None:
                recognizer.add_label(label)
                spans = [(text.index(name), text.index(name) + len(name), label)]
            examples.append(Example.from_dict(language.make_doc(text), {"entities": spans}))
        optimizer = language.initialize(lambda: examples)
        for _ in range(30):
            random.shuffle(examples)
            language.update(examples, sgd=optimizer)
        language.add_pipe("sentencizer")
        folder = tmp_path_factory.mktemp("pipelines") / "tiny"
        language.to_disk(folder)
    return folder


@pytest.fixture(params=["rules", "spacy"])
def extractor(request) -> EntityExtractor:
    if request.param == "rules":
        return open_extractor("rules")
    return open_extractor(f"spacy:{request.getfixturevalue('pipeline')}")


@pytest.fixture(scope="session")
def trained(pipeline) -> EntityExtractor:
    return open_extractor(f"spacy:{pipeline}")


TEXTS = [
    "",
    " \n ",
    "We saw Rome and “The Name of the Wind” with Ana; mail bob@site.org.",
    "my trip to oslo was great",
    "Ángela met Łukasz in 東京 🎉 on 7 May 2023",
    "x" * 200_000,
    "my trip to oslo was great. " * 4_000,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_mentions_slice_the_text_in_order_without_overlap(extractor, text):
    end = 0
    for mention in extractor.extract(text):
        assert mention.text == text[mention.start : mention.end] == mention.text.strip() != ""
        assert mention.start >= end
        end = mention.end


def test_the_same_text_gives_the_same_mentions_from_any_thread(extractor):
    texts = TEXTS[:5] * 8
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(extractor.extract, texts)) == [extractor.extract(t) for t in texts]


def test_an_extractor_knows_the_name_it_was_opened_by(extractor):
    assert isinstance(extractor, EntityExtractor)
    assert open_extractor(extractor.name).name == extractor.name


def test_both_extractors_find_what_the_rules_find(extractor):
    found = {m.text for m in extractor.extract("We met Ana in New York; ask @ana on 7 May 2023.")}
    assert {"@ana", "7 May 2023"} <= found
    assert any("Ana" in text for text in found)
    assert any("New York" in text for text in found)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=120))
def test_any_text_can_be_read(text):
    for mention in open_extractor("rules").extract(text):
        assert mention.text == text[mention.start : mention.end] != ""


def test_a_pipeline_finds_names_in_lower_case_and_labels_them(trained):
    mentions = [(m.text, m.label) for m in trained.extract("my trip to oslo was great")]
    assert mentions == [("oslo", "GPE")]
    assert open_extractor("rules").extract("my trip to oslo was great") == []


def test_a_pipeline_labels_what_the_rules_found_without_a_label(trained):
    (mention,) = trained.extract("we invited Maria Lopez Garcia")
    assert (mention.text, mention.label) == ("Maria Lopez Garcia", "PERSON")


def test_a_pipeline_keeps_the_labels_of_patterns(trained):
    assert ("bob@site.org", "EMAIL") in [
        (m.text, m.label) for m in trained.extract("we live in lisbon now, mail bob@site.org")
    ]


def test_names_far_into_a_long_text_have_the_right_offsets(trained):
    text = "i made dinner and slept. " * 4_000 + "my trip to oslo was great"
    assert any(m.text == "oslo" and m.start == text.rindex("oslo") for m in trained.extract(text))


def test_components_that_find_no_entities_are_not_loaded(trained):
    assert trained._language.pipe_names == ["ner"]


@pytest.mark.parametrize("name", ["", "rule", "spacy", "spacy:", "flair:ner", "Rules"])
def test_an_unknown_extractor_is_refused_with_the_names_there_are(name):
    with pytest.raises(BadInput, match=r"'rules'.*'spacy:NAME_OR_PATH'"):
        open_extractor(name)


def test_a_pipeline_that_is_not_installed_is_named_with_the_command_that_installs_it():
    with pytest.raises(MissingExtra, match="spacy download xx_none_sm"):
        open_extractor("spacy:xx_none_sm")


def test_a_folder_without_a_pipeline_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"no config\.cfg"):
        open_extractor(f"spacy:{tmp_path}")


def test_a_pipeline_without_an_entity_finder_is_refused(tmp_path):
    import spacy

    language = spacy.blank("en")
    language.add_pipe("sentencizer")
    language.to_disk(tmp_path / "blank")
    with pytest.raises(BadInput, match="finds no entities: it has sentencizer"):
        open_extractor(f"spacy:{tmp_path / 'blank'}")


def test_the_rules_do_not_import_spacy():
    code = (
        "import sys; from memstore.entities import open_extractor; "
        "open_extractor('rules').extract('Ana'); print('spacy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
