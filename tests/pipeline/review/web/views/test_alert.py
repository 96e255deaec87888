"""pipeline/review/web/views/alert.py: the page of one alert, hostile and sensitive cells among them."""

from tests.pipeline.review.web.served import Browser, keys, make_desk


def test_the_page_says_what_happened_why_and_how_rare_it_is(desk) -> None:
    browser = Browser(desk, "analyst")
    page = browser.get(f"/alerts/{next(iter(keys(browser)))}").text
    assert "About 1 in 1,000 normal rows scores this high" in page
    assert 'width="75.0"' in page
    for words in ("card-1", "shop-1", "device 1", "Counts as known from"):
        assert words in page


def test_a_second_reader_is_told_who_holds_it(desk) -> None:
    first, second, viewer = (Browser(desk, role) for role in ("analyst", "lead", "viewer"))
    key = next(iter(keys(first)))
    assert "holds the alert" not in first.get(f"/alerts/{key}").text
    assert "analyst holds the alert until" in second.get(f"/alerts/{key}").text
    page = viewer.get(f"/alerts/{key}").text
    assert 'name="do"' not in page


def test_a_sensitive_cell_is_shown_for_a_reason_that_is_kept(tmp_path) -> None:
    desk = make_desk(tmp_path, sensitive=["card", "channel"])
    browser = Browser(desk, "analyst")
    key = next(iter(keys(browser)))
    page = browser.get(f"/alerts/{key}").text
    assert "card-1" not in page
    assert "•••" in page
    refused = browser.do(f"/alerts/{key}/unmask", {"column": "card", "why": " "})
    assert refused.status_code == 422
    page = browser.do(f"/alerts/{key}/unmask", {"column": "card", "why": "the bank asks"}).text
    assert "card-1" in page
    assert "unmasked card: the bank asks" in page
    assert "card-1" not in browser.get(f"/alerts/{key}").text
    desk.close()
