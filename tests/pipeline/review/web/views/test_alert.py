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


TITLES = {
    "eur": {"title": "Amount", "unit": "<EUR>", "description": "What was paid."},
    "card": {"title": "Card <b>number"},
}


def test_titles_and_units_stand_for_names(tmp_path):
    desk = make_desk(tmp_path, sensitive=["card"], columns=TITLES)
    browser = Browser(desk, "analyst")
    queue = browser.get("/").text
    assert "10.00 &lt;EUR&gt;</td>" in queue
    assert "Card &lt;b&gt;number · shop" in queue
    assert '<option value="eur">Amount</option>' in queue
    page = browser.get(f"/alerts/{next(iter(keys(browser)))}").text
    for words in (
        "10.00 &lt;EUR&gt;</p>",
        "<dt>Card &lt;b&gt;number</dt>",
        '<option value="card">Card',
        "What was paid.",
    ):
        assert words in page
    assert '<th scope="row">Amount</th><td class="n">10.00 &lt;EUR&gt;</td><td class="n">2.00 &lt;EUR&gt;</td>' in page
    assert '<td class="n">9.50 &lt;EUR&gt;</td>' in page
    sheet = browser.get("/export").text.splitlines()
    assert sheet[1].count('"Amount (<EUR>)"') == 1
    assert '"10.00"' in sheet[2]
    desk.close()


def test_a_hidden_amount_has_no_unit_and_no_value_at_which_it_would_not_be_flagged(tmp_path):
    desk = make_desk(tmp_path, sensitive=["eur"], columns=TITLES)
    browser = Browser(desk, "analyst")
    assert "EUR" not in browser.get("/").text
    assert "9.50" not in browser.get(f"/alerts/{next(iter(keys(browser)))}").text
    desk.close()
