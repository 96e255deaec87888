"""pipeline/review/web/views/work.py: what forms do to alerts, with scripts and without."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.review.web.views.work import read_change, until
from tests.pipeline.review.web.served import Browser, keys, make_desk

NOW = datetime(2025, 3, 3, 9, 30, 15)


def test_one_alert_is_decided_at_once_and_comes_back_as_its_row(desk) -> None:
    browser = Browser(desk, "analyst")
    (key, pair), *_ = keys(browser).items()
    answer = browser.do("/decide", {"do": "fraud", "seen": pair}, script=True).json()
    assert answer["said"] == "1 alert: fraud."
    (row,) = answer["rows"]
    assert (row["key"], row["state"]) == (key, "decided")
    assert f'data-event="{row["event"]}"' in row["html"]
    assert key not in keys(browser)
    assert browser.do("/undo", script=True).json()["rows"][0]["state"] == "open"
    assert key in keys(browser)


def test_several_are_decided_once_that_is_confirmed(desk) -> None:
    browser = Browser(desk, "analyst")
    pairs = [("seen", pair) for pair in list(keys(browser).values())[:3]]
    answer = browser.do("/decide", [("do", "not_fraud"), *pairs], script=True).json()
    assert answer["sure"] == "Decide 'not fraud' for 3 alerts?"
    assert len(keys(browser)) == 10
    page = browser.do("/decide", [("do", "not_fraud"), *pairs]).text
    assert "for 3 alerts?" in page
    assert page.count('name="seen"') == 3
    assert browser.do("/decide", [("do", "not_fraud"), ("sure", "1"), *pairs]).status_code == 303
    assert len(keys(browser)) == 7


def test_whoever_comes_second_is_told_and_may_supersede(desk) -> None:
    first, second = Browser(desk, "analyst"), Browser(desk, "lead")
    (key, pair), *_ = keys(second).items()
    first.do("/decide", {"do": "fraud", "seen": pair})
    page = second.do("/decide", {"do": "not_fraud", "seen": pair})
    assert page.status_code == 409
    assert "Analyst has decided" in page.text
    assert "Supersede it" in page.text
    answer = second.do("/decide", {"do": "not_fraud", "seen": pair, "supersede": "1"}, script=True).json()
    assert answer["rows"][0]["key"] == key
    assert "not fraud" in answer["rows"][0]["html"]


def test_a_form_goes_back_to_where_it_was_and_nowhere_else(desk) -> None:
    browser = Browser(desk, "analyst")
    for pair, (target, place) in zip(
        keys(browser).values(), {"/?sort=age": "/?sort=age&said=", "//evil.example": "/?said="}.items(), strict=False
    ):
        answer = browser.do("/decide", {"do": "snooze", "seen": pair, "then": target})
        assert answer.headers["location"].startswith(place)


def test_next_gives_two_analysts_two_alerts(desk) -> None:
    places = [Browser(desk, role).do("/next", script=True).json()["address"] for role in ("analyst", "lead")]
    assert places[0] != places[1]
    assert all(place.startswith("/alerts/") for place in places)


def test_what_cannot_be_read_is_refused_in_words(desk) -> None:
    browser = Browser(desk, "analyst")
    (pair, *_) = keys(browser).values()
    for fields, words in (
        ({"do": "fraud"}, "No alert is selected"),
        ({"do": "fraud", "seen": "x"}, "cannot be read"),
        ({"do": "explode", "seen": pair}, "is nothing that can be done"),
        ({"do": "fraud", "seen": pair, "code": "none such"}, "is no reason code"),
    ):
        answer = browser.do("/decide", fields, script=True)
        assert answer.status_code == 422
        assert words in answer.json()["said"]


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("1", "UTC", datetime(2025, 3, 4, 9, 30)),
        ("30", "UTC", datetime(2025, 4, 2, 9, 30)),
        ("2025-03-10", "UTC", datetime(2025, 3, 10)),
        ("2025-07-10", "America/New_York", datetime(2025, 7, 10, 4)),
        ("2025-03-10T12:00", "America/New_York", datetime(2025, 3, 10, 12)),
        ("2025-03-10T12:00+02:00", "UTC", datetime(2025, 3, 10, 10)),
        ("", "UTC", datetime(2025, 3, 4, 9, 30)),
        ("soon", "UTC", datetime(2025, 3, 4, 9, 30)),
        ("99999", "UTC", datetime(2025, 3, 4, 9, 30)),
    ],
)
def test_an_alert_is_put_off_by_days_or_until_one(text: str, zone: str, moment: datetime) -> None:
    assert until(text, zone, NOW) == moment


def test_a_comment_goes_before_a_template() -> None:
    form = {"do": "fraud", "comment": " ", "template": "called the customer", "code": "card stolen"}
    assert read_change(form, "ann").comment == "called the customer"
    assert read_change(form | {"comment": "my own"}, "ann").comment == "my own"


def test_a_form_without_scripts_snoozes_until_a_day_and_takes_a_template(tmp_path) -> None:
    desk = make_desk(tmp_path, templates=["knows the shop <b>"], codes=["card stolen"])
    browser = Browser(desk, "analyst")
    first, second = list(keys(browser).items())[:2]
    page = browser.get(f"/alerts/{first[0]}").text
    assert '<option value="knows the shop &lt;b&gt;">1 knows the shop &lt;b&gt;</option>' in page
    assert '<option value="card stolen">1 card stolen</option>' in page
    day = (datetime.now(UTC) + timedelta(days=40)).date().isoformat()
    browser.do("/decide", {"do": "snooze", "seen": first[1], "until": day, "then": "/"})
    browser.do("/decide", {"do": "not_fraud", "seen": second[1], "template": "knows the shop <b>", "comment": ""})
    assert f"Snoozed until {day} 00:00 UTC" in browser.get(f"/alerts/{first[0]}").text
    assert "decided not fraud: knows the shop &lt;b&gt;" in browser.get(f"/alerts/{second[0]}").text
    past = browser.do("/decide", {"do": "snooze", "seen": second[1], "until": "2020-01-01"})
    assert past.status_code == 422
    assert "name a later date" in past.text
    desk.close()
