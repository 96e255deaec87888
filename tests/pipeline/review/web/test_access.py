"""Every route by everybody: who may what, and changes that nobody meant."""

import re

import pytest
from fastapi.routing import APIRoute

from pipeline.review.people import ROLES
from pipeline.review.web.access import ACCESS, ANYONE, FORM, SESSION
from pipeline.review.web.app import VIEWS, make_app
from tests.pipeline.review.web.served import PASSWORD, Browser, make_desk

# Who may what, worked out by hand: v(iewer), a(nalyst), l(ead), (a)d(min), and n(obody).
MAY = {
    "GET /login": "nvald",
    "POST /login": "nvald",
    "GET /welcome/{token}": "nvald",
    "POST /welcome/{token}": "nvald",
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
    "GET /events": "ld",
    "GET /users": "d",
    "POST /users": "d",
    "POST /users/{name}": "d",
}
WHO = {"n": "", "v": "viewer", "a": "analyst", "l": "lead", "d": "admin"}


@pytest.fixture(scope="module")
def browsers(tmp_path_factory):
    desk = make_desk(tmp_path_factory.mktemp("desk"))
    yield {letter: Browser(desk, role) for letter, role in WHO.items()}
    desk.close()


def routes(app) -> set[str]:
    return {
        f"{method} {route.path}"
        for route in (*app.routes, *(route for view in VIEWS for route in view.router.routes))
        if isinstance(route, APIRoute) and not route.path.startswith("/api")
        for method in route.methods
    }


def test_the_table_has_every_route_of_the_application_and_no_other(desk) -> None:
    assert routes(make_app(desk)) == set(MAY) == {f"{method} {path}" for method, path in ACCESS}


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


def test_roles_are_those_of_the_store() -> None:
    assert tuple(WHO.values())[1:] == ROLES
