"""What a column's values usually are, counted in bins, and how far its days lie from that."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.detector.encoder import Encoder
from pipeline.detector.parts import CALIBRATION, Parts
from pipeline.settings.config import Config
from pipeline.settings.sensitive import OF_THE_TIMESTAMP
from pipeline.tables.period import HOUR_US, local_times

BINS = 10
CATEGORIES = 50
SHARE_FLOOR = 1e-4
"""An empty bin counts as this share, so that the index stays finite."""

COUNTED_ROWS = 200_000
"""Of a larger calibration block, as many rows are counted, evenly taken in the order of time."""

LEAST_DAYS = 4
"""Days from which on the first and the last do not say how far a single day may lie from the others."""

Kind = Literal["number", "category"]


def stability_index(before: np.ndarray, after: np.ndarray) -> float:
    """Return the population stability index of two sets of counts: sum (q - p) log(q / p).

    It is the sum of both Kullback-Leibler divergences (Jeffreys, 1946), in nats. Shares below 0.0001 count as that.

    Parameters
    ----------
    before, after : array of shape (n_bins,)
        Counts, 0 or more.

    Examples
    --------
    >>> round(stability_index(np.array([50, 50]), np.array([60, 40])), 4)
    0.0405
    >>> stability_index(np.array([3, 1]), np.array([300, 100]))
    0.0
    """
    p, q = (np.maximum(part / max(part.sum(), 1), SHARE_FLOOR) for part in (before, after))
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


@dataclass(frozen=True)
class Usual:
    """What is usual for a column. Made by `fit`.

    Parameters
    ----------
    kind : {"number", "category"}
    edges : tuple of float
        Of numbers: what parts them into bins, a bin's upper edge included.
    values : tuple of str
        Of a category: its most frequent values, a bin each; one more holds all others.
    counts : tuple of int
        Rows in each bin; the last one holds the missing values.
    index : float
        The largest stability index of a single day against all of them; of four days or more, without both ends.

    Examples
    --------
    >>> usual = Usual.fit(pa.chunked_array([["web", "web", None, "shop"]]), "category", np.zeros(4, int))
    >>> usual.values, usual.counts, usual.places(pa.chunked_array([["fax", "shop", None]])).tolist()
    (('web', 'shop'), (2, 1, 0, 1), [2, 1, 3])
    """

    kind: Kind
    edges: tuple[float, ...]
    values: tuple[str, ...]
    counts: tuple[int, ...]
    index: float

    @classmethod
    def fit(cls, column: pa.ChunkedArray, kind: Kind, day: np.ndarray, edges: np.ndarray | None = None) -> Self:
        """Return what is usual for a column.

        Parameters
        ----------
        column : pa.ChunkedArray of shape (n_rows,)
        kind : {"number", "category"}
        day : array of int, shape (n_rows,)
            0 or more.
        edges : array of float, optional
            Of numbers; the deciles when left out.
        """
        values: tuple[str, ...] = ()
        if kind == "category":
            most = pc.value_counts(_text(column).drop_null())
            rows = dict(zip(most.field(0).to_pylist(), most.field(1).to_pylist(), strict=True))
            values = tuple(sorted(rows, key=lambda value: (-rows[value], value))[:CATEGORIES])
        elif edges is None:
            finite = _numbers(column)
            finite = finite[np.isfinite(finite)]
            deciles = np.linspace(0, 1, BINS + 1)[1:-1]
            edges = np.unique(np.quantile(finite, deciles)) if len(finite) else np.empty(0)
        inner = tuple(edges.tolist()) if edges is not None else ()
        usual = cls(kind, inner, values, (), 0.0)
        by_day = usual.count(column, day)
        counts = by_day.sum(axis=0)
        whole = by_day[1:-1] if len(by_day) >= LEAST_DAYS else by_day  # the first and the last day may be cut
        index = max((stability_index(counts, part) for part in whole if part.sum()), default=0.0)
        return cls(kind, inner, values, tuple(counts.tolist()), index)

    @property
    def bins(self) -> int:
        """How many bins there are."""
        return len(self.edges) + 2 if self.kind == "number" else len(self.values) + 2

    def places(self, column: pa.ChunkedArray) -> np.ndarray:
        """Return the bin of each value, int64 of shape (n_rows,)."""
        if self.kind == "number":
            numbers = _numbers(column)
            places = np.searchsorted(self.edges, numbers, side="left")
            places[~np.isfinite(numbers)] = self.bins - 1
            return places
        found = pc.index_in(_text(column), pa.array(self.values, pa.string()))
        places = found.fill_null(len(self.values)).to_numpy().astype(np.int64)
        places[column.is_null().to_numpy()] = self.bins - 1
        return places

    def count(self, column: pa.ChunkedArray, day: np.ndarray) -> np.ndarray:
        """Return how many values of each day lie in each bin, int64 of shape (n_days, n_bins).

        Parameters
        ----------
        column : pa.ChunkedArray of shape (n_rows,)
        day : array of int, shape (n_rows,)
            0 or more.
        """
        days = int(day.max(initial=-1)) + 1
        flat = np.bincount(day * self.bins + self.places(column), minlength=days * self.bins)
        return flat.reshape(days, self.bins)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Rebuild from the fields as JSON types."""
        lists = {name: tuple(raw[name]) for name in ("edges", "values", "counts")}
        return cls(kind=raw["kind"], index=raw["index"], **lists)


