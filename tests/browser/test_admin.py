"""The main path through the admin in a real browser; `make browser` runs it."""

from __future__ import annotations

from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.test_contrib_admin import _admin as _admin
from tests.test_contrib_admin import client_of
from tests.test_contrib_admin import world as world
from tests.testapp.models import Memo, Page

pytestmark = pytest.mark.django_db(transaction=True)


def test_staff_choose_and_change_what_they_may_see(
    browser: webdriver.Chrome, live_server: Any, world: Any
) -> None:
    staff, pages = world()
    client = client_of(staff)
    url = f"{live_server.url}/autocomplete/testapp"
    browser.get(f"{live_server.url}/autocomplete/login/")
    browser.add_cookie({"name": "sessionid", "value": client.cookies["sessionid"].value})

    browser.get(f"{url}/page/")
    shown = {each.text for each in browser.find_elements(By.CSS_SELECTOR, "th.field-title")}
    assert shown == {f"page-{each}" for each in ["v", "c", "vc", "vd", "cd", "vcd"]}
    enabled = browser.find_elements(By.CSS_SELECTOR, "td.field-rank input:enabled")
    assert len(enabled) == 4

    browser.find_element(By.XPATH, "//th/a[text()='page-v']").click()
    browser.find_element(By.XPATH, "//h1[text()='View page']")

    browser.get(f"{url}/memo/add/")
    browser.find_element(By.NAME, "text").send_keys("memo-vc")
    browser.find_element(By.CSS_SELECTOR, ".select2-selection").click()
    results = ".select2-results__option[role=option], .select2-results__option--selectable"
    browser.find_element(By.XPATH, "//li[text()='page-vd']")
    offered = {each.text for each in browser.find_elements(By.CSS_SELECTOR, results)}
    assert offered == shown
    browser.find_element(By.XPATH, "//li[text()='page-vd']").click()
    browser.find_element(By.NAME, "_save").click()
    browser.find_element(By.CSS_SELECTOR, ".messagelist .success")
    assert Memo.objects.get().page == pages["vd"]

    browser.get(f"{url}/page/{pages['vcd'].pk}/delete/")
    browser.find_element(By.CSS_SELECTOR, "input[type=submit]").click()
    browser.find_element(By.CSS_SELECTOR, ".messagelist .success")
    assert not Page.objects.filter(title="page-vcd").exists()
