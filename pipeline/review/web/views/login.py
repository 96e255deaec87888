"""Signing in and out, and the one-time link of the first admin."""

import secrets
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from pipeline.errors import AssayError
from pipeline.review.web.access import FORM, SESSION, address, caller, desk, person, then
from pipeline.review.web.guard import local
from pipeline.review.web.pages import page

router = APIRouter()


@router.get("/login")
def ask(request: Request) -> Response:
    """Ask for name and password; whoever is signed in goes on."""
    target = local(request.query_params.get("then"))
    if caller(request):
        return RedirectResponse(target, 303)
    return _form(request, title="Sign in", button="Sign in", action="/login", target=target)


@router.post("/login")
def sign_in(request: Request) -> Response:
    """Sign somebody in."""
    form = request.state.form
    name = str(form.get("name", ""))[:100]
    try:
        token = desk(request).log_in(name, str(form.get("password", ""))[:1000], address(request))
    except AssayError as error:
        return _form(
            request,
            title="Sign in",
            button="Sign in",
            action="/login",
            target=then(request),
            problem=str(error),
            name=name,
            status=403,
        )
    return _with_session(request, RedirectResponse(then(request), 303), token)


@router.get("/welcome/{token}")
def welcome(request: Request, token: str) -> Response:
    """Ask whoever has the one-time link for a name and a password."""
    return _new(request, token)


@router.post("/welcome/{token}")
def begin(request: Request, token: str) -> Response:
    """Make the user of a one-time link, and sign it in."""
    form = request.state.form
    name, password = str(form.get("name", ""))[:100], str(form.get("password", ""))[:1000]
    try:
        desk(request).accept(token, name, password)
        session = desk(request).log_in(name, password, address(request))
    except AssayError as error:
        return _new(request, token, problem=str(error), name=name, status=422)
    return _with_session(request, RedirectResponse("/", 303), session)


@router.post("/logout")
def sign_out(request: Request) -> Response:
    """End the login."""
    desk(request).log_out(request.cookies[SESSION], person(request))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(SESSION)
    return answer


def ask_again(request: Request, problem: str, target: str) -> Response:
    """Show the form with what kept somebody from signing in."""
    words = {"title": "Sign in", "button": "Sign in", "action": "/login"}
    return _form(request, **words, target=target, problem=problem, status=403)


def signed_in(request: Request, session: str, target: str) -> Response:
    """Send somebody on who is signed in by a new session; that of an earlier login is not gone on with."""
    return _with_session(request, RedirectResponse(target, 303), session)


def _new(request: Request, token: str, **content: Any) -> Response:
    words: dict[str, Any] = {"title": "The first admin", "button": "Begin", "is_new": True}
    text = "This link works once. Choose a name and a password."
    return _form(request, **words, action=f"/welcome/{token}", text=text, target="", **content)


def _form(request: Request, *, target: str, status: int = 200, **content: Any) -> Response:
    """Return the page with the form; its token is in a cookie, too, for nobody is signed in yet."""
    token = request.cookies.get(FORM) or secrets.token_urlsafe(24)
    frame: dict[str, Any] = {"text": "", "problem": "", "name": "", "is_new": False, "narrow": True}
    frame["provider"] = urlsplit(desk(request).config.review.oidc_issuer).hostname or ""
    answer = page(request, "login.html", status=status, **{**frame, **content}, then=target, form_token=token)
    _set(request, answer, FORM, token)
    return answer


def _with_session(request: Request, answer: Response, token: str) -> Response:
    _set(request, answer, SESSION, token)
    answer.delete_cookie(FORM)
    return answer


def _set(request: Request, answer: Response, name: str, value: str) -> None:
    """Set a cookie that no script sees and no other site sends along."""
    answer.set_cookie(name, value, httponly=True, samesite="lax", secure=request.app.state.is_secure)
