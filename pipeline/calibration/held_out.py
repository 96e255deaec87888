"""The rows that a threshold is solved on, and held against after scoring: scores beside what is known of each."""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from pipeline.settings.sensitive import is_sensitive, segments
from pipeline.tables.period import DAY_US, HOUR_US, local_times

if TYPE_CHECKING:
    from pipeline.settings.config import Config

PART = 2**16
"""Rows that are looked at together."""
SEGMENT = "segment: "
"""Begins the names of the saved columns that a threshold may be set by."""


@dataclass(frozen=True, eq=False, repr=False)
class ScoredRows:
    """Scored rows, as arrays of shape (n_rows,). No array shows a sensitive column in clear.

    Parameters
    ----------
    scores : array of float64
    labels : array of float64
        1 fraud, 0 normal, NaN not known.
    normal : array of bool
        What counts as a normal row: known to be one or, in a table without labels, not known to be fraud.
    day : array of int32
        Calendar day in the table's time zone, counted from 0 for the first one.
    whole : array of bool
        Whether all of the row's day is among the rows.
    days : float
        Length of the time that the rows cover, in days.
    amounts : array of float64 or None
        None where the contract says that the amount is sensitive.
    customers : array of int32 or None
        A number for each value of the contract's first entity; None where it has none.
    segments : dict of str to array of str
        Columns that a threshold may be set by: the categorical ones that are not sensitive; missing values are null.
    alone : array of float64 or None
        Scores of the one-class model, where known frauds add to `scores`; None where they add nothing.

    Examples
    --------
    >>> from pipeline.settings.config import Config
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> moments = pa.array([datetime(2025, 3, 1, 22), datetime(2025, 3, 2, 9)], pa.timestamp("us"))
    >>> scores, labels = np.array([0.2, 3.5]), np.array([0.0, 1.0])
    >>> rows = ScoredRows.of(
    ...     pa.table({"at": moments, "eur": [5.0, 80.0]}), config, scores=scores, labels=labels, normal=labels == 0
    ... )
    >>> rows.day.tolist(), rows.days, rows.daily(rows.scores > 1, "alerts").tolist()
    ([0, 1], 2.0, [0, 1])
    """

    scores: np.ndarray
    labels: np.ndarray
    normal: np.ndarray
    day: np.ndarray
    whole: np.ndarray
    days: float
    amounts: np.ndarray | None
    customers: np.ndarray | None
    segments: dict[str, pa.DictionaryArray]
    alone: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        table: pa.Table,
        config: "Config",
        *,
        scores: np.ndarray,
        labels: np.ndarray,
        normal: np.ndarray,
        days: float | None = None,
        before: datetime | None = None,
    ) -> Self:
        """Return the scored rows of typed rows that hold at least `columns`.

        Parameters
        ----------
        table : pa.Table
            Typed rows, n_rows of them.
        config : Config
        scores, labels, normal : arrays of shape (n_rows,)
            As the attributes of these names.
        days : float, optional
            Length of the time that the rows cover; the number of calendar days with a row when left out.
        before : datetime, optional
            UTC; the last moment before these rows at which there was another one.
        """
        contract, zone = config.contract, config.table.time_zone
        moments = table[contract.timestamp]
        ends = pa.array([before] if before is not None else [], pa.timestamp("us"))
        day = _days(moments, zone)
        customers = None
        if contract.entities:
            customers = _numbers_of(table[contract.entities[0]])
        return cls(
            scores=np.asarray(scores, dtype=np.float64),
            labels=np.asarray(labels, dtype=np.float64),
            normal=np.asarray(normal, dtype=bool),
            day=day,
            whole=_whole(moments, day, local_times(ends, zone), zone),
            days=float(len(_unique(day))) if days is None else days,
            amounts=None if is_sensitive(contract, contract.amount) else table[contract.amount].to_numpy(),
            customers=customers,
            segments={name: segment(table[name]) for name in segment_columns(config)},
        )

    @staticmethod
    def columns(config: "Config") -> list[str]:
        """Return the columns of a table that `of` reads."""
        contract = config.contract
        return list(
            dict.fromkeys([contract.timestamp, contract.amount, *contract.entities[:1], *segment_columns(config)])
        )

    @classmethod
    def read(cls, batch: pa.RecordBatch, config: "Config") -> pa.RecordBatch:
        """Return the columns of a batch that `of` reads, with each value of the key columns kept once."""
        keys = set(config.contract.key_columns)
        names = cls.columns(config)
        columns = [batch.column(name).dictionary_encode() if name in keys else batch.column(name) for name in names]
        return pa.record_batch(columns, names=names)

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, selection: np.ndarray) -> Self:
        """Return some of the rows, by places or by a mask; the days that they cover stay the same."""
        places = np.flatnonzero(selection) if selection.dtype == bool else selection
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = value[places] if isinstance(value, np.ndarray) else value
        values["segments"] = {name: column.take(pa.array(places)) for name, column in self.segments.items()}
        return type(self)(**values)

    @property
    def one_class(self) -> np.ndarray:
        """Scores of the one-class model, whatever known frauds add."""
        return self.scores if self.alone is None else self.alone

    def blended(self, scores: np.ndarray) -> Self:
        """Return the rows with the scores that known frauds made of theirs."""
        return replace(self, scores=scores, alone=self.scores)

    def followed_by(self, later: Self) -> Self:
        """Return these rows and later ones, whose days are counted from the same first one, without their segments.

        No day is among both. Customers are numbered for each of the two by itself, which days alone can be counted by.

        Parameters
        ----------
        later : ScoredRows
        """
        pair = (self, later)

        def both(name: str) -> np.ndarray:
            return np.concatenate([getattr(rows, name) for rows in pair])

        day = both("day")
        has_customers = self.customers is not None and later.customers is not None
        return type(self)(
            scores=both("scores"),
            labels=both("labels"),
            normal=both("normal"),
            day=day,
            whole=both("whole"),
            days=float(len(np.unique(day))),
            amounts=None,
            customers=both("customers") if has_customers else None,
            segments={},
        )

    def where(self, column: str, value: str) -> np.ndarray:
        """Return which rows have a value in a segment column, as a mask."""
        return has_value(self.segments[column], value)

    def counts(self, column: str) -> dict[str, int]:
        """Return how many rows have each value of a segment column, in the order of the values; missing ones apart."""
        values = self.segments[column]
        rows = np.bincount(np.asarray(values.indices.drop_null()), minlength=len(values.dictionary))
        counts = zip(values.dictionary.to_pylist(), rows.tolist(), strict=True)
        return {value: number for value, number in sorted(counts) if number}

    def daily(self, flags: np.ndarray, unit: str) -> np.ndarray:
        """Return how many alerts, or customers with an alert, each calendar day with a row has.

        Parameters
        ----------
        flags : array of bool, shape (n_rows,)
        unit : {"alerts", "customers"}

        Returns
        -------
        array of int64, shape (n_days,)
            In the order of the days.
        """
        days = _unique(self.day)
        place = np.searchsorted(days, self.day[flags])
        if unit == "customers":
            place = np.unique(np.column_stack([place, self._customers()[flags]]), axis=0)[:, 0]
        return np.bincount(place, minlength=len(days))

    def queue(self, unit: str) -> Self:
        """Return what a queue counts: the rows or, for customers, each one's highest-scoring row of a day."""
        if unit == "alerts":
            return self
        customers = self._customers()
        order = np.lexsort((self.scores, customers, self.day))
        last = np.append((np.diff(self.day[order]) != 0) | (np.diff(customers[order]) != 0), True)
        return self.take(np.sort(order[last[: len(order)]]))

    def _customers(self) -> np.ndarray:
        if self.customers is None:
            raise ValueError("these rows have no customers")
        return self.customers

    def to_table(self) -> pa.Table:
        """Return the rows as a table to be saved; `days` is kept apart."""
        columns: dict[str, Any] = {
            "anomaly_score": self.scores,
            "label": pa.array(self.labels, from_pandas=True).cast(pa.int8()),
            "is_normal": self.normal,
            "day": self.day,
            "is_whole_day": self.whole,
        }
        columns |= {} if self.alone is None else {"one_class_score": self.alone}
        columns |= {} if self.amounts is None else {"amount": self.amounts}
        columns |= {} if self.customers is None else {"customer": self.customers}
        return pa.table(columns | {SEGMENT + name: values for name, values in self.segments.items()})

    @classmethod
    def from_table(cls, table: pa.Table, days: float) -> Self:
        """Return the rows that `to_table` made a table of, with the days that they cover."""
        names = table.column_names

        def array(name: str) -> np.ndarray:
            return table[name].to_numpy()

        return cls(
            scores=array("anomaly_score"),
            labels=table["label"].cast(pa.float64()).to_numpy(),
            normal=array("is_normal"),
            day=array("day"),
            whole=array("is_whole_day"),
            days=days,
            amounts=array("amount") if "amount" in names else None,
            customers=array("customer") if "customer" in names else None,
            segments={name.removeprefix(SEGMENT): segment(table[name]) for name in names if name.startswith(SEGMENT)},
            alone=array("one_class_score") if "one_class_score" in names else None,
        )


