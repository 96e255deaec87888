"""What a run and its version are called, described and tagged with, as people see them on MLflow's pages."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import plain
from pipeline.tracking.content import Dataset

if TYPE_CHECKING:
    from pipeline.calibration.threshold import Threshold
    from pipeline.detector.artefact import Detector

MAIN_METRICS = (
    "average_precision",
    "card_precision_at_100",
    "auroc",
    "recall",
    "precision",
    "money_recall",
    "threshold",
    "expected_alerts_per_day",
    "alerts_that_stay",
    "alerts_that_come",
    "alerts_that_go",
    "fit_rows",
    "fit_seconds",
)
"""The metrics of a run that become charts, in the order of their weight; the others are in its file measures.json."""


@dataclass(frozen=True)
class Words:
    """Words for a run and its version.

    Parameters
    ----------
    title : str
        Family, period and threshold.
    text : str
        In Markdown: the promise, and the main measures.
    tags : mapping of str to str
        What runs are filtered and grouped by.
    """

    title: str
    text: str
    tags: Mapping[str, str]


def words_for(detector: "Detector", measures: Mapping[str, str], dataset: Dataset | None = None) -> Words:
    """Return the words for a version of a Detector.

    Parameters
    ----------
    detector : Detector
    measures : mapping of str to str
        Measures with their intervals, in words.
    dataset : Dataset, optional
        The table it was trained on.
    """
    summary = detector.summary
    family = str(summary["model"])
    period = f"{summary['first_timestamp']:.10} to {summary['last_timestamp']:.10}"
    cut = threshold_in_words(detector.cut)
    lines = [_as_text(detector.promise), "", f"Fitted on {summary['fit_rows']:,} normal rows of {period}."]
    if "feedback" in summary:
        lines += ["", f"Labels: {summary['feedback']}."]
    if measures:
        lines += [
            "",
            "| on rows held out | |",
            "|---|---|",
            *(f"| {_as_text(name)} | {_as_text(text)} |" for name, text in measures.items()),
        ]
    tags = {"family": family, "period": period, "threshold": cut}
    if dataset:
        tags["table"] = plain(Path(dataset.source).name)
    return Words(f"{family}, {period}, {cut}", "\n".join(lines), tags)


def _as_text(text: str) -> str:
    """Return a text, in which names of columns and files are, for Markdown: what looks like markup in it is none."""
    return re.sub(r"([|`\[\]\\])", r"\\\1", escape(plain(text), quote=False))


def threshold_in_words(cut: "Threshold") -> str:
    """Return a threshold's strategy and the number that it is set to.

    Examples
    --------
    >>> from pipeline.calibration.threshold import Threshold
    >>> threshold_in_words(Threshold(2.0, "false_alert_rate", 3.0, 0.01, "", {"false_alert_rate": 0.001}))
    'false alert rate 0.001'
    >>> threshold_in_words(Threshold(2.0, "capacity", 80.0, 0.01, "", {"alerts_per_day": 80.0, "unit": "customers"}))
    'capacity 80 customers a day'
    """
    number = next((f" {value:g}" for value in cut.settings.values() if isinstance(value, int | float)), "")
    unit = f" {cut.settings['unit']} a day" if "unit" in cut.settings else ""
    others = "" if cut.explore is None else ", beside rows that explore"
    return f"{cut.strategy.replace('_', ' ')}{number}{unit}{others}"
