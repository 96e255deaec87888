"""pipeline/review/web/packet.py: a packet in a real browser, from a file, without a desk and without a network."""

import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.people import ASSAY
from pipeline.review.web.packet import packet_page
from tests.pipeline.review.web.served import make_desk
from tests.pipeline.review.web.test_browser import NARROW, RULES, WIDE


def write_packet(desk: Desk, path) -> None:
    desk.make_packet(View(), "analyst", ASSAY, lambda packet: path.write_text(packet_page(packet, desk.config.review)))


def test_a_packet_is_worked_by_keyboard_kept_saved_and_taken_in(tmp_path, chromium) -> None:
    desk = make_desk(tmp_path, codes=["stolen", "lost"], code_needed=["fraud"])
    write_packet(desk, tmp_path / "packet.html")
    context, faults = chromium.new_context(offline=True, accept_downloads=True, viewport=WIDE), []
    page = context.new_page()
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "request",
        lambda request: faults.append(request.url) if not request.url.startswith(("file:", "data:", "blob:")) else None,
    )
    page.goto((tmp_path / "packet.html").as_uri())
    said = page.locator("#said")
    expect(page.locator("#alerts > li.here")).to_have_count(1)
    page.keyboard.press("f")
    expect(said).to_have_text("A decision of fraud needs a reason code.")
    page.locator("li.here .code").select_option("lost")
    for key in ("Escape", "f", "n", "u", "z", "j", "k", "n", "c"):
        page.keyboard.press(key)
    page.keyboard.type("it was f, n and u")
    page.keyboard.press("Escape")
    page.keyboard.press("u")
    expect(said).to_have_text("Unsure. 6 left.")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.reload()
    expect(said).to_have_text("4 decided before; they are here again.")
    with page.expect_download() as download:
        page.keyboard.press("d")
    expect(said).to_contain_text("Saved 4 decisions.")
    download.value.save_as(tmp_path / "decisions.json")
    assert faults == []
    context.close()
    text = (tmp_path / "decisions.json").read_text()
    arrival = desk.take_packet(text, ASSAY)
    lines = sorted(desk.page(View(state="decided"), ASSAY).lines, key=lambda line: -line.score)
    assert [line.label for line in lines] == ["fraud", "not_fraud", "not_fraud", "unsure"]
    assert (lines[0].code, len(arrival.events), arrival.clashes) == ("lost", 4, ())
    assert "it was f, n and u" in json.loads(text)["body"]
    desk.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_packet_is_accessible_in_both_themes_and_fits_a_narrow_window(tmp_path, chromium, scheme: str) -> None:
    desk = make_desk(tmp_path, codes=["stolen"])
    write_packet(desk, tmp_path / "packet.html")
    context = chromium.new_context(color_scheme=scheme, viewport=NARROW, bypass_csp=True)  # for axe's own script
    page = context.new_page()
    page.goto((tmp_path / "packet.html").as_uri())
    page.keyboard.press("f")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    seen = Axe().run(page, options=RULES)
    assert seen.violations_count == 0, seen.generate_report()
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) is (scheme == "dark")
    context.close()
    desk.close()


def test_without_scripts_every_alert_can_be_read(tmp_path, chromium) -> None:
    desk = make_desk(tmp_path)
    write_packet(desk, tmp_path / "packet.html")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((tmp_path / "packet.html").as_uri())
    expect(page.get_by_text("device 10", exact=True)).to_be_visible()
    expect(page.get_by_text("This page can be read without scripts")).to_be_visible()
    context.close()
    desk.close()


def test_the_policy_lets_nothing_run_but_the_pages_own_script(tmp_path) -> None:
    desk = make_desk(tmp_path)
    write_packet(desk, tmp_path / "packet.html")
    text = (tmp_path / "packet.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)
    assert "unsafe" not in policy
    assert policy.startswith("default-src &#39;none&#39;; script-src &#39;sha256-")
    assert len(re.findall("<script", text)) == len(re.findall("<style", text)) == 1
    assert not re.search(
        r"""(src|href)="?(?!data:,|#a)[^"#]|url\(|@import|\son\w+=|style=""",
        text.split("<style>")[0] + text.split("</style>")[1].split("<script>")[0],
    )
    desk.close()
