"""pipeline/review/web/views/oidc.py: sign-ins against a real provider on this machine."""

import logging
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from pipeline.review.desk import Desk
from pipeline.review.people import ASSAY
from pipeline.review.refusals import Refusal
from pipeline.review.web.access import SESSION
from pipeline.review.web.views.oidc import COOKIE, SECRET, identity
from pipeline.settings.review import ReviewConfig
from tests.pipeline.review.scored import desk_config, score_batch
from tests.pipeline.review.web.served import PASSWORD, URL, Browser, make_desk

# The provider, which runs in a thread of this process, has such hints itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROLES = {"team": "analyst", "heads": "lead"}


@pytest.fixture(scope="module")
def provider():
    """The address of a provider that lets in whoever gives a name."""
    import oidc_provider_mock

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    logging.getLogger("oidc_provider_mock").setLevel(logging.ERROR)
    with oidc_provider_mock.run_server_in_thread(port=0) as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's secret; this provider takes any."""
    monkeypatch.setenv(SECRET, "what the provider gave")


def open_desk(folder, provider: str, **settings) -> Desk:
    return make_desk(folder, oidc_issuer=provider, oidc_client_id="assay", **settings)


def describe(provider: str, name: str, **claims) -> None:
    httpx.put(f"{provider}/users/{name}", json={"sub": name, **claims}).raise_for_status()


def go(browser: Browser, name: str, then: str = "") -> str:
    """Begin a sign-in, let the provider authorize it, and return the address that it sends back to."""
    answer = browser.get("/oidc", params={"then": then} if then else {})
    assert answer.status_code == 302
    back = httpx.post(answer.headers["location"], data={"sub": name})
    assert back.status_code == 302, back.text
    return back.headers["location"]


