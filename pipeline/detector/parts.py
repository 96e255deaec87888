"""The three parts of the training period, disjoint: fit, early stopping, calibration."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.calibration.intervals import share_interval
from pipeline.errors import TrainingError
from pipeline.features import Feature
from pipeline.labels.known import Labels, available_at, taken_for_normal
from pipeline.numbers import minute, percent
from pipeline.settings.config import Config
from pipeline.tables.parquet import read_batches

FIT, EARLY_STOPPING, CALIBRATION = 1, 2, 3
PARTLY = 0.1
"""A period is partly labelled when this share of its rows has no label although it is overdue."""

NORMAL_JUDGES = 50
"""Rows that were looked at and found normal, from which on a ranking is judged by rows that were looked at alone."""

MOSTLY = 0.5
"""Risks are looked at when this share of the rows to fit on has a label."""


@dataclass(frozen=True)
class Sample:
    """Rows of one part in the order of time, ties by id. A column is read when it is asked for, and not kept.

    Parameters
    ----------
    features : Path
        Feature table (Parquet).
    mask : array of bool, shape (n_rows,)
        Which rows of the file these are.
    order : array of int64, shape (n_sample_rows,)
        Their positions among these, in the order of time.
    """

    features: Path
    mask: np.ndarray
    order: np.ndarray

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.order)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one column."""
        return self.read([name]).column(0)

    def read(self, columns: list[str]) -> pa.Table:
        """Return some columns; only these rows are held in memory."""
        batches, start = [], 0
        for batch in read_batches(self.features, columns=columns):
            batches.append(batch.filter(pa.array(self.mask[start : start + batch.num_rows])))
            start += batch.num_rows
        return pa.Table.from_batches(batches).take(pa.array(self.order))


