"""Chromium without a window, for tests of the page and for its screenshots."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMEDRIVER = shutil.which("chromedriver")
MISSING = "there is no chromium with its chromedriver (Debian: apt-get install chromium-driver)"

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # of root it asks for that
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",  # containers have little of it
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--lang=en-GB",
)


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """Run a browser that keeps what it writes in a folder, which must be new."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # an alert is to be seen by the test, not closed for it
    options.set_capability("unhandledPromptBehavior", "ignore")
    # a driver that is named is not looked for on the network
    driver = webdriver.Chrome(options, Service(executable_path=str(CHROMEDRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


def resize(driver: webdriver.Chrome, width: int, height: int, *, scale: float = 1) -> None:
    """Give the page exactly this size, in its own pixels."""
    driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False},
    )


def prefer(driver: webdriver.Chrome, scheme: str) -> None:
    """Let the page believe that its reader prefers `light` or `dark`."""
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
