"""One alert: what happened, why it was flagged, what else there is of the same customer, and what is decided."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request, Response
from markupsafe import Markup
from starlette.responses import HTMLResponse

from pipeline.numbers import amount as amount_text
from pipeline.numbers import moment, quantity
from pipeline.review.cells import Reason
from pipeline.review.events import Event
from pipeline.review.listing import Line
from pipeline.review.publication import entity_column
from pipeline.review.refusals import Conflict
from pipeline.review.timeline import Timeline
from pipeline.review.web.access import desk, person
from pipeline.review.web.guard import POLICY_OF_A_REPORT
from pipeline.review.web.journal import in_words
from pipeline.review.web.pages import LABELS, page
from pipeline.review.web.words import standing
from pipeline.settings.config import Config
from pipeline.settings.titles import descriptions, title, with_unit

if TYPE_CHECKING:
    from pipeline.review.alert import AlertView

router = APIRouter()
LONG = 10_000
"""Signs of a cell that the page shows when it is opened."""


@dataclass(frozen=True)
class Clear:
    """A sensitive cell that a person has asked to see."""

    column: str
    text: str


@router.get("/alerts/{key}")
def alert(request: Request, key: str) -> Response:
    """Show one alert, and hold it for whoever may decide it."""
    return _show(request, key)


@router.get("/alerts/{key}/report")
def report(request: Request, key: str) -> Response:
    """Show the page of the run that scored an alert, as its file has it."""
    headers = {"content-security-policy": POLICY_OF_A_REPORT}
    return HTMLResponse(desk(request).report(key, person(request)), headers=headers)


@router.post("/alerts/{key}/unmask")
def unmask(request: Request, key: str) -> Response:
    """Show a sensitive cell in clear, once its reason is written down."""
    form = request.state.form
    column = str(form.get("column", ""))
    text = desk(request).unmask(key, column, str(form.get("why", ""))[:500], person(request))
    return _show(request, key, Clear(column, text))


def _show(request: Request, key: str, clear: Clear | None = None) -> Response:
    here, who = desk(request), person(request)
    holder = ""
    if who.may("decide"):
        try:
            here.hold(key, who)
        except Conflict as conflict:
            holder = str(conflict)
    view = here.alert(key, who)
    line, timeline = view.line, here.history(key, who)
    return page(
        request,
        "alert.html",
        title=f"{line.amount} {line.unit}".strip() + f" on {line.time}",
        view=view,
        line=line,
        holder=holder,
        clear=clear,
        cells=[cell for cell in view.cells if cell.role not in ("id", "timestamp", "amount")],
        long=LONG,
        meanings=descriptions(here.config),
        chart=chart(here.config, timeline),
        standing=standing(timeline.standings.get(here.config.contract.amount), _party(here.config)),
        reasons=[(reason, _place(reason, view, timeline, here.config)) for reason in line.reasons],
        zone=here.config.table.time_zone,
        version_page=_mlflow_page(here.config, "models", here.config.name, "versions", line.version),
        run_page=_mlflow_page(here.config, "runs", view.run) if view.run else "",
        report=f"/alerts/{key}/report" if (Path(view.folder) / "report.html").is_file() else "",
        is_one_case=bool(view.case) and who.may("decide") and line.state in ("open", "snoozed", "escalated"),
        labels=LABELS,
        history=[_event(event, here.config.table.time_zone) for event in reversed(view.events)],
        rules=here.config.review,
        now=datetime.now(UTC).replace(tzinfo=None),
        may_decide=who.may("decide"),
        may_lead=who.may("lead"),
        may_unmask=who.may("unmask"),
        state=_state(line),
        facts=_facts(view),
    )


def chart(config: Config, timeline: Timeline) -> Markup | None:
    """Return the chart of the entity's amounts; None where there is none that the person may see."""
    from pipeline.pages.charts import Amount, amounts_over_time

    zone = ZoneInfo(config.table.time_zone)
    words = {"alerted": ", an alert", "fraud": ", fraud", "not_fraud": ", not fraud", "this": ", this alert"}
    spots = []
    for point in timeline.points:
        kind = "this" if point.is_this else point.label or ("alerted" if point.key else "past")
        if point.amount is not None:
            text = with_unit(amount_text(point.amount), config.contract.amount, config)
            tip = f"{text}, {moment(point.at, zone)}{words.get(kind, '')}"
            spots.append(Amount(point.at, point.amount, kind, tip))
    return amounts_over_time(spots, f"Amounts over time, {len(spots):,} rows") if spots else None


def _party(config: Config) -> str:
    """Return what people read for the entity whose past is told."""
    return title(entity_column(config), config)


def _place(reason: Reason, view: "AlertView", timeline: Timeline, config: Config) -> str:
    """Return how the value of a reason stands among earlier ones and everybody's, or why that is not known."""
    if any(cell.column == reason.column and cell.is_hidden for cell in view.cells):
        return ""
    if reason.column in config.contract.numbers:
        text = standing(timeline.standings.get(reason.column), _party(config), "value")
        return text or "The history has no value of it to compare with yet."
    if reason.column in config.contract.columns:
        return "No number, so that it stands neither above nor below others."
    return "Worked out, and not kept of past rows, so that how it stands among them is not known."


def _mlflow_page(config: Config, *parts: str) -> str:
    """Return the address of a page of MLflow; "" where no server shows it."""
    server = urlsplit(config.tracking.uri)
    if server.scheme not in ("http", "https") or not server.hostname:
        return ""
    host = server.netloc.rpartition("@")[2]  # without a password
    return f"{server.scheme}://{host}{server.path.rstrip('/')}/#/{'/'.join(quote(part, safe='') for part in parts)}"


def _state(line: Line) -> str:
    """Return what has become of an alert, in a sentence; "" while it is open."""
    if line.state == "decided":
        when = f" on {line.decided_at:%Y-%m-%d at %H:%M} UTC" if line.decided_at else ""
        return f"{line.decided_by or 'A colleague'} decided {LABELS.get(line.label, line.label)}{when}."
    if line.state == "snoozed" and line.snoozed_until:
        return f"Snoozed until {line.snoozed_until:%Y-%m-%d %H:%M} UTC."
    if line.state == "escalated":
        return "With a lead." + (f" {line.why}" if line.why else "")
    return f"Withdrawn: {line.why}." if line.state == "withdrawn" else ""


def _facts(view: "AlertView") -> list[tuple[str, str]]:
    line = view.line
    facts = [("score", quantity(line.score))]
    facts += [("threshold", quantity(view.threshold))] if view.threshold is not None else []
    facts += [("p-value", f"{line.p_value:.2g}")]
    facts += [("file", view.source)] if view.source else []
    return facts


def _event(event: Event, zone: str) -> tuple[str, str, str]:
    """Return an event as its line says it: who, what, when."""
    return event.who, in_words(event), moment(event.at, ZoneInfo(zone))