def test_a_known_user_is_signed_in_without_a_password_and_sent_on(tmp_path, provider) -> None:
    desk = open_desk(tmp_path, provider)
    browser = Browser(desk)
    assert 'href="/oidc?then=/dashboard">Sign in with localhost' in browser.get("/login?then=/dashboard").text
    asked = parse_qs(urlsplit(browser.get("/oidc").headers["location"]).query)
    assert asked["redirect_uri"] == [f"{URL}/oidc/back"]
    assert (asked["code_challenge_method"], asked["response_type"], asked["scope"]) == (["S256"], ["code"], ["openid"])
    assert all(len(asked[name][0]) >= 20 for name in ("state", "nonce", "code_challenge"))
    browser.cookies.set(SESSION, "planted", domain="127.0.0.1", path="/")
    answer = browser.get(go(browser, "lead", "/dashboard"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
    assert browser.cookies.get(SESSION) != "planted"
    assert "lead, lead" in browser.get("/").text
    assert desk.sessions(ASSAY)[0].name == "lead"
    desk.close()


def test_a_sign_in_that_was_not_begun_here_or_is_replayed_or_denied_is_refused(tmp_path, provider) -> None:
    desk = open_desk(tmp_path, provider)
    first, other = Browser(desk), Browser(desk)
    address = go(first, "lead")
    strange = other.get(address)
    assert (strange.status_code, SESSION in other.cookies) == (403, False)
    assert "was not begun here" in strange.text
    forged = re.sub(r"state=[^&]+", "state=forged", address)
    assert first.get(forged).status_code == 403
    address = go(first, "lead")
    assert first.get(address).status_code == 303
    assert first.get(address).status_code == 403  # the code and the state count once
    for query in ("error=access_denied&error_description=<script>no</script>", "", "code=x", "state=y"):
        answer = Browser(desk).get(f"/oidc/back?{query}")
        assert answer.status_code == 403
        assert "<script>no" not in answer.text
    assert len(desk.sessions(ASSAY)) == 1
    desk.close()


def test_roles_follow_the_claim_and_users_are_made_only_where_that_is_set(tmp_path, provider) -> None:
    settings = {"oidc_role_claim": "groups", "oidc_roles": ROLES}
    desk = open_desk(tmp_path / "one", provider, **settings)
    describe(provider, "Zoe", groups=["all", "team"])
    describe(provider, "viewer", groups=["heads", "team"])
    describe(provider, "none", groups=["all"])
    for name, words in (("Zoe", "the desk has no user"), ("none", "gives you a role")):
        answer = Browser(desk).get(go(Browser(desk), name))
        assert answer.status_code == 403  # another browser
        browser = Browser(desk)
        answer = browser.get(go(browser, name))
        assert (answer.status_code, words in answer.text) == (403, True)
    browser = Browser(desk)
    assert browser.get(go(browser, "viewer")).status_code == 303
    assert "viewer, lead" in browser.get("/").text
    assert {user.name: user.role for user in desk.users(ASSAY)}["viewer"] == "lead"
    desk.close()
    open_one = open_desk(tmp_path / "two", provider, oidc_new_users=True, **settings)
    browser = Browser(open_one)
    assert browser.get(go(browser, "Zoe")).status_code == 303
    assert "zoe, analyst" in browser.get("/").text
    for password in ("", PASSWORD):
        with pytest.raises(Refusal, match="name or the password is wrong"):
            open_one.log_in("zoe", password, "127.0.0.1")
    open_one.change_user("zoe", ASSAY, is_ended=True)
    answer = browser.get(go(browser, "Zoe"))
    assert (answer.status_code, "may not log in any more" in answer.text) == (403, True)
    assert open_one.verify().fault == ""
    open_one.close()


def test_a_provider_that_is_not_there_or_is_another_lets_nobody_in(tmp_path, provider) -> None:
    desk = open_desk(tmp_path / "one", "http://127.0.0.1:9")
    assert Browser(desk).get("/oidc").status_code == 403
    desk.close()
    config = desk_config(tmp_path / "two", oidc_issuer=provider.replace("localhost", "127.0.0.1"), oidc_client_id="x")
    score_batch(config, [1])
    desk = Desk(config)
    browser = Browser(desk)
    assert browser.get(go(browser, "lead")).status_code == 403
    desk.close()


def test_without_a_provider_there_is_no_such_way_in(desk) -> None:
    browser = Browser(desk)
    assert [browser.get(path).status_code for path in ("/oidc", "/oidc/back")] == [404, 404]
    assert "Sign in with" not in browser.get("/login").text


def test_the_cookie_of_a_sign_in_is_no_scripts_business_and_goes_to_its_pages_alone(tmp_path, provider) -> None:
    desk = open_desk(tmp_path, provider)
    for is_secure in (False, True):
        cookie = Browser(desk, is_secure=is_secure).get("/oidc").headers["set-cookie"].lower()
        assert cookie.startswith(COOKIE)
        assert {"httponly", "samesite=lax", "path=/oidc"} <= set(cookie.split("; "))
        assert ("secure" in cookie.split("; ")) is is_secure
    desk.close()


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"sub": "x"}, "does not say 'email'"),
        ({"email": ["a"]}, "does not say 'email'"),
        ({"email": "a@b"}, "has not verified"),
        ({"email": "a@b", "email_verified": "true"}, "has not verified"),
        ({"email": "a@b", "email_verified": True}, "gives you a role"),
        ({"email": "a@b", "email_verified": True, "groups": [["team"], 1, None]}, "gives you a role"),
    ],
)
def test_who_somebody_is_must_be_said_by_the_provider(claims: dict, words: str) -> None:
    settings = ReviewConfig(oidc_name_claim="email", oidc_role_claim="groups", oidc_roles=ROLES)
    with pytest.raises(Refusal, match=words):
        identity(claims, settings)
    assert identity({"email": "A@b", "email_verified": True, "groups": "team"}, settings) == ("a@b", "analyst")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"oidc_issuer": "https://x"}, "needs oidc_client_id"),
        ({"oidc_issuer": "http://x", "oidc_client_id": "a"}, "over https"),
        ({"oidc_role_claim": "groups"}, "need each other"),
        ({"oidc_new_users": True}, "a new user has a role"),
    ],
)
def test_half_of_a_provider_is_refused(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ReviewConfig(**settings)
