"""Forgetting and feedback on the page."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.keys import Keys
from server.page.reading import IN_A_BROWSER

from memstore import MemoryNotFound

pytestmark = IN_A_BROWSER


def test_forgetting_asks_first_says_what_goes_and_really_forgets(page, add, store):
    memory = add("The spare key is under the blue pot.", namespace="forget")
    kept = add("The kettle is red.", namespace="forget")
    page.open(f"#browse?ns=forget&memory={memory.id}")
    page.find("#panel dl")
    page.button("Forget…", "#panel").click()
    page.find("dialog .removed")
    assert "blue pot" in page.one("dialog").text
    assert "1 memory" in page.one("dialog .removed").text
    page.button("Cancel", "dialog").click()
    assert store.get(memory.id).text == memory.text
    page.button("Forget…", "#panel").click()
    page.find("dialog .main:enabled")
    page.button("Forget 1 memory", "dialog").click()
    page.gone("dialog")
    page.counts(".card", 1)
    page.settled()
    assert page.texts() == [kept.text]
    assert not page.one("#panel").is_displayed()
    with pytest.raises(MemoryNotFound):
        store.get(memory.id)


def test_several_or_for_good_is_forgotten_only_once_it_was_typed(page, add, store):
    secrets = [add(f"Zanzibar password {n}.", namespace="purge", source="vault") for n in range(3)]
    page.open("#browse?ns=purge&source=vault")
    page.button("Forget all that pass the filter…").click()
    page.find("dialog .removed")
    deed = page.one("dialog .main")
    assert deed.text == "Forget 3 memories"
    assert not deed.is_enabled()
    page.one("dialog [type=checkbox]").click()
    page.find("dialog [data-what=vectors]")
    assert deed.text == "Purge 3 memories"
    page.one("dialog input[type=text]").send_keys("2")
    assert not deed.is_enabled()
    page.one("dialog input[type=text]").send_keys(Keys.BACKSPACE, "3")
    deed.click()
    page.shows("dialog h2", "Purged")
    page.button("Good", "dialog").click()
    page.find(".notice")
    for memory in secrets:
        with pytest.raises(MemoryNotFound):
            store.get(memory.id)
    left = b"".join(path.read_bytes() for path in store.path.rglob("*") if path.is_file())
    assert b"Zanzibar" not in left
    assert b"meeting" in left  # they are where they would be


def test_two_ticked_memories_are_forgotten_together(page, add):
    for number in range(3):
        add(f"Draft {number}.", namespace="drafts")
    page.open("#browse?ns=drafts")
    for box in page.all(".tick input")[:2]:
        box.click()
    assert "2 selected" in page.one(".selection").text
    page.button("Forget them…").click()
    page.find("dialog label:not([hidden]) [type=text]")
    page.one("dialog input[type=text]").send_keys("2")
    page.button("Forget 2 memories", "dialog").click()
    page.gone("dialog")
    page.settled()
    assert page.texts() == ["Draft 0."]


def test_what_is_said_of_a_memory_shows_in_it_and_in_its_history(page, add, store):
    memory = add("The garage opens at eight.", namespace="said")
    page.open(f"#browse?ns=said&memory={memory.id}")
    page.find("#panel .history")
    page.button("Confirm", "#panel .buttons").click()
    page.one("#panel form [name=source]").send_keys("Clara", Keys.ENTER)
    page.shows("#panel .history", "confirm by Clara")
    assert store.get(memory.id).confidence > 6
    page.shows(".card .meter", "6.7")
    page.button("It helped", "#panel").click()
    page.shows("#panel dl", "uses1 time")
    page.button("Contradict", "#panel .buttons").click()
    page.find("#panel form")
    page.one("#panel form [name=source]").send_keys(Keys.CONTROL, "a")
    page.one("#panel form [name=source]").send_keys("Bruno", Keys.ENTER)
    page.shows("#panel .history", "contradict by Bruno")
    page.button("Supersede", "#panel .buttons").click()
    page.one("#panel form textarea").send_keys("The garage opens at nine.")
    page.one("#panel form [type=submit]").click()
    page.shows("#panel .text", "The garage opens at nine.")
    newer = store.get(memory.id).superseded_by
    assert newer in page.script("return location.hash")
    page.counts(".card", 2)
    store.forget(newer)
