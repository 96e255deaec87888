"""What the labels known by now say of scored batches, week by week."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.measures import K, Outcomes, measure
from pipeline.evaluation.missed import MissedFraud, missed_fraud
from pipeline.settings.output import name_within
from pipeline.tables.period import local_days
from pipeline.workspace.ledger import Entry
from pipeline.workspace.workspace import Workspace

UNDEFINED = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Week:
    """A week's scores against the labels that are known of its rows.

    Attributes
    ----------
    first : date
        Its Monday.
    rows, labelled, frauds : int
        Scored rows, those of them with a known label, and the frauds among these.
    average_precision, card_precision : Interval
        Of the rows with a label; nan where they hold no fraud, or the table has no entity.
    k : int
        Cards a day of the card precision.
    missed : MissedFraud or None
        What random audits of its batches say of the fraud that was not flagged, whichever alerts have a label; None
        where no audited row has one. A batch that goes beyond the week is left out.
    """

    first: date
    rows: int
    labelled: int
    frauds: int
    average_precision: Interval
    card_precision: Interval
    k: int = K
    missed: MissedFraud | None = None


def by_week(entries: Sequence[Entry], workspace: Workspace, as_of: datetime) -> list[Week]:
    """Return what is known of scored batches, a week each from Monday on, without those of which nothing is known.

    Rows and their labels are those of the history, so that a batch whose rows have left it says nothing.

    Parameters
    ----------
    entries : sequence of Entry
        Scored batches of one version; a batch of several weeks is parted.
    workspace : Workspace
    as_of : datetime
        UTC; labels known by then count.
    """
    weeks: dict[date, list[pa.Table]] = defaultdict(list)
    audits: dict[date, list[Path]] = defaultdict(list)
    for entry in entries:
        rows = _rows(entry, workspace)
        if rows is None:
            continue
        days = local_days(rows[workspace.config.contract.timestamp], workspace.config.table.time_zone)
        mondays = days - (days.astype(np.int64) + 3) % 7  # 1970 began on a Thursday
        for monday in np.unique(mondays).tolist():
            weeks[monday].append(rows.filter(pa.array(mondays == np.datetime64(monday))))
        if mondays.min() == mondays.max():
            audits[mondays.min().item()].append(Path(entry.folder))
    measured = (_week(monday, pa.concat_tables(weeks[monday]), workspace, as_of) for monday in sorted(weeks))
    labels = workspace.labels
    return [replace(week, missed=missed_fraud(audits[week.first], labels, as_of)) for week in measured if week.labelled]


def _rows(entry: Entry, workspace: Workspace) -> pa.Table | None:
    """Return the scored rows of a batch that the history has: what labels need, score and flag; None without any."""
    contract = workspace.config.contract
    wanted = [contract.id, contract.timestamp, contract.label, contract.labelled_at, *contract.entities[:1]]
    names = [name for name in dict.fromkeys(wanted) if name]
    first, last = entry.first_timestamp, entry.last_timestamp
    end = None if last is None else datetime.combine(last.date(), time()) + timedelta(days=1)
    files = workspace.history.files(first, end)
    scores = pq.read_table(Path(entry.folder) / "scores.parquet")
    scores = scores.select([name_within(contract.id, scores.column_names), "anomaly_score", "is_flagged"])
    if not files:
        return None
    dataset = ds.dataset(files)
    stored = dataset.to_table(columns=[name for name in names if name in dataset.schema.names])
    places = pc.index_in(scores.column(0), stored[contract.id].combine_chunks())
    is_there = places.is_valid()
    rows = stored.take(places.filter(is_there).combine_chunks())
    scores = scores.filter(is_there)
    for name in ("anomaly_score", "is_flagged"):
        rows = rows.append_column(f" {name}", scores[name])  # no column of a table begins with a blank
    return rows


def _week(monday: date, rows: pa.Table, workspace: Workspace, as_of: datetime) -> Week:
    contract, zone = workspace.config.contract, workspace.config.table.time_zone
    labels = workspace.labels.known(rows, as_of)
    is_known = ~np.isnan(labels)
    week = Week(monday, len(labels), int(is_known.sum()), int((labels == 1).sum()), UNDEFINED, UNDEFINED)
    if not week.frauds:
        return week
    cards = rows[contract.entities[0]].to_numpy(zero_copy_only=False) if contract.entities else None
    outcomes = Outcomes.of(
        local_days(rows[contract.timestamp], zone),
        cards,
        rows[" anomaly_score"].to_numpy(),
        labels,
        flagged=rows[" is_flagged"].to_numpy(zero_copy_only=False),
    )
    measures = measure(outcomes, K)
    return Week(
        week.first,
        week.rows,
        week.labelled,
        week.frauds,
        measures["average_precision"],
        measures.get(f"card_precision_at_{K}", UNDEFINED),
    )
