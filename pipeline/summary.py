"""What a run came to: its scores against the labels known by now, and the page that shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import thresholds
from pipeline.config import Config
from pipeline.detector import Detector
from pipeline.evaluation.audit_slice import MissedFraud
from pipeline.evaluation.injection import Injected
from pipeline.evaluation.metrics import Evaluation, evaluate
from pipeline.labels import known_labels
from pipeline.maps import Map
from pipeline.model_choice import parameters_of
from pipeline.numbers import percent
from pipeline.period import Period, local_days
from pipeline.report import ROWS, Report, alert_rows
from pipeline.scoring import Scored
from pipeline.selection.shadow import Shadow
from pipeline.tables import filter_rows, read_batches
from pipeline.thresholds import Got
from pipeline.validation import Validated

TOP_ALERTS = 25


@dataclass(frozen=True)
class Measured:
    """Scores of a batch beside what is known of its labels.

    Attributes
    ----------
    scores : ndarray of float64, shape (n_rows,)
    labels : ndarray of float64, shape (n_rows,), or None
        1 fraud, 0 normal, nan not known; None for a table without labels of which review has none either.
    evaluation : Evaluation or None
        None where no label is known.
    injected : sequence of Injected
        What became of anomalies made from the batch's normal rows.
    """

    scores: np.ndarray
    labels: np.ndarray | None
    evaluation: Evaluation | None
    injected: Sequence[Injected] = ()

    @property
    def figures(self) -> dict[str, float]:
        """The metrics that are defined, by the name they are logged under."""
        figures = self.evaluation.figures if self.evaluation else {}
        return figures | {name: value for item in self.injected for name, value in item.figures.items()}

    @property
    def bounds(self) -> dict[str, float]:
        """The ends of their intervals."""
        return self.evaluation.bounds if self.evaluation else {}

    @property
    def texts(self) -> dict[str, str]:
        """The metrics with their intervals, in words."""
        texts = self.evaluation.texts if self.evaluation else {}
        return texts | {
            f"injected: {item.text}": f"flagged {item.recall:%}, named first {item.top_reason:%}"
            for item in self.injected
        }


def calibration_block(features: Path, detector: Detector, out: Path) -> Path:
    """Write the rows of a training period's feature table that its calibration block holds.

    Parameters
    ----------
    features : Path
    detector : Detector
        Fitted on ``features``.
    out : Path

    Returns
    -------
    Path
        ``out``.
    """
    block = Period(detector.calibration_start, None)
    moments = read_batches(features, columns=[detector.config.contract.timestamp])
    filter_rows(features, out, np.concatenate([block.holds(batch.column(0)) for batch in moments]))
    return out


def measure(
    features: Path, scored: Scored, config: Config, as_of: datetime | None = None, reviewed: Sequence[Path] = ()
) -> Measured:
    """Measure a scored batch on its rows whose label is known.

    Parameters
    ----------
    features : Path
        The feature table that was scored.
    scored : Scored
    config : Config
    as_of : datetime, optional
        UTC; labels available later count as not known. Now when left out.
    reviewed : sequence of Path
        Labels from review.
    """
    contract = config.contract
    results = pq.read_table(scored.scores, columns=["anomaly_score", "is_flagged"])
    scores = results.column("anomaly_score").to_numpy()
    names = pq.read_schema(features).names
    wanted = (contract.id, contract.timestamp, contract.label, contract.labelled_at)
    rows = pq.read_table(features, columns=[name for name in wanted if name in names])
    labels = known_labels(rows, config, as_of or datetime.now(UTC).replace(tzinfo=None), reviewed)
    del rows  # before others are read: of a large batch, each column counts
    if contract.label not in names and np.isnan(labels).all():
        return Measured(scores, None, None)

    def column(name: str) -> pa.ChunkedArray:
        return pa.chunked_array([batch.column(0) for batch in read_batches(features, columns=[name])])

    evaluation = evaluate(
        local_days(column(contract.timestamp), config.table.time_zone),
        _cards(column(contract.entities[0])) if contract.entities else None,
        scores,
        labels,
        results.column("is_flagged").to_numpy(zero_copy_only=False),
        amounts=column(contract.amount).to_numpy(zero_copy_only=False),
    )
    return Measured(scores, labels, evaluation)


def _cards(column: pa.ChunkedArray) -> np.ndarray:
    """Return the card of each row, a text as its place among all texts in their order: an object a row is large."""
    import pandas as pd

    if not pa.types.is_string(column.type):
        return column.to_numpy(zero_copy_only=False)
    places, _ = pd.factorize(column.to_pandas(), sort=True)
    return np.where(places < 0, np.nan, places) if column.null_count else places


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
    known = int(summary["rows"]) - int(summary["unknown_label_rows"])
    start = f"{detector.calibration_start:%Y-%m-%d %H:%M} UTC"
    block = f"the calibration block, {summary['calibration_rows']:,} rows from {start}"
    return Report(
        kind="training",
        title=f"{config.name}: training",
        subtitle=f"{source.name}, {_minute(summary['first_timestamp'])} to {_minute(summary['last_timestamp'])} UTC",
        counts=validated.counts.__dict__,
        promise=detector.promise,
        notes=[*notes, *_notes(detector)],
        scores=measured.scores,
        labels=measured.labels,
        scores_of=block,
        threshold=scored.threshold,
        alerts_per_day=scored.alerts_per_day,
        expected_per_day=detector.cut.alerts_per_day,
        curve=thresholds.curve(detector.cut, detector.held_out),
        alerts=_alerts(scored, config),
        rules=validated.rules,
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
            "Labels known as of": f"{detector.as_of:%Y-%m-%d %H:%M} UTC",
            "Labels known": f"{known:,} of {summary['rows']:,} rows, {summary['fraud_rows']:,} of them fraud",
            "Columns of the model": f"{summary['columns']:,}",
            "Model": _model(detector),
            **_trimmed(detector),
            **facts,
        },
    )


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
    got: Got | None = None,
    shadow: Shadow | None = None,
    audited: Path | None = None,
    missed: MissedFraud | None = None,
) -> Report:
    """Return the page of a scored batch; ``got`` is what it got of the threshold's promise."""
    config, counts = (
        detector.config,
        {**validated.counts.__dict__, "scored": scored.scored, "flagged": scored.flagged},
    )
    return Report(
        kind="batch",
        title=f"{config.name}: {scored.flagged:,} alerts",
        subtitle=f"{source.name}, {_span(scored.alerts_per_day)}",
        counts=counts,
        promise=detector.promise,
        outcome=outcome(scored, got),
        notes=[*notes, *_notes(detector)],
        scores=measured.scores,
        labels=measured.labels,
        scores_of="all scored rows",
        threshold=scored.threshold,
        alerts_per_day=scored.alerts_per_day,
        expected_per_day=detector.cut.alerts_per_day,
        curve=thresholds.curve(detector.cut, detector.held_out),
        alerts=_alerts(scored, config),
        rules=validated.rules,
        unseen=scored.unseen,
        maps=maps,
        docs=_docs(validated),
        audited=alert_rows(pq.read_table(audited), config, limit=TOP_ALERTS) if audited else None,
        audit_text=_audit_text(pq.read_metadata(audited).num_rows, config, missed) if audited else "",
        evaluation=measured.evaluation,
        measured_on="the scored rows whose label is known by now",
        facts=facts,
        shadow=shadow,
    )


