"""The page of the watch: a table's days over time, held against the training of the version that scored them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.evaluation.weeks import Week
from pipeline.monitoring.checks import Seen
from pipeline.monitoring.martingale import LEVELS
from pipeline.numbers import percent
from pipeline.pages import charts
from pipeline.pages.environment import environment
from pipeline.workspace.watch import WatchEvent

if TYPE_CHECKING:
    from markupsafe import Markup

SHOWN_LEVEL = 0
"""Which of `LEVELS` the page draws the shares of: the highest scores."""


def render_monitor(
    seen: Seen,
    *,
    title: str,
    subtitle: str,
    events: Sequence[WatchEvent] = (),
    weeks: Sequence[Week] = (),
    missed: Sequence[str] = (),
) -> str:
    """Return the page; it needs no network, no script and no file beside it.

    Parameters
    ----------
    seen : Seen
    title, subtitle : str
    events : sequence of WatchEvent
        The latest first.
    weeks : sequence of Week
        What labels say of each week.
    missed : sequence of str
        What random audits say, in sentences.
    """
    return (
        environment()
        .get_template("monitor.html")
        .render(
            seen=seen,
            title=title,
            subtitle=subtitle,
            charts=_charts(seen),
            events=events,
            weeks=weeks,
            missed=missed,
            made_at=datetime.now(UTC),
        )
    )


def _charts(seen: Seen) -> list[tuple[str, "Markup", list[tuple[str, str]]]]:
    """Return each chart with its title and legend."""
    pictures = [_of_alerts(seen), _of_rows(seen)]
    return [_of_scores(seen), _of_evidence(seen), *pictures, *_of_columns(seen)] if seen.tested else pictures


def _of_alerts(seen: Seen) -> tuple[str, "Markup", list[tuple[str, str]]]:
    low, high = seen.alerts.low, seen.alerts.high
    counts = [float(seen.profiles[day].flagged) for day in seen.days]
    picture = charts.over_days(seen.days, {"money": counts}, "Alerts of each day", band=(low, high))
    return "Alerts a day", picture, [("line money", "alerts"), ("usual", f"{low:,.0f} to {high:,.0f} expected")]


def _of_rows(seen: Seen) -> tuple[str, "Markup", list[tuple[str, str]]]:
    ratios = [seen.volume[day] for day in seen.days]
    picture = charts.over_days(seen.days, {"train": ratios}, "Rows of each day over those usual for it", limit=1.0)
    return "Rows", picture, [("line train", "rows over those usual for the weekday"), ("line expected", "as many")]


def _of_scores(seen: Seen) -> tuple[str, "Markup", list[tuple[str, str]]]:
    place = SHOWN_LEVEL
    shares = [float(seen.profiles[day].up_to[place].sum() / seen.profiles[day].rows) for day in seen.tested]
    band = seen.limits.low[place], seen.limits.high[place]
    picture = charts.over_days(seen.tested, {"curve": shares}, "Share of high scores of each day", band=band)
    text = f"share of rows that score above {percent(1 - LEVELS[place])} of the normal ones"
    return "High scores", picture, [("line curve", text), ("usual", "within the tolerance")]


def _of_evidence(seen: Seen) -> tuple[str, "Markup", list[tuple[str, str]]]:
    values = [float(value) for value in seen.scores.values]
    picture = charts.over_days(
        seen.tested, {"curve": values}, "Evidence against the scores", limit=seen.scores.limit, is_log=True
    )
    legend = [
        ("line curve", "evidence that scores have moved"),
        ("line expected", f"it calls from {seen.scores.limit:,.0f} on"),
    ]
    return "Evidence", picture, legend


def _of_columns(seen: Seen) -> list[tuple[str, "Markup", list[tuple[str, str]]]]:
    """Return the chart of the columns that lie furthest out for their limit at the end; none without columns."""
    last = sorted(seen.drifts[seen.tested[-1]], key=lambda drift: -drift.index / drift.limit)[:3]
    if not last:
        return []
    kinds = dict(zip(("money", "curve", "train"), last, strict=False))
    lines = {}
    for kind, drift in kinds.items():
        of_day = [
            next((each.index / each.limit for each in seen.drifts[day] if each.column == drift.column), math.nan)
            for day in seen.tested
        ]
        lines[kind] = of_day
    picture = charts.over_days(seen.tested, lines, "Stability index of columns over their limits", limit=1.0)
    return [
        (
            "Columns, stability index over its limit",
            picture,
            [(f"line {kind}", drift.title) for kind, drift in kinds.items()],
        )
    ]
