"""The random audit slice: rows that were not flagged, drawn with known chances, so that missed fraud can be estimated.

Labels come from alerts, as a rule: what was not flagged is not looked at, and a recall measured on it is that of a
team which looks where the model points. Rows drawn at random, whatever their score, and labelled like alerts give an
estimate without that bias (Horvitz, Thompson: A generalization of sampling without replacement from a finite universe,
JASA 47, 1952). The scores of all rows make it narrower, for as much as they say: `pipeline.evaluation.powered`.
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
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.powered import LEAST_FRAUDS, Powered, Sample, powered, total
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
    power : float
        How much the scores of all rows count for the estimate, from 0, the audited rows alone, to 1.
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
    power: float = 0.0

    @property
    def rate(self) -> Interval:
        """Share of the rows that were not flagged that are fraud."""
        return Interval(*(end / self.rows for end in (self.missed.value, self.missed.low, self.missed.high)))

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
        if self.power:
            text += " and the scores of all"
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
    audits, numbers = list[_Audit](), np.zeros(4, dtype=np.int64)
    for folder in folders:
        if not (folder / AUDIT).is_file():
            continue
        drawn, chances = _known(folder / AUDIT, labels, as_of)
        is_known = ~np.isnan(drawn.labels)
        if len(is_known) and not is_known.any():
            continue
        queue, _ = _known(folder / "alerts.parquet", labels, as_of)
        weights = len(is_known) / max(is_known.sum(), 1) / chances[is_known]
        ids, key = drawn.ids.filter(pa.array(is_known)), labels.config.contract.id
        audits.append(
            _Audit(folder=folder, key=key, queue=queue.ids, ids=ids, weights=weights, frauds=drawn.frauds[is_known])
        )
        numbers += [len(is_known), queue.frauds.sum(), len(queue.labels), np.isnan(queue.labels).sum()]
    if not sum(len(audit.frauds) for audit in audits):
        return None
    audited, caught, alerts, unlabelled = (int(number) for number in numbers)
    frauds = np.concatenate([audit.frauds for audit in audits])
    estimate = _estimate(audits, frauds)
    return MissedFraud(
        batches=len(audits),
        rows=sum(audit.rows for audit in audits),
        audited=audited,
        labelled=len(frauds),
        found=int(frauds.sum()),
        missed=estimate.frauds,
        caught=caught,
        alerts=alerts,
        unlabelled_alerts=unlabelled,
        power=estimate.power,
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


@dataclass(frozen=True, eq=False)
class _Looked:
    """Rows of a file that somebody may have looked at: their ids, and their labels with NaN for none yet."""

    ids: pa.ChunkedArray
    labels: np.ndarray

    @property
    def frauds(self) -> np.ndarray:
        """Which rows are known to be fraud."""
        return np.asarray(self.labels == 1)


@dataclass(frozen=True, eq=False)
class _Audit:
    """The audited rows of a batch that have a label, beside the ids of its queue."""

    folder: Path
    key: str
    queue: pa.ChunkedArray
    ids: pa.ChunkedArray
    weights: np.ndarray
    frauds: np.ndarray

    @property
    def rows(self) -> int:
        """Rows of the batch that are not in the queue."""
        return int(pq.read_metadata(self.folder / "scores.parquet").num_rows) - len(self.queue)

    def p_values(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the p-values of the rows that are not in the queue, and where the audited ones stand among them."""
        path = self.folder / "scores.parquet"
        names = pq.read_schema(path).names
        ids, p_values = pq.read_table(path, columns=[name_within(self.key, names), "p_value"]).columns
        is_behind = pc.invert(pc.is_in(ids, self.queue.combine_chunks().cast(ids.type)))
        behind = ids.filter(is_behind).combine_chunks()
        return p_values.filter(is_behind).to_numpy(), pc.index_in(self.ids.cast(ids.type), behind).to_numpy()


def _estimate(audits: Sequence[_Audit], frauds: np.ndarray) -> Powered:
    """Return the estimate, by the scores of all rows where there are frauds enough to learn from."""
    weights = np.concatenate([audit.weights for audit in audits])
    if frauds.sum() < LEAST_FRAUDS:
        return Powered(total(weights, frauds), 0.0)
    p_values, places, rows = [], [], 0
    for audit in audits:
        of_batch, drawn = audit.p_values()
        p_values.append(of_batch)
        places.append(rows + drawn)
        rows += len(of_batch)
    return powered(np.concatenate(p_values), Sample(np.concatenate(places), weights, frauds))


def _known(path: Path, labels: Labels, as_of: datetime) -> tuple[_Looked, np.ndarray]:
    """Return what is known of the labels of audited or flagged rows, and their chances to be drawn."""
    contract, names = labels.config.contract, pq.read_schema(path).names
    columns = [contract.id, contract.timestamp, contract.label, contract.labelled_at]
    present: dict[str, Any] = {str(name): name_within(str(name), names) for name in columns if name}
    present = {name: column for name, column in present.items() if column in names}
    chance = [PROBABILITY] if PROBABILITY in names else []
    table = pq.read_table(path, columns=[*present.values(), *chance])
    rows = pa.table({name: table.column(column) for name, column in present.items()})
    probability = table.column(PROBABILITY).to_numpy() if chance else np.ones(table.num_rows)
    return _Looked(rows[contract.id], labels.known(rows, as_of)), probability
