"""The page that a person looks at after a run: one HTML file that holds everything it shows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from pipeline.evaluation.metrics import Evaluation
from pipeline.pages import charts
from pipeline.pages.environment import environment, script
from pipeline.scoring.alerts import AlertRow

if TYPE_CHECKING:
    from markupsafe import Markup

    from pipeline.calibration.threshold import CutCurve
    from pipeline.evaluation.injection import Injected
    from pipeline.monitoring.checks import Seen
    from pipeline.scoring.maps import Map
    from pipeline.scoring.shadow import Shadow

# What a report calls each count, and in which order they stand.
ROWS = {
    "accepted": "accepted",
    "quarantined": "quarantined",
    "outside": "outside the period",
    "refused": "in a refused batch",
}


@dataclass(frozen=True)
class Report:
    """What a report shows. A part that is left empty is left out of the page.

    Attributes
    ----------
    kind : {"training", "batch", "threshold"}
    title, subtitle : str
    counts : mapping of str to int
        ``read``, ``accepted``, ``quarantined``, ``outside``, ``refused`` and, when rows were scored,
        ``scored`` and ``flagged``.
    promise : str
        The alert volume to expect, in a sentence.
    outcome : str
        What the batch got, in a sentence.
    notes : sequence of str
        What the reader has to know besides, such as a gap in the history.
    histogram : Histogram, optional
        How many rows have which score, of all rows or a sample of them.
    scores_of : str
        Which rows the scores are of.
    threshold : float, optional
    alerts_per_day : mapping of date to int
        Days without alerts may be left out.
    expected_per_day : float, optional
    curve : CutCurve, optional
        How the threshold came about.
    alerts : sequence of AlertRow
        By rank; of a very long queue the first ones.
    rules : mapping of str to int
        Rows that broke each validation rule.
    unseen : mapping of str to int
        Rows with a value that training never saw, by categorical column.
    columns : sequence of (str, str)
        Titles of columns and what they hold, where the configuration says it.
    docs : str, optional
        Relative path from the report to the Data Docs.
    epochs : sequence of mappings
        ``epoch``, ``train_loss``, ``held_out_loss``.
    maps : sequence of Map
        Rows and alerts on a plane.
    suspects : sequence of AlertRow
        The most anomalous of the rows that were fitted on.
    evaluation : Evaluation, optional
        Needs labels.
    measured_on : str
        Which rows the evaluation is of.
    injected : sequence of Injected
        What became of anomalies made from normal rows.
    audited : sequence of AlertRow, optional
        The first rows of the random audit slice; None where none was drawn.
    audit_text : str
        What it is, and what its labels say so far.
    facts : mapping of str to str
        Model version, batch, digest, settings...
    shadow : Shadow, optional
        What the candidate would have flagged instead.
    watch : Seen, optional
        What the watch sees of the last days.
    """

    kind: Literal["training", "batch", "threshold"]
    title: str
    subtitle: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    promise: str = ""
    outcome: str = ""
    notes: Sequence[str] = ()
    histogram: charts.Histogram | None = None
    scores_of: str = ""
    threshold: float | None = None
    alerts_per_day: Mapping[date, int] = field(default_factory=dict)
    expected_per_day: float | None = None
    curve: "CutCurve | None" = None
    alerts: Sequence[AlertRow] = ()
    rules: Mapping[str, int] = field(default_factory=dict)
    unseen: Mapping[str, int] = field(default_factory=dict)
    columns: Sequence[tuple[str, str]] = ()
    docs: str | None = None
    epochs: Sequence[Mapping[str, Any]] = ()
    maps: Sequence["Map"] = ()
    suspects: Sequence[AlertRow] = ()
    evaluation: Evaluation | None = None
    measured_on: str = ""
    injected: Sequence["Injected"] = ()
    audited: Sequence[AlertRow] | None = None
    audit_text: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    shadow: "Shadow | None" = None
    watch: "Seen | None" = None


def render(report: Report) -> str:
    """Return the report as one HTML page that needs nothing else: no network, no file beside it.

    Its one script, by which alerts are searched, sorted, filtered and grouped, is the only one that the page lets run.

    Raises
    ------
    ValueError
        When ``docs`` is not a relative path.
    """
    rules = sorted(report.rules.items(), key=lambda item: (-item[1], item[0]))
    return (
        environment()
        .get_template("report.html")
        .render(
            report=report,
            title=report.title,
            subtitle=report.subtitle,
            charts=_charts(report),
            maps=[(item.title, item.text, charts.scatter(item.points, item.ranks, item.title)) for item in report.maps],
            script=script("alerts.js"),
            counts={name: report.counts.get(name) for name in ("read", *ROWS, "scored", "flagged", "exploring")},
            counted=[(name, ROWS[name], report.counts[name]) for name in ROWS if name in report.counts],
            unseen=[(name, rows) for name, rows in report.unseen.items() if rows],
            rules=[(rule, rows) for rule, rows in rules if rows],
            docs=_relative(report.docs),
            has_fraud=report.histogram is not None and bool(report.histogram.frauds.any()),
            nan=math.nan,
            made_at=datetime.now(UTC),
        )
    )


def _charts(report: Report) -> dict[str, "Markup"]:
    """Return the charts of what the report has, by what the template calls them."""
    pictures: dict[str, Markup] = {}
    if report.histogram is not None and report.histogram.counts.any():
        pictures["scores"] = charts.draw_histogram(report.histogram, report.threshold)
    if any(report.alerts_per_day.values()):
        pictures["days"] = charts.alerts_a_day(report.alerts_per_day, report.expected_per_day)
    if report.curve is not None:
        pictures["threshold"] = charts.threshold_curve(report.curve)
    if report.epochs:
        pictures["losses"] = charts.losses(report.epochs)
    measured = report.evaluation
    if measured is not None and measured.curve is not None:
        at = (measured.recall, measured.precision) if measured.flagged else None
        pictures["curve"] = charts.precision_recall(measured.curve, at)
    if measured is not None:
        shares = {"curve": measured.found, "money": measured.money}
        curves = {kind: curve for kind, curve in shares.items() if curve is not None}
        if curves:
            pictures["found"] = charts.banded(curves, "alerts a day", "Share of the frauds found over alerts a day")
    return pictures


def _relative(docs: str | None) -> str | None:
    if docs is None:
        return None
    if ":" in docs or "\\" in docs or PurePosixPath(docs).is_absolute():
        raise ValueError(f"docs is {docs!r}; the report links to a relative path only")
    return quote(docs)
