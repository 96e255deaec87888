"""What a run came to: its scores against the labels known by now, and the page that shows it."""

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.calibration.strategies.choice import cut_curve
from pipeline.calibration.threshold import Fulfilment
from pipeline.detector.artefact import Detector
from pipeline.detector.family import parameters_of
from pipeline.evaluation.measured import Measured
from pipeline.evaluation.missed import MissedFraud
from pipeline.monitoring.checks import Seen
from pipeline.numbers import metric, minute, percent
from pipeline.pages import charts
from pipeline.pages.report import ROWS, Report
from pipeline.scoring.alerts import alert_rows
from pipeline.scoring.maps import Map
from pipeline.scoring.score import Scored
from pipeline.scoring.shadow import Shadow
from pipeline.settings.config import Config
from pipeline.settings.titles import descriptions, title
from pipeline.validation.validate import Validated

MOST_ALERTS = 5000
"""Alerts on a page: a browser takes in that many well."""
MOST_AUDITED = 25


def count_rows(validated: Validated) -> dict[str, int]:
    """Return the counts of a batch in the words that people read; the first is the sum of the others."""
    return {
        "read": validated.counts.read,
        **{text: getattr(validated.counts, name) for name, text in ROWS.items()},
    }


def training_report(
    detector: Detector,
    validated: Validated,
    scored: Scored,
    measured: Measured,
    *,
    source: Path,
    facts: dict[str, str],
    notes: list[str],
    maps: Sequence[Map] = (),
    suspects: Path | None = None,
) -> Report:
    """Return the page of a training run; scores, alerts and maps are those of its calibration block."""
    config, summary = detector.config, detector.summary
    labelled = int(summary["rows"]) - int(summary["unknown_label_rows"])
    start = f"{minute(detector.calibration_start)} UTC"
    block = f"the calibration block, {summary['calibration_rows']:,} rows from {start}"
    return Report(
        kind="training",
        title=f"{config.name}: training",
        subtitle=f"{source.name}, {minute(summary['first_timestamp'])} to {minute(summary['last_timestamp'])} UTC",
        counts=validated.counts.__dict__,
        promise=detector.promise,
        notes=[*notes, *_notes(detector)],
        histogram=_histogram(scored, measured),
        scores_of=block,
        threshold=scored.threshold,
        alerts_per_day=scored.alerts_per_day,
        expected_per_day=detector.cut.alerts_per_day,
        curve=cut_curve(detector.cut, detector.held_out),
        alerts=_alerts(scored, config),
        rules=validated.rules,
        columns=descriptions(config),
        docs=_docs(validated),
        epochs=detector.epochs,
        maps=maps,
        suspects=alert_rows(pq.read_table(suspects), config) if suspects else (),
        evaluation=measured.evaluation,
        injected=measured.injected,
        measured_on=f"{block}: rows that took no part in fitting",
        facts={
            "Rows to fit on": f"{summary['fit_rows']:,}",
            "Rows for early stopping": f"{summary['early_stopping_rows']:,}",
            "Rows to calibrate on": f"{summary['calibration_normal_rows']:,} normal of {summary['calibration_rows']:,}",
            "Labels known as of": f"{minute(detector.as_of)} UTC",
            "Labels known": f"{labelled:,} of {summary['rows']:,} rows, {summary['fraud_rows']:,} of them fraud",
            "Columns of the model": f"{summary['columns']:,}",
            "Model": _model(detector),
            **({"Known frauds": str(summary["feedback"])} if "feedback" in summary else {}),
            **_trimmed(detector),
            **facts,
        },
    )


def _histogram(scored: Scored, measured: Measured) -> charts.Histogram:
    """Count the scores of a batch, beside what is known of its labels."""

    def parts() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        start = 0
        for scores in scored.each_score():
            here = slice(start, start := start + len(scores))
            yield scores, None if measured.labels is None else measured.labels[here]

    return charts.count_parts(parts, scored.scored, scored.threshold)


