"""The page of a backtest: one HTML file that holds everything it shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

import numpy as np

from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.results import Result
from pipeline.pages import charts
from pipeline.pages.environment import environment

IN_WORDS = {
    "average_precision": "Average precision",
    "recall": "Frauds flagged",
    "money_recall": "Fraudulent money flagged",
    "precision": "Flagged rows that are fraud",
}


def render_backtest(
    result: Result,
    *,
    title: str,
    subtitle: str,
    notes: Sequence[str] = (),
    facts: Mapping[str, str],
    segment: str = "",
) -> str:
    """Return the page; it needs no network, no script and no file beside it.

    Parameters
    ----------
    result : Result
    title, subtitle : str
    notes : sequence of str
        What the reader has to know besides.
    facts : mapping of str to str
    segment : str
        The column of the result's segments.
    """
    names = [f"{item.block.test_first.day} {item.block.test_first:%b}" for item in result.tested]
    undefined = Interval(np.nan, np.nan, np.nan)
    pictures = []
    for name, heading in result.columns.items():
        values = [measures.get(name, undefined) for measures in result.of_blocks]
        if any(np.isfinite(interval.value) for interval in values) and name != "alerts_per_day":
            title_of = IN_WORDS.get(name, heading.replace("CP@", "Card precision@"))
            pictures.append((title_of, charts.over_blocks(names, values, f"{title_of} of each block")))
    alerts: Counter[date] = Counter()
    for item in result.tested:
        for day, flagged in zip(item.outcomes.days.tolist(), item.outcomes.flagged.tolist(), strict=True):
            alerts[day] += flagged
    shares = {"curve": result.found, "money": result.money}
    curves = {kind: curve for kind, curve in shares.items() if curve is not None}
    last = result.tested[-1]
    return (
        environment()
        .get_template("backtest.html")
        .render(
            result=result,
            title=title,
            subtitle=subtitle,
            notes=notes,
            facts=facts,
            segment=segment,
            over_blocks=pictures,
            precision=charts.banded(
                {"curve": result.precision}, "recall: share of frauds flagged", "Precision over recall"
            )
            if result.precision
            else None,
            found=charts.banded(curves, "alerts a day", "Share of the frauds found over alerts a day")
            if curves
            else None,
            days=charts.alerts_a_day(alerts) if any(alerts.values()) else None,
            scores=charts.score_distribution(last.outcomes.scores, last.threshold, last.outcomes.labels),
            agreements=agreements(result),
            made_at=datetime.now(UTC),
        )
    )


def agreements(result: Result) -> list[tuple[str, str]]:
    """Return how far the models agree: each block's with the one before, and with a fit of another seed."""
    lines = []
    for item in result.tested:
        if item.before:
            lines.append((f"{item.block.name}, with the block before", str(item.before)))
        if item.again:
            lines.append((f"{item.block.name}, with another seed", str(item.again)))
    return lines
