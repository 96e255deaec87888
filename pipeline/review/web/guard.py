"""What stands before every page: headers that let nothing in from elsewhere, and a limit on what is sent."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import Request

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
POLICY_OF_A_REPORT = "sandbox allow-scripts; frame-ancestors 'none'"
"""Of the page of a run, which has a policy of its own and is shown as if it were another host's."""
NO_STORE = "no-store"
MOST_BYTES = 1_000_000
"""Of a request's body: a decision on 10,000 alerts takes less."""


class Guard:
    """Adds the headers to every answer, refuses a body that is too long, and keeps traces of errors in the log.

    Parameters
    ----------
    app : ASGIApp
    fail : callable
        Returns what answers a request that an error ended.
    """

    def __init__(self, app: "ASGIApp", fail: Callable[[Request, Exception], "Response"]) -> None:
        self.app, self.fail = app, fail

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                names = {name for name, _ in message["headers"]}
                headers = {"cache-control": NO_STORE, **HEADERS}
                for name in ("cache-control", "content-security-policy"):
                    if name.encode() in names:
                        del headers[name]
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in headers.items())]
            await send(message)

        length = dict(scope["headers"]).get(b"content-length", b"")
        if b"transfer-encoding" in dict(scope["headers"]) or (length and not 0 <= _number(length) <= MOST_BYTES):
            await _refuse(send_guarded)
            return
        try:
            await self.app(scope, receive, send_guarded)
        except Exception as error:
            logging.getLogger("assay.review").exception("%s %s", scope["method"], scope["path"])
            await self.fail(Request(scope), error)(scope, receive, send_guarded)


def local(target: str | None, otherwise: str = "/") -> str:
    r"""Return an address if it leads to a page of this server, else another one.

    Parameters
    ----------
    target : str or None
        Where a form asks to be sent on to.
    otherwise : str

    Examples
    --------
    >>> [local(text) for text in ("/?state=open", "//evil.example", "https://evil.example", "/\\evil.example", None)]
    ['/?state=open', '/', '/', '/', '/']
    """
    if not target or not target.startswith("/") or target[1:2] in ("/", "\\") or not target.isprintable():
        return otherwise
    try:
        parts = urlsplit(target)
    except ValueError:
        return otherwise
    return otherwise if parts.scheme or parts.netloc or "\\" in target else target


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 19 else -1


async def _refuse(send: "Send") -> None:
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"The request is too long."})
