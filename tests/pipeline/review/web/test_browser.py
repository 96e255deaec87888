"""The desk in a real browser: an analyst's day by keyboard, in both themes, and in a narrow window.

With ``PICTURES=FOLDER`` it leaves the pictures of the README there.
"""

import os
import re
import threading
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.people import ASSAY, Person
from pipeline.review.store import utc_now
from pipeline.review.web.app import make_app
from pipeline.review.web.serving import OF_THIS_MACHINE
from pipeline.review.work import Action, rows_of
from tests.pipeline.review.web.plausible import plausible_config
from tests.pipeline.review.web.served import PASSWORD, QUICK

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}
WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


class Served:
    """A desk that is served on a free port, by a thread of this process."""

    def __init__(self, desk: Desk) -> None:
        import uvicorn

        from pipeline.review.web.serving import Door, listen

        self.desk, self.listener = desk, listen(Door(port=0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        app = make_app(desk, hosts=OF_THIS_MACHINE)
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.listener]})
        self.thread.start()

    def end(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.listener.close()
        self.desk.close()


class Ahead:
    """A clock that tests put ahead of the world's, and the chance that the desk draws by."""

    def __init__(self) -> None:
        self.ahead, self.chance = timedelta(), 1.0

    def __call__(self) -> datetime:
        return utc_now() + self.ahead

    def draw(self) -> float:
        return self.chance


@pytest.fixture(scope="module")
def clock() -> Ahead:
    return Ahead()


@pytest.fixture(scope="module")
def served(tmp_path_factory, clock: Ahead):
    from pipeline.review import users

    users._hasher = lambda: QUICK
    config = plausible_config(tmp_path_factory.mktemp("desk"))
    settings = {"second_share": 0.5, "codes": ("card stolen", "known shop"), "templates": ("called", "no answer")}
    config = config.model_copy(update={"review": config.review.model_copy(update=settings)})
    desk = Desk(config, clock, clock.draw)
    desk.sync()
    served = Served(desk)
    yield served
    served.end()


class Watched:
    """A window, with what its pages say on the console and ask of other hosts."""

    def __init__(self, chromium, served: Served, **settings) -> None:
        self.context = chromium.new_context(**{"viewport": WIDE, **settings})
        self.page: Page = self.context.new_page()
        self.url, self.faults = served.url, []
        self.page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._look)

    def _look(self, request) -> None:
        if not request.url.startswith((self.url, "data:")):
            self.faults.append(f"asked for {request.url}")

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def keys(self, *names: str) -> None:
        for name in names:
            self.page.keyboard.press(name)

    def sign_in(self, name: str) -> None:
        self.go("/login")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.keys("Enter")
        expect(self.page.locator("h1")).to_have_text("Open alerts")

    def wait_for_keys(self) -> None:
        """Wait until the scripts of the queue run: keys that come before them do nothing."""
        expect(self.page.locator("tr.here")).to_have_count(1)

    def leave_case_out(self) -> None:
        """Let what is decided next be of the one alert alone."""
        for box in self.page.locator("[form=work]").all():
            box.uncheck()

    def says(self, text: str | re.Pattern[str]) -> None:
        expect(self.page.locator("#said")).to_have_text(text)

    def picture(self, name: str) -> None:
        if folder := os.environ.get("PICTURES"):
            self.page.screenshot(path=Path(folder) / name)


def states(desk: Desk) -> dict[str, int]:
    return {state: count for state, count in desk.page(View(), ASSAY).counts.items() if count}


