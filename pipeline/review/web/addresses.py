"""The queue's address: all of a view stands in it, so that it can be sent to a colleague."""

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date
from typing import Any, get_args, get_type_hints
from urllib.parse import urlencode

from pipeline.review.listing import View

NAMES: Mapping[str, str] = {"first_day": "from", "last_day": "to", "decided_by": "by", "search": "q"}
"""Fields of a `View` that an address calls otherwise."""
LIMIT = 50
MOST = 500
"""Rows of one page, at most."""
LONGEST = 300
"""Signs of one parameter; the rest is left out."""
FIELDS = {NAMES.get(field.name, field.name): field.name for field in fields(View)}
TYPES = get_type_hints(View)


def read_view(parameters: Mapping[str, str]) -> View:
    """Return the view that an address names; what cannot be read in it counts as left out.

    Examples
    --------
    >>> view = read_view({"state": "decided", "from": "2025-03-02", "least": "ten", "start": "-5"})
    >>> view.state, view.first_day, view.least, view.start
    ('decided', datetime.date(2025, 3, 2), None, 0)
    """
    values: dict[str, Any] = {}
    for name, text in parameters.items():
        field = FIELDS.get(name)
        value = _read(TYPES[field], text[:LONGEST].strip()) if field else None
        if field and value is not None:
            values[field] = value
    view = View(**{"limit": LIMIT, **values})
    return replace(view, start=min(max(view.start, 0), 10**9), limit=min(max(view.limit, 1), MOST))


def address_of(view: View, page: str = "/", **changes: Any) -> str:
    """Return the address of a view, without what every view has.

    Examples
    --------
    >>> address_of(View(state="decided", search="4711"), sort="risk")
    '/?sort=risk&state=decided&q=4711'
    """
    view = replace(view, **{"start": 0, "after": "", "before": "", **changes})
    usual = View(limit=LIMIT)
    pairs = [(name, getattr(view, field)) for name, field in FIELDS.items() if field != "limit"]
    texts = {name: str(value) for name, value in pairs if value not in (None, getattr(usual, FIELDS[name]))}
    return f"{page}?{urlencode(texts)}" if texts else page


def _read(kind: Any, text: str) -> Any:
    """Return a text as a value of a type; None where it is none."""
    if options := get_args(kind):
        kind = next((option for option in options if option in (date, float)), None)
        if kind is None:
            return text if text in options else None
    try:
        value = date.fromisoformat(text) if kind is date else kind(text)
    except ValueError:
        return None
    return value if not isinstance(value, float) or abs(value) < 1e300 else None
