"""What every answer has, and what is said where something goes wrong."""

import logging
import sqlite3
from contextlib import closing

import pytest

from pipeline.review.desk import Desk
from pipeline.review.people import ASSAY
from pipeline.review.web.guard import HEADERS
from tests.pipeline.review.web.served import Browser, keys, make_desk


def test_every_answer_has_the_headers_also_one_that_failed(desk, monkeypatch, caplog) -> None:
    browser = Browser(desk, "lead")

    def fail(*words):
        raise RuntimeError("a defect with secret words")

    monkeypatch.setattr(Desk, "page", fail)
    caplog.set_level(logging.CRITICAL, "assay.review")
    for path, status in {"/login": 303, "/": 500, "/none": 404, "/static/desk.js": 200}.items():
        answer = browser.get(path)
        assert answer.status_code == status, path
        for name, value in HEADERS.items():
            assert answer.headers.get_list(name) == [value], path
        assert answer.headers["cache-control"] == "no-store", path
        assert "secret words" not in answer.text
        assert "Traceback" not in answer.text


def test_a_page_that_is_not_there_says_so_in_words(desk) -> None:
    answer = Browser(desk, "viewer").get("/alerts/none")
    assert answer.status_code == 404
    assert "There is nothing here" in answer.text
    assert "there is no alert" in answer.text.lower()


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/static/%00"]
)
def test_no_path_leads_out_of_the_static_files(path: str, desk) -> None:
    answer = Browser(desk).get(path)
    assert answer.status_code in (303, 404)
    assert "import" not in answer.text


def test_a_request_that_is_too_long_or_of_unknown_length_is_not_read(desk) -> None:
    browser = Browser(desk, "analyst")
    assert browser.post("/decide", data={"csrf": browser.csrf, "comment": "x" * 1_100_000}).status_code == 413
    assert browser.post("/decide", content=iter([b"csrf=x"])).status_code == 413


def test_only_the_names_of_this_machine_are_answered_where_they_are_named(desk) -> None:
    browser = Browser(desk, hosts=["127.0.0.1"])
    assert browser.get("/health").text == "well"
    assert browser.get("/health", headers={"host": "evil.example"}).status_code == 400


def test_a_database_that_another_process_holds_is_said_and_nothing_is_changed(tmp_path, monkeypatch, caplog) -> None:
    monkeypatch.setattr("pipeline.workspace.database.WAIT", 0.1)
    desk = make_desk(tmp_path)
    browser = Browser(desk, "analyst")
    decision = {"do": "fraud", "seen": next(iter(keys(browser).values()))}
    caplog.set_level(logging.ERROR, "assay.review")
    with closing(sqlite3.connect(tmp_path / "work" / "ledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answers = [browser.do("/decide", decision, script=script) for script in (False, True)]
        assert browser.get("/").status_code == 200  # who only reads does not wait
    for answer in answers:
        assert answer.status_code == 503
        assert "The database is busy or gone; nothing was changed." in answer.text
        assert "ledger.db" not in answer.text
    assert "The desk cannot reach its database" in answers[0].text
    assert "ledger.db cannot be used: database is locked" in caplog.text
    assert browser.do("/decide", decision).status_code == 303
    desk.close()


def test_pages_and_scripts_hold_no_script_or_style_of_their_own_and_nothing_from_elsewhere(desk) -> None:
    import re

    browser = Browser(desk, "admin")
    key = re.search(r'data-key="(\w+)"', browser.get("/").text)[1]
    for path in ("/login", "/", f"/alerts/{key}", "/dashboard", "/users", "/account"):
        text = browser.get(path).text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text), path
        assert re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL) in ([], [""], ["", ""]), path
        assert not re.search(r'(src|href|action)="(https?:)?//', text), path


@pytest.mark.parametrize("charset", ["raw_unicode_escape", "undefined", "utf-16", "none such"])
def test_a_form_that_holds_no_text_is_refused_and_never_a_fault(charset: str, desk) -> None:
    browser = Browser(desk, "analyst")
    part = '--x\r\ncontent-disposition: form-data; name="comment"\r\n\r\n\\ud800\r\n--x--\r\n'
    answer = browser.post(
        "/decide", content=part, headers={"content-type": f"multipart/form-data; boundary=x; charset={charset}"}
    )
    assert answer.status_code in (400, 403)


def test_half_of_a_pair_in_a_comment_is_refused_and_a_nul_is_kept(desk) -> None:
    browser = Browser(desk, "analyst")
    token = desk.add_token("test", ["decide"], ASSAY, name="analyst")
    key, pair = next(iter(keys(browser).items()))
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    body = f'{{"seen": {{"{key}": {pair.split(":")[1]}}}, "label": "fraud", "comment": "a\\ud800"}}'
    assert browser.post("/api/decisions", content=body, headers=headers).status_code == 422
    answer = browser.do("/decide", {"do": "comment", "comment": "a\x00b", "seen": pair}, script=True)
    assert answer.status_code == 200
    assert "[U+0000]" in browser.get(f"/alerts/{key}").text
