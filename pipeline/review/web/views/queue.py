"""The queue: a table of alerts, its views, filters and order, all of them in the address."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fastapi import APIRouter, Request, Response

from pipeline.review.choices import choices
from pipeline.review.listing import Line, View
from pipeline.review.paging import COUNTED, Page
from pipeline.review.web.access import desk, person
from pipeline.review.web.addresses import address_of, read_view
from pipeline.review.web.pages import LABELS, page, templates
from pipeline.review.web.words import many
from pipeline.settings import titles
from pipeline.settings.config import Config

router = APIRouter()
STATES = {
    "open": "Open",
    "late": "Late",
    "soon": "Nearly late",
    "escalated": "Escalated",
    "snoozed": "Snoozed",
    "decided": "Decided",
    "withdrawn": "Withdrawn",
    "disputed": "Disputed",
}
FIXED = ("state", "sort", "by")
"""Parts of a view that its form hands on unseen."""


@router.get("/")
def queue(request: Request) -> Response:
    """Show a part of the queue."""
    who, here = person(request), desk(request)
    here.sync()
    view = read_view(request.query_params)
    content = here.page(view, who)
    config = here.config
    plain = View(state=view.state, sort=view.sort, limit=view.limit)
    return page(
        request,
        "queue.html",
        title=STATES.get(view.state, "All alerts") + (" alerts" if view.state in STATES else ""),
        summary=_summary(content),
        said=_said(request),
        view=view,
        lines=content.lines,
        labels=LABELS,
        views=_views(content, mine=view.assignee == who.name, name=who.name),
        heads=_heads(view, config),
        choices=_choices(request, view),
        columns=[(name, titles.title(name, config)) for name in config.contract.key_columns[1:]],
        fixed=[(name, value) for name, value in _parameters(view).items() if name in FIXED],
        is_filtered=_bare(view) != plain,
        unfiltered=address_of(plain),
        export=address_of(view, "/export"),
        packets=address_of(view, "/packets"),
        query=urlsplit(address_of(view)).query,
        here_address=address_of(view, start=view.start, after=view.after, before=view.before),
        pages=_pages(content),
        part=_part(content),
        entity=titles.title(next(iter(config.contract.entities), "name"), config),
        empty=_empty(content, is_filtered=_bare(view) != plain),
        may_decide=who.may("decide"),
        may_export=who.may("export"),
    )


def row_html(line: Line) -> str:
    """Return the row of one alert, as the queue's table has it."""
    module: Any = templates().get_template("rows.html").make_module({"labels": LABELS})
    return str(module.row(line))


def _said(request: Request) -> str:
    """Return what the event with the number in the address did, in words; nothing that an address can make up."""
    number = request.query_params.get("said", "")
    if number == "view":
        return "The view is saved; g v lists yours."
    return f"Done; event {int(number):,} of the journal." if number.isdigit() and len(number) < 12 else ""


def _bare(view: View) -> View:
    return replace(view, start=0, after="", before="")


def _total(total: int) -> str:
    return f"{total:,}" if total <= COUNTED else f"more than {COUNTED:,}"


def _summary(content: Page) -> str:
    if content.total > COUNTED:
        return f"{_total(content.total)} alerts"
    return many(content.total, "alert")


def _views(content: Page, *, mine: bool, name: str) -> list[tuple[str, str, str, bool]]:
    """Return the views that are a key away: address, name, count, and whether it is the one on the screen."""
    sort, state = content.view.sort, content.view.state
    views = []
    for other, title in STATES.items():
        count = f"{content.counts[other]:,}" if other in content.counts else ""
        views.append((address_of(View(state=other, sort=sort)), title, count, other == state and not mine))
    views.insert(1, (address_of(View(assignee=name, sort=sort)), "Mine", "", mine))
    views.append((address_of(View(state="", sort=sort)), "All", "", state == "" and not mine))
    return views


def _heads(view: View, config: Config) -> list[tuple[str, str, bool, str]]:
    """Return the heads of the table: address that sorts by it, name, whether it does, and class."""
    orders = {"score": ("Score", "n less"), "age": ("When", ""), "": ("Amount", "n"), "risk": ("At risk", "n less")}
    heads = [
        (address_of(view, sort=sort) if sort else "", name, sort == view.sort, kind)
        for sort, (name, kind) in orders.items()
    ]
    who = " · ".join(titles.title(name, config) for name in config.contract.key_columns[1:3]) or "Who"
    return [
        *heads,
        ("", who, False, "less"),
        ("", "Why", False, "why"),
        ("", "Past", False, "n less"),
        ("", "", False, ""),
    ]


def _choices(request: Request, view: View) -> list[tuple[str, str, Sequence[tuple[str, str]], str]]:
    """Return the filters with a few values: name, what it is called, values in words, and the one that is set."""
    config = desk(request).config
    with desk(request).store.reading() as reading:
        values = choices(reading)
    labels = list(LABELS.items()) if view.state in ("decided", "") else []
    return [
        ("batch", "Batch", [(name, name) for name in values.batches], view.batch),
        ("version", "Version", [(name, name) for name in values.versions], view.version),
        ("reason", "Reason", [(name, titles.in_titles(name, config)) for name in values.reasons], view.reason),
        ("priority", "Priority", [(name, name) for name in _priorities(request, view)], view.priority),
        ("assignee", "Assigned to", [(name, name) for name in values.people], view.assignee),
        ("label", "Decision", labels, view.label),
    ]


def _priorities(request: Request, view: View) -> list[str]:
    """Return the priorities to filter by: none where alerts come with one alone, and escalated ones stand apart."""
    is_used = desk(request).config.review.urgent_risk > 0 or view.priority
    return ["urgent", "normal"] if is_used else []


def _parameters(view: View) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(address_of(view)).query))


def _part(content: Page) -> str:
    """Return which of how many alerts are on the screen; some may have left the view since the first part was."""
    first = max(0, min(content.view.start, content.total - len(content.lines)))
    return f"{first + 1:,} to {first + len(content.lines):,} of {_total(content.total)}"


def _pages(content: Page) -> list[tuple[str, str]]:
    view, lines = content.view, content.lines
    pages = []
    if view.start and lines:
        start = max(0, view.start - view.limit)
        pages.append((address_of(view, start=start, before=lines[0].key if start else ""), "Previous"))
    if view.start + view.limit < content.total and lines:
        pages.append((address_of(view, start=view.start + view.limit, after=lines[-1].key), "More"))
    return pages


def _empty(content: Page, *, is_filtered: bool) -> tuple[str, str]:
    """Return what an empty list says, and what to do."""
    if is_filtered:
        return "No alert is like that.", "Take a filter out, or look in another view."
    if not any(content.counts.values()):
        return "Nothing was scored yet.", "Alerts come by themselves once a batch is scored: assay score."
    if content.view.state in ("open", "late", "soon"):
        return (
            "Nothing waits.",
            "Every alert of this view is decided, snoozed or with a lead. New ones come by themselves.",
        )
    return "Nothing is here.", "Look in another view."
