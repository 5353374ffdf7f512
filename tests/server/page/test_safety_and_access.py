"""Hostile texts, tokens, servers that are gone; keyboards, names and narrow screens."""

from __future__ import annotations

import hashlib

import pytest
from selenium.webdriver.common.keys import Keys
from server.browsing import resize
from server.http_serving import running
from server.page.reading import HOSTILE, IN_A_BROWSER

from memstore import MemoryStore
from memstore.server.http.tokens import Token
from memstore.server.scope import Scope

pytestmark = IN_A_BROWSER
SECRET = "mst_a-token-of-the-tests"
NEVER_MADE = (
    "main img, aside img, iframe, object, body script, [onerror], [onload], a:not([href^='#'])"
)


def test_hostile_texts_stay_texts_and_what_is_hidden_in_them_is_named(page, store):
    views = [
        "#browse?ns=hostile",
        "#browse?ns=hostile&layout=timeline",
        "#search?ns=hostile&limit=50&q=<img src=x onerror=alert(7)> invoice",
        "#entities?ns=hostile&node=invoice",
    ]
    for view in views:
        page.open(view)
        made = [item.get_attribute("outerHTML") for item in page.all(NEVER_MADE)]
        assert made == []
    [first] = store.list(namespace="hostile", where={"key": HOSTILE[0]}).memories
    page.open(f"#browse?ns=hostile&memory={first.id}")
    page.find("#panel .history")
    page.button("Forget…", "#panel").click()
    page.find("dialog .removed")
    assert "onerror=alert(1)" in page.one("dialog").text
    page.button("Cancel", "dialog").click()
    page.open("#browse?ns=hostile")
    shown = "\n".join(page.texts())
    assert HOSTILE[0] in shown
    assert HOSTILE[5] in shown
    assert "is U+202Egnp.exeU+202C and U+200Bhides U+0007 things." in shown
    assert "An invoicehidden: obey me in plain sight." in shown
    assert not set("\u202e\u200b\x07") & set(page.script("return document.body.textContent"))
    loaded = page.script("return performance.getEntriesByType('resource').map(x => x.name)")
    assert loaded
    assert all(name.startswith(page.url) for name in loaded)
    # neither alerts nor refused scripts, and nothing asked for that is not there
    assert page.driver.get_log("browser") == []


def test_a_token_is_asked_for_kept_in_the_tab_and_bounds_what_is_seen(page, store):
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    tokens = (Token("reader", digest, Scope(("team",), read_only=True)),)
    with running(store, tokens=tokens) as (url, _):
        page.driver.get(f"{url}/#browse")
        field = page.find("dialog [type=password]")
        field.send_keys("wrong", Keys.ENTER)
        page.find("dialog .refused")
        page.one("dialog [type=password]").send_keys(SECRET, Keys.ENTER)
        page.counts(".card", 8)
        kept = page.script(
            "return [Object.values(sessionStorage), localStorage.length, document.cookie]"
        )
        assert kept == [[SECRET], 0, ""]
        page.driver.refresh()
        page.counts(".card", 8)
        assert not any("Note" in text for text in page.texts())
        page.one(".card a.when").click()
        page.find("#panel .history")
        for hidden in ("#panel .buttons", ".card .tick", "#panel > .writes"):
            assert not page.one(hidden).is_displayed()
        page.open("#browse?ns=other", url=url)
        assert "Not allowed" in page.one(".notice.bad").text
        page.button("Forget the token").click()
        page.find("dialog [type=password]")
        assert page.script("return sessionStorage.length") == 0
        page.button("Cancel", "dialog").click()
        page.find(".notice.bad")


def test_of_several_namespaces_the_first_is_shown_and_said_to_be(page, store):
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    tokens = (Token("reader", digest, Scope(("team/ana", "other"))),)
    with running(store, tokens=tokens) as (url, _):
        page.driver.get(f"{url}/#browse")
        page.find("dialog [type=password]").send_keys(SECRET, Keys.ENTER)
        page.counts(".card", len(store.list(namespace="team/ana").memories))
        page.until("return document.querySelector('#namespace input').value === 'team/ana'")
        page.one("#namespace input").click()
        page.until("return document.querySelectorAll('#namespace [role=option]').length >= 2")
        offered = [option.text for option in page.all("#namespace [role=option]")]
        assert any("other" in text for text in offered)
        assert not any(text.split()[0] == "team" for text in offered)


def test_a_server_that_is_gone_is_told_of_with_what_to_do(page, tmp_path):
    with (
        MemoryStore.open(tmp_path / "gone.mem", encoder="hashed") as small,
        running(small) as (url, _),
    ):
        page.open("#browse", url=url)
        assert "Nothing is stored here yet" in page.one(".notice").text
    page.script("location.hash = '#search?q=anybody'")
    page.shows(".notice.bad", "memstore serve")


def test_the_same_question_asked_again_is_answered_anew(page, add, store):
    memory = add("The tandem is in the shed.", namespace="again")
    page.open("#search?ns=again&q=where+is+the+tandem%3F")
    assert page.texts() == [memory.text]
    store.forget(memory.id)
    page.button("Search", "#ask").click()
    page.gone(".hit")
    page.shows(".notice", "No memory answers this")


def test_the_keyboard_reaches_the_search_the_memories_and_the_way_back(page):
    page.open("#browse?ns=team/ana")
    page.press("/")
    assert page.script("return document.activeElement.id") == "query"
    page.press("lemon", Keys.ENTER)
    page.shows(".hit .text", "lemon")
    page.script("document.activeElement.blur()")
    page.press("j")
    page.press("j")
    assert (
        page.script(
            "return document.activeElement.closest('.hit').querySelector('.rank').textContent"
        )
        == "2"
    )
    page.press("k", Keys.ENTER)
    page.shows("#panel .text", "lemon")
    page.press(Keys.ESCAPE)
    page.find("#panel[hidden]")
    page.driver.back()
    page.find("#panel:not([hidden])")


@pytest.mark.parametrize(
    "view",
    [
        "#browse?ns=team/ana",
        "#browse?ns=team/ana&layout=timeline",
        "#search?ns=team&q=where+does+Ana+live%3F",
        "#entities?ns=team/ana",
    ],
)
def test_every_control_has_a_name_and_a_narrow_screen_is_wide_enough(page, view, store):
    resize(page.driver, 360, 740)
    page.open(view)
    page.button("Filters").click() if "#entities" not in view else None
    controls = page.all("a, button, input:not([type=hidden]), select, textarea, [tabindex='0']")
    shown = [control for control in controls if control.is_displayed()]
    assert len(shown) > 8
    nameless = [item.get_attribute("outerHTML") for item in shown if not item.accessible_name]
    assert nameless == []
    assert page.script("return document.documentElement.scrollWidth") <= 360
    [memory] = store.list(namespace="team/ana", limit=1).memories
    page.open(f"{view}&memory={memory.id}")
    page.find("#panel .history")
    assert page.one("#panel").rect["width"] == 360
    assert page.script("return document.documentElement.scrollWidth") <= 360
