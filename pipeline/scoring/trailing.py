"""The rows of the days before a batch, with the scores that one version gave them: what a cut adapts to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.calibration.held_out import ScoredRows
from pipeline.detector.artefact import Detector
from pipeline.labels.known import Labels, taken_for_normal
from pipeline.scoring.promise import MICROSECOND
from pipeline.tables.period import local_days
from pipeline.workspace.history import History
from pipeline.workspace.ledger import Entry

KNOWN_SHARE = 0.9
"""Share of a day's rows with a label, or that count as normal without one, from which on the day is known.

Before, those with a label are mostly alerts that were reviewed, among which nearly every row was flagged.
"""


@dataclass(frozen=True, eq=False, repr=False)
class Trailing:
    """The days before a batch.

    Attributes
    ----------
    rows : ScoredRows
        Days are counted from 0 for the first one that is looked at, scored or not.
    first : date
        That day.
    flags : array of bool, shape (n_rows,)
        Which rows were flagged when they were scored.
    batch : array of bool, shape (n_rows,)
        Which rows are of scored batches; the others were held out of the training.
    """

    rows: ScoredRows
    first: date
    flags: np.ndarray
    batch: np.ndarray

    def known(self) -> "Trailing":
        """Return the days of which it is known which rows are normal."""
        is_known = self.rows.normal | (self.rows.labels == 1)
        rows, known = np.bincount(self.rows.day), np.bincount(self.rows.day, weights=is_known)
        mask = (known >= KNOWN_SHARE * rows)[self.rows.day]
        kept = self.rows.take(mask)
        kept = replace(kept, days=float(len(np.unique(kept.day))))
        return Trailing(kept, self.first, self.flags[mask], self.batch[mask])

    def errors(self, after: date | None) -> list[tuple[date, float]]:
        """Return by scored day the share of its normal rows that were flagged, of the days after one, in their order.

        Parameters
        ----------
        after : date or None
            None for all days.
        """
        counts = self.batch & self.rows.normal
        errors = []
        for number in np.unique(self.rows.day[counts]).tolist():
            day, rows = self.first + timedelta(days=number), counts & (self.rows.day == number)
            if after is None or day > after:
                errors.append((day, float(self.flags[rows].mean())))
        return errors


def trailing(
    entries: Sequence[Entry], detector: Detector, history: History, *, before: date, labels: Labels | None = None
) -> Trailing | None:
    """Return the rows of the ``threshold.adapt_days`` calendar days before one.

    A day of which no batch was scored counts by the rows held out of the training, where these reach that far. Batches
    whose scores or rows are gone are passed over.

    Parameters
    ----------
    entries : sequence of Entry
        Batches that the detector's version has scored.
    detector : Detector
        With today's settings.
    history : History
        Has what else is to be known of the batches' rows.
    before : date
        The first day of the batch whose cut is asked for, in the table's time zone: no row of it is looked at.
    labels : Labels, optional
        What is known by now; left out where no label is needed.

    Returns
    -------
    Trailing or None
        None where no batch was scored on these days.
    """
    config = detector.config
    first = before - timedelta(days=config.threshold.adapt_days)
    parts = list(_read(entries, detector, history, first=first, before=before))
    if not parts:
        return None
    table = pa.concat_tables(parts, promote_options="default").unify_dictionaries()
    known = np.full(table.num_rows, np.nan) if labels is None else labels.known_now(table)
    rows = ScoredRows.of(
        table,
        config,
        scores=table["scored: anomaly_score"].to_numpy(),
        labels=known,
        normal=taken_for_normal(known, in_table=detector.summary["labels"] == config.contract.label),
    )
    days = local_days(table[config.contract.timestamp], config.table.time_zone)
    rows = replace(rows, day=(days - np.datetime64(first)).astype(np.int32))
    held_out = _held_out(detector, first, rows.day)
    flags = table["scored: is_flagged"].to_numpy(zero_copy_only=False)
    return Trailing(
        rows=held_out.followed_by(rows),
        first=first,
        flags=np.concatenate([np.zeros(len(held_out), bool), flags]),
        batch=np.repeat([False, True], [len(held_out), len(rows)]),
    )


def first_day(moment: datetime, detector: Detector) -> date:
    """Return the calendar day of a UTC moment in the table's time zone."""
    at = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    day: date = local_days(pa.array([at], pa.timestamp("us")), detector.config.table.time_zone)[0].item()
    return day


def _read(
    entries: Sequence[Entry], detector: Detector, history: History, *, first: date, before: date
) -> Iterator[pa.Table]:
    """Yield the rows of batches on some days, with their scores and flags."""
    config, contract = detector.config, detector.config.contract
    for entry in entries:
        path = Path(entry.folder) / "scores.parquet"
        if entry.first_timestamp is None or entry.last_timestamp is None or not path.is_file():
            continue
        if first_day(entry.last_timestamp, detector) < first or first_day(entry.first_timestamp, detector) >= before:
            continue
        files = history.files(entry.first_timestamp, entry.last_timestamp + MICROSECOND)
        if not files:
            continue
        stored = ds.dataset(files)
        labels = [name for name in (contract.label, contract.labelled_at) if name in stored.schema.names]
        names = dict.fromkeys([contract.id, *ScoredRows.columns(config), *filter(None, labels)])
        rows = stored.to_table(columns=list(names))
        scores = pq.read_table(path, columns=[contract.id, "anomaly_score", "is_flagged"])
        places = pc.index_in(scores[contract.id], rows[contract.id].combine_chunks())
        scores, places = scores.filter(pc.is_valid(places)), places.drop_null()
        rows = rows.take(places)
        for name in ("anomaly_score", "is_flagged"):
            rows = rows.append_column(f"scored: {name}", scores[name])
        days = local_days(rows[contract.timestamp], config.table.time_zone)
        rows = rows.filter(pa.array((days >= np.datetime64(first)) & (days < np.datetime64(before))))
        if rows.num_rows:
            yield rows


def _held_out(detector: Detector, first: date, scored_days: np.ndarray) -> ScoredRows:
    """Return the rows held out on days that no batch was scored of, days counted from the first one looked at."""
    held_out = detector.held_out
    day = held_out.day + (first_day(detector.calibration_start, detector) - first).days
    days = detector.config.threshold.adapt_days
    mask = (day >= 0) & (day < days) & ~np.isin(day, np.unique(scored_days))
    return replace(held_out.take(mask), day=day[mask].astype(np.int32))
