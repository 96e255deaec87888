"""Two or more versions on the same rows: what a data scientist looks at before one of them goes live."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from pipeline.detector.artefact import CHECKED_ROWS, Detector
from pipeline.evaluation.injection import inject
from pipeline.evaluation.measures import Outcomes
from pipeline.labels.known import Labels
from pipeline.monitoring.drift import Drift, drifts
from pipeline.scoring.queue import QueueChange, queue_change
from pipeline.scoring.score import Scored, score_table
from pipeline.selection.compared_rows import ComparedRows, feature_tables, trained_from, trained_until, training_rows
from pipeline.selection.figures import Figure, measure_injected, measure_versions
from pipeline.settings.config import Config
from pipeline.tables.parquet import take_rows
from pipeline.tables.period import local_days
from pipeline.tracking.aliases import Version
from pipeline.tracking.content import flatten
from pipeline.workspace.workspace import Workspace

IRRELEVANT = ("tracking.", "promotion.", "tuning.", "report.", "work_dir", "table.path", "table.incoming")
"""Settings that change nothing about a version."""


@dataclass(frozen=True)
class Contender:
    """A contender: a version that takes part.

    Parameters
    ----------
    version : Version
    detector : Detector
        With the settings to score with.
    trained : Config
        The settings that it was trained with.
    """

    version: Version
    detector: Detector
    trained: Config

    @property
    def title(self) -> str:
        """How people call it."""
        return self.version.title

    @property
    def cost(self) -> dict[str, str]:
        """What its training took, in words."""
        seconds, summary = self.version.figures.get("fit_seconds"), self.detector.summary
        epochs = len(self.detector.epochs)
        return {
            "Family": str(summary["model"]),
            "Trained on": f"{trained_from(self.detector):%Y-%m-%d} to {trained_until(self.detector):%Y-%m-%d}",
            "Rows fitted on": f"{summary['fit_rows']:,}",
            "Rows to calibrate on": f"{summary['calibration_rows']:,}",
            "Columns": f"{summary['columns']:,}",
            "Epochs": f"{epochs:,}" if epochs else "none",
            "Seconds to fit": "not measured" if seconds is None else f"{seconds:,.1f}",
        }


@dataclass(frozen=True)
class Comparison:
    """A comparison: some versions on the same rows. Its sequences have one entry a version, the first the baseline.

    Parameters
    ----------
    config : Config
    contenders : sequence of Contender
    source : str
        Where the rows come from.
    days : tuple of date
        First and last day of the rows.
    outcomes : sequence of Outcomes
        The same rows, as each version scores and flags them, beside what is known of them.
    figures : sequence of Figure
        Metrics with intervals and differences to the first version.
    scored : sequence of Scored
    changes : sequence of QueueChange
        Of every version but the first.
    degenerate : sequence of str
        Why a version cannot tell these rows apart; "" where it can.
    drifts : sequence of list of Drift, or None
        Of every version but the first: its training period against that of the first; None where the two periods are
        the same or the history holds no rows of one.
    notes : sequence of str
    """

    config: Config
    contenders: Sequence[Contender]
    source: str
    days: tuple[date, date]
    outcomes: Sequence[Outcomes]
    figures: Sequence[Figure]
    scored: Sequence[Scored]
    changes: Sequence[QueueChange]
    degenerate: Sequence[str]
    drifts: Sequence[list[Drift] | None]
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def labels(self) -> np.ndarray:
        """What is known of the rows: 1 fraud, 0 normal, nan not known; shape (n_rows,)."""
        return self.outcomes[0].labels

    @property
    def has_labels(self) -> bool:
        """Whether the label of a fraud and of another row is known, so that metrics against labels are defined."""
        return bool((self.labels == 1).any() and (self.labels == 0).any())

    @property
    def settings(self) -> dict[str, list[str]]:
        """The settings in which versions differ, by dotted name."""
        flat = [flatten(contender.trained) for contender in self.contenders]
        names = dict.fromkeys(name for part in flat for name in part if not name.startswith(IRRELEVANT))
        by_name = {name: [_written(part.get(name)) for part in flat] for name in names}
        return {name: values for name, values in by_name.items() if len(set(values)) > 1}

    def figure(self, name: str) -> Figure | None:
        """Return a metric by its name; None where it was not measured."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def metrics_of(self, place: int) -> dict[str, float]:
        """Return a version's numbers, by the name they are logged under, those that are defined."""
        contender = self.contenders[place]
        metrics = {"threshold": contender.detector.threshold, "fit_rows": float(contender.detector.summary["fit_rows"])}
        metrics |= {"compared_rows": float(len(self.labels)), "epochs": float(len(contender.detector.epochs))}
        if "fit_seconds" in contender.version.figures:
            metrics["fit_seconds"] = contender.version.figures["fit_seconds"]
        for figure in self.figures:
            pairs = {"": figure.values[place], "_less_baseline": figure.differences[place] if place else None}
            for ending, interval in pairs.items():
                if interval is not None:
                    name = f"{figure.name}{ending}"
                    metrics |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
        if place:
            change = self.changes[place - 1]
            metrics |= {"queue_overlap": change.overlap, "rank_correlation": change.rank_correlation}
            metrics |= {"alerts_enter": float(change.enter), "alerts_leave": float(change.leave)}
        return {name: value for name, value in metrics.items() if not math.isnan(value)}


