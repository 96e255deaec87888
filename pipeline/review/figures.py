"""The figures of the dashboard: how long the queue is, how much of it is fraud, and what a review finds an hour."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import sqlalchemy as sa

from pipeline.calibration.intervals import share_interval
from pipeline.review.counts import by_state
from pipeline.review.listing import WAIT, View, conditions, is_soon
from pipeline.review.people import Person
from pipeline.review.store import Reading
from pipeline.settings.sensitive import segments
from pipeline.workspace.schema import REVIEW_ALERTS, REVIEW_DECISIONS, REVIEW_VALUES

PAUSE = timedelta(minutes=15)
"""Between two decisions of a person who is at work; a longer one is a pause."""
AGES = {"under 1 day": 1, "1 to 2 days": 2, "2 to 4 days": 4, "4 to 8 days": 8, "longer": 36_500}
"""How long alerts wait, and the days since their transaction that each ends with."""
PRIORITIES = ("urgent", "normal")
MOST = 12
"""Groups of a measure that are listed: those with the most alerts."""


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


@dataclass(frozen=True)
class Deadlines:
    """How alerts of one priority stand against their due time.

    Attributes
    ----------
    waiting, soon, late : int
        Alerts that wait; those of them with less than a quarter of their time left; those past their due time.
    in_time : Share
        Of the alerts decided in the period, those that were not late.
    """

    waiting: int
    soon: int
    late: int
    in_time: Share


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What the dashboard shows.

    Attributes
    ----------
    counts : mapping of str to int
        Alerts by state.
    oldest : datetime or None
        When the oldest open alert's transaction was, UTC.
    ages : mapping of str to int
        Waiting alerts by the time since their transaction, in words.
    deadlines : mapping of str to Deadlines
        By priority: "urgent" and "normal".
    disputed : int
        Decisions for which another label was delivered.
    decisions : mapping of date to mapping of str to int
        By day (UTC) and label, of the period.
    precision : mapping of str to mapping of str to Share
        Frauds among decided alerts of the period, without audited rows: by "week" (its Monday), "version", "reason",
        "segment", and, for a lead, "analyst".
    caught : float
        Amounts of the confirmed frauds of the period.
    hours : float
        Hours of review of the period: the time between decisions, pauses left out.
    """

    counts: Mapping[str, int]
    oldest: datetime | None
    ages: Mapping[str, int]
    deadlines: Mapping[str, Deadlines]
    disputed: int
    decisions: Mapping[date, Mapping[str, int]]
    precision: Mapping[str, Mapping[str, Share]]
    caught: float
    hours: float

    @property
    def late(self) -> int:
        """Alerts past their due time."""
        return sum(of.late for of in self.deadlines.values())

    @property
    def nearly_late(self) -> int:
        """Alerts with less than a quarter of their time left."""
        return sum(of.soon for of in self.deadlines.values())

    @property
    def in_time(self) -> Share:
        """Of the alerts decided in the period, those that were not late."""
        shares = [of.in_time for of in self.deadlines.values()]
        return Share(sum(share.part for share in shares), sum(share.whole for share in shares))

    @property
    def caught_an_hour(self) -> float:
        """Amounts of confirmed frauds an hour of review; nan before there is any."""
        return self.caught / self.hours if self.hours else math.nan


def figures(reading: Reading, who: Person, weeks: int) -> Figures:
    """Return what the dashboard shows of the last weeks."""
    alerts, start = REVIEW_ALERTS.c, reading.at - timedelta(weeks=weeks)
    since = (alerts.model_name == reading.name, alerts.state == "decided", alerts.decided_at >= start)
    frauds = sa.select(sa.func.sum(sa.func.abs(alerts.amount))).where(*since, alerts.label == "fraud")
    disputed = sa.select(sa.func.count()).where(*conditions(reading, View(state="disputed"), who))
    oldest = sa.select(sa.func.min(alerts.at)).where(alerts.model_name == reading.name, alerts.state == "open")
    return Figures(
        counts=by_state(reading),
        oldest=reading.connection.scalar(oldest),
        ages=_ages(reading),
        deadlines=_deadlines(reading, since),
        disputed=reading.connection.scalar(disputed) or 0,
        decisions=_by_day(reading, start),
        precision=_precision(reading, who, since),
        caught=reading.connection.scalar(frauds) or 0.0,
        hours=_hours(reading, start),
    )


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _ages(reading: Reading) -> dict[str, int]:
    """Return how many alerts wait for how long."""
    alerts, ends = REVIEW_ALERTS.c, [-36_500, *AGES.values()]
    counts = [
        _count(sa.and_(alerts.at <= reading.at - timedelta(days=least), alerts.at > reading.at - timedelta(days=most)))
        for least, most in pairwise(ends)
    ]
    query = sa.select(*counts).where(alerts.model_name == reading.name, alerts.state.in_(WAIT))
    row = reading.connection.execute(query).one()
    return {name: count or 0 for name, count in zip(AGES, row, strict=True)}


