"""The dashboard: how much waits and for how long, what was decided, and how often it was fraud."""

from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response

from pipeline.review.listing import View
from pipeline.review.web.access import desk, person
from pipeline.review.web.addresses import address_of
from pipeline.review.web.pages import LABELS, page

router = APIRouter()
WORDS = {
    "open": "wait for a decision",
    "late": "are past their due time",
    "escalated": "wait for a lead",
    "snoozed": "wait for a later day",
    "decided": "are decided",
}
GROUPS = {"week": "By week", "version": "By model version", "reason": "By reason", "analyst": "By analyst"}


@router.get("/dashboard")
def dashboard(request: Request) -> Response:
    """Show the figures."""
    here, who = desk(request), person(request)
    here.sync()
    figures = here.figures(who)
    counts = {**figures.counts, "late": figures.late}
    return page(
        request,
        "dashboard.html",
        title="Dashboard",
        figures=figures,
        states=[(address_of(View(state=state)), state, counts[state], words) for state, words in WORDS.items()],
        groups=[(title, figures.precision[name]) for name, title in GROUPS.items() if figures.precision.get(name)],
        days=[*figures.decisions.items()][::-1],
        labels=LABELS,
        now=datetime.now(UTC).replace(tzinfo=None),
    )