def test_an_analysts_day_by_keyboard(served: Served, chromium) -> None:
    first = Watched(chromium, served)
    first.go(f"/welcome/{served.desk.invite()}")
    first.page.get_by_label("Name").fill("ada")
    first.page.get_by_label("Password").fill(PASSWORD)
    first.keys("Enter")
    expect(first.page.locator("h1")).to_have_text("Open alerts")
    served.desk.add_user("ann", PASSWORD, "analyst", ASSAY)

    ann = Watched(chromium, served)
    ann.sign_in("ann")
    ann.wait_for_keys()
    ann.picture("desk.png")
    # Twenty alerts, one key each.
    for key in "fnu" * 6 + "fn":
        ann.keys(key)
    expect(ann.page.locator("tr[data-state=decided]")).to_have_count(20)
    ann.says("1 alert: not fraud.")
    assert states(served.desk) == {"open": 40, "decided": 20}
    ann.keys("z")
    ann.says(re.compile("taken back"))
    ann.keys("s", "1", "e")
    expect(ann.page.locator("tr[data-state=escalated]")).to_have_count(1)
    assert states(served.desk) == {"open": 39, "decided": 19, "snoozed": 1, "escalated": 1}
    # Five in one go: said first, asked once, and taken back in one.
    ann.keys("J", "J", "J", "J", "f")
    expect(ann.page.locator("#sure-title")).to_have_text("Decide 'fraud' for 5 alerts?")
    ann.keys("Enter")
    ann.says("5 alerts: fraud.")
    assert states(served.desk)["decided"] == 24
    ann.keys("z")
    ann.says(re.compile("taken back.*5 alerts"))
    assert states(served.desk)["decided"] == 19
    ann.keys("?")
    expect(ann.page.locator("#help")).to_be_visible()
    ann.keys("Escape", "/")
    expect(ann.page.locator("#search")).to_be_focused()
    assert ann.faults == []
    for window in (first, ann):
        window.context.close()


def test_two_analysts_and_one_alert(served: Served, chromium) -> None:
    served.desk.add_user("cal", PASSWORD, "analyst", ASSAY)
    served.desk.add_user("bob", PASSWORD, "analyst", ASSAY)
    ann, bob = Watched(chromium, served), Watched(chromium, served)
    ann.sign_in("cal")
    ann.wait_for_keys()
    # The page of an alert: the next one comes by itself.
    ann.keys("g", "n")
    expect(ann.page.locator("#decision")).to_be_visible()
    one = ann.page.locator("#alert").get_attribute("data-key")
    ann.picture("alert.png")
    bob.sign_in("bob")
    bob.go(f"/alerts/{one}")
    bob.says(re.compile("cal holds the alert until"))
    bob.page.wait_for_load_state("networkidle")
    bob.keys("n")
    bob.says(re.compile("Cal holds the alert until"))
    # Its case is decided with it, once that is confirmed.
    ann.keys("f")
    expect(ann.page.locator("#sure-title")).to_have_text(re.compile("Decide 'fraud' for [0-9]+ alert"))
    ann.keys("Enter")
    expect(ann.page.locator("#alert")).not_to_have_attribute("data-key", one)
    bob.go(f"/alerts/{one}")
    bob.says(re.compile("A colleague decided fraud"))
    ann.page.wait_for_load_state("networkidle")
    assert ann.faults == []
    assert [fault for fault in bob.faults if "409" not in fault] == []  # Chromium tells each 409 to the console
    for window in (ann, bob):
        window.context.close()


def test_a_case_is_decided_in_one_but_for_what_is_left_out(served: Served, chromium) -> None:
    served.desk.add_user("eli", PASSWORD, "analyst", ASSAY)
    alerts = {line.key: line for line in served.desk.page(View(limit=500), ASSAY).lines}
    held = {line.entity for line in alerts.values() if line.held_by}
    largest = Counter(line.entity for line in alerts.values() if line.entity not in held).most_common(1)[0][0]
    keys = [key for key, line in alerts.items() if line.entity == largest]
    assert len(keys) > 2
    eli = Watched(chromium, served)
    eli.sign_in("eli")
    eli.go(f"/alerts/{keys[0]}")
    expect(eli.page.locator(".case tr")).to_have_count(len(keys) - 1)
    eli.page.wait_for_load_state("networkidle")
    left = eli.page.locator(".case tr").first.get_attribute("data-key")
    eli.keys("j", "x")
    eli.says(re.compile("left out"))
    eli.keys("n")
    expect(eli.page.locator("#sure-title")).to_have_text(re.compile(f"for {len(keys) - 1} alerts"))
    eli.keys("Enter")
    # What was left out comes next, to be decided otherwise.
    expect(eli.page.locator("#alert")).to_have_attribute("data-key", str(left))
    with served.desk.store.reading() as reading:
        states = {key: row["label"] for key, row in rows_of(reading, keys).items()}
    assert states == {key: "" if key == left else "not_fraud" for key in keys}
    assert eli.faults == []
    eli.context.close()


