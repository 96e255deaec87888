"""The rows that a threshold is solved on, and held against after scoring: scores beside what is known of each."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from pipeline.tables.period import local_times

if TYPE_CHECKING:
    from pipeline.settings.config import Config

SEGMENT = "segment: "
"""Begins the names of the saved columns that a threshold may be set by."""
DAY_US, HOUR_US = 86_400_000_000, 3_600_000_000


@dataclass(frozen=True, eq=False, repr=False)
class ScoredRows:
    """Scored rows; arrays of shape (n_rows,). Nothing in them shows a sensitive column in clear.

    Parameters
    ----------
    scores : array of float64
    labels : array of float64
        1 fraud, 0 normal, NaN not known.
    normal : array of bool
        What counts as a normal row: known to be one or, in a table without labels, not known to be fraud.
    day : array of int32
        Calendar day in the table's time zone, counted from the first one.
    whole : array of bool
        Whether all of the row's day is among the rows.
    days : float
        Length of the time that the rows cover, in days.
    amounts : array of float64 or None
        None where the contract says that the amount is sensitive.
    customers : array of int32 or None
        A number for each value of the contract's first entity; None where it has none.
    segments : dict of str to array of str
        Columns that a threshold may be set by: the categorical ones that are not sensitive; missing values are "".
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

    @classmethod
    def of(
        cls,
        table: pa.Table,
        config: "Config",
        scores: np.ndarray,
        labels: np.ndarray,
        normal: np.ndarray,
        days: float | None = None,
        before: datetime | None = None,
    ) -> Self:
        """Make them from typed rows that hold at least `columns`.

        Parameters
        ----------
        table : pa.Table
        config : Config
        scores, labels, normal : arrays of shape (n_rows,)
        days : float, optional
            Length of the time that they cover; the number of calendar days with a row when left out.
        before : datetime, optional
            UTC; the last moment before these rows at which there was another one.
        """
        contract, zone = config.contract, config.table.time_zone
        times = local_times(table[contract.timestamp], zone)
        ends = pa.array([before] if before is not None else [], pa.timestamp("us"))
        day = times.astype("datetime64[D]").astype(np.int64)
        day = (day - day.min(initial=2**31)).astype(np.int32)
        customers = None
        if contract.entities:
            customers = _numbered(table[contract.entities[0]])
        return cls(
            scores=np.asarray(scores, dtype=np.float64),
            labels=np.asarray(labels, dtype=np.float64),
            normal=np.asarray(normal, dtype=bool),
            day=day,
            whole=_whole(times, day, local_times(ends, zone)),
            days=float(np.count_nonzero(np.bincount(day))) if days is None else days,
            amounts=None if contract.amount in contract.sensitive else table[contract.amount].to_numpy(),
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

    def take(self, chosen: np.ndarray) -> Self:
        """Return some of the rows, by places or by a mask; the days that they cover stay the same."""
        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        taken: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            taken[field.name] = value[places] if isinstance(value, np.ndarray) else value
        taken["segments"] = {name: values.take(pa.array(places)) for name, values in self.segments.items()}
        return type(self)(**taken)

    def where(self, column: str, value: str) -> np.ndarray:
        """Return which rows have a value in a segment column, as a mask."""
        encoded = self.segments[column]
        place = encoded.dictionary.index(value).as_py()
        return np.asarray(encoded.indices.fill_null(-1)) == place if place >= 0 else np.zeros(len(self), dtype=bool)

    def counts(self, column: str) -> dict[str, int]:
        """Return how many rows have each value of a segment column, in the order of the values; missing ones apart."""
        encoded = self.segments[column]
        rows = np.bincount(np.asarray(encoded.indices.drop_null()), minlength=len(encoded.dictionary))
        found = zip(encoded.dictionary.to_pylist(), rows.tolist(), strict=True)
        return {value: number for value, number in sorted(found) if number}

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
        days, place = np.unique(self.day, return_inverse=True)
        place = place[flags]
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
        columns |= {} if self.amounts is None else {"amount": self.amounts}
        columns |= {} if self.customers is None else {"customer": self.customers}
        return pa.table(columns | {SEGMENT + name: values for name, values in self.segments.items()})

    @classmethod
    def from_table(cls, table: pa.Table, days: float) -> Self:
        """Rebuild the rows from `to_table` and the days that they cover."""
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
        )


def segment_columns(config: "Config") -> list[str]:
    """Return the columns that a threshold may be set by."""
    return [name for name in config.contract.categorical if name not in config.contract.sensitive]


def segment(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """Return a column's values as text, each kept once."""
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    return values.cast(pa.string()).dictionary_encode()


def _numbered(column: pa.ChunkedArray) -> np.ndarray:
    """Return a number for each value, in the order in which they first come; -1 for missing ones."""
    import pandas as pd

    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    return pd.factorize(encoded.indices.to_numpy(zero_copy_only=False))[0].astype(np.int32)


def _whole(times: np.ndarray, day: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return which rows lie on a day that is wholly there.

    The first day is not where there was a row before on it; the last is not where it ends more than an hour before all
    the others do.
    """
    found = np.flatnonzero(np.bincount(day))
    whole = np.ones(found.max(initial=-1) + 1, dtype=bool)
    if len(found) and len(before):
        whole[0] = before[-1].astype("datetime64[D]") != times.min().astype("datetime64[D]")
    if len(found) > 1:
        ends = np.zeros(len(whole), dtype=np.int64)
        np.maximum.at(ends, day, times.astype("datetime64[us]", copy=False).view(np.int64) % DAY_US)
        whole[-1] &= bool(ends[-1] >= ends[found[:-1]].min() - HOUR_US)
    return whole[day]
