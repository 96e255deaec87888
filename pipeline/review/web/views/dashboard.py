"""The dashboard: how much waits, what was decided, how often it was fraud, and, for leads, how well it was reviewed."""

from collections.abc import Mapping
from datetime import date, timedelta

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from pipeline.review.figures import Figures, Share
from pipeline.review.listing import View
from pipeline.review.quality import Quality
from pipeline.review.web.access import desk, person
from pipeline.review.web.addresses import address_of
from pipeline.review.web.pages import LABELS, page
from pipeline.settings import titles
from pipeline.settings.config import Config

router = APIRouter()
WORDS = {
    "open": "wait for a decision",
    "late": "are past their due time",
    "soon": "have less than a quarter of their time left",
    "escalated": "wait for a lead",
    "snoozed": "wait for a later day",
    "decided": "are decided",
    "disputed": "decided otherwise than a delivered label says",
}
NAMES = {"soon": "nearly late"}
GROUPS = {
    "version": ("By model version", "Version"),
    "reason": ("By the first reason", "Column"),
    "segment": ("By segment", "Segment"),
    "analyst": ("By analyst", "Analyst"),
}
KINDS = {"fraud": "fraud", "not_fraud": "good", "unsure": "normal"}
"""How the chart of decisions draws each."""


@router.get("/dashboard")
def dashboard(request: Request) -> Response:
    """Show the figures; those that tell of single analysts to leads alone."""
    here, who = desk(request), person(request)
    here.sync()
    figures = here.figures(who)
    counts = {**figures.counts, "late": figures.late, "soon": figures.nearly_late, "disputed": figures.disputed}
    shares, quality = figures.precision, here.quality(who) if who.may("lead") else None
    return page(
        request,
        "dashboard.html",
        title="Dashboard",
        figures=figures,
        states=[
            (address_of(View(state=state)), NAMES.get(state, state), counts[state], words)
            for state, words in WORDS.items()
        ],
        groups=[(*GROUPS[name], _in_titles(name, shares[name], here.config)) for name in GROUPS if shares.get(name)],
        quality=_tables(quality) if quality else [],
        missed=quality.missed if quality else {},
        days=[*figures.decisions.items()][::-1],
        labels=LABELS,
        charts=charts(figures),
        kinds=KINDS,
        in_time={name: of.in_time for name, of in figures.deadlines.items() if of.in_time.whole},
        now=here.store.clock(),
        may_lead=who.may("lead"),
    )


def charts(figures: Figures) -> dict[str, Markup]:
    """Return the charts of the dashboard: ages of what waits, decisions a day, and the share of fraud by week."""
    from pipeline.evaluation.bootstrap import Interval
    from pipeline.pages.charts import over_blocks, stacked

    drawn = {"ages": stacked([*figures.ages], {"flagged": [*figures.ages.values()]}, "Waiting alerts by age")}
    if days := _every_day(figures.decisions):
        counts = {KINDS[label]: [of.get(label, 0) for of in days.values()] for label in LABELS}
        drawn["days"] = stacked([f"{day.day} {day:%b}" for day in days], counts, "Decisions a day")
    if weeks := figures.precision["week"]:
        names = [f"{day.day} {day:%b}" for day in map(date.fromisoformat, weeks)]
        values = [Interval(share.value, *share.interval) for share in weeks.values()]
        drawn["weeks"] = over_blocks(names, values, "Share of fraud among decided alerts by week")
    return drawn


def _in_titles(group: str, shares: Mapping[str, Share], config: Config) -> dict[str, Share]:
    """Return the shares of a group with the titles of columns in the place of their names."""
    if group == "reason":
        return {titles.in_titles(name, config): share for name, share in shares.items()}
    if group == "segment" and not config.threshold.segment:
        parts = {name: name.partition(": ") for name in shares}
        return {
            titles.title(column, config) + sign + value: shares[name] for name, (column, sign, value) in parts.items()
        }
    return dict(shares)


def _every_day(decisions: Mapping[date, Mapping[str, int]]) -> dict[date, Mapping[str, int]]:
    """Return decisions by day, with the days between that had none."""
    if not decisions:
        return {}
    first, last = min(decisions), max(decisions)
    days = (first + timedelta(days=place) for place in range((last - first).days + 1))
    return {day: decisions.get(day, {}) for day in days}


def _tables(quality: Quality) -> list[tuple[str, str, str, Mapping[str, Share], str]]:
    """Return the tables of the quality of reviews: title, of whom, what it says, shares, and what to do for some."""
    golden = "None were decided: [review] golden_share mixes them into the queue."
    second = "None were decided: [review] second_share has a part of the decided alerts decided again."
    delivered = "No decided alert has one: assay label takes labels in."
    return [
        ("Right on golden rows", "Analyst", "Rows whose label is known, mixed in unmarked.", quality.accuracy, golden),
        ("Agree with the first", "Analyst", "Second decisions on the same alert, unawares.", quality.agreement, second),
        (
            "Agree with each other",
            "Pair",
            "The same, by the two who decided; the most rows first.",
            quality.pairs,
            second,
        ),
        ("Right by delivered labels", "Analyst", "Chargebacks come for what was missed.", quality.delivered, delivered),
    ]
