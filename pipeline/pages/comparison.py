"""A comparison as people see it: one self-contained HTML page, short tables for the terminal, pictures for MLflow."""

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.metrics import PrecisionRecall, precision_recall_points
from pipeline.numbers import metric, number, percent, short_number
from pipeline.pages import charts
from pipeline.pages.environment import environment
from pipeline.selection.comparison import Comparison
from pipeline.selection.figures import Figure
from pipeline.selection.gates import Gate

MOST_DRIFTS = 15
SIMILAR = "The two were trained on the same period."


def render_comparison(comparison: Comparison, gates: Sequence[Gate] = (), verdict: str = "") -> str:
    """Return the comparison as one HTML page that needs nothing else; all text in it is escaped.

    Parameters
    ----------
    comparison : Comparison
    gates : sequence of Gate
        Of a version that is to be promoted.
    verdict : str
        What came of that.
    """
    titles = [contender.title for contender in comparison.contenders]
    return (
        environment()
        .get_template("comparison.html")
        .render(
            title=f"{comparison.config.name}: {len(titles)} versions compared",
            subtitle=_subtitle(comparison),
            notes=[*comparison.notes, *filter(None, comparison.degenerate)],
            gates=[(gate.is_passed, gate.text) for gate in gates],
            verdict=verdict,
            titles=titles,
            measured_on=labels_in_words(comparison),
            figures=[_figure(figure) for figure in comparison.figures],
            intervals=intervals_in_words(comparison),
            changes=comparison.changes,
            pictures=[(title, _charts(comparison, place)) for place, title in enumerate(titles)],
            facts=facts(comparison),
            settings=list(comparison.settings.items()),
            drifts=[
                (
                    title,
                    (drifts or [])[:MOST_DRIFTS],
                    _drift_text(len(drifts or []), is_known=drifts is not None or _same(comparison, place)),
                )
                for place, (title, drifts) in enumerate(zip(titles[1:], comparison.drifts, strict=True), 1)
            ],
            made_at=datetime.now(UTC),
        )
    )


