"""The JSON API: the desk's actions for programs, let in by a token with scopes."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from pipeline.review.choices import lines_of
from pipeline.review.listing import Line, View
from pipeline.review.paging import REACH
from pipeline.review.people import Person
from pipeline.review.refusals import Forbidden
from pipeline.review.web.access import NotSignedIn, address, desk
from pipeline.review.work import Action, Done

router = APIRouter(prefix="/api")
BEARER = HTTPBearer(auto_error=False, description="A token from the page Account.")
Scope = Literal["list", "next", "decide", "export"]


class Reason(BaseModel):
    """Why an alert was flagged; ``share`` is that of the score."""

    column: str
    actual: str
    expected: str
    share: float
    text: str


class Alert(BaseModel):
    """An alert, masked as the token's user may see it; ``event`` is what a decision names as seen."""

    model_config = ConfigDict(from_attributes=True)
    key: str
    event: int
    id: str
    time: str
    amount: str
    score: float
    p_value: float
    risk: float
    priority: str
    state: str
    label: str
    code: str
    assignee: str
    decided_by: str
    decided_at: datetime | None
    held_by: str
    batch: str
    version: str
    reasons: list[Reason]


class Part(BaseModel):
    """What part of the queue is listed; a parameter that is none of these is refused."""

    model_config = ConfigDict(extra="forbid")
    state: Literal["open", "late", "soon", "snoozed", "escalated", "decided", "withdrawn", ""] = "open"
    sort: Literal["score", "risk", "age"] = "score"
    q: str = Field(default="", max_length=255, description="An id, or a value of an entity.")
    start: int = Field(default=0, ge=0, le=REACH, description="How many alerts are passed over.")
    after: str = Field(default="", max_length=20, description="The key of the last alert of the part before this one.")
    limit: int = Field(default=50, ge=1, le=500)


class OfState(BaseModel):
    """Whose alerts are exported; a parameter that is none of these is refused."""

    model_config = ConfigDict(extra="forbid")
    state: Literal["open", "snoozed", "escalated", "decided", "withdrawn", ""] = "decided"


class Alerts(BaseModel):
    """A part of the queue, and how many alerts the whole view has."""

    total: int
    alerts: list[Alert]


class Decision(BaseModel):
    """What to decide of which alerts: all of them or none."""

    model_config = ConfigDict(extra="forbid")
    seen: dict[str, Annotated[int, Field(ge=0, le=2**31)]] = Field(
        min_length=1, max_length=5000, description="By key, the event that the decision is made on the strength of."
    )
    label: Literal["fraud", "not_fraud", "unsure"]
    code: str = Field(default="", max_length=64)
    comment: str = Field(default="", max_length=10_000)
    supersede: bool = Field(default=False, description="Whether to decide over another's decision.")


class Refused(BaseModel):
    """Why nothing was done."""

    said: str


class Answer(BaseModel):
    """What was done, and the alerts as they are now."""

    said: str
    alerts: list[Alert]


def lets(scope: Scope) -> Callable[..., Person]:
    """Return what lets in whoever has a token with a scope, and returns whom the token acts for."""

    def admit_program(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
    ) -> Person:
        somebody = desk(request).token(credentials.credentials, address(request)) if credentials else None
        if somebody is None:
            raise NotSignedIn("this takes a token; make one on the page Account, and send it as a bearer token")
        person, scopes = somebody
        if scope not in scopes:
            raise Forbidden(f"the token is not for {scope!r}; make another one")
        return person

    return admit_program


@router.get("/alerts")
def list_alerts(
    request: Request, part: Annotated[Part, Query()], who: Annotated[Person, Depends(lets("list"))]
) -> Alerts:
    """List alerts."""
    desk(request).sync()
    view = View(state=part.state, sort=part.sort, search=part.q, start=part.start, after=part.after, limit=part.limit)
    page = desk(request).page(view, who)
    return Alerts(total=page.total, alerts=[as_alert(line) for line in page.lines])


@router.get("/alerts/{key}")
def get_alert(
    request: Request, key: Annotated[str, Path(max_length=20)], who: Annotated[Person, Depends(lets("list"))]
) -> Alert:
    """Return one alert."""
    return as_alert(desk(request).alert(key, who).line)


@router.post("/next")
def take_next(request: Request, who: Annotated[Person, Depends(lets("next"))]) -> Alert | None:
    """Hold the best open alert that nobody else holds, and return it; null where none waits."""
    here = desk(request)
    here.sync()
    key = here.next(View(), who)
    return as_alert(here.alert(key, who).line) if key else None


@router.post("/decisions")
def decide_alerts(request: Request, decision: Decision, who: Annotated[Person, Depends(lets("decide"))]) -> Answer:
    """Decide alerts."""
    action = Action(kind="decide", label=decision.label, code=decision.code, comment=decision.comment)
    return _answer(request, desk(request).act(decision.seen, action, who, supersede=decision.supersede), who)


@router.post("/undo")
def undo_last(request: Request, who: Annotated[Person, Depends(lets("decide"))]) -> Answer:
    """Take back what the token's user did last."""
    return _answer(request, desk(request).undo(who), who)


@router.get("/export")
def export_alerts(
    request: Request, part: Annotated[OfState, Query()], who: Annotated[Person, Depends(lets("export"))]
) -> list[Alert]:
    """Return all alerts of a state with their decisions, at most 100,000."""
    return [as_alert(line) for line in desk(request).export(View(state=part.state), who)]


@router.get("/openapi.json", include_in_schema=False)
def describe(request: Request) -> dict[str, Any]:
    """Return the description of these calls."""
    return request.app.openapi()


def as_alert(line: Line) -> Alert:
    """Return an alert of the list as programs get it."""
    reasons = [Reason(**vars(reason)) for reason in line.reasons]
    return Alert(**{name: getattr(line, name) for name in Alert.model_fields if name != "reasons"}, reasons=reasons)


def _answer(request: Request, done: Done, who: Person) -> Answer:
    keys = [event.subject for event in done.events]
    with desk(request).store.reading() as reading:
        lines = lines_of(reading, keys, who)
    return Answer(said=f"{done.sentence}.", alerts=[as_alert(line) for line in lines])
