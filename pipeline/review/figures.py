"""The figures of the dashboard: how long the queue is, how much of it is fraud, and how well people agree."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipeline.calibration.intervals import share_interval
from pipeline.review.listing import by_state
from pipeline.review.people import Person
from pipeline.review.store import Reading
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_DECISIONS

SOON = 0.25
"""Share of the time that an alert has at which it is nearly late."""
PAUSE = timedelta(minutes=15)
"""Between two decisions of a person who is at work; a longer one is a pause."""


@dataclass(frozen=True)
class Share:
    """A part of a whole, with the interval that holds the true share nine times in ten; nan of nothing."""

    part: int
    whole: int

    @property
    def value(self) -> float:
        """The share."""
        return self.part / self.whole if self.whole else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Its interval, by Jeffreys' prior."""
        return share_interval(self.part, self.whole) if self.whole else (math.nan, math.nan)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the dashboard shows.

    Attributes
    ----------
    counts : mapping of str to int
        Alerts by state.
    oldest : datetime or None
        When the oldest open alert's transaction was, UTC.
    late, nearly_late : int
        Open alerts past their due time, and those with less than a quarter of it left.
    decisions : mapping of date to mapping of str to int
        By day (UTC) and label, of the period.
    in_time : Share
        Of the alerts decided in the period, those that were not late.
    precision : mapping of str to mapping of str to Share
        Frauds among decided alerts of the period, without audited rows: by "week" (its Monday), "version", "reason",
        and, for a lead, "analyst".
    caught : float
        Amounts of the confirmed frauds of the period.
    hours : float
        Hours of review of the period: the time between decisions, pauses left out.
    agreement : mapping of str to Share
        For a lead: by analyst, second and golden decisions that agree with the first.
    """

    counts: Mapping[str, int]
    oldest: datetime | None
    late: int
    nearly_late: int
    decisions: Mapping[date, Mapping[str, int]]
    in_time: Share
    precision: Mapping[str, Mapping[str, Share]]
    caught: float
    hours: float
    agreement: Mapping[str, Share]

    @property
    def caught_an_hour(self) -> float:
        """Amounts of confirmed frauds an hour of review; nan before there is any."""
        return self.caught / self.hours if self.hours else math.nan


def figures(reading: Reading, who: Person, weeks: int) -> Figures:
    """Return what the dashboard shows of the last weeks."""
    alerts, start = REVIEW_ALERTS.c, reading.at - timedelta(weeks=weeks)
    mine = alerts.model_name == reading.name
    waiting = (mine, alerts.state.in_(("open", "escalated")))
    soon = timedelta(hours=reading.config.review.due_hours * SOON)
    counts = [
        sa.func.min(sa.case((alerts.state == "open", alerts.at))),
        sa.func.sum(sa.case((alerts.due < reading.at, 1), else_=0)),
        sa.func.sum(sa.case((alerts.due.between(reading.at, reading.at + soon), 1), else_=0)),
    ]
    oldest, late, nearly_late = reading.connection.execute(sa.select(*counts).where(*waiting)).one()
    columns = [
        alerts[name] for name in ("decided_at", "due", "model_version", "reason", "who", "label", "kind", "amount")
    ]
    query = sa.select(*columns).where(mine, alerts.decided_at >= start, alerts.state == "decided")
    rows = [row._asdict() for row in reading.connection.execute(query)]
    frauds = [row for row in rows if row["label"] == "fraud"]
    steps = _decisions(reading, start)
    return Figures(
        counts=by_state(reading),
        oldest=oldest if oldest is None or isinstance(oldest, datetime) else datetime.fromisoformat(oldest),
        late=late or 0,
        nearly_late=nearly_late or 0,
        decisions=_by_day(steps),
        in_time=Share(sum(row["due"] is None or row["decided_at"] <= row["due"] for row in rows), len(rows)),
        precision=_precision(rows, who),
        caught=sum(abs(row["amount"] or 0.0) for row in frauds),
        hours=_hours(steps),
        agreement=_agreement(steps) if who.may("lead") else {},
    )


def _decisions(reading: Reading, start: datetime) -> list[dict[str, Any]]:
    decisions = REVIEW_DECISIONS.c
    query = (
        sa.select(decisions.who, decisions.at, decisions.kind, decisions.label, decisions.truth)
        .where(decisions.model_name == reading.name, decisions.at >= start, decisions.undone_by.is_(None))
        .order_by(decisions.at, decisions.number)
    )
    return [row._asdict() for row in reading.connection.execute(query)]


def _by_day(steps: Sequence[Mapping[str, Any]]) -> dict[date, dict[str, int]]:
    days: dict[date, Counter[str]] = defaultdict(Counter)
    for step in steps:
        days[step["at"].date()][step["label"]] += 1
    return {day: dict(counts) for day, counts in sorted(days.items())}


def _precision(rows: Sequence[Mapping[str, Any]], who: Person) -> dict[str, dict[str, Share]]:
    groups: dict[str, Callable[[Mapping[str, Any]], Hashable]] = {
        "week": lambda row: (row["decided_at"].date() - timedelta(days=row["decided_at"].weekday())).isoformat(),
        "version": lambda row: row["model_version"],
        "reason": lambda row: row["reason"] or "none",
    }
    if who.may("lead"):
        groups["analyst"] = lambda row: row["who"]
    final = [row for row in rows if row["kind"] == "alert" and row["label"] in ("fraud", "not_fraud")]
    shares = {}
    for name, group in groups.items():
        whole = Counter(str(group(row)) for row in final)
        part = Counter(str(group(row)) for row in final if row["label"] == "fraud")
        shares[name] = {value: Share(part[value], count) for value, count in sorted(whole.items())}
    return shares


def _hours(steps: Sequence[Mapping[str, Any]]) -> float:
    """Return the hours between decisions of one person each, pauses left out."""
    before: dict[str, datetime] = {}
    total = timedelta()
    for step in steps:
        gap = step["at"] - before.get(step["who"], step["at"])
        total += gap if gap <= PAUSE else timedelta()
        before[step["who"]] = step["at"]
    return total / timedelta(hours=1)


def _agreement(steps: Sequence[Mapping[str, Any]]) -> dict[str, Share]:
    again = [step for step in steps if step["kind"] in ("second", "golden")]
    whole = Counter(step["who"] for step in again)
    part = Counter(step["who"] for step in again if step["label"] == step["truth"])
    return {name: Share(part[name], count) for name, count in sorted(whole.items())}
