"""How a page comes about: its template, filled in for whoever asked."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse

from pipeline import numbers
from pipeline.review.web import words
from pipeline.review.web.access import PLACES, caller
from pipeline.review.web.text import shown, spelled

if TYPE_CHECKING:
    from jinja2 import Environment
    from starlette.requests import Request

KEYS: Sequence[tuple[str, str]] = (
    ("j  k", "next, previous row"),
    ("enter", "open the alert"),
    ("f", "fraud"),
    ("n", "not fraud"),
    ("u", "unsure"),
    ("s", "snooze, then 1, 7, 3 for 30 days, or a date"),
    ("e", "escalate to a lead"),
    ("a", "assign to yourself"),
    ("x", "select the row; leave an alert out of a case"),
    ("shift x", "select up to here"),
    ("shift j k", "select and move"),
    ("esc", "select none"),
    ("z", "undo what you did last"),
    ("c", "comment on the alert"),
    ("r 1", "reason code, by its number"),
    ("t 1", "template of a comment, by its number"),
    ("/", "search"),
    ("v", "name this view, to save it"),
    ("g q", "queue"),
    ("g n", "next alert that nobody holds"),
    ("g v", "saved views; a number opens one"),
    ("g p", "packets"),
    ("g d", "dashboard"),
    ("g e", "events"),
    ("g u", "users"),
    ("g a", "account"),
    ("b", "back to the queue"),
    ("?", "this list"),
)


LABELS = {"fraud": "fraud", "not_fraud": "not fraud", "unsure": "unsure"}
"""What the desk calls each decision."""


@cache
def templates() -> "Environment":
    """Return what fills in the desk's templates: text from data is escaped, and spelled out where it can't be seen."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pipeline.review.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_spelled_out,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(numbers, name) for name in ("number", "percent", "quantity", "minute")}
    environment.filters |= {"shown": shown, "rarity": words.rarity, "ago": words.ago, "many": words.many}
    environment.filters["money"] = numbers.amount
    return environment


def page(request: "Request", name: str, /, *, status: int = 200, **content: Any) -> HTMLResponse:
    """Return a page.

    Parameters
    ----------
    request : Request
    name : str
        Of the template.
    status : int
    **content
        What the template shows; ``title`` is always there.
    """
    return HTMLResponse(fill(request, name, content), status)


def fill(request: "Request", name: str, content: Mapping[str, Any]) -> str:
    """Return a template filled in for whoever asked."""
    who = caller(request)
    places = [(address, title) for address, title, right in PLACES if who and who.person.may(right)]
    frame = {"caller": who, "places": places, "here": request.url.path, "keys": KEYS, "narrow": False}
    return templates().get_template(name).render({**frame, **content})


def _spelled_out(value: Any) -> Any:
    """Return a text from data with its hidden signs spelled out; anything else as it is."""
    from markupsafe import Markup

    return spelled(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def takes_json(request: "Request") -> bool:
    """Whether a script or a program asks, and not a browser for a page."""
    return request.url.path.startswith("/api/") or request.headers.get("accept", "").startswith("application/json")
