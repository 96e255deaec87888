"""pipeline/review/web/views/packets.py: a packet by a button, and its decisions back by an upload."""

import hmac
import json
import re

from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.packets import key_of_packet
from pipeline.review.people import ASSAY
from pipeline.review.web.guard import MOST_BYTES
from tests.pipeline.review.web.served import Browser, keys


def made(answer) -> str:
    """The id of the packet that was sent as a file."""
    assert answer.status_code == 200
    return re.fullmatch('attachment; filename="packet-([0-9a-f]{16}).html"', answer.headers["content-disposition"])[1]


def filled(desk: Desk, packet: str, user: str, labels: dict[str, str]) -> bytes:
    """The file that the packet's page would give."""
    decisions = {
        key: {"label": label, "code": "", "comment": "", "at": "2025-03-03T12:30:00Z"} for key, label in labels.items()
    }
    body = json.dumps({"packet": packet, "decisions": decisions})
    signature = hmac.new(key_of_packet(desk.config, packet, user), body.encode(), "sha256").hexdigest()
    return json.dumps({"body": body, "signature": signature}).encode()


def bring(browser: Browser, content: bytes, name: str = "decisions.json"):
    return browser.post("/packets/decisions", data={"csrf": browser.csrf}, files={"file": (name, content)})


def test_an_analyst_takes_a_view_along_and_brings_its_decisions_back_once(desk) -> None:
    browser = Browser(desk, "analyst")
    address = re.search(r'href="(/packets[^"]*)">Packet</a>', browser.get("/?q=card-1&state=late").text)[1]
    page = browser.get(address.replace("&amp;", "&")).text
    assert 'name="user"' not in page
    query = re.search(r'name="query" value="([^"]*)"', page)[1].replace("&amp;", "&")
    answer = browser.do("/packets", {"query": query})
    packet, wanted = made(answer), [line.key for line in desk.page(View(search="card-1"), ASSAY).lines]
    assert len(wanted) == 4
    assert all(key in answer.text for key in wanted)
    assert len(re.findall('data-key="[0-9a-f]{20}"', answer.text)) == 4
    other = Browser(desk, "lead")
    other.do("/decide", {"seen": keys(other)[wanted[0]], "do": "not_fraud"})
    content = filled(desk, packet, "analyst", dict.fromkeys(wanted[:3], "fraud"))
    page = bring(browser, content).text
    assert "2 decisions of analyst taken in, 1 left out." in page
    assert "a colleague has decided &#39;not fraud&#39;" in page
    labels = {line.key: line.label for line in desk.page(View(state="decided"), ASSAY).lines}
    assert labels == {wanted[0]: "not_fraud", wanted[1]: "fraud", wanted[2]: "fraud"}
    again = bring(browser, content)
    assert (again.status_code, "brought back on" in again.text) == (422, True)


def test_nobody_but_an_admin_makes_a_packet_in_anothers_name_or_brings_one(desk) -> None:
    analyst, lead, admin = (Browser(desk, role) for role in ("analyst", "lead", "admin"))
    assert analyst.do("/packets", {"user": "lead"}).status_code == 403
    assert lead.do("/packets", {"user": "analyst"}).status_code == 403
    page = admin.get("/packets").text
    assert re.findall(r'<option value="(\w+)"', page) == ["admin", "analyst", "lead"]
    packet = made(admin.do("/packets", {"user": "analyst"}))
    content = filled(desk, packet, "analyst", {next(iter(keys(admin))): "fraud"})
    before = desk.verify().number
    assert bring(lead, content).status_code == 403
    assert desk.verify().number == before
    assert "1 decision of analyst taken in." in bring(admin, content).text


def test_what_is_no_file_of_decisions_is_refused_in_a_sentence(desk) -> None:
    browser = Browser(desk, "analyst")
    for answer in (browser.do("/packets/decisions"), browser.do("/packets/decisions", {"file": "text"})):
        assert (answer.status_code, "No file of decisions was chosen" in answer.text) == (422, True)
    for content in (b"", b"\xff\xfe", b"[]", b"{}", b"<html>"):
        answer = bring(browser, content)
        assert (answer.status_code, "This is no file of decisions" in answer.text) == (422, True)
    assert bring(browser, b" " * MOST_BYTES).status_code == 413
    two = [("file", ("a.json", b"{}")), ("file", ("b.json", b"{}"))]
    assert browser.post("/packets/decisions", data={"csrf": browser.csrf}, files=two).status_code == 400
    # No other form takes a file.
    assert browser.post("/decide", data={"csrf": browser.csrf}, files={"seen": ("a", b"")}).status_code == 400
    # A file alone is not meant: it lacks the token of the page.
    assert browser.post("/packets/decisions", files={"file": ("a.json", b"{}")}).status_code == 403
