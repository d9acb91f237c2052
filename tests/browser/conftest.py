"""Chromium, which all tests here drive."""

from collections.abc import Iterator

import pytest
from selenium import webdriver


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.implicitly_wait(10)
    driver.set_window_size(1280, 900)
    yield driver
    driver.quit()
