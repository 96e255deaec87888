"""Every route by everybody: who may what, and changes that nobody meant."""

import re
from urllib.parse import quote

import pytest
from fastapi.routing import APIRoute

from pipeline.review.people import ROLES, Person
from pipeline.review.web.access import ACCESS, ANYONE, FORM, SESSION
from pipeline.review.web.app import make_app
from tests.pipeline.review.web.served import PASSWORD, Browser, keys, make_desk

# Who may what, worked out by hand: v(iewer), a(nalyst), l(ead), (a)d(min), and n(obody).
MAY = {
    "GET /login": "nvald",
    "POST /login": "nvald",
    "GET /welcome/{token}": "nvald",
    "POST /welcome/{token}": "nvald",
    "GET /oidc": "nvald",
    "GET /oidc/back": "nvald",
    "GET /chart.css": "nvald",
    "GET /health": "nvald",
    "POST /logout": "vald",
    "GET /": "vald",
    "GET /alerts/{key}": "vald",
    "GET /alerts/{key}/report": "vald",
    "GET /dashboard": "vald",
    "GET /views": "vald",
    "POST /views": "vald",
    "GET /account": "vald",
    "POST /account/password": "vald",
    "POST /account/tokens": "ald",
    "POST /next": "ald",
    "POST /decide": "ald",
    "POST /undo": "ald",
    "POST /alerts/{key}/unmask": "ald",
    "GET /export": "ald",
    "GET /packets": "ald",
    "POST /packets": "ald",
    "POST /packets/decisions": "ald",
    "GET /events": "ld",
    "GET /users": "d",
    "POST /users": "d",
    "POST /users/{name}": "d",
}
# What a token must be for, and the roles whose tokens do it.
CALLS = {
    "GET /api/alerts": ("list", "vald"),
    "GET /api/alerts/{key}": ("list", "vald"),
    "POST /api/next": ("next", "ald"),
    "POST /api/decisions": ("decide", "ald"),
    "POST /api/undo": ("decide", "ald"),
    "GET /api/export": ("export", "ald"),
    "GET /api/openapi.json": ("", "nvald"),
}
SCOPES = ("list", "next", "decide", "export")
BODIES = {"POST /api/decisions": {"seen": {"0" * 20: 1}, "label": "fraud"}}
WHO = {"n": "", "v": "viewer", "a": "analyst", "l": "lead", "d": "admin"}


@pytest.fixture(scope="module")
def browsers(tmp_path_factory):
    desk = make_desk(tmp_path_factory.mktemp("desk"))
    yield {letter: Browser(desk, role) for letter, role in WHO.items()}
    desk.close()


def routes(app) -> set[str]:
    """Every route that the application answers, also of routers within it; a folder of files by its path alone."""
    every, waiting = set(), list(app.routes)
    while waiting:
        route = waiting.pop()
        if hasattr(route, "original_router"):
            waiting += route.original_router.routes
        elif isinstance(route, APIRoute):
            every |= {f"{method} {route.path}" for method in route.methods}
        else:
            every.add(route.path)
    return every


def test_the_tables_have_every_route_of_the_application_and_no_other(desk) -> None:
    assert routes(make_app(desk)) == {*MAY, *CALLS, "/static"}
    assert set(MAY) == {f"{method} {path}" for method, path in ACCESS}


@pytest.mark.parametrize("route", CALLS)
def test_a_call_answers_tokens_for_it_whose_user_may_and_no_login(route: str, browsers) -> None:
    (method, path), (scope, letters) = route.split(), CALLS[route]
    path = path.replace("{key}", "0" * 20)
    desk = browsers["d"].app.state.desk
    for letter, browser in browsers.items():
        signed_in = browser.request(
            method,
            path,
            json=BODIES.get(route),
            data={"csrf": browser.csrf} if method == "POST" and route not in BODIES else None,
        )
        assert signed_in.status_code == (200 if not scope else 401), (route, letter)
        if letter == "n":
            continue
        for own in SCOPES:
            token = desk.add_token(own, [own], Person("admin", "admin"), name=WHO[letter])
            answer = Browser(desk).request(
                method, path, json=BODIES.get(route), headers={"authorization": f"Bearer {token}"}
            )
            may = not scope or (own == scope and letter in letters)
            assert answer.status_code in ({200, 404} if may else {403}), (route, letter, own, answer.text)


