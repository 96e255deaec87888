"""The web application: its routes, what stands before them, and what is said where something goes wrong."""

import logging
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from pipeline.errors import AssayError, ConfigError
from pipeline.review.refusals import Conflict, Forbidden, Missing
from pipeline.review.web.access import NotMeant, NotSignedIn, admit
from pipeline.review.web.guard import Guard
from pipeline.review.web.pages import page, takes_json
from pipeline.review.web.views import (
    account,
    alert,
    api,
    dashboard,
    export,
    journal,
    login,
    oidc,
    packets,
    queue,
    saved,
    users,
    work,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.review.desk import Desk

STATUS: dict[type[Exception], tuple[int, str]] = {
    NotMeant: (403, "This was not done"),
    Forbidden: (403, "This is not for you"),
    Missing: (404, "There is nothing here"),
    Conflict: (409, "Somebody else was first"),
    ConfigError: (503, "The desk cannot reach its database"),
    AssayError: (422, "This was not done"),
}
"""What answers an error: its status and a title, by the first class that it is of."""
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": api.Refused, "description": text}
    for status, text in {
        400: "The request cannot be read.",
        401: "No token, or one that has ended.",
        403: "The token, or its user, is not for this.",
        404: "There is no such alert, or nothing to take back.",
        409: "Somebody else was first.",
        422: "The request is not one of these.",
        503: "The database is busy.",
    }.items()
}
"""What calls of the API answer beside what they are for."""
VIEWS = (login, oidc, queue, alert, work, export, packets, saved, dashboard, journal, users, account)


def make_app(desk: "Desk", *, hosts: "Sequence[str]" = (), is_secure: bool = False) -> FastAPI:
    """Return the application.

    Parameters
    ----------
    desk : Desk
    hosts : sequence of str
        Names that browsers may call it by; any, where there is none.
    is_secure : bool
        Whether browsers reach it over TLS, so that cookies are sent over nothing else.
    """
    app = FastAPI(title="Assay", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.desk, app.state.is_secure = desk, is_secure
    for view in VIEWS:
        app.include_router(view.router, dependencies=[Depends(admit)], include_in_schema=False)
    app.include_router(api.router, responses=REFUSALS)
    app.add_api_route("/chart.css", _colours, include_in_schema=False)
    app.add_api_route("/health", _health, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=str(files("pipeline.review.web") / "static")), name="static")
    oidc.open_to(app, desk.config.review)
    if hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*hosts])
    app.add_middleware(Guard, fail=_fail)
    app.add_exception_handler(AssayError, _refuse)
    app.add_exception_handler(HTTPException, _fail)
    app.add_exception_handler(RequestValidationError, _fail)
    return app


def _colours() -> Response:
    """Return the style sheet of the charts, which names the colours of every page."""
    from pipeline.pages.environment import environment

    text = environment().get_template("chart.css").render()
    return Response(text, media_type="text/css")


def _health() -> Response:
    return PlainTextResponse("well")


def _refuse(request: Request, error: Exception) -> Response:
    """Answer an error that has a sentence for whoever asked."""
    if isinstance(error, NotSignedIn):
        if takes_json(request) or request.method == "POST":
            return JSONResponse({"said": "You are not signed in, or no longer; sign in, or send a token."}, 401)
        from urllib.parse import quote

        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?then={quote(asked, safe='')}" if asked != "/" else "/login", 303)
    status, title = next(answer for kind, answer in STATUS.items() if isinstance(error, kind))
    text = str(error)
    if isinstance(error, ConfigError):  # it says where the database lies, and what to do about it
        logging.getLogger("assay.review").error("%s", text)
        text = "The database is busy or gone; nothing was changed. Try again in a moment"
    return _say(request, status, title, text[:1].upper() + text[1:] + ("" if text.endswith(".") else "."))


def _fail(request: Request, error: Exception) -> Response:
    """Answer an error that has none; its trace is for the log alone."""
    if isinstance(error, HTTPException) and error.status_code < 500:
        text = "Nothing is at this address." if error.status_code in (404, 405) else "The request cannot be read."
        return _say(request, error.status_code, "There is nothing here", text)
    if isinstance(error, RequestValidationError):
        return _say(request, 422, "This was not done", "The request cannot be read.")
    text = "Something went wrong at the desk; nothing was changed. Whoever runs the server finds it in the log."
    return _say(request, 500, "That went wrong", text)


def _say(request: Request, status: int, title: str, text: str) -> Response:
    if takes_json(request):
        return JSONResponse({"said": text}, status)
    return page(request, "trouble.html", status=status, title=title, text=text)
