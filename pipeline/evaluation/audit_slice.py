"""The random audit slice: rows that were not flagged, drawn with known chances, so that missed fraud can be estimated.

Labels come from alerts, as a rule: what was not flagged is not looked at, and a recall measured on it is that of a
team which looks where the model points. Rows drawn at random, whatever their score, and labelled like alerts give an
estimate without that bias (Horvitz, Thompson: A generalization of sampling without replacement from a finite universe,
JASA 47, 1952).
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config import Config
from pipeline.detector import Detector
from pipeline.evaluation.intervals import LEVEL, Interval
from pipeline.labels import known_labels
from pipeline.scoring import Scored, for_spreadsheets
from pipeline.tables import ParquetWriter, take_rows, write_csv

PROBABILITY = "inclusion_probability"
FILE = "audit.parquet"


@dataclass(frozen=True)
class MissedFraud:
    """What an audit says of the frauds that were not flagged.

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


def chances(ids: pa.Array | pa.ChunkedArray, name: str) -> np.ndarray:
    """Return each row's place in the draw, a number in 0..1 that depends on its id and the table's name only.

    A row is drawn where it is below the share: a larger share draws the same rows and more, the order of the rows and
    the batch that they come in change nothing.

    Parameters
    ----------
    ids : pa.Array of shape (n_rows,)
    name : str
        `Config.name`.

    Examples
    --------
    >>> chances(pa.array([1, 2, 3]), "cards").round(3).tolist()
    [0.326, 0.835, 0.323]
    """
    from pandas.util import hash_array

    secret = hashlib.sha256(f"audit of {name}".encode()).hexdigest()[:16]
    texts = np.asarray(pc.cast(ids, pa.string()).to_pylist(), dtype=object)
    if not len(texts):
        return np.empty(0)
    # SipHash, as pandas computes it for text: the upper 53 bits are a float's.
    return (hash_array(texts, hash_key=secret, categorize=False) >> np.uint64(11)) / 2.0**53


def write_audit(features: Path, scored: Scored, detector: Detector, folder: Path) -> Path | None:
    """Draw the audit slice of a scored batch, ``audit.share`` of the rows that were not flagged.

    Writes ``audit.parquet`` and, for a spreadsheet, ``audit.csv`` (sensitive columns masked, no scores: who reviews
    should not know them). They hold the rows in a random order, so that a team may stop anywhere. `rank` is the place
    in it, ``inclusion_probability`` the chance that the row had to be drawn.

    Parameters
    ----------
    features : Path
        The feature table that was scored.
    scored : Scored
    detector : Detector
        With today's settings.
    folder : Path

    Returns
    -------
    Path or None
        ``audit.parquet``; None where the share is 0.
    """
    config, contract = detector.config, detector.config.contract
    share = config.audit.share
    if not share:
        return None
    results = pq.read_table(scored.scores)
    places = chances(results.column(contract.id), config.name)
    drawn = np.flatnonzero(~results.column("is_flagged").to_numpy(zero_copy_only=False) & (places < share))
    drawn = drawn[np.argsort(places[drawn], kind="stable")]
    rows, marks = take_rows(features, drawn), results.take(pa.array(drawn)).drop_columns([contract.id])
    made = {name for feature in detector.features for name in (feature.column, feature.expected)}
    kept = [name for name in rows.schema.names if name not in made or name in contract.columns]
    added = marks.append_column("rank", pa.array(np.arange(1, len(drawn) + 1)))
    added = added.append_column(PROBABILITY, pa.array(np.full(len(drawn), share)))
    table = rows.select(kept).rename_columns([_renamed(name, added.column_names) for name in kept])
    shown = table.append_column(PROBABILITY, added.column(PROBABILITY))
    for field in added.schema:
        table = table.append_column(field, added.column(field.name))
    with ParquetWriter(folder / FILE, table.schema) as writer:
        writer.write(table)
    at = _renamed(contract.timestamp, added.column_names)
    spreadsheet = for_spreadsheets(shown, at, config.table.time_zone, contract.sensitive)
    write_csv(folder / "audit.csv", [spreadsheet], spreadsheet.schema)
    return folder / FILE


def missed_fraud(
    folders: Sequence[Path], config: Config, as_of: datetime, reviewed: Sequence[Path] = ()
) -> MissedFraud | None:
    """Estimate the frauds that were not flagged from what is known of the audited rows.

    Of a batch that was drawn with the chance p, each fraud found stands for 1 / p. Where some audited rows of a batch
    have no label yet, the others stand for them as well, which is unbiased only if labels do not come by what they
    say. A batch of which no audited row has a label is left out, with its rows.

    Parameters
    ----------
    folders : sequence of Path
        Of scored batches, each with its ``audit.parquet``, ``scores.parquet`` and ``alerts.parquet``; those without
        an audit are left out.
    config : Config
    as_of : datetime
        UTC; labels known by then count.
    reviewed : sequence of Path
        Labels from review.

    Returns
    -------
    MissedFraud or None
        None where no audited row has a label.
    """
    weights, labels, numbers = [], [], np.zeros(6, dtype=np.int64)
    for folder in folders:
        if not (folder / FILE).is_file():
            continue
        known, chance = _labels(folder / FILE, config, as_of, reviewed)
        answered = int((~np.isnan(known)).sum())
        if len(known) and not answered:
            continue
        alerts, _ = _labels(folder / "alerts.parquet", config, as_of, reviewed)
        rows = pq.read_metadata(folder / "scores.parquet").num_rows - len(alerts)
        numbers += [1, rows, len(known), (alerts == 1).sum(), len(alerts), np.isnan(alerts).sum()]
        weights.append(len(known) / max(answered, 1) / chance[~np.isnan(known)])
        labels.append(known[~np.isnan(known)] == 1)
    if not sum(map(len, labels)):
        return None
    batches, rows, audited, caught, alerts_seen, unlabelled = (int(number) for number in numbers)
    frauds = np.concatenate(labels)
    return MissedFraud(
        batches=batches,
        rows=rows,
        audited=audited,
        labelled=len(frauds),
        found=int(frauds.sum()),
        missed=total(np.concatenate(weights), frauds),
        caught=caught,
        alerts=alerts_seen,
        unlabelled_alerts=unlabelled,
    )


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


def _labels(path: Path, config: Config, as_of: datetime, reviewed: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Return what is known of the labels of audited or flagged rows, and their chances to be drawn."""
    contract, names = config.contract, pq.read_schema(path).names
    wanted = [contract.id, contract.timestamp, contract.label, contract.labelled_at]
    present: dict[str, Any] = {str(name): _renamed(str(name), names, there=True) for name in wanted if name}
    present = {name: column for name, column in present.items() if column in names}
    chance = [PROBABILITY] if PROBABILITY in names else []
    table = pq.read_table(path, columns=[*present.values(), *chance])
    rows = pa.table({name: table.column(column) for name, column in present.items()})
    probability = table.column(PROBABILITY).to_numpy() if chance else np.ones(table.num_rows)
    return known_labels(rows, config, as_of, reviewed), probability


def _renamed(name: str, others: Sequence[str], there: bool = False) -> str:
    """Return what an input column is called beside columns that scoring adds (pipeline/scoring.py)."""
    other = f"{name} (input)"
    return other if (other in others if there else name in others) else name