def batch_report(
    detector: Detector,
    validated: Validated,
    scored: Scored,
    measured: Measured,
    *,
    source: Path,
    facts: dict[str, str],
    notes: list[str],
    maps: Sequence[Map] = (),
    got: Fulfilment | None = None,
    shadow: Shadow | None = None,
    audited: Path | None = None,
    missed: MissedFraud | None = None,
    seen: Seen | None = None,
) -> Report:
    """Return the page of a scored batch; ``got`` is what it got of the threshold's promise."""
    config = detector.config
    numbers = {"scored": scored.scored, "flagged": scored.flagged, "exploring": scored.exploring}
    counts = {**validated.counts.__dict__, **numbers}
    return Report(
        kind="batch",
        title=f"{config.name}: {scored.flagged:,} alerts",
        subtitle=f"{source.name}, {_span(scored.alerts_per_day)}",
        counts=counts,
        promise=detector.promise,
        outcome=outcome(scored, got),
        notes=notes,
        histogram=_histogram(scored, measured),
        scores_of="all scored rows",
        threshold=scored.threshold,
        alerts_per_day=scored.alerts_per_day,
        expected_per_day=detector.cut.alerts_per_day,
        curve=cut_curve(detector.cut, detector.held_out),
        alerts=_alerts(scored, config),
        rules=validated.rules,
        unseen={title(name, config): rows for name, rows in scored.unseen.items()},
        columns=descriptions(config),
        maps=maps,
        docs=_docs(validated),
        audited=alert_rows(pq.read_table(audited), config, limit=MOST_AUDITED) if audited else None,
        audit_text=_audit_text(pq.read_metadata(audited).num_rows, config, missed) if audited else "",
        evaluation=measured.evaluation,
        measured_on="the scored rows whose label is known by now",
        facts=facts,
        shadow=shadow,
        watch=seen,
    )


def _audit_text(number: int, config: Config, missed: MissedFraud | None) -> str:
    rows = "row was" if number == 1 else "rows were"
    text = (
        f"{number:,} {rows} drawn at random from those that were not flagged, each with a chance of "
        f"{config.audit.share:.3g}, into audit.csv and audit.parquet. Review them like alerts, from the first as far "
        "as you get; their labels, taken in with assay label, tell how much fraud is missed. "
    )
    return text + (f"So far: {missed}" if missed else "No label of them is known yet.")


def outcome(scored: Scored, got: Fulfilment | None = None) -> str:
    """Return what a batch got, in a sentence or two, to hold against what was promised."""
    days = max(len(scored.alerts_per_day), 1)
    share = scored.flagged / scored.scored if scored.scored else 0.0
    return (
        f"{scored.flagged:,} of {scored.scored:,} rows were flagged ({percent(share)}), {scored.flagged / days:,.1f} "
        f"alerts a day over {days} {'day' if days == 1 else 'days'}."
        + (f" {scored.exploring:,} more are in the queue to explore." if scored.exploring else "")
        + (f" {got.text}" if got else "")
    )


def _alerts(scored: Scored, config: Config) -> list:
    return alert_rows(pq.read_table(scored.alerts), config, limit=MOST_ALERTS, show_labels=True)


def _notes(detector: Detector) -> list[str]:
    few = "risks and fewer than half of these rows have a label"
    notes = {
        "unused_features": f"Not used, because they never varied in the rows to fit on, or are {few}",
        "ignored_features": f"Looked at only where known frauds count, because they are {few}",
    }
    return [f"{text}: {detector.summary[name]}." for name, text in notes.items() if detector.summary.get(name)]


def _model(detector: Detector) -> str:
    parts = [f"{name} = {value}" for name, value in parameters_of(detector.model).items() if value is not None]
    return f"{detector.summary['model']}: {', '.join(parts)}"


def _trimmed(detector: Detector) -> dict[str, str]:
    """Return how much a second fit without the most anomalous rows moved the scores of the others."""
    fit = {name: float(value) for name, value in detector.summary.items() if name.startswith("trimmed_")}
    if not fit:
        return {}
    text = (
        f"{fit['trimmed_rows']:,.0f} rows, the most anomalous of a first fit; the others' median score was "
        f"{fit['trimmed_median_before']:.4g} before and is {fit['trimmed_median_after']:.4g} now, their order "
        f"correlates by {metric(fit['trimmed_rank_correlation'])}"
    )
    return {"Left out of the fit": text}


def _docs(validated: Validated) -> str | None:
    return "/".join(validated.docs.parts[-2:]) if validated.docs else None


def _span(days: dict[date, int]) -> str:
    first, last = min(days, default=None), max(days, default=None)
    return f"{first}" if first == last else f"{first} to {last}"
