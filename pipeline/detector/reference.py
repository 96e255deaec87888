"""What the training period was like, to hold a batch against: a table delivered wrong is not scored in silence."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.detector.encoder import Encoder
from pipeline.detector.parts import CALIBRATION, FIT, Parts
from pipeline.detector.usual import Usual, input_types, usual_columns
from pipeline.errors import UnlikeTraining
from pipeline.numbers import amount, percent
from pipeline.settings.config import Config
from pipeline.tables.batch import Batch
from pipeline.tables.parquet import null_counts, read_batches
from pipeline.tables.period import DAY_US, HOUR_US, local_times

LEAST_COMPARED = 30
"""A batch of fewer rows, or a day of which fewer are usual, is too small to be held against anything."""
UNUSUAL = 0.01
"""p-value at or below which a row counts as unusual, whatever the threshold."""
_AMOUNTS = 1_000_000
_WEEK, _DAY = 168, 24
_BEGINS = 0.05  # share of a day's rows before a table's first one up to which the table begins with the day
_SHORT_US = 3 * HOUR_US
_OR_FORCE = "or score it as it is with --force"


@dataclass(frozen=True)
class Reference:
    """A reference: what the rows of the training period were like. Made by :meth:`fit`.

    Parameters
    ----------
    amounts : tuple of float
        Percentiles of the amounts of fit rows, from the 0th to the 100th.
    empty : mapping of str to float
        For each categorical and numeric column the share of empty cells.
    unseen : mapping of str to float
        For each category the share of rows of the calibration block with a value that no fit row held.
    hours : tuple of float
        Usual rows of each hour of the week in the table's time zone, from Monday's first on.
    columns : mapping of str to Usual
        What is usual for each watched column of the feature table; empty in artefacts of earlier versions.
    day_hours : Usual or None
        The same for the hour of the day.
    types : mapping of str to str
        What each column of the table held: "text", "number", "moment", "yes or no".
    """

    amounts: tuple[float, ...]
    empty: Mapping[str, float]
    unseen: Mapping[str, float]
    hours: tuple[float, ...]
    columns: Mapping[str, Usual] = field(default_factory=dict)
    day_hours: Usual | None = None
    types: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def fit(cls, features: Path, config: Config, parts: Parts, encoder: Encoder) -> Self:
        """Return the reference of a training period, whose feature table is read once, and its calibration block again.

        Parameters
        ----------
        features : Path
        config : Config
        parts : Parts
        encoder : Encoder
            Fitted on these parts.
        """
        contract, zone = config.contract, config.table.time_zone
        names = (*contract.categorical, *contract.numeric)
        empty, unseen = dict.fromkeys(names, 0), dict.fromkeys(contract.categorical, 0)
        days: list[np.ndarray] = []
        week, start = np.zeros(_WEEK), 0
        for batch in read_batches(features, [contract.timestamp, *names]):
            moments = local_times(batch.column(contract.timestamp), zone)
            week += np.bincount(_hours_of_week(moments), minlength=_WEEK)
            days.append(np.unique(moments.astype("datetime64[D]")))
            for name in names:
                empty[name] += batch.column(name).null_count
            block = parts.role[start : start + batch.num_rows] == CALIBRATION
            for name, mask in unseen_rows(batch, encoder).items():
                unseen[name] += int(np.count_nonzero(mask & block))
            start += batch.num_rows
        amounts = parts.sample(features, FIT, _AMOUNTS).column(contract.amount).to_numpy()
        columns, day_hours = usual_columns(features, config, parts, encoder)
        in_block = max(int(np.count_nonzero(parts.role == CALIBRATION)), 1)
        return cls(
            amounts=tuple(np.percentile(amounts, np.arange(101)).tolist()),
            empty={name: count / max(start, 1) for name, count in empty.items()},
            unseen={name: count / in_block for name, count in unseen.items()},
            hours=tuple(_usual(week, np.concatenate(days)).tolist()),
            columns=columns,
            day_hours=day_hours,
            types=input_types(features, config, encoder),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Rebuild from `to_dict`."""
        lists = {name: tuple(raw[name]) for name in ("amounts", "hours")}
        hours = raw.get("day_hours")
        return cls(
            **lists,
            empty=raw["empty"],
            unseen=raw["unseen"],
            columns={name: Usual.from_dict(column) for name, column in raw.get("columns", {}).items()},
            day_hours=Usual.from_dict(hours) if hours else None,
            types=raw.get("types", {}),
        )

    def rows_of_day(self, day: np.datetime64) -> float:
        """Return the usual number of rows of a calendar day, by its weekday."""
        return float(np.array(self.hours).reshape(7, _DAY)[_hours_of_week(np.array([day]))[0] // _DAY].sum())

    def check(self, rows: Path, batch: Batch, config: Config, encoder: Encoder) -> tuple[str, ...]:
        """Refuse a batch whose accepted rows are no longer what the training's were; return what else is to be said.

        Parameters
        ----------
        rows : Path
            Parquet: accepted rows, one at least.
        batch : Batch
        config : Config
            With today's limits in ``validation``.
        encoder : Encoder
            Of the same training.

        Raises
        ------
        UnlikeTraining
            When the median amount lies where hardly any was, a column has become empty, or a category's values were
            replaced; and where ``validation.on_low_volume`` says so, when rows are lacking.
        """
        count = pq.read_metadata(rows).num_rows
        if count >= LEAST_COMPARED:
            for fault in (*self._amount_fault(rows, config), *self._column_faults(rows, config, encoder)):
                raise UnlikeTraining(f"{batch.path}: {fault}", count)
        note = self._volume_note(rows, batch, config)
        if note and config.validation.on_low_volume == "refuse":
            raise UnlikeTraining(
                f"{batch.path}: {note}; deliver the rest, lower [validation] min_volume, {_OR_FORCE}", count
            )
        return (f"{note}: check that the table is whole.",) if note else ()

    def _amount_fault(self, rows: Path, config: Config) -> list[str]:
        tail, name = config.validation.amount_tail, config.contract.amount
        if not tail:
            return []
        low, high = np.interp((100 * tail, 100 - 100 * tail), np.arange(101), self.amounts)
        below = above = count = 0
        for batch in read_batches(rows, [name]):
            amounts = batch.column(0).to_numpy()
            below += int(np.count_nonzero(amounts < low))
            above += int(np.count_nonzero(amounts > high))
            count += len(amounts)
        if max(below, above) < count // 2:  # both rows in the middle lie between, whatever the median is
            return []
        median = float(np.median(pq.read_table(rows, columns=[name]).column(0).to_numpy()))
        if low <= median <= high:
            return []
        fault = (
            f"half of the {name!r} are {'above' if median > high else 'below'} {amount(median)}, and in the training "
            f"{percent(1 - 2 * tail)} of them were between {amount(low)} and {amount(high)}; check their unit and "
            f"decimal sign, lower [validation] amount_tail, {_OR_FORCE}"
        )
        return [fault]

    def _column_faults(self, rows: Path, config: Config, encoder: Encoder) -> list[str]:
        limits, count, faults = config.validation, pq.read_metadata(rows).num_rows, []
        empty, unseen = null_counts(rows, list(self.empty)), dict.fromkeys(self.unseen, 0)
        for batch in read_batches(rows, list(unseen)) if unseen else ():
            for name, mask in unseen_rows(batch, encoder).items():
                unseen[name] += int(mask.sum())
        for name, cells in empty.items():
            if cells / count - self.empty[name] > limits.max_empty:
                faults.append(
                    f"column {name!r} is empty in {percent(cells / count)} of {count:,} rows and was in "
                    f"{percent(self.empty[name])} of the training's; deliver its values, raise [validation] max_empty, "
                    f"{_OR_FORCE}"
                )
        for name, cells in unseen.items():
            if cells / count - self.unseen[name] > limits.max_unseen:
                faults.append(
                    f"column {name!r} holds a value that the training never saw in {percent(cells / count)} of "
                    f"{count:,} rows, where {percent(self.unseen[name])} is usual; check how it is written, train "
                    f"again where the values are new, raise [validation] max_unseen, {_OR_FORCE}"
                )
        return faults

    def _volume_note(self, rows: Path, batch: Batch, config: Config) -> str:
        """Return which day of the batch has fewer rows than is usual for the hours that it covers; "" for none."""
        least = config.validation.min_volume
        if not least:
            return ""
        zone, name = config.table.time_zone, config.contract.timestamp
        rows_of: Counter[Any] = Counter()
        ends = []
        for part in read_batches(rows, [name]):
            moments = local_times(part.column(0), zone)
            days, counts = np.unique(moments.astype("datetime64[D]"), return_counts=True)
            rows_of.update(dict(zip(days.tolist(), counts.tolist(), strict=True)))
            ends += [moments.min(), moments.max()]
        for day, usual in self._usual_by_day(*self._covered(min(ends), max(ends), batch=batch, zone=zone)).items():
            if usual >= LEAST_COMPARED and rows_of[day] < least * usual:
                share = percent(rows_of[day] / usual)
                return f"{day} has {rows_of[day]:,} rows, {share} of the {usual:,.0f} that are usual for it"
        return ""

    def _covered(
        self, first: np.datetime64, last: np.datetime64, *, batch: Batch, zone: str
    ) -> tuple[np.datetime64, np.datetime64]:
        """Return the local span that a batch covers: the period asked for, a whole day, or from first to last row."""
        ends = [pa.array([side], pa.timestamp("us")) for side in (batch.period.start, batch.period.end) if side]
        if len(ends) == 2:
            start, end = (local_times(side, zone)[0] for side in ends)
            return start, end - np.timedelta64(1, "us")
        day = first.astype("datetime64[D]")
        usual = np.array(self.hours).reshape(7, _DAY)[_hours_of_week(np.array([first]))[0] // _DAY]
        before = usual[: int((first - day).astype(np.int64) // HOUR_US)].sum()
        begins = usual.sum() > 0 and before <= _BEGINS * usual.sum()
        if begins and day == last.astype("datetime64[D]") and (last - first).astype(np.int64) > _SHORT_US:
            return first, (day + 1).astype("datetime64[us]") - np.timedelta64(1, "us")
        return first, last

    def _usual_by_day(self, first: np.datetime64, last: np.datetime64) -> dict[Any, float]:
        hours = np.arange(first.astype("datetime64[h]"), last.astype("datetime64[h]") + 1)
        usual = np.array(self.hours)[_hours_of_week(hours.astype("datetime64[us]"))]
        days, places = np.unique(hours.astype("datetime64[D]"), return_inverse=True)
        return dict(zip(days.tolist(), np.bincount(places, usual).tolist(), strict=True))


def refuse_unusual(unusual: int, count: int, *, source: str, config: Config, read: int) -> None:
    """Refuse a batch of which more is unusual than ``validation.max_unusual`` allows.

    Parameters
    ----------
    unusual, count : int
        Rows with a p-value of at most `UNUSUAL`, and rows with a score.
    source : str
        The table's path, for the message.
    config : Config
    read : int
        Rows read from the batch.

    Raises
    ------
    UnlikeTraining
    """
    limit = config.validation.max_unusual
    if count < LEAST_COMPARED or unusual <= limit * count:
        return
    raise UnlikeTraining(
        f"{source}: {unusual:,} of {count:,} rows ({percent(unusual / count)}) score higher than "
        f"{percent(1 - UNUSUAL)} of the training's normal rows, more than max_unusual = {percent(limit)}, so that the "
        "table is taken for one that was delivered wrong; check its units and columns, train again where all has "
        f"changed, raise [validation] max_unusual, {_OR_FORCE}",
        read,
    )


def unseen_rows(batch: pa.RecordBatch, encoder: Encoder) -> dict[str, np.ndarray]:
    """Return for each categorical column that the model sees the rows with a value that no fit row held."""
    columns = [feature.column for feature in encoder.features if feature.kind == "category"]
    return dict(zip(columns, encoder.unseen(batch).values(), strict=True))


def _hours_of_week(moments: np.ndarray) -> np.ndarray:
    """Return the hour of the week of local moments (datetime64[us]), 0 for Monday's first; int64."""
    counts = moments.astype("datetime64[us]").astype(np.int64)
    # 1970 began on a Thursday.
    return (counts // DAY_US + 3) % 7 * _DAY + counts % DAY_US // HOUR_US


def _usual(week: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Return the usual rows of each hour of the week; those of any day where there were not two whole weeks."""
    every = np.arange(days.min(), days.max() + 1)
    if len(every) < 14:
        return np.tile(week.reshape(7, _DAY).sum(axis=0) / len(every), 7)
    weekdays = np.bincount((every.astype(np.int64) + 3) % 7, minlength=7)
    return week / np.repeat(weekdays, _DAY)
