"""Saved views: the addresses of the queue that a person comes back to, under their names."""

from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter, Request, Response
from starlette.responses import RedirectResponse

from pipeline.review.web.access import desk, person
from pipeline.review.web.addresses import address_of, read_view
from pipeline.review.web.pages import page

router = APIRouter()
LONGEST = 64
"""Signs of a name."""


@router.get("/views")
def views(request: Request) -> Response:
    """Show the views that the person has saved."""
    addresses = {name: _address(query) for name, query in desk(request).views(person(request)).items()}
    return page(request, "views.html", title="Saved views", views=[*addresses.items()])


@router.post("/views")
def save(request: Request) -> Response:
    """Save a view under a name, in the place of another of that name; or delete it."""
    form, here, who = request.state.form, desk(request), person(request)
    name = str(form.get("title", ""))[:LONGEST]
    if form.get("do") == "delete":
        here.save_view(name, "", who)
        return RedirectResponse("/views", 303)
    address = _address(str(form.get("query", ""))[:4_000])
    here.save_view(name, urlsplit(address).query or "state=open", who)
    return RedirectResponse(f"{address}{'&' if '?' in address else '?'}said=view", 303)


def _address(query: str) -> str:
    """Return the address of a view by what stands in it behind the question mark: nothing else gets into a page."""
    return address_of(read_view(dict(parse_qsl(query))))