@pytest.mark.parametrize("route", [route for route in MAY if "GET" in route and "n" not in MAY[route]])
def test_a_token_opens_no_page(route: str, browsers) -> None:
    desk = browsers["d"].app.state.desk
    token = desk.add_token("all", SCOPES, Person("admin", "admin"))
    path = route.split()[1].replace("{key}", "0" * 20)
    answer = Browser(desk).get(path, headers={"authorization": f"Bearer {token}"})
    assert answer.headers["location"].startswith("/login")


@pytest.mark.parametrize("path", sorted({route.split()[1] for route in (*MAY, *CALLS)} | {"/static/desk.js"}))
def test_no_other_method_does_anything(path: str, browsers) -> None:
    mine = {route.split()[0] for route in (*MAY, *CALLS) if route.split()[1] == path} or {"GET"}
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO"} - mine:
        answer = browsers["d"].request(method, re.sub(r"{\w+}", "0" * 20, path))
        assert answer.status_code in (404, 405), (method, path, answer.status_code)


@pytest.mark.parametrize("route", [route for route in MAY if route != "POST /logout"])
def test_a_route_answers_whom_it_is_for_and_nobody_else(route: str, browsers) -> None:
    method, path = route.split()
    path = re.sub(r"{\w+}", "0" * 20, path)
    for letter, browser in browsers.items():
        answer = browser.get(path) if method == "GET" else browser.do(path)
        is_open = ACCESS[method, route.split()[1]] == ANYONE
        if letter in MAY[route]:
            allowed = {200, 303, 404, 422} | ({403} if is_open and method == "POST" else set())
            assert answer.status_code in allowed, (route, letter, answer.text)
        elif letter == "n":
            assert answer.status_code == (303 if method == "GET" else 401)
            assert method == "POST" or answer.headers["location"].startswith("/login")
        else:
            assert answer.status_code == 403, (route, letter)
            assert "This is not for you" in answer.text


def test_a_change_needs_the_token_of_ones_own_page(desk) -> None:
    browser, other = Browser(desk, "analyst"), Browser(desk, "lead")
    for token in ("", "x" * 64, other.csrf, browser.csrf[:-1], "é"):
        browser.csrf, own = token, browser.csrf
        answer = browser.do("/next", script=True)
        browser.csrf = own
        assert answer.status_code == 403
        assert "open for too long" in answer.json()["said"]
    assert browser.do("/next", script=True).status_code == 200


@pytest.mark.parametrize("route", [route for route in MAY if "POST" in route])
def test_no_change_is_made_without_the_token_of_a_page(route: str, browsers) -> None:
    desk = browsers["d"].app.state.desk
    browser, other = Browser(desk, "admin"), browsers["l"]
    path = re.sub(r"{\w+}", "0" * 20, route.split()[1])
    before = desk.verify().number
    for fields in ({}, {"csrf": ""}, {"csrf": other.csrf}, {"csrf": browser.cookies[SESSION]}):
        answer = browser.post(path, data=fields)
        assert (answer.status_code, "open for too long" in answer.text) == (403, True), (route, fields)
    assert browser.post(path, params={"csrf": browser.csrf}).status_code == 403
    assert desk.verify().number == before


def test_a_form_of_another_site_is_refused_whatever_it_sends(desk) -> None:
    browser = Browser(desk, "analyst")
    fields, headers = {"csrf": browser.csrf}, {"sec-fetch-site": "cross-site", "accept": "application/json"}
    assert browser.post("/next", data=fields, headers=headers).status_code == 403


def test_nobody_is_signed_in_by_a_form_that_came_from_elsewhere(desk) -> None:
    browser = Browser(desk)
    browser.get("/login")
    fields = {"name": "lead", "password": PASSWORD, "csrf": "another"}
    assert browser.post("/login", data=fields).status_code == 403
    assert SESSION not in browser.cookies


