"""What the days of a scored batch were like, as counts that add up over batches: `watch.json` beside its scores."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from functools import reduce
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.artefact import Detector
from pipeline.detector.reference import unseen_rows
from pipeline.detector.usual import COUNTED_ROWS, Usual, hours_of
from pipeline.errors import ResourceError
from pipeline.monitoring.martingale import BLOCKS, LEVELS
from pipeline.settings.contract import Contract
from pipeline.tables.period import local_times
from pipeline.tables.writing import write_text

WATCH = "watch.json"
"""The file of a batch's folder that holds the profiles of its days."""


@dataclass(frozen=True)
class DayProfile:
    """What one calendar day was like. Two of the same day, from two batches, add up.

    Attributes
    ----------
    rows, flagged : int
    hours : array of int, shape (24,)
        Rows of each hour, in the table's time zone.
    blocks : array of int, shape (BLOCKS,)
        Rows of each block; all rows of one value of the contract's first entity are in the same one.
    up_to : array of int, shape (n_levels, BLOCKS)
        Those of them with a p-value up to each of `LEVELS`.
    columns : mapping of str to array of int, shape (n_bins,)
        By watched column the rows in each bin of its `Usual`, of all rows or every second, third ...
    unseen : mapping of str to int
        By categorical column the rows with a value that no fit row held, of as many rows as its `columns`.
    """

    rows: int
    flagged: int
    hours: np.ndarray
    blocks: np.ndarray
    up_to: np.ndarray
    columns: Mapping[str, np.ndarray]
    unseen: Mapping[str, int]

    def __add__(self, other: "DayProfile") -> "DayProfile":
        """Return the profile of the rows of both."""
        return DayProfile(
            self.rows + other.rows,
            self.flagged + other.flagged,
            self.hours + other.hours,
            self.blocks + other.blocks,
            self.up_to + other.up_to,
            {name: counts + other.columns[name] for name, counts in self.columns.items()},
            {name: count + other.unseen[name] for name, count in self.unseen.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        raw = asdict(self)
        arrays = {name: raw[name].tolist() for name in ("hours", "blocks", "up_to")}
        return {**raw, **arrays, "columns": {name: counts.tolist() for name, counts in raw["columns"].items()}}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        arrays = {name: np.array(raw[name], dtype=np.int64) for name in ("hours", "blocks", "up_to")}
        columns = {name: np.array(counts, dtype=np.int64) for name, counts in raw["columns"].items()}
        return cls(**{**raw, **arrays, "columns": columns})


Days = dict[date, DayProfile]


class Profiler:
    """What each day of a table is like, gathered while its rows are scored.

    Of more than 200,000 rows, every second, third ... is counted by column.

    Parameters
    ----------
    features : Path
        The feature table that is scored.
    detector : Detector
        What scores it.

    Attributes
    ----------
    days : Days
        Of the rows so far; empty where the watch is off.
    """

    def __init__(self, features: Path, detector: Detector) -> None:
        names = set(pq.read_schema(features).names)
        self.days: Days = {}
        self._detector = detector
        self._usual = {name: each for name, each in detector.reference.columns.items() if name in names}
        self._step = max(1, -(-pq.read_metadata(features).num_rows // COUNTED_ROWS))
        self._rows = 0

    def add(self, rows: pa.RecordBatch, p_values: np.ndarray, flags: np.ndarray) -> None:
        """Look at the next rows of the table, and at their p-values and flags of shape (n_rows,)."""
        if not self._detector.config.monitor.enabled:
            return
        counted = np.arange(-self._rows % self._step, rows.num_rows, self._step)
        more = _of_rows(rows, self._detector, self._usual, p_values=p_values, flags=flags, counted=counted)
        self.days = together([self.days, more])
        self._rows += rows.num_rows


def _of_rows(
    rows: pa.RecordBatch,
    detector: Detector,
    usual: Mapping[str, Usual],
    *,
    p_values: np.ndarray,
    flags: np.ndarray,
    counted: np.ndarray,
) -> Days:
    """Return what each day of some rows was like; columns by the rows at the places `counted`."""
    config = detector.config
    moments = local_times(rows.column(config.contract.timestamp), config.table.time_zone)
    days, day = np.unique(moments.astype("datetime64[D]"), return_inverse=True)
    number = len(days)
    place = day * BLOCKS + _blocks(rows, config.contract)
    blocks = np.bincount(place, minlength=number * BLOCKS).reshape(number, BLOCKS)
    up_to = np.stack(
        [np.bincount(place[p_values <= level], minlength=number * BLOCKS).reshape(number, BLOCKS) for level in LEVELS],
        axis=1,
    )
    hours = hours_of(moments).to_numpy()
    by_hour = np.bincount(day * 24 + hours, minlength=number * 24).reshape(number, 24)
    flagged = np.bincount(day[flags], minlength=number)
    some = rows if len(counted) == rows.num_rows else rows.take(pa.array(counted))
    columns, unseen = _columns(some, detector, usual, day=day[counted], number=number)
    return {
        moment: DayProfile(
            rows=int(blocks[n].sum()),
            flagged=int(flagged[n]),
            hours=by_hour[n],
            blocks=blocks[n],
            up_to=up_to[n],
            columns={name: counts[n] for name, counts in columns.items()},
            unseen={name: int(counts[n]) for name, counts in unseen.items()},
        )
        for n, moment in enumerate(days.tolist())
    }


def write_profile(folder: Path, days: Days, marks: Mapping[str, Any]) -> None:
    """Write the profiles of a batch's days into its folder.

    Parameters
    ----------
    folder : Path
    days : mapping of date to DayProfile
    marks : mapping
        What else is to be known of the batch, as JSON types.
    """
    raw = {**marks, "days": {day.isoformat(): each.to_dict() for day, each in days.items()}}
    write_text(folder / WATCH, json.dumps(raw))


def read_profile(folder: Path) -> tuple[Days, dict[str, Any]] | None:
    """Return the profiles of a batch's days, and the marks that were written with them; None where there are none.

    Raises
    ------
    ResourceError
        When the file is there and can't be read.
    """
    path = folder / WATCH
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        days = {date.fromisoformat(day): DayProfile.from_dict(each) for day, each in raw.pop("days").items()}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ResourceError(f"{path} can't be read ({error}); score that batch again with --force") from None
    return days, raw


def together(batches: Iterable[Days]) -> Days:
    """Return the profiles of days that lie in one batch or several, in the order of the days."""
    parts: dict[date, list[DayProfile]] = {}
    for days in batches:
        for day, each in days.items():
            parts.setdefault(day, []).append(each)
    return {day: reduce(lambda one, other: one + other, parts[day]) for day in sorted(parts)}


def _blocks(rows: pa.RecordBatch, contract: Contract) -> np.ndarray:
    """Return the block of each row, by a hash of its first entity, or of its id where there is none."""
    texts = (
        rows.column(contract.entities[0] if contract.entities else contract.id)
        .cast(pa.string())
        .fill_null("")
        .to_numpy(zero_copy_only=False)
    )
    return (pd.util.hash_array(texts, categorize=bool(contract.entities)) % BLOCKS).astype(np.int64)


def _columns(
    rows: pa.RecordBatch, detector: Detector, usual: Mapping[str, Usual], *, day: np.ndarray, number: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return by watched column the counts of each day and bin, and by category those of unseen values a day."""
    counts = {name: np.zeros((number, each.bins), np.int64) for name, each in usual.items()}
    unseen = {name: np.zeros(number, np.int64) for name in detector.reference.unseen}
    for name, each in usual.items():
        found = each.count(pa.chunked_array([rows.column(name)]), day)
        counts[name][: len(found)] += found
    for name, mask in unseen_rows(rows, detector.encoder).items():
        unseen[name] += np.bincount(day[mask], minlength=number)
    return counts, unseen
