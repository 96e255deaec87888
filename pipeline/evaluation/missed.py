"""The random audit slice: rows that were not flagged, drawn with known chances, so that missed fraud can be estimated.

Labels come from alerts, as a rule: what was not flagged is not looked at, and a recall measured on it is that of a
team which looks where the model points. Rows drawn at random, whatever their score, and labelled like alerts give an
estimate without that bias (Horvitz, Thompson: A generalization of sampling without replacement from a finite universe,
JASA 47, 1952).
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.evaluation.bootstrap import LEVEL, Interval
from pipeline.labels.known import AUDIT, PROBABILITY, Labels
from pipeline.settings.output import name_within
from pipeline.workspace.workspace import Workspace


@dataclass(frozen=True)
class MissedFraud:
    """Missed fraud: what an audit says of the frauds that were not flagged.

    Attributes
    ----------
    batches : int
        Scored batches with an audit of which at least one row is labelled, or that drew none.
    rows : int
        Rows of them that were not flagged.
    audited, labelled, found : int
        Rows drawn, those of them with a label known by now, and the frauds among these.
    missed : Interval
        Estimated number of frauds among ``rows``.
    caught, alerts, unlabelled_alerts : int
        Flagged rows known to be fraud, flagged rows, and those without a known label.
    """

    batches: int
    rows: int
    audited: int
    labelled: int
    found: int
    missed: Interval
    caught: int
    alerts: int
    unlabelled_alerts: int

    @property
    def recall(self) -> Interval:
        """Share of the frauds that were flagged; too low as long as alerts are without a label."""

        def share(missed: float) -> float:
            return self.caught / (self.caught + missed) if self.caught + missed else math.nan

        return Interval(share(self.missed.value), share(self.missed.high), share(self.missed.low))

    def __str__(self) -> str:
        """Return the estimate in words."""
        text = (
            f"about {self.missed.value:,.0f} frauds ({self.missed.low:,.0f} to {self.missed.high:,.0f}, nine times in "
            f"ten) among the {self.rows:,} rows that were not flagged, from {self.found:,} found in {self.labelled:,} "
            f"audited rows"
        )
        if self.labelled < self.audited:
            text += f"; {self.audited - self.labelled:,} more wait for a label and are taken to be like these"
        if self.caught:
            text += f". With {self.caught:,} frauds flagged, that is a recall of {self.recall:%}"
            if self.unlabelled_alerts:
                text += f", or more: {self.unlabelled_alerts:,} alerts wait for a label"
        return text + "."


def missed_fraud(folders: Sequence[Path], labels: Labels, as_of: datetime) -> MissedFraud | None:
    """Estimate the frauds that were not flagged from what is known of the audited rows.

    Of a batch that was drawn with the chance p, each fraud found stands for 1 / p. Where some audited rows of a batch
    have no label yet, the others stand for them as well, which is unbiased only if labels do not come by what they
    say. A batch of which no audited row has a label is left out, with its rows.

    Parameters
    ----------
    folders : sequence of Path
        Of scored batches, each with its ``audit.parquet``, ``scores.parquet`` and ``alerts.parquet``; those without
        an audit are left out.
    labels : Labels
        What is known of rows.
    as_of : datetime
        UTC; labels known by then count.

    Returns
    -------
    MissedFraud or None
        None where no audited row has a label.
    """
    weights, frauds, numbers = [], [], np.zeros(6, dtype=np.int64)
    for folder in folders:
        if not (folder / AUDIT).is_file():
            continue
        row_labels, chance = _known(folder / AUDIT, labels, as_of)
        answered = int((~np.isnan(row_labels)).sum())
        if len(row_labels) and not answered:
            continue
        alerts, _ = _known(folder / "alerts.parquet", labels, as_of)
        rows = pq.read_metadata(folder / "scores.parquet").num_rows - len(alerts)
        numbers += [1, rows, len(row_labels), (alerts == 1).sum(), len(alerts), np.isnan(alerts).sum()]
        weights.append(len(row_labels) / max(answered, 1) / chance[~np.isnan(row_labels)])
        frauds.append(row_labels[~np.isnan(row_labels)] == 1)
    if not sum(map(len, frauds)):
        return None
    batches, rows, audited, caught, alerts_seen, unlabelled = (int(number) for number in numbers)
    is_fraud = np.concatenate(frauds)
    return MissedFraud(
        batches=batches,
        rows=rows,
        audited=audited,
        labelled=len(is_fraud),
        found=int(is_fraud.sum()),
        missed=total(np.concatenate(weights), is_fraud),
        caught=caught,
        alerts=alerts_seen,
        unlabelled_alerts=unlabelled,
    )


def missed_by_version(workspace: Workspace) -> dict[str, str]:
    """Return what all audits of a table say by now, in words, for each version of the model that scored."""
    folders, labels = defaultdict(list), workspace.labels
    for path in sorted(workspace.folder.batches.glob(f"*/{AUDIT}")):
        scores = path.with_name("scores.parquet")
        # Of a batch whose results were removed for their age, how many rows there were is gone.
        if scores.is_file() and workspace.config.contract.id in pq.read_schema(scores).names:
            versions = pq.ParquetFile(scores).read_row_group(0, columns=["model_version"]).column(0)
            folders[str(versions[0])].append(path.parent)
    now = datetime.now(UTC).replace(tzinfo=None)
    estimates = {version: missed_fraud(of, labels, now) for version, of in folders.items()}
    return {f"version {version}": str(missed) for version, missed in sorted(estimates.items()) if missed}


def total(weights: np.ndarray, frauds: np.ndarray, level: float = LEVEL) -> Interval:
    """Return the Horvitz-Thompson estimate of a number of frauds, with an interval that holds for few of them.

    The estimate is the sum of the weights of the frauds found, unbiased. The interval is that of Fay and Feuer for
    weighted sums of rare events (Confidence intervals for directly standardized rates, Statistics in Medicine 16,
    1997, equations 2 and 3): exact for Poisson counts of one weight, and on the safe side else and for large shares.

    Parameters
    ----------
    weights : ndarray of float, shape (n_labelled,)
        One over the chance that each row had to be drawn and labelled.
    frauds : ndarray of bool, shape (n_labelled,)
    level : float

    Examples
    --------
    No fraud among 300 rows drawn one in 100: up to three, for each of which there would be 100.

    >>> print(f"{total(np.full(300, 100.0), np.zeros(300, bool)):.0f}")
    0 (0 to 300)
    """
    from scipy.stats import chi2

    alpha, most = 1 - level, float(weights.max())
    value, variance = float(weights[frauds].sum()), float((weights[frauds] ** 2).sum())
    low = variance / (2 * value) * chi2.ppf(alpha / 2, 2 * value**2 / variance) if value else 0.0
    above, spread = value + most, variance + most**2
    high = spread / (2 * above) * chi2.ppf(1 - alpha / 2, 2 * above**2 / spread)
    return Interval(value, max(float(low), float(frauds.sum())), float(high))


def _known(path: Path, labels: Labels, as_of: datetime) -> tuple[np.ndarray, np.ndarray]:
    """Return what is known of the labels of audited or flagged rows, and their chances to be drawn."""
    contract, names = labels.config.contract, pq.read_schema(path).names
    columns = [contract.id, contract.timestamp, contract.label, contract.labelled_at]
    present: dict[str, Any] = {str(name): name_within(str(name), names) for name in columns if name}
    present = {name: column for name, column in present.items() if column in names}
    chance = [PROBABILITY] if PROBABILITY in names else []
    table = pq.read_table(path, columns=[*present.values(), *chance])
    rows = pa.table({name: table.column(column) for name, column in present.items()})
    probability = table.column(PROBABILITY).to_numpy() if chance else np.ones(table.num_rows)
    return labels.known(rows, as_of), probability
