"""The users: who may sign in, in which role; an admin adds them, changes them and ends them."""

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from pipeline.review.people import ROLES
from pipeline.review.web.access import desk, person
from pipeline.review.web.pages import page

router = APIRouter()
MAY = {
    "viewer": "sees the queue and the dashboard",
    "analyst": "also decides, exports and unmasks",
    "lead": "also decides what was escalated, assigns, and sees the events",
    "admin": "also makes users",
}


@router.get("/users")
def users(request: Request) -> Response:
    """Show the users."""
    people = desk(request).users(person(request))
    return page(request, "users.html", title="Users", people=people, roles=ROLES, may=MAY)


@router.post("/users")
def add(request: Request) -> Response:
    """Add a user."""
    form = request.state.form
    name, password, role = (str(form.get(field, ""))[:1001] for field in ("name", "password", "role"))
    desk(request).add_user(name, password, role, person(request))  # type: ignore[arg-type]
    return RedirectResponse("/users", 303)


@router.post("/users/{name}")
def change(request: Request, name: str) -> Response:
    """Give a user another role or password, or end them."""
    form, here, who = request.state.form, desk(request), person(request)
    what = form.get("do")
    if what == "end":
        here.change_user(name, who, is_ended=True)
    elif what == "password":
        here.change_user(name, who, password=str(form.get("password", ""))[:1001])
    else:
        here.change_user(name, who, role=str(form.get("role", "")))  # type: ignore[arg-type]
    return RedirectResponse("/users", 303)