def _audit_text(drawn: int, config: Config, missed: MissedFraud | None) -> str:
    rows = "row was" if drawn == 1 else "rows were"
    text = (
        f"{drawn:,} {rows} drawn at random from those that were not flagged, each with a chance of "
        f"{config.audit.share:.3g}, into audit.csv and audit.parquet. Review them like alerts, from the first as far "
        "as you get; their labels, taken in with assay label, tell how much fraud is missed. "
    )
    return text + (f"So far: {missed}" if missed else "No label of them is known yet.")


def outcome(scored: Scored, got: Got | None = None) -> str:
    """Return what a batch got, in a sentence or two, to hold against what was promised."""
    days = max(len(scored.alerts_per_day), 1)
    share = scored.flagged / scored.scored if scored.scored else 0.0
    return (
        f"{scored.flagged:,} of {scored.scored:,} rows were flagged ({percent(share)}), {scored.flagged / days:,.1f} "
        f"alerts a day over {days} {'day' if days == 1 else 'days'}." + (f" {got.text}" if got else "")
    )


def _alerts(scored: Scored, config: Config) -> list:
    return alert_rows(pq.read_table(scored.alerts), config, limit=TOP_ALERTS, show_labels=True)


def _notes(detector: Detector) -> list[str]:
    unused = detector.summary.get("unused_features")
    return [f"Not used, because they never varied in the rows to fit on: {unused}."] if unused else []


def _model(detector: Detector) -> str:
    parts = [f"{name} = {value}" for name, value in parameters_of(detector.model).items() if value is not None]
    return f"{detector.summary['model']}: {', '.join(parts)}"


def _trimmed(detector: Detector) -> dict[str, str]:
    """Return how much a second fit without the most anomalous rows moved the scores of the others."""
    found = {name: float(value) for name, value in detector.summary.items() if name.startswith("trimmed_")}
    if not found:
        return {}
    text = (
        f"{found['trimmed_rows']:,.0f} rows, the most anomalous of a first fit; the others' median score was "
        f"{found['trimmed_median_before']:.4g} before and is {found['trimmed_median_after']:.4g} now, their order "
        f"correlates by {found['trimmed_rank_correlation']:.3f}"
    )
    return {"Left out of the fit": text}


def _minute(moment: object) -> str:
    return f"{moment:.16}".replace("T", " ")


def _docs(validated: Validated) -> str | None:
    return "/".join(validated.docs.parts[-2:]) if validated.docs else None


def _span(days: dict[date, int]) -> str:
    first, last = min(days, default=None), max(days, default=None)
    return f"{first}" if first == last else f"{first} to {last}"
