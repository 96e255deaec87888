"""Signing in by OpenID Connect: to the provider with state, nonce and PKCE, and back as a user of the desk."""

import logging
import os
import secrets
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.middleware.sessions import SessionMiddleware

from pipeline.errors import AssayError
from pipeline.review.people import ROLES
from pipeline.review.refusals import Missing, Refusal
from pipeline.review.web.access import address, desk
from pipeline.review.web.guard import local
from pipeline.review.web.views.login import ask_again, signed_in
from pipeline.settings.review import ReviewConfig, Role

if TYPE_CHECKING:
    from authlib.integrations.starlette_client import StarletteOAuth2App

router = APIRouter()
SECRET = "ASSAY_OIDC_SECRET"  # noqa: S105 (the name of a variable)
"""The environment variable that has the client's secret; none for a public client, which PKCE suffices."""
COOKIE = "assay_oidc"
SECONDS = 600
"""Within which somebody who was sent to the provider comes back."""
FAILED = "the sign-in at the provider did not succeed, or was not begun here; try again"


def open_to(app: FastAPI, settings: ReviewConfig) -> None:
    """Let an application sign people in by the provider of its settings; without one, do nothing.

    What has to be the same on the way back is in a cookie of its own, signed with a key that ends with the server.
    """
    app.state.oidc = None
    if not settings.oidc_issuer:
        return
    from authlib.integrations.starlette_client import OAuth

    oauth = OAuth()
    app.state.oidc = oauth.register(
        "provider",
        client_id=settings.oidc_client_id,
        client_secret=os.environ.get(SECRET) or None,
        server_metadata_url=settings.oidc_issuer.rstrip("/") + "/.well-known/openid-configuration",
        client_kwargs={"scope": " ".join(settings.oidc_scopes), "code_challenge_method": "S256", "timeout": 10},
    )
    app.add_middleware(
        SessionMiddleware,
        secret_key=secrets.token_urlsafe(32),
        session_cookie=COOKIE,
        max_age=SECONDS,
        path="/oidc",
        same_site="lax",
        https_only=app.state.is_secure,
    )


@router.get("/oidc")
async def begin(request: Request) -> Response:
    """Send somebody to the provider, to come back with a code for this one sign-in."""
    provider = _provider(request)
    request.session.clear()
    request.session["then"] = local(request.query_params.get("then"))
    try:
        answer: Response = await provider.authorize_redirect(request, str(request.url_for("come_back")))
    except _faults() as error:
        return _failed(request, error)
    return answer


@router.get("/oidc/back")
async def come_back(request: Request) -> Response:
    """Sign in whom the provider names: the code, the state and the nonce are those of this browser's own sign-in."""
    provider, here = _provider(request), desk(request)
    target = local(request.session.get("then"))
    issuer = here.config.review.oidc_issuer.rstrip("/")
    try:
        token = await provider.authorize_access_token(
            request, claims_options={"iss": {"essential": True, "values": [issuer, f"{issuer}/"]}}
        )
        claims: Mapping[str, Any] = token["userinfo"]
    except _faults() as error:
        return _failed(request, error)
    finally:
        request.session.clear()
    try:
        name, role = identity(claims, here.config.review)
        session = await run_in_threadpool(here.enter, name, role, address(request))
    except AssayError as error:
        return ask_again(request, str(error), target)
    return signed_in(request, session, target)


def identity(claims: Mapping[str, Any], settings: ReviewConfig) -> tuple[str, Role | None]:
    """Return the user's name and role by what the provider says of somebody; None where it says nothing of roles.

    Parameters
    ----------
    claims : mapping
        Of the ID token, whose signature, issuer, audience, time and nonce are right.
    settings : ReviewConfig

    Raises
    ------
    Refusal
        When there is no name, an address that nobody has verified, or no role.

    Examples
    --------
    >>> settings = ReviewConfig(oidc_role_claim="groups", oidc_roles={"fraud team": "analyst", "heads": "lead"})
    >>> identity({"sub": "Ann", "groups": ["heads", "fraud team", "all"]}, settings)
    ('ann', 'lead')
    """
    name = claims.get(settings.oidc_name_claim)
    if not isinstance(name, str) or not name:
        raise Refusal(f"the provider does not say {settings.oidc_name_claim!r} of you; ask an admin")
    if settings.oidc_name_claim == "email" and claims.get("email_verified") is not True:
        raise Refusal("the provider has not verified your address; ask an admin")
    if not settings.oidc_role_claim:
        return name.lower(), None
    value = claims.get(settings.oidc_role_claim)
    groups: Sequence[Any] = value if isinstance(value, list) else [value]
    roles = {settings.oidc_roles[group] for group in groups if isinstance(group, str) and group in settings.oidc_roles}
    if not roles:
        raise Refusal(f"nothing in {settings.oidc_role_claim!r} gives you a role at the desk; ask an admin")
    return name.lower(), max(roles, key=ROLES.index)


def _provider(request: Request) -> "StarletteOAuth2App":
    if request.app.state.oidc is None:
        raise Missing("nobody is signed in by a provider here; sign in with a password")
    return request.app.state.oidc


@cache
def _faults() -> tuple[type[Exception], ...]:
    """Return what ends a sign-in that is wrong, or whose provider is not there or answers nonsense."""
    from authlib.common.errors import AuthlibBaseError
    from httpx2 import HTTPError
    from joserfc.errors import JoseError

    return AuthlibBaseError, HTTPError, JoseError, KeyError, ValueError, RuntimeError


def _failed(request: Request, error: Exception) -> Response:
    """Say that it did not succeed; why is for the log, as the provider's words are not ours."""
    logging.getLogger("assay.review").warning("OpenID Connect: %s: %.200s", type(error).__name__, error)
    return ask_again(request, FAILED, local(request.session.get("then")))
