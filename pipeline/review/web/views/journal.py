"""The journal: every event, newest first, and whether their chain is whole."""

from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response

from pipeline.numbers import moment
from pipeline.review.recent import recent
from pipeline.review.web.access import desk, person
from pipeline.review.web.journal import WORDS, in_words
from pipeline.review.web.pages import page

router = APIRouter()
LIMIT = 100


@router.get("/events")
def journal(request: Request) -> Response:
    """Show events."""
    here, asked = desk(request), request.query_params
    before = asked.get("before", "")
    number = int(before) if before.isdigit() and len(before) < 16 else None
    who, kind = asked.get("who", "")[:100], asked.get("kind", "")
    kind = kind if kind in WORDS else ""
    with here.store.reading() as reading:
        some = recent(reading, person(request), by=who, kind=kind, before=number, limit=LIMIT)
    zone = ZoneInfo(here.config.table.time_zone)
    lines = [(event, in_words(event), moment(event.at, zone)) for event in some]
    return page(
        request,
        "events.html",
        title="Events",
        lines=lines,
        kinds=WORDS,
        kind=kind,
        who=who,
        last=some[-1].number if len(some) == LIMIT else None,
        verdict=here.verify() if asked.get("verify") == "1" else None,
    )
