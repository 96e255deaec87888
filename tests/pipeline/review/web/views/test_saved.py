"""pipeline/review/web/views/saved.py: views under names, each person's own."""

import html
import re

from tests.pipeline.review.web.served import Browser


def test_a_view_is_saved_opened_and_deleted_and_is_nobody_elses(desk) -> None:
    browser, other = Browser(desk, "analyst"), Browser(desk, "viewer")
    assert "None yet." in browser.get("/views").text
    page = browser.get("/?sort=risk&state=late&q=card-1&least=20").text
    query = html.unescape(re.search(r'name="query" value="([^"]*)"', page)[1])
    answer = browser.do("/views", {"title": "big & late", "query": query})
    assert answer.headers["location"] == "/?sort=risk&state=late&least=20.0&q=card-1&said=view"
    assert "The view is saved; g v lists yours." in browser.get(answer.headers["location"]).text
    listed = browser.get("/views").text
    assert "big &amp; late" in listed
    assert 'class="saved" href="/?sort=risk&amp;state=late&amp;least=20.0&amp;q=card-1"' in listed
    assert "None yet." in other.get("/views").text
    assert browser.do("/views", {"title": "big & late", "do": "delete"}).headers["location"] == "/views"
    assert "None yet." in browser.get("/views").text


def test_nothing_but_a_view_gets_into_a_saved_address(desk) -> None:
    browser = Browser(desk, "analyst")
    for query in ("javascript:alert(1)", "//evil.example/", "state=x&next=//evil.example", "q=%22%3E%3Cscript%3E"):
        assert browser.do("/views", {"title": "<b>" + query, "query": query}).headers["location"].startswith("/?")
    page = browser.get("/views").text
    assert "<script>" not in page
    assert "<b>" not in page
    assert set(re.findall(r'class="saved" href="([^"]+)"', page)) == {"/", "/?state=x", "/?q=%22%3E%3Cscript%3E"}


def test_a_view_without_a_name_is_refused_in_words(desk) -> None:
    answer = Browser(desk, "analyst").do("/views", {"title": "  ", "query": "state=late"})
    assert answer.status_code == 422
    assert "A view is saved under a title; give one." in answer.text
