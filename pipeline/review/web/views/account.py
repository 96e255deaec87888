"""One's own account: the password, and tokens that programs sign in with."""

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from pipeline.review.web.access import desk, person
from pipeline.review.web.pages import page

router = APIRouter()
SCOPES = {
    "list": "list alerts",
    "next": "take the next one",
    "decide": "decide and undo",
    "export": "export alerts with decisions",
}


@router.get("/account")
def account(request: Request) -> Response:
    """Show the account."""
    return _show(request)


@router.post("/account/password")
def change_password(request: Request) -> Response:
    """Change the password; whoever is signed in by the old one is signed out, here, too."""
    form, here, who = request.state.form, desk(request), person(request)
    old, new = (str(form.get(field, ""))[:1001] for field in ("old", "new"))
    here.log_out(here.log_in(who.name, old, who.address), who)  # the old one is right, or this is refused
    here.change_user(who.name, who, password=new)
    return RedirectResponse("/login", 303)


@router.post("/account/tokens")
def add_token(request: Request) -> Response:
    """Make a token, and show it this once; or end one."""
    form, here, who = request.state.form, desk(request), person(request)
    if form.get("do") == "end":
        here.end_token(str(form.get("mark", "")), who)
        return RedirectResponse("/account", 303)
    scopes = [scope for scope in SCOPES if form.get(scope) == "1"]
    return _show(request, here.add_token(str(form.get("title", ""))[:64], scopes, who))


def _show(request: Request, token: str = "") -> Response:
    who = person(request)
    tokens = desk(request).tokens(who) if who.may("decide") else []
    may = who.may("decide")
    return page(request, "account.html", title="Account", tokens=tokens, token=token, scopes=SCOPES, may_decide=may)