def _deadlines(reading: Reading, since: Sequence[sa.ColumnElement[bool]]) -> dict[str, Deadlines]:
    """Return how alerts stand against their due times, by priority."""
    alerts, mine = REVIEW_ALERTS.c, REVIEW_ALERTS.c.model_name == reading.name
    counts = [sa.func.count(), _count(is_soon(reading)), _count(alerts.due < reading.at)]
    waiting = sa.select(alerts.priority, *counts).where(mine, alerts.state.in_(WAIT)).group_by(alerts.priority)
    is_in_time = sa.or_(alerts.due.is_(None), alerts.decided_at <= alerts.due)
    decided = sa.select(alerts.priority, _count(is_in_time), sa.func.count()).where(*since).group_by(alerts.priority)
    now = {priority: numbers for priority, *numbers in reading.connection.execute(waiting)}
    then = {priority: Share(*numbers) for priority, *numbers in reading.connection.execute(decided)}
    numbers_of = {name: now.get(name, [0, 0, 0]) for name in PRIORITIES}
    return {
        name: Deadlines(numbers[0], numbers[1], numbers[2], then.get(name, Share(0, 0)))
        for name, numbers in numbers_of.items()
    }


def _of_period(reading: Reading, start: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    decisions = REVIEW_DECISIONS.c
    return decisions.model_name == reading.name, decisions.at >= start, decisions.undone_by.is_(None)


def _by_day(reading: Reading, start: datetime) -> dict[date, dict[str, int]]:
    decisions, day = REVIEW_DECISIONS.c, sa.func.date(REVIEW_DECISIONS.c.at)
    query = sa.select(day, decisions.label, sa.func.count()).where(*_of_period(reading, start))
    days: dict[date, dict[str, int]] = defaultdict(dict)
    for text, label, count in reading.connection.execute(query.group_by(day, decisions.label).order_by(day)):
        days[date.fromisoformat(str(text))][label] = count
    return dict(days)


def _precision(reading: Reading, who: Person, since: Sequence[sa.ColumnElement[bool]]) -> dict[str, dict[str, Share]]:
    alerts = REVIEW_ALERTS.c
    days = _shares(reading, since, sa.func.date(alerts.decided_at))
    part: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for text, share in days.items():
        day = date.fromisoformat(text)
        monday = (day - timedelta(days=day.weekday())).isoformat()
        part[monday], whole[monday] = part[monday] + share.part, whole[monday] + share.whole
    shares = {
        "week": {monday: Share(part[monday], count) for monday, count in sorted(whole.items())},
        "version": _shares(reading, since, alerts.model_version),
        "reason": _shares(reading, since, sa.case((alerts.reason == "", "none"), else_=alerts.reason)),
        "segment": _by_segment(reading, since),
    }
    return shares | ({"analyst": _shares(reading, since, alerts.who)} if who.may("lead") else {})


def _shares(
    reading: Reading, since: Sequence[sa.ColumnElement[bool]], group: sa.ColumnElement[Any], source: Any = REVIEW_ALERTS
) -> dict[str, Share]:
    """Return the share of fraud among decided alerts by a group; the groups with most alerts, by name."""
    alerts, count = REVIEW_ALERTS.c, sa.func.count()
    query = (
        sa.select(group.label("name"), _count(alerts.label == "fraud"), count)
        .select_from(source)
        .where(*since, alerts.kind == "alert", alerts.label.in_(("fraud", "not_fraud")))
        .group_by(sa.text("1"))
        .order_by(count.desc())
    )
    most = query if group.key == "date" else query.limit(MOST)
    return {str(name): Share(part, whole) for name, part, whole in sorted(reading.connection.execute(most).all())}


def _by_segment(reading: Reading, since: Sequence[sa.ColumnElement[bool]]) -> dict[str, Share]:
    """Return the share of fraud by the values of the segments: the threshold's, else of every category to be shown."""
    config, values = reading.config, REVIEW_VALUES.c
    names = [config.threshold.segment] if config.threshold.segment else segments(config.contract)
    here = sa.and_(values.model_name == REVIEW_ALERTS.c.model_name, values.key == REVIEW_ALERTS.c.key)
    of_segments = (*since, values.name.in_([name[:255] for name in names]), values.secret.is_(False))
    name = values.name + ": " + values.value if len(names) > 1 else values.value
    return _shares(reading, of_segments, name, REVIEW_ALERTS.join(REVIEW_VALUES, here)) if names else {}


def _hours(reading: Reading, start: datetime) -> float:
    """Return the hours between decisions of one person each, pauses left out."""
    decisions = REVIEW_DECISIONS.c
    query = sa.select(decisions.who, decisions.at).where(*_of_period(reading, start))
    rows = reading.connection.execute(query.order_by(decisions.who, decisions.at)).all()
    names, moments = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], "datetime64[us]")
    gaps = np.diff(moments)
    is_at_work = (names[1:] == names[:-1]) & (gaps <= np.timedelta64(PAUSE))
    return float(gaps[is_at_work].sum() / np.timedelta64(1, "h"))
