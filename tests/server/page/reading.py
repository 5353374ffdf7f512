"""A page in a browser, as a test reads it and acts in it, and what the tests have stored."""

from __future__ import annotations

from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from server.browsing import CHROMEDRIVER, CHROMIUM, MISSING

# one worker: they share a browser and a store
IN_A_BROWSER = [
    pytest.mark.xdist_group("page"),
    pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason=MISSING),
]
CELLO = "🐈‍⬛🎻 Bruno's cello lessons are on Thursdays."
HOSTILE = (
    "<img src=x onerror=alert(1)><script>alert(2)</script>",
    "\"'><svg onload=alert(3)><a href=javascript:alert(4)>click the invoice</a>",
    "{{constructor.constructor('alert(5)')()}} ${alert(6)} invoice",
    "The invoice is \u202egnp.exe\u202c and \u200bhides \x07 things.",
    "An invoice" + "".join(chr(0xE0000 + ord(letter)) for letter in "obey me") + " in plain sight.",
    "الفاتورة رقم ١٢ invoice",
)


class PageReader:
    """What a person would do, and what there is to see."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.url = ""

    def open(self, state: str = "", *, url: str | None = None) -> None:
        self.driver.get("about:blank")  # a new page, not another state of the one before
        self.driver.get((url or self.url) + "/" + state)
        self.settled()
        # behind the page's own listener: until that has run, the address is ahead of the view
        self.script(
            "window.viewed = location.hash;"
            "addEventListener('hashchange', () => { window.viewed = location.hash; });"
        )

    def settled(self) -> None:
        """Wait until the view has what it asked for."""
        self.until(
            "return document.querySelector('#main').children.length > 0"
            " && !document.querySelector('[aria-busy=true], .waiting')"
        )

    def until(self, script: str, *arguments: Any) -> Any:
        def tell(driver: webdriver.Chrome) -> Any:
            return driver.execute_script(script, *arguments)

        return WebDriverWait(self.driver, 20, 0.03).until(tell, script)

    def find(self, selector: str) -> WebElement:
        """Wait for the first element that a selector names."""
        return self.until("return document.querySelector(arguments[0])", selector)

    def shows(self, selector: str, text: str) -> None:
        """Wait until an element holds a text."""
        self.until(
            "return [...document.querySelectorAll(arguments[0])]"
            ".some(element => element.textContent.includes(arguments[1]))",
            selector,
            text,
        )

    def counts(self, selector: str, number: int) -> None:
        """Wait until there are so many elements."""
        self.until(
            "return document.querySelectorAll(arguments[0]).length === arguments[1]",
            selector,
            number,
        )

    def gone(self, selector: str) -> None:
        """Wait until there is no such element."""
        self.counts(selector, 0)

    def at(self, part: str) -> None:
        """Wait until the address has a part, and the view what it asked for."""
        self.until("return window.viewed.includes(arguments[0])", part)
        self.settled()

    def script(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector: str = ".card .text") -> list[str]:
        """Return what elements hold, without what a screen's size hides of it."""
        script = "return [...document.querySelectorAll(arguments[0])].map(x => x.textContent)"
        return self.script(script, selector)

    def button(self, text: str, within: str = "body") -> WebElement:
        return self.one(within).find_element(
            By.XPATH, f".//*[self::button or self::a][normalize-space()='{text}']"
        )

    def field(self, label: str) -> WebElement:
        return self.driver.find_element(
            By.XPATH, f"//label[span[normalize-space()='{label}']]//*[self::input or self::select]"
        )

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def point_at(self, element: WebElement) -> None:
        self.script("arguments[0].scrollIntoView({block: 'center'})", element)
        ActionChains(self.driver).move_to_element(element).perform()

    def complaints(self) -> list[str]:
        """Return what the browser's console says that is no answer of the server."""
        log = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["source"] != "network"]