def segment_columns(config: "Config") -> list[str]:
    """Return the columns that a threshold may be set by: categorical ones that are not sensitive.

    Examples
    --------
    >>> from pipeline.settings.config import Config
    >>> contract = {"id": "tx", "timestamp": "at", "amount": "eur", "categorical": ["channel", "iban"]}
    >>> segment_columns(Config.model_validate({"contract": {**contract, "sensitive": ["iban"]}}))
    ['channel']
    """
    return segments(config.contract)


def segment(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a column's values as text, each value stored once: (n_rows,), null where missing.

    Examples
    --------
    >>> values = segment(pa.chunked_array([["web", None, "web"]]))
    >>> values.to_pylist(), values.dictionary.to_pylist()
    (['web', None, 'web'], ['web'])
    """
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.string()).dictionary_encode()


def has_value(values: pa.DictionaryArray, value: str) -> np.ndarray:
    """Return which rows of a column from `segment` have a value, as a mask.

    Examples
    --------
    >>> has_value(segment(pa.chunked_array([["web", None, "web"]])), "web").tolist()
    [True, False, True]
    """
    code = values.dictionary.index(value).as_py()
    return np.asarray(values.indices.fill_null(-1)) == code if code >= 0 else np.zeros(len(values), dtype=bool)


def _numbers_of(column: pa.ChunkedArray) -> np.ndarray:
    """Return a number for each value, in the order in which they first come; -1 for missing ones."""
    import pandas as pd

    values = column.dictionary_encode().unify_dictionaries().combine_chunks()
    return pd.factorize(values.indices.to_numpy(zero_copy_only=False))[0].astype(np.int32)


def _days(moments: pa.ChunkedArray, zone: str) -> np.ndarray:
    """Return the calendar day of each moment, counted from 0 for the first one; int32, part by part to save memory."""
    parts = [local_times(part, zone).astype("datetime64[D]").astype(np.int32) for part in moments.chunks]
    day = np.concatenate([*parts, np.empty(0, np.int32)])
    return day - day.min() if len(day) else day


def _unique(day: np.ndarray) -> np.ndarray:
    """Return the days that there are, each once."""
    parts = [np.unique(day[start : start + PART]) for start in range(0, len(day), PART)]
    return np.unique(np.concatenate([*parts, np.empty(0, np.int32)]))


def _whole(moments: pa.ChunkedArray, day: np.ndarray, before: np.ndarray, zone: str) -> np.ndarray:
    """Return which rows lie on a day that is wholly there.

    The first day is not where there was a row before on it; the last is not where it ends more than an hour before all
    the others do.
    """
    days, parts = _unique(day), [part for part in moments.chunks if len(part)]
    whole = np.ones(int(days.max(initial=-1)) + 1, dtype=bool)
    if len(days) and len(before):
        first = min(local_times(part, zone).min() for part in parts)
        whole[0] = before[-1].astype("datetime64[D]") != first.astype("datetime64[D]")
    if len(days) > 1:
        ends, start = np.zeros(len(whole), dtype=np.int64), 0
        for part in parts:
            times = local_times(part, zone).astype("datetime64[us]", copy=False).view(np.int64)
            np.maximum.at(ends, day[start : start + len(part)], times % DAY_US)
            start += len(part)
        whole[-1] &= bool(ends[-1] >= ends[days[:-1]].min() - HOUR_US)
    return np.ones(len(day), dtype=bool) if whole.all() else whole[day]
