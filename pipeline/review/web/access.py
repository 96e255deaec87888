"""Who may what: the least role of every route, who asks, and that a change was meant by whoever is signed in."""

import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from fastapi import Depends, HTTPException, Request

from pipeline.errors import AssayError
from pipeline.review.people import Person, Right
from pipeline.review.refusals import Forbidden
from pipeline.review.web.guard import local

if TYPE_CHECKING:
    from pipeline.review.desk import Desk

ANYONE: None = None
"""In the place of a right: also who is not signed in."""
SESSION, FORM = "assay_session", "assay_form"
"""Cookies: who is signed in; and that a form of somebody who is not came from a page of ours."""
ACCESS: dict[tuple[str, str], Right | None] = {
    ("GET", "/login"): ANYONE,
    ("POST", "/login"): ANYONE,
    ("GET", "/welcome/{token}"): ANYONE,
    ("POST", "/welcome/{token}"): ANYONE,
    ("GET", "/oidc"): ANYONE,
    ("GET", "/oidc/back"): ANYONE,
    ("GET", "/chart.css"): ANYONE,
    ("GET", "/health"): ANYONE,
    ("POST", "/logout"): "see",
    ("GET", "/"): "see",
    ("GET", "/alerts/{key}"): "see",
    ("GET", "/alerts/{key}/report"): "see",
    ("GET", "/dashboard"): "see",
    ("GET", "/views"): "see",
    ("POST", "/views"): "see",
    ("GET", "/account"): "see",
    ("POST", "/account/password"): "see",
    ("POST", "/account/tokens"): "decide",
    ("POST", "/next"): "decide",
    ("POST", "/decide"): "decide",
    ("POST", "/undo"): "decide",
    ("POST", "/alerts/{key}/unmask"): "unmask",
    ("GET", "/export"): "export",
    ("GET", "/packets"): "export",
    ("POST", "/packets"): "export",
    ("POST", "/packets/decisions"): "export",
    ("GET", "/events"): "lead",
    ("GET", "/users"): "people",
    ("POST", "/users"): "people",
    ("POST", "/users/{name}"): "people",
}
"""What each route takes, by method and path. A route that stands nowhere is nobody's."""
UPLOADS = ("/packets/decisions",)
"""Paths that take a file, one at a time; `Guard` says how long it may be."""
UNASKED = ("/health", "/chart.css")
"""Paths that are answered without a look at who asks."""
PLACES: tuple[tuple[str, str, Right], ...] = (
    ("/", "Queue", "see"),
    ("/views", "Views", "see"),
    ("/packets", "Packets", "export"),
    ("/dashboard", "Dashboard", "see"),
    ("/events", "Events", "lead"),
    ("/users", "Users", "people"),
    ("/account", "Account", "see"),
)


class NotSignedIn(AssayError):
    """Nobody is signed in, or no longer."""


class NotMeant(AssayError):
    """A change came without the token of the page that it should have come from."""


@dataclass(frozen=True)
class Caller:
    """Whoever is signed in: the person, and the token by which a form shows that it came from a page of theirs."""

    person: Person
    csrf: str

    @classmethod
    def of(cls, request: Request) -> Self | None:
        """Return who a request's cookie says; None where that login has ended, or never was."""
        cookie = request.cookies.get(SESSION)
        somebody = desk(request).session(cookie, address(request)) if cookie else None
        if cookie is None or somebody is None:
            return None
        return cls(somebody, hmac.new(cookie.encode(), b"csrf", "sha256").hexdigest())


def caller(request: Request) -> Caller | None:
    """Return whoever is signed in; None where nobody is."""
    return getattr(request.state, "caller", None)


def desk(request: Request) -> "Desk":
    """Return the desk that the application serves."""
    return request.app.state.desk


def person(request: Request) -> Person:
    """Return whoever is signed in, as the store asks for a person."""
    somebody = caller(request)
    assert somebody is not None, "`admit` lets nobody through without a login"
    return somebody.person


def address(request: Request) -> str:
    """Return the address that a request came from."""
    return request.client.host if request.client else ""


async def read_form(request: Request) -> AsyncIterator[None]:
    """Read what a form sends, for `admit` and the views that follow; a file that came with it is closed after them.

    Raises
    ------
    HTTPException
        Where it holds what is no text in any encoding.
    """
    request.state.form = None
    if request.method != "POST":
        yield
        return
    try:
        form = await request.form(max_files=int(request.scope["route"].path in UPLOADS))
        "".join(name + str(value) for name, value in form.multi_items()).encode()
    except UnicodeError:
        raise HTTPException(400) from None
    request.state.form = form
    try:
        yield
    finally:
        await form.close()


def admit(request: Request, _: None = Depends(read_form)) -> None:
    """Let a request through to its view, or not.

    Raises
    ------
    NotSignedIn
        Where the route is for somebody who is signed in.
    Forbidden
        Where the role does not suffice, or nobody has said who may ask for the route.
    NotMeant
        Where a change lacks the token of the page that it came from.
    """
    path = request.scope["route"].path
    route = request.method.replace("HEAD", "GET"), path
    request.state.caller = somebody = Caller.of(request) if path not in UNASKED else None
    if route not in ACCESS:
        raise Forbidden("nobody may ask for this page")
    least = ACCESS[route]
    if least is None:
        if request.method == "POST":
            _hold_against(request, request.cookies.get(FORM))
        return
    if somebody is None:
        raise NotSignedIn("sign in first")
    somebody.person.need(least)
    if request.method == "POST":
        _hold_against(request, somebody.csrf)


def _hold_against(request: Request, token: str | None) -> None:
    text = str(request.state.form.get("csrf", ""))
    site = request.headers.get("sec-fetch-site", "same-origin")
    if not token or not hmac.compare_digest(text.encode(), token.encode()) or site not in ("same-origin", "none"):
        raise NotMeant("this page was open for too long, or the form came from elsewhere; load it and try again")


def then(request: Request) -> str:
    """Return where a form asks to be sent on to, if that is a page of this server."""
    return local(str(request.state.form.get("then") or ""))
