"""The demo in a real browser: links, scripts and layout; `make browser` runs it.

`demo/visit.py` compares what the pages say, without a browser.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

DEMO = Path(__file__).parents[2] / "demo"
WIDE, NARROW = (1280, 900), (390, 844)
PAGES = {
    "list": "/products/",
    "product": "/products/1375/",
    "stock": "/products/1375/stock/",
    "explain": "/explain/?user=user.name&perm=inventory.delete_product&object=PROD123",
    "missing": "/nowhere/",
    "sign-in": "/sign-in/",
}
TOO_WIDE = """
return [...document.querySelectorAll("html, .scroll, pre")]
    .filter((part) => part.scrollWidth > part.clientWidth).map((part) => part.outerHTML);
"""


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[str]:
    """Start the demo, and give the address that it prints."""
    given = {"DEMO_DATABASE": str(folder / "db.sqlite3"), "NO_COLOR": "1", "PORT": "0"}
    inherited = {name: os.environ[name] for name in os.environ if name != "DJANGO_SETTINGS_MODULE"}
    printed = folder / "printed"
    with (
        printed.open("w") as output,
        subprocess.Popen(
            [sys.executable, str(DEMO / "run.py")],
            env={**inherited, **given, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            while not (found := re.search(r"(?m)^(http://[\d.:]+)/", printed.read_text())):
                assert process.poll() is None, printed.read_text()
                time.sleep(0.1)
            yield found[1]
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("demo")) as address:
        yield address


def sign_in(browser: webdriver.Chrome, address: str, username: str = "user.name") -> None:
    browser.get(f"{address}/sign-in/")
    browser.find_element(By.CSS_SELECTOR, f"button[value='{username}']").click()
    see(browser, f"Signed in as {username}", "header")


def text_of(browser: webdriver.Chrome, selector: str = "main") -> str:
    return " ".join(browser.find_element(By.CSS_SELECTOR, selector).text.split())


def see(browser: webdriver.Chrome, text: str, selector: str = "main") -> None:
    """Wait until the page has the text; a click may still be loading the next one."""
    wait = WebDriverWait(browser, 10, ignored_exceptions=[StaleElementReferenceException])
    try:
        wait.until(lambda _: text in text_of(browser, selector))
    except TimeoutException:
        pytest.fail(f"{text!r} isn't in {selector} of: {text_of(browser, 'body')}")


def test_denied_page_leads_to_the_explanation_and_back(
    demo: str, browser: webdriver.Chrome
) -> None:
    browser.get(f"{demo}/sign-in/")
    people = browser.find_elements(By.CSS_SELECTOR, ".people button")
    assert people[0].get_attribute("value") == "user.name"
    people[0].click()

    # The first list has both answers in it.
    assert browser.find_elements(By.XPATH, "//td/button[text()='Delete']")
    denied = browser.find_elements(By.CSS_SELECTOR, "td a[href$='#delete_product']")
    assert denied
    denied[0].click()
    path = browser.current_url
    browser.find_element(By.XPATH, "//button[text()='Delete by function']").click()

    see(browser, "Cannot delete active product lines", ".lead")
    browser.find_element(By.LINK_TEXT, "Explain this check").click()
    see(browser, "The answer denied")
    see(browser, "Product._user_can_delete_product")
    see(browser, "RESULT: Permission Denied")
    browser.back()
    browser.find_element(By.LINK_TEXT, "Back").click()
    assert browser.current_url.split("#")[0] == path.split("#")[0]

    browser.find_element(By.LINK_TEXT, "Admin").click()
    browser.find_element(By.LINK_TEXT, "Products").click()
    see(browser, "products", ".paginator")


def test_socket_closes_when_the_permission_is_revoked(demo: str, browser: Any) -> None:
    sign_in(browser, demo)
    browser.get(f"{demo}{PAGES['stock']}")
    see(browser, "Connected", "#state")
    see(browser, "116", "#stock")
    browser.find_element(By.XPATH, "//button[text()='Sell one']").click()
    see(browser, "115", "#stock")
    browser.find_element(By.XPATH, "//button[starts-with(text(), 'Stop managing')]").click()
    see(browser, "closed the connection: user.name does not manage Marlow Plumbing", "#state")
    browser.find_element(By.XPATH, "//button[text()='Reset data']").click()
    see(browser, "All data is as it was")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=str)
def test_pages_fit_and_are_labelled(demo: str, browser: Any, size: Any, scheme: str) -> None:
    sign_in(browser, demo)
    feature = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": feature})
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    for name, path in PAGES.items():
        browser.get(f"{demo}{path}")
        # Neither the page nor a part of it scrolls sideways.
        assert browser.execute_script(TOO_WIDE) == [], name
        for control in browser.find_elements(By.CSS_SELECTOR, "input, select, button, output"):
            if control.get_attribute("type") != "hidden":
                assert control.accessible_name, (name, control.get_attribute("outerHTML"))
        assert browser.find_element(By.CSS_SELECTOR, "a.skip").get_attribute("href")


def test_toolbar_shows_the_checks(tmp_path: Path, browser: webdriver.Chrome) -> None:
    with serving(tmp_path, DEBUG="1") as address:
        sign_in(browser, address)
        browser.get(f"{address}{PAGES['product']}")
        toolbar = browser.find_element(By.ID, "djDebugRoot").shadow_root
        toolbar.find_element(By.ID, "djShowToolBarButton").click()
        toolbar.find_element(By.CSS_SELECTOR, "a.PermissionsPanel").click()
        panel = toolbar.find_element(By.ID, "PermissionsPanel")
        why = "Cannot delete active product lines"
        WebDriverWait(browser, 10).until(lambda _: why in panel.text)
