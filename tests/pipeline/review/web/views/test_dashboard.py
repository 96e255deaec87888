"""pipeline/review/web/views/dashboard.py: charts with their tables, and who sees whose figures."""

import re

from tests.pipeline.review.web.served import Browser, keys, make_desk

OF_ANALYSTS = ("By analyst", "Quality of reviews", "Right on golden rows", "Agree with the first", "not flagged")


def test_each_chart_has_its_table_and_analysts_figures_are_for_leads_alone(tmp_path) -> None:
    desk = make_desk(tmp_path, second_share=1.0)
    browser = Browser(desk, "analyst")
    for place, pair in enumerate(list(keys(browser).values())[:6]):
        browser.do("/decide", {"do": "fraud" if place % 3 == 0 else "not_fraud", "seen": pair})
    pages = {role: Browser(desk, role).get("/dashboard").text for role in ("viewer", "analyst", "lead", "admin")}
    for role, page in pages.items():
        assert re.findall(r'role="img" aria-label="([^"]+)"', page) == [
            "Waiting alerts by age",
            "Decisions a day",
            "Share of fraud among decided alerts by week",
        ]
        assert page.count("<table") >= 6
        assert all((words in page) is (role in ("lead", "admin")) for words in OF_ANALYSTS), role
        assert ('<th scope="row">analyst</th>' in page) is (role in ("lead", "admin"))
    assert "33.3 %" in pages["viewer"]
    desk.close()


def test_a_desk_without_decisions_says_so(desk) -> None:
    page = Browser(desk, "lead").get("/dashboard").text
    assert "Nothing was decided yet." in page
    assert "golden_share mixes them into the queue" in page