def test_a_lock_expires_and_whoever_was_slower_is_told(served: Served, chromium, clock: Ahead) -> None:
    for name in ("dan", "fay"):
        served.desk.add_user(name, PASSWORD, "analyst", ASSAY)
    dan, fay = Watched(chromium, served), Watched(chromium, served)
    dan.sign_in("dan")
    dan.wait_for_keys()
    dan.keys("g", "n")
    expect(dan.page.locator("#decision")).to_be_visible()
    dan.page.wait_for_load_state("networkidle")
    one = dan.page.locator("#alert").get_attribute("data-key")
    fay.sign_in("fay")
    clock.ahead += timedelta(minutes=11)
    fay.go(f"/alerts/{one}")
    fay.says("")
    fay.page.wait_for_load_state("networkidle")
    # A reason code and a template by key, then the decision.
    fay.keys("r", "2", "t", "1")
    fay.says("Template: 1 called.")
    fay.leave_case_out()
    fay.keys("n")
    expect(fay.page.locator("#alert")).not_to_have_attribute("data-key", one)
    dan.keys("f")
    dan.says(re.compile("A colleague has decided 'not fraud'; supersede that, or leave it"))
    line = served.desk.alert(one, ASSAY)
    assert (line.line.label, line.line.code, line.comment) == ("not_fraud", "known shop", "called")
    # What the page has shown was taken for seen: the same key supersedes now.
    dan.keys("f")
    expect(dan.page.locator("#alert")).not_to_have_attribute("data-key", one)
    assert served.desk.alert(one, ASSAY).events[-1].kind == "supersede"
    assert fay.faults == [fault for fault in dan.faults if "409" not in fault] == []
    for window in (dan, fay):
        window.context.close()


def test_a_second_review_is_unawares_and_a_difference_is_escalated(served: Served, chromium, clock: Ahead) -> None:
    for name, role in (("gus", "analyst"), ("hal", "analyst"), ("lee", "lead")):
        served.desk.add_user(name, PASSWORD, role, ASSAY)
    gus = Person("gus", "analyst")
    for line in served.desk.page(View(), gus).lines[-8:]:
        served.desk.act({line.key: line.event}, Action(kind="decide", label="fraud"), gus)
    hal, lee = Watched(chromium, served), Watched(chromium, served)
    hal.sign_in("hal")
    hal.wait_for_keys()
    clock.chance = 0.0
    hal.keys("g", "n")
    expect(hal.page.locator("#decision")).to_be_visible()
    hal.page.wait_for_load_state("networkidle")
    clock.chance = 1.0
    hal.says("")
    key = hal.page.locator("#alert").get_attribute("data-key")
    before = served.desk.alert(key, ASSAY).line
    assert before.state == "decided"
    expect(hal.page.locator("section[aria-labelledby=events]")).to_contain_text("Nothing yet.")
    hal.leave_case_out()
    hal.keys("u")
    expect(hal.page.locator("#alert")).not_to_have_attribute("data-key", key)
    after = served.desk.alert(key, ASSAY).line
    assert (after.state, after.label, after.why) == ("escalated", before.label, "two analysts differ")
    lee.sign_in("lee")
    lee.go(f"/alerts/{key}")
    lee.says("With a lead. two analysts differ")
    lee.page.wait_for_load_state("networkidle")
    lee.leave_case_out()
    lee.keys("f")
    expect(lee.page.locator("#alert")).not_to_have_attribute("data-key", key)
    assert served.desk.alert(key, ASSAY).line.decided_by == "lee"
    assert hal.faults == lee.faults == []
    for window in (hal, lee):
        window.context.close()