def facts(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Return thresholds and training cost, side by side."""
    contenders = comparison.contenders
    rows = [
        ("Threshold", [short_number(contender.detector.threshold) for contender in contenders]),
        ("Strategy", [contender.detector.cut.strategy for contender in contenders]),
        ("Alerts a day expected", [number(contender.detector.cut.alerts_per_day, 1) for contender in contenders]),
        ("What it promises", [contender.detector.promise for contender in contenders]),
    ]
    costs = [contender.cost for contender in contenders]
    return rows + [(name, [cost[name] for cost in costs]) for name in costs[0]]


def table_of(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the metrics as a table for the terminal: a header and rows of text."""
    titles = [contender.title for contender in comparison.contenders]
    rows = []
    for figure in comparison.figures:
        rows.append([figure.title, *(_interval(value, figure) for value in figure.values)])
        if len(titles) > 1:
            rows.append(
                ["  less the first", "", *(_interval(less, figure, sign=True) for less in figure.differences[1:])]
            )
    return ["", *titles], rows


def labels_in_words(comparison: Comparison) -> str:
    """Return what is known of the rows that were compared on."""
    labels = comparison.labels
    labelled = int((~np.isnan(labels)).sum())
    if not labelled:
        return "no label is known, so that versions are compared without"
    unknown = f", {len(labels) - labelled:,} without a known label" if labelled < len(labels) else ""
    return f"{labelled:,} labelled rows, {int((labels == 1).sum()):,} frauds{unknown}"


def intervals_in_words(comparison: Comparison) -> str:
    """Return what the intervals are, and what they leave out."""
    settings = comparison.config.promotion
    groups = "whole customers" if comparison.outcomes[0].cards is not None else "single rows"
    return (
        f"Intervals hold {percent(settings.confidence)} of {settings.draws:,} bootstrap draws: of {groups} for metrics "
        "of rows, of whole days for those a day; differences are to the first version, on the same draws. They leave "
        "out what comes in other clusters, such as frauds by terminal, and the chance in fitting a model."
    )


def pictures_of(comparison: Comparison, place: int) -> dict[str, str]:
    """Return a version's charts as SVG files' text, under the same names for every version."""
    pictures = _charts(comparison, place)
    files = {"scores": charts.standalone(pictures["scores"], charts.SCORES_LEGEND)}
    if pictures["curve"]:
        files["precision_recall"] = charts.standalone(pictures["curve"], charts.PRECISION_LEGEND)
    return files


def series_of(comparison: Comparison, place: int) -> dict[str, list[tuple[int, float]]]:
    """Return what MLflow draws as lines: alerts by day, and precision by recall in per cent."""
    alerts = comparison.scored[place].alerts_per_day
    series = {"alerts_on_day": [(step, float(alerts[day])) for step, day in enumerate(sorted(alerts), 1)]}
    curve = curve_of(comparison, place)
    if curve is not None:
        at = np.arange(1, 101)
        places = np.minimum(np.searchsorted(curve.recall, at / 100), len(curve.recall) - 1)
        series["precision_at_recall"] = list(zip(at.tolist(), curve.precision[places].tolist(), strict=True))
    return series


def curve_of(comparison: Comparison, place: int) -> PrecisionRecall | None:
    """Return a version's precision-recall curve; None without labels of both kinds."""
    known = comparison.outcomes[0].is_labelled
    if not known.any():
        return None
    return precision_recall_points(comparison.outcomes[place].scores[known], comparison.labels[known] == 1)


def _subtitle(comparison: Comparison) -> str:
    first, last = comparison.days
    span = f"{first}" if first == last else f"{first} to {last}"
    return f"{comparison.source}, {span}: {len(comparison.labels):,} rows that no version learned from"


def _charts(comparison: Comparison, place: int) -> dict[str, Any]:
    scored, detector = comparison.scored[place], comparison.contenders[place].detector
    days: dict[date, int] = scored.alerts_per_day
    curve, labels = curve_of(comparison, place), comparison.labels if comparison.has_labels else None
    at = None
    figures = [comparison.figure(name) for name in ("recall", "precision")]
    if all(figure and not math.isnan(figure.values[place].value) for figure in figures):
        at = (figures[0].values[place].value, figures[1].values[place].value)  # type: ignore[union-attr]
    return {
        "days": charts.alerts_a_day(days, detector.cut.alerts_per_day),
        "scores": charts.score_distribution(comparison.outcomes[place].scores, detector.threshold, labels),
        "curve": charts.precision_recall(curve, at) if curve is not None else "",
    }


def _figure(figure: Figure) -> dict[str, Any]:
    """Return a metric's cells, with the places of its bars in per cent of the width."""
    less = list(figure.differences[1:])
    cells = []
    for place, value in enumerate(figure.values):
        difference = figure.differences[place] if place else None
        cell: dict[str, Any] = {"value": _plain(value.value, figure), "ends": _ends(value, figure)}
        cell |= {
            "bar": _bar(value, figure.values, zero=False),
            "less": "",
            "less_ends": "",
            "sign": "",
            "less_bar": None,
        }
        if difference is not None and not math.isnan(difference.value):
            cell |= {
                "less": _plain(difference.value, figure, sign=True),
                "less_ends": _ends(difference, figure, sign=True),
            }
            cell |= {"sign": _sign(difference, figure), "less_bar": _bar(difference, less, zero=True)}
        cells.append(cell)
    return {"title": figure.title, "note": figure.note, "cells": cells}


def _bar(interval: Interval, others: Sequence[Interval], *, zero: bool) -> dict[str, float | None] | None:
    ends = [end for each in others for end in (each.low, each.high, each.value) if not math.isnan(end)]
    if math.isnan(interval.low) or math.isnan(interval.high) or not ends:
        return None
    low, high = min([*ends, *([0.0] if zero else [])]), max([*ends, *([0.0] if zero else [])])
    room = (high - low) or abs(high) or 1.0

    def at(value: float) -> float:
        return round(4 + 92 * (value - low) / room, 2)

    return {
        "low": at(interval.low),
        "high": at(interval.high),
        "value": at(interval.value),
        "zero": at(0.0) if zero else None,
    }


def _sign(less: Interval, figure: Figure) -> str:
    """Whether a difference is one for better or worse; open where its interval holds zero, or more is not better."""
    if not figure.is_share or math.isnan(less.low) or less.low <= 0 <= less.high:
        return "open"
    return "better" if less.low > 0 else "worse"


def _plain(value: float, figure: Figure, *, sign: bool = False) -> str:
    return metric(value, 3 if figure.is_share else 1, sign=sign)


def _ends(interval: Interval, figure: Figure, *, sign: bool = False) -> str:
    if math.isnan(interval.low) or math.isnan(interval.high):
        return ""
    return f"{_plain(interval.low, figure, sign=sign)} to {_plain(interval.high, figure, sign=sign)}"


def _interval(interval: Interval, figure: Figure, *, sign: bool = False) -> str:
    ends = _ends(interval, figure, sign=sign)
    return _plain(interval.value, figure, sign=sign) + (f" ({ends})" if ends else "")


def _same(comparison: Comparison, place: int) -> bool:
    return comparison.contenders[0].cost["Trained on"] == comparison.contenders[place].cost["Trained on"]


def _drift_text(features: int, *, is_known: bool) -> str:
    if not is_known:
        return "Not known: the history holds no rows of one of the two periods."
    if not features:
        return SIMILAR
    return f"The {MOST_DRIFTS} that moved most, of {features:,}." if features > MOST_DRIFTS else ""
