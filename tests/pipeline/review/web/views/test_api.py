"""The desk for programs: tokens, scopes, and the way of an alert through its calls."""

import pytest

from pipeline.review.people import Person
from tests.pipeline.review.web.served import URL, Browser

ANALYST = Person("analyst", "analyst")
CALLS = {
    "list": ("GET", "/api/alerts"),
    "next": ("POST", "/api/next"),
    "decide": ("POST", "/api/undo"),
    "export": ("GET", "/api/export"),
}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize("scope", CALLS)
def test_a_call_takes_a_token_for_it(scope: str, desk) -> None:
    browser = Browser(desk, "admin")  # a login lets no call in
    method, path = CALLS[scope]
    others = [other for other in CALLS if other != scope]
    right, wrong = (desk.add_token("test", scopes, ANALYST) for scopes in ([scope], others))
    assert browser.request(method, path).status_code == 401
    assert browser.request(method, path, headers=bearer("assay_none")).status_code == 401
    answer = browser.request(method, path, headers=bearer(wrong))
    assert (answer.status_code, answer.json()["said"][:24]) == (403, "The token is not for '" + scope[:2])
    assert browser.request(method, path, headers=bearer(right)).status_code in (200, 404)  # nothing to undo yet


def test_an_alert_is_taken_decided_exported_and_taken_back(desk) -> None:
    browser = Browser(desk)
    headers = bearer(desk.add_token("test", list(CALLS), ANALYST))
    listed = browser.get("/api/alerts?limit=3", headers=headers).json()
    assert (listed["total"], [alert["id"] for alert in listed["alerts"]]) == (10, ["1", "2", "3"])
    alert = browser.post("/api/next", headers=headers).json()
    assert alert == browser.get(f"/api/alerts/{alert['key']}", headers=headers).json()
    decision = {"seen": {alert["key"]: alert["event"]}, "label": "fraud", "comment": "card stolen"}
    answer = browser.post("/api/decisions", json=decision, headers=headers).json()
    assert answer["said"] == "1 alert: fraud."
    assert answer["alerts"][0]["decided_by"] == "analyst"
    again = browser.post("/api/decisions", json={**decision, "label": "unsure"}, headers=headers)
    assert again.status_code == 409
    assert "analyst has decided" in again.json()["said"].lower()
    assert [row["id"] for row in browser.get("/api/export", headers=headers).json()] == ["1"]
    assert browser.post("/api/undo", headers=headers).json()["alerts"][0]["state"] == "open"
    assert browser.get("/api/export", headers=headers).json() == []


@pytest.mark.parametrize(
    "body",
    [{}, {"seen": {}, "label": "fraud"}, {"seen": {"x": -1}, "label": "fraud"}, {"seen": {"x": 1}, "label": "f"}],
)
def test_a_decision_that_is_none_is_refused(body: dict, desk) -> None:
    headers = bearer(desk.add_token("test", ["decide"], ANALYST))
    assert Browser(desk).post("/api/decisions", json=body, headers=headers).status_code == 422


def test_the_calls_describe_themselves_without_a_token_and_hold_no_page(desk) -> None:
    described = Browser(desk).get(f"{URL}/api/openapi.json").json()
    assert {path for _, path in CALLS.values()} <= set(described["paths"])
    assert all(path.startswith("/api/") for path in described["paths"])