def test_views_and_snoozes_by_key_until_the_login_ends(served: Served, chromium, clock: Ahead) -> None:
    served.desk.add_user("ivy", PASSWORD, "analyst", ASSAY)
    ivy = Watched(chromium, served, viewport=NARROW)
    ivy.sign_in("ivy")
    ivy.wait_for_keys()
    ivy.go("/?sort=risk&least=20")
    ivy.wait_for_keys()
    ivy.keys("v")
    ivy.page.keyboard.type("much money")
    ivy.keys("Enter")
    ivy.says("The view is saved; g v lists yours.")
    ivy.go("/")
    ivy.wait_for_keys()
    ivy.keys("g", "v")
    expect(ivy.page.get_by_role("link", name="much money")).to_be_focused()
    ivy.keys("1")
    expect(ivy.page).to_have_url(f"{served.url}/?sort=risk&least=20.0")
    ivy.wait_for_keys()
    ivy.keys("s")
    expect(ivy.page.locator("#snooze")).to_be_visible()
    ivy.keys("Escape")
    ivy.says("Nothing was changed.")
    ivy.keys("s")
    day = (clock() + timedelta(days=40)).date().isoformat()
    ivy.page.get_by_label("Or the beginning of a day").fill(day)
    ivy.keys("Enter")
    ivy.says(f"1 alert: put off until {day} 00:00 UTC.")
    clock.ahead += timedelta(hours=13)
    ivy.keys("f")
    expect(ivy.page).to_have_url(f"{served.url}/login?then=%2F%3Fsort%3Drisk%26least%3D20.0")
    assert [fault for fault in ivy.faults if "401" not in fault] == []
    ivy.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_accessible_and_fits_a_narrow_window(served: Served, chromium, scheme: str) -> None:
    window = Watched(chromium, served, color_scheme=scheme)
    if not any(user.name == "una" for user in served.desk.users(ASSAY)):
        served.desk.add_user("una", PASSWORD, "admin", ASSAY)
    axe = Axe()
    window.go("/login")
    assert axe.run(window.page, options=RULES).violations_count == 0
    window.sign_in("una")
    key = window.page.locator("tr[data-key]").first.get_attribute("data-key")
    for path in (
        "/",
        "/?q=nobody",
        f"/alerts/{key}",
        "/dashboard",
        "/packets?sort=risk",
        "/views",
        "/events",
        "/users",
        "/account",
        "/alerts/none",
    ):
        window.page.set_viewport_size(WIDE)
        window.go(path)
        found = axe.run(window.page, options=RULES)
        assert found.violations_count == 0, found.generate_report()
        tall = window.page.evaluate("document.documentElement.scrollHeight")
        assert tall <= WIDE["height"] or not path.startswith(f"/alerts/{key}")
        window.page.set_viewport_size(NARROW)
        wide = window.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= NARROW["width"], path
    background = window.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) < 200) is (scheme == "dark")
    assert [fault for fault in window.faults if "404" not in fault] == []
    window.context.close()


def test_an_alert_can_be_read_and_decided_without_scripts(served: Served, chromium) -> None:
    window = Watched(chromium, served, java_script_enabled=False)
    if not any(user.name == "noa" for user in served.desk.users(ASSAY)):
        served.desk.add_user("noa", PASSWORD, "analyst", ASSAY)
    window.sign_in("noa")
    window.page.locator("tr[data-state=open] a").last.click()
    window.leave_case_out()
    window.page.get_by_role("button", name="Not fraud").click()
    expect(window.page.locator("#said")).to_contain_text("noa decided not fraud")
    window.context.close()
