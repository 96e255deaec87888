"""Scores of a batch measured against the labels that are known of it by now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.parts import CALIBRATION, Parts
from pipeline.evaluation.injection import Injected
from pipeline.evaluation.metrics import Evaluation, evaluate
from pipeline.labels.known import Labels
from pipeline.scoring.score import Scored
from pipeline.settings.config import Config
from pipeline.tables.parquet import filter_rows, read_batches
from pipeline.tables.period import local_days


@dataclass(frozen=True)
class Measured:
    """A measured batch: what is known of its labels, and what they say of its scores.

    Attributes
    ----------
    labels : ndarray of float64, shape (n_rows,), or None
        1 fraud, 0 normal, nan not known; None where no label is known.
    evaluation : Evaluation or None
        None where no label is known.
    injected : sequence of Injected
        What became of anomalies made from the batch's normal rows.
    """

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


def calibration_block(features: Path, parts: Parts, out: Path) -> Path:
    """Write the rows of a training period's feature table that its calibration block holds.

    Parameters
    ----------
    features : Path
    parts : Parts
        Of these rows.
    out : Path

    Returns
    -------
    Path
        ``out``.
    """
    filter_rows(features, out, parts.role == CALIBRATION)
    return out


def measure_batch(features: Path, scored: Scored, labels: Labels, as_of: datetime | None = None) -> Measured:
    """Measure a scored batch on its rows whose label is known.

    Parameters
    ----------
    features : Path
        The feature table that was scored.
    scored : Scored
    labels : Labels
        What is known of rows.
    as_of : datetime, optional
        UTC; labels available later count as not known. Now when left out.
    """
    contract = labels.config.contract
    names = pq.read_schema(features).names
    if contract.label not in names and not labels.reviewed:
        return Measured(None, None)
    roles = (contract.id, contract.timestamp, contract.label, contract.labelled_at)
    batches = read_batches(features, [name for name in roles if name and name in names])
    tables = (pa.Table.from_batches([batch]) for batch in batches)
    row_labels, start = None, 0
    for part in labels.known_of_each(tables, as_of or datetime.now(UTC).replace(tzinfo=None)):
        here = slice(start, start := start + len(part))
        if row_labels is None and not np.isnan(part).all():
            row_labels = np.full(scored.scored, np.nan)
        if row_labels is not None:
            row_labels[here] = part
    if row_labels is None:  # as in most nights, when labels come days later
        return Measured(None, None)
    return measure_rows(features, scored, row_labels, labels.config)


def measure_rows(features: Path, scored: Scored, labels: np.ndarray, config: Config) -> Measured:
    """Measure a scored batch by the labels of its rows.

    Parameters
    ----------
    features : Path
        The feature table that was scored.
    scored : Scored
    labels : array of float64, shape (n_rows,)
        1 fraud, 0 normal, nan not known.
    config : Config
    """
    contract = config.contract
    if np.isnan(labels).all():
        return Measured(None, None)

    def column(name: str) -> pa.ChunkedArray:
        return pa.chunked_array([batch.column(0) for batch in read_batches(features, columns=[name])])

    evaluation = evaluate(
        local_days(column(contract.timestamp), config.table.time_zone),
        _cards(column(contract.entities[0])) if contract.entities else None,
        scored.column("anomaly_score"),
        labels,
        is_flagged=scored.column("is_flagged"),
        amounts=column(contract.amount).to_numpy(zero_copy_only=False),
    )
    return Measured(labels, evaluation)


def _cards(column: pa.ChunkedArray) -> np.ndarray:
    """Return the card of each row, a text as its place among all texts in their order: an object a row is large."""
    import pandas as pd

    if not pa.types.is_string(column.type):
        return column.to_numpy(zero_copy_only=False)
    places, _ = pd.factorize(column.to_pandas(), sort=True)
    return np.where(places < 0, np.nan, places) if column.null_count else places
