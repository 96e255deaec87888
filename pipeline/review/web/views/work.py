"""What is done to alerts from the queue and from the page of one: by a key or by a form, one or many."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse, RedirectResponse

from pipeline.review.choices import lines_of
from pipeline.review.listing import View
from pipeline.review.refusals import Conflict, Refusal
from pipeline.review.web.access import desk, person, then
from pipeline.review.web.pages import page, takes_json
from pipeline.review.web.views.queue import row_html
from pipeline.review.work import Action, Done, Preview

router = APIRouter()
DECISIONS = ("fraud", "not_fraud", "unsure")
SNOOZE = timedelta(days=1)


@router.post("/decide")
def decide(request: Request) -> Response:
    """Decide, snooze, escalate, assign or comment on the alerts of a form; many of them only once that is confirmed."""
    form, who, here = request.state.form, person(request), desk(request)
    seen = read_seen(form.getlist("seen"))
    change = read_change(form, who.name, here.config.table.time_zone)
    if change.kind == "comment":  # of the alert that was read, not of its case
        seen = dict([next(iter(seen.items()))])
    supersede = form.get("supersede") == "1"
    preview = here.preview([*seen], change, who) if len(seen) > 1 and form.get("sure") != "1" else None
    if preview and form.get("of") in preview.refused:  # whoever decides a case is told first of the alert that was read
        seen, preview = {str(form["of"]): seen[str(form["of"])]}, None
    if preview:
        return _ask(request, preview)
    try:
        done = here.act(seen, change, who, supersede=supersede)
    except Conflict as conflict:
        return _conflict(request, conflict, seen, change)
    return _answer(request, done)


def _ask(request: Request, preview: Preview) -> Response:
    """Say what an action on several alerts would do, and ask whether it is meant."""
    words = preview.sentence[:1].upper() + preview.sentence[1:]
    left = sorted(set(preview.refused.values()))
    said = " ".join(f"Left out: {why}." for why in left[:3]) or "One undo takes all of it back."
    pairs = [f"{key}:{event}" for key, event in preview.numbers.items()]
    if takes_json(request):
        return JSONResponse({"sure": f"{words}?", "said": said, "seen": pairs})
    fields = [("seen", pair) for pair in pairs]
    fields += [(name, str(value)) for name, value in request.state.form.items() if name not in ("seen", "csrf")]
    return page(request, "sure.html", title=f"{words}?", text=said, fields=fields, then=then(request))


@router.post("/undo")
def undo(request: Request) -> Response:
    """Take back what the person did last."""
    return _answer(request, desk(request).undo(person(request)))


@router.post("/next")
def next_alert(request: Request) -> Response:
    """Give the person the best open alert that nobody else holds."""
    form, who, here = request.state.form, person(request), desk(request)
    here.sync()
    key = here.next(View(), who, form.getlist("beside"))
    address = f"/alerts/{key}" if key else "/"
    if takes_json(request):
        return JSONResponse({"key": key, "address": address, "said": "" if key else "Nothing waits."})
    return RedirectResponse(address, 303)


def read_seen(texts: Sequence[Any]) -> dict[str, int]:
    """Return alerts, each with its last event as the person saw it, from texts such as ``KEY:12``.

    Raises
    ------
    Refusal
        When there is none, or one is no such text.
    """
    seen = {}
    for text in texts:
        key, _, event = str(text).partition(":")
        if not (key and event.isdigit() and len(event) < 16):
            raise Refusal("which alerts are meant cannot be read; load the page again")
        seen[key] = int(event)
    if not seen:
        raise Refusal("no alert is selected; select one first")
    return seen


def read_change(form: Mapping[str, Any], name: str, zone: str = "UTC") -> Action:
    """Return what a form asks for.

    Parameters
    ----------
    form : mapping
        A comment that is left out is that of the template.
    name : str
        Of whoever asks: who takes an alert that is assigned to nobody named.
    zone : str
        In which a day begins that an alert is put off until.
    """
    what, text = str(form.get("do", "")), {key: str(form.get(key, ""))[:10_000] for key in ("code", "comment", "why")}
    text["comment"] = text["comment"] if text["comment"].strip() else str(form.get("template", ""))[:10_000]
    if what in DECISIONS:
        return Action(kind="decide", label=what, code=text["code"], comment=text["comment"])  # type: ignore[arg-type]
    if what == "snooze":
        return Action(kind="snooze", until=until(str(form.get("until", "")), zone), why=text["why"])
    if what == "escalate":
        return Action(kind="escalate", why=text["why"])
    if what == "assign":
        return Action(kind="assign", assignee=str(form.get("assignee", name)))
    if what == "comment":
        return Action(kind="comment", comment=text["comment"])
    raise Refusal(f"{what!r} is nothing that can be done to an alert; load the page again")


def until(text: str, zone: str, now: datetime | None = None) -> datetime:
    """Return the moment (UTC) that an alert is put off until.

    Parameters
    ----------
    text : str
        A day, which is its beginning; a moment in UTC; a number of days from now. Anything else is a day from now.
    zone : str
        In which days begin.
    now : datetime, optional
        UTC.

    Examples
    --------
    >>> until("2025-03-10", "Europe/Berlin"), until("7", "UTC", datetime(2025, 3, 3, 9))
    (datetime.datetime(2025, 3, 9, 23, 0), datetime.datetime(2025, 3, 10, 9, 0))
    """
    text = text.strip()
    now = (now or datetime.now(UTC).replace(tzinfo=None)).replace(second=0, microsecond=0)
    if text.isdigit() and len(text) <= 3:
        return now + timedelta(days=int(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return now + SNOOZE
    if len(text) == len("2025-03-10"):
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _answer(request: Request, done: Done) -> Response:
    """Say what was done: with the rows that it changed to a script, else by going back to where it was asked for."""
    keys = [event.subject for event in done.events]
    if not takes_json(request):
        target = then(request)
        mark = f"said={done.events[-1].number}" if done.events else ""
        return RedirectResponse(f"{target}{'&' if '?' in target else '?'}{mark}", 303)
    return JSONResponse({"said": f"{done.sentence}.", "rows": rows_of(request, keys)})


def rows_of(request: Request, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return alerts with the rows that the queue's table has of them."""
    with desk(request).store.reading() as reading:
        lines = lines_of(reading, keys[:500], person(request))
    return [{"key": line.key, "event": line.event, "state": line.state, "html": row_html(line)} for line in lines]


def _conflict(request: Request, conflict: Conflict, seen: Mapping[str, int], change: Action) -> Response:
    """Say that somebody else was first; a single alert's decision may be superseded knowingly."""
    said = f"{str(conflict)[:1].upper()}{str(conflict)[1:]}."
    if takes_json(request):
        return JSONResponse({"said": said, "key": conflict.key, "rows": rows_of(request, [conflict.key])}, 409)
    fields = [("seen", f"{conflict.key}:{conflict.event}"), ("do", change.label or change.kind), ("supersede", "1")]
    fields += [("code", change.code), ("comment", change.comment)]
    can = len(seen) == 1 and change.kind == "decide"
    return page(
        request,
        "conflict.html",
        status=409,
        title="Somebody else was first",
        text=said,
        fields=fields if can else [],
        key=conflict.key,
        then=then(request),
    )
