"""Browsing, searching, the timeline and the graph."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from server.page.reading import CELLO, IN_A_BROWSER

pytestmark = IN_A_BROWSER


def test_browsing_shows_the_last_stored_first_page_by_page_and_back_returns(page):
    page.open("#browse?ns=notes")
    assert page.texts()[0] == "Note 120 of the meeting."
    assert len(page.texts()) == 50
    page.shows(".head .count", "1–50 of 120")
    page.button("Older →").click()
    page.at("page=2")
    assert page.texts()[0] == "Note 70 of the meeting."
    page.button("Older →").click()
    page.at("page=3")
    assert page.texts()[-1] == "Note 1 of the meeting."
    assert page.texts("[rel=next]") == []
    page.button("← Newer").click()
    page.at("page=2")
    page.driver.back()
    page.driver.back()
    page.driver.back()
    page.shows(".card:first-child .text, .selection + .card .text", "Note 120")
    page.open(page.script("return '#browse?ns=notes&cursor=-1&page=9'"))
    assert "Nothing further back" in page.one(".notice").text


def test_a_namespace_is_chosen_by_keyboard_and_nothing_else_is_seen(page):
    page.open("#search?q=where+does+Ana+live%3F&limit=50")
    assert any("Dr. Reis" in text for text in page.texts())
    page.one("#namespace input").click()
    page.press("team")
    page.counts("#namespace li", 3)
    page.press(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER)
    page.at("ns=team%2Fana")
    assert "Ana lives in Lisbon, in Alfama." in page.texts()
    assert not any("Reis" in text for text in page.texts("#main"))
    page.button("Entities", "nav").click()
    page.settled()
    assert "Dr. Reis" not in "".join(page.texts(".entities"))
    page.button("Browse", "nav").click()
    page.settled()
    assert len(page.texts()) == 7


def test_filters_narrow_the_list_and_their_errors_say_what_is_wrong(page):
    page.open("#browse?ns=team")
    page.button("Filters").click()
    page.field("Entity").send_keys("clar")
    page.counts(".fields ul:not([hidden]) [role=option]", 1)
    page.press(Keys.ARROW_DOWN, Keys.ENTER)
    page.at("entity=Clara")
    assert len(page.texts()) == 3
    assert "source" not in page.one(".chips").text
    page.script("arguments[0].value = '2025-07-05'", page.field("Happened from"))
    page.field("Happened from").send_keys(Keys.ENTER)
    page.at("from=2025-07-05")
    assert page.texts() == ["Clara and Bruno sailed home again."]
    for wrong, told in [
        ('{"source": ', "not JSON"),
        ('{"colour": "red"}', "'colour' is unknown"),
        ("[1]", "write an object"),
    ]:
        area = page.one("textarea")
        area.clear()
        area.send_keys(wrong)
        page.button("Apply").click()
        page.shows(".notice.bad", told)
    page.button("Drop all").click()
    page.counts(".card", 8)
    page.open('#browse?ns=team&where={"source"%3A"crm"}')
    assert page.texts() == ["The dentist of the team is Dr. Reis."]
    page.open("#browse?ns=team&source=nobody")
    assert "No memory passes the filter" in page.one(".notice").text
    page.open("#browse?ns=nowhere")
    assert "Nothing is stored here yet" in page.one(".notice").text


def test_a_hit_shows_its_parts_as_signed_bars_that_sum_to_its_score(page, store):
    page.open("#search?ns=team&q=where+does+Ana+live+now%3F&profile=recent")
    asked = store.query("where does Ana live now?", namespace="team", profile="recent")
    hits = page.all(".hit")
    assert [hit.get_attribute("data-id") for hit in hits] == [x.memory.id for x in asked.hits]
    signs = set()
    for hit, expected in zip(hits, asked.hits, strict=True):
        score = float(hit.find_element(By.CSS_SELECTOR, "[data-score]").get_attribute("data-score"))
        assert score == pytest.approx(expected.score, abs=1e-3)
        rows = hit.find_elements(By.CSS_SELECTOR, ".parts tbody tr")
        nats = [
            float(row.find_element(By.CSS_SELECTOR, "[data-nats]").get_attribute("data-nats"))
            for row in rows
        ]
        assert sum(nats) == pytest.approx(score, abs=1e-9)
        zero = hit.find_element(By.CSS_SELECTOR, ".zero").rect["x"]
        for row, value in zip(rows, nats, strict=True):
            bar = row.find_element(By.CSS_SELECTOR, ".bar").rect
            if abs(value) > 0.05:
                signs.add(value > 0)
                assert (bar["x"] + bar["width"] / 2 > zero) == (value > 0)
    assert signs == {True, False}
    # one scale for all: equal lengths mean equal nats
    widths = page.script(
        "return [...document.querySelectorAll('.parts tbody tr')].map(row =>"
        " [Math.abs(row.querySelector('[data-nats]').dataset.nats),"
        " row.querySelector('.bar').getBoundingClientRect().width])"
    )
    long = [(nats, width) for nats, width in widths if width > 10]
    assert len(long) > 3
    assert max(w / n for n, w in long) == pytest.approx(min(w / n for n, w in long), rel=0.05)


def test_tokens_that_met_are_the_right_characters_behind_an_emoji_too(page, store):
    page.open("#search?ns=team&q=when+does+Bruno+play+the+cello%3F")
    expected = store.query("when does Bruno play the cello?", namespace="team", explain=True).hits[
        0
    ]
    assert expected.memory.text == CELLO
    hit = page.one(".hit")
    assert page.texts(".hit .text")[0] == CELLO
    tokens = hit.find_elements(By.CSS_SELECTOR, ".token")
    assert [token.text for token in tokens] == [m.query_token for m in expected.token_matches]
    for token, match in zip(tokens, expected.token_matches, strict=True):
        if match.start is None:
            continue
        page.point_at(token)
        page.counts(".hit mark.lit", 1)
        assert (
            page.one(".hit mark.lit").text == match.passage_token == CELLO[match.start : match.end]
        )
        told = f"{match.similarity:.3f} × weight {match.weight:.3f}"
        assert told in hit.find_element(By.CSS_SELECTOR, ".readout").text
    strongest = max(expected.token_matches, key=lambda m: m.weight * m.similarity)
    heat = page.script(
        "return [...arguments[0].querySelectorAll('mark')].map(mark =>"
        " [mark.textContent, Number(mark.style.getPropertyValue('--own'))])",
        hit,
    )
    assert max(heat, key=lambda item: item[1])[0] == strongest.passage_token == "cello"
    page.point_at(page.one("h1"))
    page.gone("mark.lit")
    total = float(hit.find_element(By.CSS_SELECTOR, "[data-sum]").get_attribute("data-sum"))
    assert total == pytest.approx(expected.relevance.raw, abs=1e-4)
    mark = next(mark for mark in page.all(".hit mark") if mark.text == "cello")
    page.point_at(mark)
    page.find(".token.lit")
    assert "cello" in page.texts(".token.lit")


def test_what_was_left_out_says_why_and_leads_to_what_holds_instead(page, store):
    page.open("#search?ns=team&q=where+does+Ana+live%3F")
    left = page.one(".left-out")
    assert "Ana lives in Porto, near the bridge." in left.text
    assert "held until 2 Mar 2025, 09:00" in left.text
    left.find_element(By.LINK_TEXT, "what holds instead").click()
    page.find("#panel .text")
    assert page.texts("#panel .text") == ["Ana lives in Lisbon, in Alfama."]
    assert "Replaced: Ana lives in Porto" in page.one("#panel").text
    page.button("all versions").click()
    page.settled()
    assert len(page.all(".timeline .labels li")) == 2


def test_another_time_is_asked_for_in_utc_and_a_date_in_the_question_offers_one(page):
    page.open("#search?ns=team&q=where+did+Ana+live+in+2024%3F")
    assert "“in 2024” asks for the past" in page.one(".flags").text
    page.one(".flags a").click()
    page.at("asof=2024-12-31")
    assert page.texts()[0] == "Ana lives in Porto, near the bridge."
    assert "as of 31 Dec 2024, 23:59" in page.one(".head").text
    page.field("Profile").send_keys("semantic")
    page.press(Keys.ENTER)
    page.shows(".head", "semantic@")
    page.open("#search?ns=team&q=where+does+Ana+live%3F&invalid=1")
    assert "Memories that do not hold are among the hits" in page.one(".flags").text
    assert "Ana lives in Porto, near the bridge." in page.texts(".hit .text")
    page.open("#search?ns=team&q=cello&asof=1999-01-01T00:00")
    assert "No memory answers this" in page.one(".notice").text
    page.open("#search?ns=team&q=cello&profile=nonsense")
    assert "profile" in page.one(".notice.bad").text


def test_the_timeline_has_the_intervals_in_which_memories_hold(page, store):
    page.open("#browse?ns=team/ana&layout=timeline")
    memories = {m.id: m for m in store.list(namespace="team/ana").memories}
    page.counts(".span", len(memories))
    spans = page.all(".span")
    starts = {}
    for span in spans:
        memory = memories[span.get_attribute("data-id")]
        starts[memory.id] = (
            memory.occurred_at,
            span.find_element(By.CSS_SELECTOR, ".bar").rect["x"],
        )
        begins = memory.valid_from or memory.occurred_at
        assert span.get_attribute("data-from")[:16] == begins.isoformat()[:16]
        ends = memory.valid_to.isoformat()[:16] if memory.valid_to else ""
        assert span.get_attribute("data-to")[:16] == ends
        assert len(span.find_elements(By.CSS_SELECTOR, ".occurred")) == 1
    by_time = [x for _, x in sorted(starts.values())]
    assert by_time == sorted(by_time)
    porto, lisbon = (m for m in memories.values() if m.key == "ana.city")
    ends_at, begins_at = (
        page.one(f".span[data-id='{item.id}'] .bar").rect for item in (porto, lisbon)
    )
    assert ends_at["x"] + ends_at["width"] == pytest.approx(begins_at["x"], abs=2)
    assert len(page.all("path.replaced")) == 1  # from the one to the other
    before = page.one(f".span[data-id='{lisbon.id}'] .bar").rect["width"]
    page.one("[aria-label='Zoom in']").click()
    assert page.one(f".span[data-id='{lisbon.id}'] .bar").rect["width"] != pytest.approx(before)
    page.one("[aria-label='Show all']").click()
    assert page.one(f".span[data-id='{lisbon.id}'] .bar").rect["width"] == pytest.approx(before)
    page.one(f".labels [data-id='{porto.id}'] a").click()
    page.shows("#panel .text", "Porto")
    page.open("#search?ns=team&q=where+does+Ana+live%3F&layout=timeline")
    page.counts("path.replaced", 1)
    assert "left out" in page.one(".timeline").text


def test_walking_the_graph_changes_the_address_and_back_returns(page, store):
    page.open("#entities?ns=team/ana")
    assert page.one("h1").text == "Bruno"  # whom most memories mention
    names = [node.get_attribute("data-entity") for node in page.all(".node")]
    expected = [item.name for item in store.neighbours("Bruno", namespace="team/ana")]
    assert names == ["Bruno", *expected]
    assert "Clara" in expected
    widths = page.script(
        "return [...document.querySelectorAll('.tie')].map(x => +x.getAttribute('stroke-width'))"
    )
    assert len(widths) == len(expected)
    assert min(widths) > 0
    page.one(".node[data-entity='Clara'] circle").click()
    page.shows("h1", "Clara")
    assert page.one(".entities [aria-current]").text.startswith("Clara")
    page.driver.back()
    page.shows("h1", "Bruno")
    page.settled()
    node = page.one(".node[data-entity='Clara']")
    page.script("arguments[0].focus()", node)
    page.press(Keys.ENTER)
    page.shows("h1", "Clara")
    page.settled()
    page.button("Its memories").click()
    page.at("#browse")
    page.counts(".list .card", 3)
    page.open("#entities?ns=team/ana")
    page.one("[name=prefix]").send_keys("ses")
    page.shows(".entities li:only-child", "Sesimbra")
    page.open("#entities?ns=team/ana&node=Nobody")
    assert "Nothing here mentions it" in page.one(".notice").text
    page.open("#entities?ns=notes")
    assert "mentions anybody" in page.one(".notice").text