def compare(
    contenders: Sequence[Contender],
    compared: ComparedRows,
    workspace: Workspace,
    folder: Path,
    *,
    on_rows: Callable[[int], None] = lambda n: None,
) -> Comparison:
    """Score the same rows with every version, and compare.

    Parameters
    ----------
    contenders : sequence of Contender
        Two or more; differences are to the first.
    compared : ComparedRows
        Rows that took part in none of the trainings.
    workspace : Workspace
        Of today's configuration.
    folder : Path
        Scratch; scores and alerts of each version lie there.
    on_rows : callable, optional
        Called with the number of rows scored since the last call.
    """
    config = workspace.config
    configs = [contender.detector.config for contender in contenders]
    tables = feature_tables(compared.rows, configs, folder, name="features", lookback=compared.past)
    scored = [_score(table, contender, folder, on_rows) for table, contender in zip(tables, contenders, strict=True)]
    labels = workspace.labels
    outcomes = [_outcomes(table, part, labels) for table, part in zip(tables, scored, strict=True)]
    row_labels = outcomes[0].labels
    normal = [
        _normal_rows(table, contender.detector, row_labels) for table, contender in zip(tables, contenders, strict=True)
    ]
    injected = [inject(contender.detector, matrix) for contender, matrix in zip(contenders, normal, strict=True)]
    titles = [contender.title for contender in contenders]
    training_drifts, notes = _drifts(contenders, workspace, folder)
    return Comparison(
        config=config,
        contenders=contenders,
        source=compared.source,
        days=compared.days,
        outcomes=outcomes,
        figures=[*measure_versions(outcomes, config.promotion), *measure_injected(injected, config.promotion)],
        scored=scored,
        changes=[
            queue_change(scored[0], part, config, titles=(titles[0], title), labels=row_labels)
            for part, title in zip(scored[1:], titles[1:], strict=True)
        ],
        degenerate=[
            _degenerate(contender.detector, matrix) for contender, matrix in zip(contenders, normal, strict=True)
        ],
        drifts=training_drifts,
        notes=notes,
    )


def _score(table: Path, contender: Contender, folder: Path, on_rows: Callable[[int], None]) -> Scored:
    return score_table(
        table,
        contender.detector,
        folder / f"version-{contender.version.number}",
        batch_id="comparison",
        model_version=contender.version.number,
        scored_at=datetime.now(UTC),
        on_rows=on_rows,
    )


def _outcomes(table: Path, scored: Scored, labels: Labels) -> Outcomes:
    config, contract = labels.config, labels.config.contract
    names = pq.read_schema(table).names
    card = contract.entities[:1]
    columns = (contract.id, contract.timestamp, contract.amount, contract.label, contract.labelled_at, *card)
    rows = pq.read_table(table, columns=[name for name in columns if name in names])
    results = pq.read_table(scored.scores, columns=["anomaly_score", "is_flagged"])
    return Outcomes.of(
        days=local_days(rows[contract.timestamp], config.table.time_zone),
        cards=rows[card[0]].to_numpy() if card else None,
        scores=results["anomaly_score"].to_numpy(),
        labels=labels.known_now(rows),
        flagged=results["is_flagged"].to_numpy(),
        amounts=rows[contract.amount].cast("double").to_numpy(),
    )


def _normal_rows(table: Path, detector: Detector, labels: np.ndarray) -> np.ndarray:
    """Return some of the rows that are not known to be fraud, encoded: shape (at most 4,096, n_columns)."""
    normal = np.flatnonzero(labels != 1)
    some = normal[:: -(-len(normal) // CHECKED_ROWS) or 1]
    return detector.encoder.transform(take_rows(table, some))


def _degenerate(detector: Detector, normal: np.ndarray) -> str:
    """Return why a model cannot tell normal rows apart; "" where it can."""
    from models.audit import check_not_degenerate

    if len(normal) < 2:
        return ""
    try:
        check_not_degenerate(detector.model, normal)
    except ValueError as error:
        return str(error)
    return ""


def _drifts(
    contenders: Sequence[Contender], workspace: Workspace, folder: Path
) -> tuple[list[list[Drift] | None], list[str]]:
    """Return how the data of each training period differ from those of the first version's."""
    first, *others = contenders
    contract = workspace.config.contract
    results: list[list[Drift] | None] = []
    notes: list[str] = []
    tables: dict[tuple[datetime, datetime], Path | None] = {}

    def table_of(contender: Contender) -> Path | None:
        period = trained_from(contender.detector), trained_until(contender.detector)
        if period not in tables:
            rows = training_rows(contender.detector, workspace, folder / f"training-{len(tables)}.parquet")
            tables[period] = (
                rows and feature_tables(rows, [first.detector.config], folder, name=f"drift-{len(tables)}")[0]
            )
            if rows is None:
                notes.append(
                    f"The history holds no row of the period that {contender.title} was trained on, so that its drift "
                    "is not known."
                )
        return tables[period]

    for other in others:
        same = trained_from(first.detector) == trained_from(other.detector)
        if same and trained_until(first.detector) == trained_until(other.detector):
            results.append(None)
            continue
        before, after = table_of(first), table_of(other)
        results.append(drifts(before, after, first.detector.features, contract) if before and after else None)
    return results, notes


def _written(value: object) -> str:
    return "family's own" if value is None else str(value)