def watched(encoder: Encoder, config: Config) -> dict[str, Kind]:
    """Return the kind of each column of a feature table that is watched: the contract's values, and the features.

    What is read off the timestamp is left out: each day has a weekday of its own, and hours are counted apart. So is
    what it is held against, a party's share of weekends: on one day all rows lie on one side of it. So are risks: they
    hold what review found so far of everybody, and nearly all rows move together with it.
    """
    contract = config.contract
    numeric: dict[str, Kind] = dict.fromkeys((contract.amount, *contract.numeric), "number")
    categorical: dict[str, Kind] = dict.fromkeys(contract.categorical, "category")
    features = [
        feature
        for feature in encoder.features
        if feature.source not in {*OF_THE_TIMESTAMP, f"{feature.party}: weekend"} and feature.unit != "risk"
    ]
    return numeric | categorical | {feature.column: feature.kind for feature in features}


def usual_columns(features: Path, config: Config, parts: Parts, encoder: Encoder) -> tuple[dict[str, Usual], Usual]:
    """Return what is usual for each watched column, and for the hour of a row, in the calibration block.

    One column is held in memory at a time.

    Parameters
    ----------
    features : Path
        Feature table of the training period.
    config : Config
    parts : Parts
    encoder : Encoder
        Fitted on these parts.
    """
    sample = parts.sample(features, CALIBRATION, COUNTED_ROWS)
    moments = local_times(sample.column(config.contract.timestamp), config.table.time_zone)
    day = moments.astype("datetime64[D]").astype(np.int64)
    day -= day.min()
    columns = {name: Usual.fit(sample.column(name), kind, day) for name, kind in watched(encoder, config).items()}
    return columns, Usual.fit(hours_of(moments), "number", day, np.arange(23.0))


def hours_of(moments: np.ndarray) -> pa.ChunkedArray:
    """Return the hour of the day of local moments (datetime64[us]), 0 to 23."""
    hours = moments.astype("datetime64[us]").astype(np.int64) // HOUR_US % 24
    return pa.chunked_array([pa.array(hours)])


def input_types(features: Path, config: Config, encoder: Encoder) -> dict[str, str]:
    """Return what each column of the table behind a feature table holds: "text", "number", "moment", "yes or no"."""
    contract = config.contract
    own = {name for feature in encoder.features for name in (feature.column, feature.expected)}
    own -= set(contract.columns)
    schema = pq.read_schema(features)
    return {field.name: type_in_words(field.type) for field in schema if field.name not in own}


def type_in_words(kind: pa.DataType) -> str:
    """Return what a column of a type holds, in a word.

    Examples
    --------
    >>> type_in_words(pa.int64()), type_in_words(pa.timestamp("us")), type_in_words(pa.large_string())
    ('number', 'moment', 'text')
    """
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_temporal(kind):
        return "moment"
    return "yes or no" if pa.types.is_boolean(kind) else "text"


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return np.array(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string())