@dataclass(frozen=True)
class Parts:
    """Which row of the training period takes which part; arrays of shape (n_rows,).

    Parameters
    ----------
    as_of : datetime
        UTC; the moment as of which labels are known.
    role : array of int8
        In the file's order: 0 (takes no part), `FIT`, `EARLY_STOPPING` or `CALIBRATION`.
    labels : array of float64
        In the file's order: 1 fraud, 0 normal, NaN not known as of then.
    normal : array of bool
        In the file's order: the label is known as of then and says not fraud. In a table without labels, review has
        not found it to be fraud; in a period that is partly labelled, the label may also be overdue.
    chances : array of float64
        In the file's order: what chance a row with a label had of being looked at (`Labels.chances`), NaN without one.
    order : array of int64
        File positions in the order of time, ties by id.
    start : datetime
        First timestamp of the calibration block, UTC.
    before : datetime
        Last timestamp before it, UTC.
    days : float
        Length of the calibration block in days.
    summary : dict
        Counts of the parts, for people.
    """

    as_of: datetime
    role: np.ndarray
    labels: np.ndarray
    normal: np.ndarray
    chances: np.ndarray
    order: np.ndarray
    start: datetime
    before: datetime
    days: float
    summary: dict[str, float | int | str]

    def unused(self, features: Sequence[Feature]) -> set[str]:
        """Return the names of features that the model is not to look at: risks, unless most fit rows have a label.

        Where review alone gives labels, they are those of rows that a queue held. A risk is then how often the rows of
        an entity looked odd before, and a one-class model cannot tell what that is worth. What learns from known frauds
        can: it may look at them all the same.
        """
        if np.isfinite(self.labels[self.role == FIT]).mean() >= MOSTLY:
            return set()
        return {feature.name for feature in features if feature.unit == "risk"}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person has to know of the labels: how many rows without one were taken for normal."""
        rows = self.summary.get("taken_for_normal_rows")
        if not rows:
            return ()
        share = self.summary.get("contamination")
        known = "" if share is None else f" (by {self._evidence}, {percent(float(share))} of them are)"
        text = (
            f"{rows:,} rows whose label is overdue were taken for normal. Those that are fraud{known} score high among "
            "the normal rows that p-values and thresholds rest on: of the rest, fewer are flagged than promised."
        )
        return (text,)

    @property
    def _evidence(self) -> str:
        if "audit_rows" not in self.summary:
            return "the days whose rows all have one"
        low, high = (percent(float(self.summary[f"contamination_{end}"])) for end in ("low", "high"))
        return f"{self.summary['audit_rows']:,} rows of audit slices, which say {low} to {high}"

    @property
    def stands_for(self) -> np.ndarray:
        """How many rows each one stands for where labels are learned from, in the file's order: 1 or more.

        One that was drawn by chance was looked at in place of as many as the chance says: its weight is 1 / chance, but
        at most the square root of the number of its kind, frauds or normal rows, that have a label (Ionides 2008,
        truncated importance sampling), so that no single row decides. Where rows without a label count as normal, these
        stand for themselves, and the normal ones drawn count once.
        """
        return self._one_by_chance((1,) if self._is_counted else (0, 1))

    def judged(self, judges: np.ndarray) -> np.ndarray:
        """How many rows each of some stands for where a ranking is judged, in the file's order; 0 takes no part.

        A row that nobody looked at is no evidence: a ranking that puts it first may be right. So where rows without a
        label count as normal, those with one alone judge, a drawn one in place of as many as its chance says (Horvitz
        and Thompson 1952), as soon as `NORMAL_JUDGES` normal ones are among the judges; before, as for learning.

        Parameters
        ----------
        judges : array of bool, shape (n_rows,)
            In the file's order.
        """
        if not self._is_counted or np.count_nonzero((self.labels == 0) & judges) < NORMAL_JUDGES:
            return np.where(judges & (self.normal | (self.labels == 1)), self.stands_for, 0.0)
        return np.where(judges & np.isfinite(self.labels), self._one_by_chance((0, 1)), 0.0)

    @property
    def _is_counted(self) -> bool:
        """Whether rows without a label count as normal."""
        return bool((self.normal & np.isnan(self.labels)).any())

    def _one_by_chance(self, kinds: Sequence[int]) -> np.ndarray:
        weights = np.ones(len(self.labels))
        for label in kinds:
            rows = self.labels == label
            weights[rows] = np.minimum(1 / self.chances[rows], max(np.sqrt(np.count_nonzero(rows)), 1))
        return weights

    def places(self, role: int) -> np.ndarray:
        """Return, for each row of one part in the file's order, its place in the order of time, ties by id."""
        in_time = self.order[self.role[self.order] == role]
        places = np.empty(len(in_time), dtype=np.int64)
        places[np.searchsorted(np.flatnonzero(self.role == role), in_time)] = np.arange(len(in_time))
        return places

    def batches(self, features: Path, columns: list[str], role: int) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """Yield the rows of one part batch by batch, in the file's order, with their places in the order of time."""
        places = self.places(role)
        start = done = 0
        for batch in read_batches(features, columns=columns):
            rows = batch.filter(pa.array(self.role[start : start + batch.num_rows] == role))
            start += batch.num_rows
            if rows.num_rows:
                yield places[done : done + rows.num_rows], rows
                done += rows.num_rows

    def sample(self, features: Path, role: int, most: int | None = None) -> Sample:
        """Return the rows of one part; of more than ``most``, every second, third ... in the order of time."""
        places = self.places(role)
        step = max(1, -(-len(places) // most)) if most else 1
        chosen = places % step == 0
        mask = self.role == role
        mask[mask] = chosen
        return Sample(features, mask, np.argsort(places[chosen]))


def split(features: Path, config: Config, labels: Labels, as_of: datetime) -> Parts:
    """Split the rows of the training period.

    The last ``training.calibration_share`` of all rows in time is the calibration block, with every row of
    its first timestamp. In a table with labels, that is a share of the rows old enough for theirs to be available,
    and the later ones are part of the block, too: their scores say how many alerts there are to expect. Where more
    than a tenth of the rows that old have none all the same, as where only alerts are reviewed, those count as normal,
    unless the table says when labels became known. Of the earlier normal rows a random
    ``training.early_stopping_share``, drawn with ``model.seed``, is for early stopping, and the rest to fit on.

    Parameters
    ----------
    features : Path
        Feature table (Parquet), in any order.
    config : Config
    labels : Labels
        What is known of rows.
    as_of : datetime
        UTC without a zone; a label that is not available by then counts as unknown.

    Raises
    ------
    TrainingError
        No normal rows, or too few to fit or calibrate on.
    """
    contract, settings = config.contract, config.training
    rows = _read(features, config)
    has_labels = contract.label in rows.column_names
    known = labels.known(rows, as_of)
    normal = taken_for_normal(known, in_table=has_labels)
    moments = rows.column(contract.timestamp).to_numpy().astype("datetime64[us]", copy=False)
    waits = has_labels and contract.labelled_at is None
    silent = _silent(moments <= _latest_labelled(config, as_of), known) if waits else np.zeros_like(normal)
    normal |= silent
    if not normal.any():
        raise TrainingError(_why_no_normal_rows(rows, known, labels, as_of))

    chances = labels.chances(rows, known)
    audit = _by_audit(chances, known) if silent.any() else {}
    by_time = [(contract.timestamp, "ascending"), (contract.id, "ascending")]
    order = pc.sort_indices(rows, sort_keys=by_time).to_numpy().view(np.int64)
    del rows  # the ids have done their part, and Arrow would keep their memory
    pa.default_memory_pool().release_unused()
    ordered = moments[order]
    old = int(np.searchsorted(ordered, _latest_labelled(config, as_of), side="right")) if has_labels else 0
    old = old or len(ordered)
    start = ordered[old - int(np.ceil(settings.calibration_share * old))]
    block = moments >= start
    earlier = np.random.default_rng(config.model.seed).permutation(order[(normal & ~block)[order]])
    held_out = max(1, round(settings.early_stopping_share * len(earlier)))
    role = np.zeros(len(moments), dtype=np.int8)
    role[earlier[:held_out]] = EARLY_STOPPING
    role[earlier[held_out:]] = FIT
    role[block] = CALIBRATION

    days = _days(ordered[ordered >= start])
    source = str(contract.label) if has_labels else "none" if np.isnan(known).all() else "from review"
    summary = _summary(role, known, normal, days=days, source=source, ends=(ordered[0], ordered[-1]))
    summary |= (_about_silent(silent, known, moments) if silent.any() else {}) | audit
    _check(summary, config, as_of)
    return Parts(
        as_of=as_of,
        role=role,
        labels=known,
        normal=normal,
        chances=chances,
        order=order,
        start=start.astype(datetime),
        before=ordered[max(int(np.searchsorted(ordered, start)) - 1, 0)].astype(datetime),
        days=days,
        summary=summary,
    )


def _silent(is_old: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return which rows lack a label that is overdue, where these are so many that few of them can be pending."""
    silent = is_old & np.isnan(known)
    is_partly = np.isfinite(known).any() and silent.sum() > PARTLY * is_old.sum()
    return silent if is_partly else np.zeros_like(silent)


def _about_silent(silent: np.ndarray, known: np.ndarray, moments: np.ndarray) -> dict[str, float | int | str]:
    """Return how many rows without a label are taken for normal, and how many of them are fraud, as far as can be told.

    On days of which every row has a label, one share is fraud; of the other days' frauds, the rest are not known.
    """
    days = moments.astype("datetime64[D]").astype(np.int64)
    days -= days.min()
    rows, frauds, unknown = (np.bincount(days, part) for part in (np.ones(len(days)), known == 1, np.isnan(known)))
    whole, some = (rows > 0) & (unknown == 0), np.bincount(days, silent) > 0
    facts: dict[str, float | int | str] = {"taken_for_normal_rows": int(silent.sum())}
    if not whole.any():
        return facts
    expected = frauds[whole].sum() / rows[whole].sum() * rows[some].sum()
    return facts | {"contamination": float(max(expected - frauds[some].sum(), 0) / silent.sum())}


def _by_audit(chances: np.ndarray, known: np.ndarray) -> dict[str, float | int | str]:
    """Return the share of fraud among rows like those that were drawn by chance, with its interval; {} without any."""
    is_drawn = chances < 1
    if not is_drawn.any():
        return {}
    weights = 1 / chances[is_drawn]
    share = float(np.average(known[is_drawn] == 1, weights=weights))
    rows = weights.sum() ** 2 / np.square(weights).sum()  # of equal weight, that would tell as much
    low, high = share_interval(round(share * rows), round(rows))
    rows_drawn = int(is_drawn.sum())
    return {"contamination": share, "contamination_low": low, "contamination_high": high, "audit_rows": rows_drawn}


def _read(features: Path, config: Config) -> pa.Table:
    """Return what says when a row was and what its label is; refuse a table without rows."""
    contract, schema = config.contract, pq.read_schema(features)
    names = [contract.id, contract.timestamp]
    if contract.label in schema.names:
        names += [name for name in (contract.label, contract.labelled_at) if name and name in schema.names]
    batches = read_batches(features, columns=names)
    rows = pa.Table.from_batches(batches, schema=pa.schema([schema.field(name) for name in names]))
    if rows.num_rows == 0:
        raise TrainingError("the training period holds no rows; train on another period")
    return rows


def _summary(
    role: np.ndarray, known: np.ndarray, normal: np.ndarray, *, days: float, source: str, ends: tuple[Any, Any]
) -> dict[str, float | int | str]:
    """Return the counts of the parts, where labels come from, and the first and last timestamp."""
    return {
        "rows": len(role),
        "fit_rows": int((role == FIT).sum()),
        "early_stopping_rows": int((role == EARLY_STOPPING).sum()),
        "calibration_rows": int((role == CALIBRATION).sum()),
        "calibration_normal_rows": int(((role == CALIBRATION) & normal).sum()),
        "calibration_days": days,
        "unknown_label_rows": int(np.isnan(known).sum()),
        "fraud_rows": int((known == 1).sum()),
        "labels": source,
        "first_timestamp": str(ends[0]),
        "last_timestamp": str(ends[1]),
    }


def _latest_labelled(config: Config, as_of: datetime) -> np.datetime64:
    """Return the moment up to which the label of every row is available after the usual delay."""
    delay = timedelta(days=config.features.label_delay_days)
    return np.datetime64(as_of - min(delay, as_of - datetime.min), "us")


def _check(summary: dict[str, float | int | str], config: Config, as_of: datetime) -> None:
    """Refuse a period that has too few normal rows to fit or to calibrate on."""
    settings = config.training
    limits = (
        ("fit_rows", "fit", "min_fit_rows", settings.min_fit_rows),
        ("calibration_normal_rows", "calibrate", "min_calibration_rows", settings.min_calibration_rows),
    )
    for name, purpose, setting, least in limits:
        if int(summary[name]) < least:
            raise TrainingError(
                f"there are {summary[name]:,} normal rows to {purpose} on and training.{setting} asks for {least:,} "
                f"(of {summary['rows']:,} rows in the training period, {summary['unknown_label_rows']:,} have "
                f"no label known as of {minute(as_of)} UTC); train on a longer or earlier period, or "
                f"lower training.{setting}"
            )


def _why_no_normal_rows(rows: pa.Table, known: np.ndarray, labels: Labels, as_of: datetime) -> str:
    config = labels.config
    label = config.contract.label
    if not np.isnan(known).all():
        return (
            f"none of the {rows.num_rows:,} rows of the training period is known to be normal ({label} = 0) "
            f"as of {minute(as_of)} UTC; check what {label} means, or train on another period"
        )
    labelled = rows.filter(rows.column(label).is_valid())
    if labelled.num_rows == 0:
        later = int((~np.isnan(labels.known(rows, datetime.max))).sum())
        if later:
            return (
                f"{label} is empty in all {rows.num_rows:,} rows of the training period, and review labels "
                f"{later:,} of them after {minute(as_of)} UTC; set a later as-of, or train on an earlier period"
            )
        return (
            f"{label} is empty in all {rows.num_rows:,} rows of the training period; "
            "train on an earlier period, or take label out of the contract"
        )
    available = available_at(labelled, config)
    first, last = pc.min(available).as_py(), pc.max(available).as_py()
    return (
        f"none of the {labelled.num_rows:,} labels in {label} is available as of {minute(as_of)} UTC: "
        f"they become so from {minute(first)} to {minute(last)} (features.label_delay_days = "
        f"{config.features.label_delay_days:g}); train on an earlier period, set a later as-of, or lower "
        "features.label_delay_days"
    )


def _days(moments: np.ndarray) -> float:
    """Return the days that sorted timestamps cover: from first to last, and one usual step more.

    The step makes rows dated by day count whole days. A single moment counts as one day.
    """
    distinct = np.unique(moments)
    if len(distinct) == 1:
        return 1.0
    steps = np.diff(distinct).astype(np.int64)
    return float((distinct[-1] - distinct[0]).astype(np.int64) + np.median(steps)) / 86_400e6