def test_the_login_is_a_new_one_each_time_and_cookies_are_no_scripts_business(desk) -> None:
    browser = Browser(desk)
    browser.cookies.set(SESSION, "of the attacker", domain="127.0.0.1", path="/")
    answer = browser.sign_in("lead")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie
    assert browser.cookies.get(SESSION) != "of the attacker"
    secure = Browser(desk, is_secure=True).get("/login").headers["set-cookie"]
    assert secure.startswith(FORM)
    assert "Secure" in secure


def test_who_signs_out_is_out_also_for_a_copy_of_the_cookie(desk) -> None:
    browser = Browser(desk, "viewer")
    token = browser.cookies[SESSION]
    assert browser.do("/logout").headers["location"] == "/login"
    browser.cookies.set(SESSION, token, domain="127.0.0.1", path="/")
    assert browser.get("/").headers["location"] == "/login"


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "/%0d%0aSet-Cookie:x=1"]
)
def test_a_login_sends_nobody_to_another_site(target: str, desk) -> None:
    browser = Browser(desk)
    page = browser.get("/login", params={"then": target})
    token = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
    fields = {"name": "viewer", "password": PASSWORD, "csrf": token, "then": target}
    answer = browser.post("/login", data=fields)
    assert answer.status_code == 303
    assert answer.headers["location"] in ("/", "/%0d%0aSet-Cookie:x=1")  # an address of ours that leads nowhere
    assert "x=1" not in answer.headers.get("set-cookie", "")


def test_a_page_that_was_asked_for_comes_after_the_login(desk) -> None:
    browser = Browser(desk)
    assert browser.get("/?state=decided&q=1").headers["location"] == "/login?then=%2F%3Fstate%3Ddecided%26q%3D1"
    token = re.search(r'name="csrf" value="([^"]+)"', browser.get("/login?then=/dashboard").text)[1]
    fields = {"name": "viewer", "password": PASSWORD, "csrf": token, "then": "/dashboard"}
    assert browser.post("/login", data=fields).headers["location"] == "/dashboard"


INJECTED = (
    "x\r\nSet-Cookie: a=1",
    "x\nLocation: //evil.example",
    "%0d%0aSet-Cookie:a=1",
    "\u560d\u560aSet-Cookie: a=1",
)


@pytest.mark.parametrize("text", INJECTED, ids=range(len(INJECTED)))
def test_no_text_becomes_a_header(text: str, browsers) -> None:
    browser = browsers["a"]
    key, pair = next(iter(keys(browser).items()))
    answers = [
        browser.get("/", params={"q": text, text: "1"}),
        Browser(browser.app.state.desk).get("/", params={"q": text}),
        browser.get("/login", params={"then": f"/{text}"}),
        browser.get("/export", params={"q": text, "as": text}),
        browser.do("/decide", {"do": "comment", "comment": text, "seen": pair, "then": f"/?q={text}"}),
        browser.do("/decide", {"do": "comment", "comment": text, "seen": pair, "then": text}),
        browser.do(f"/alerts/{key}/unmask", {"column": text, "why": text}),
        browser.get("/alerts/" + quote(text)),
    ]
    for answer in answers:
        assert answer.status_code in (200, 303, 404)
        assert re.match(r"/(?![/\\])", answer.headers.get("location", "/"))
        assert "a=1" not in answer.headers.get("set-cookie", "")
        assert not [value for value in answer.headers.values() if "\r" in value or "\n" in value]


@pytest.mark.parametrize(
    "path", ["/alerts/../users", "/alerts/..%2f..%2fetc%2fpasswd", "/alerts/%2e%2e/users", "/welcome/../users"]
)
def test_no_path_leads_round_the_table(path: str, browsers) -> None:
    answer = browsers["v"].get(path)
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text


def test_roles_are_those_of_the_store() -> None:
    assert tuple(WHO.values())[1:] == ROLES
