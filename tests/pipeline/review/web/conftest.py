"""Desks in the browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.review import users
from pipeline.review.desk import Desk
from tests.pipeline.review.web.served import make_desk


@pytest.fixture(scope="module", autouse=True)
def hashing() -> Iterator[None]:
    """Passwords as slow as ever again, once the tests of a file are through."""
    before = users._hasher
    yield
    users._hasher = before


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk with ten alerts, of the ids 1 to 10, and one user a role."""
    desk = make_desk(tmp_path)
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def chromium():
    """A browser without a screen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        yield browser
        browser.close()
