"""A look at a table's columns: a bounded sample of the rows, and what each column holds."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.settings.config import TableConfig
from pipeline.tables.files import DELIMITERS, header_line, list_files, readable
from pipeline.tables.parsing import parse_column
from pipeline.tables.reading import Table

SAMPLE_ROWS = 200_000
SAMPLE_CELLS = 5_000_000  # a wide table's sample has fewer rows
FITS = 0.95  # share of a text column's cells that must parse for the column to be of a type
_TRIED = 2_000  # cells that decide on a text column's type
_COMPARED = 20_000  # rows on which columns are compared with the timestamp
_PARTS = {  # attributes of pandas timestamps, and what people call them
    "hour": "hour of day",
    "day_of_week": "weekday",
    "day": "day of month",
    "month": "month",
    "year": "year",
    "minute": "minute",
    "day_of_year": "day of year",
}
Kind = Literal["empty", "integer", "number", "timestamp", "text", "other"]


@dataclass(frozen=True)
class Profile:
    """What one column of the sample holds.

    Attributes
    ----------
    name : str
    kind : {"empty", "integer", "number", "timestamp", "text", "other"}
    found, values : pyarrow.Array
        The sample's n_rows values, as found and as the kind (int64, float64, ``timestamp[us]`` or string).
    missing : float
        Share of the rows without a value, from 0 to 1.
    distinct : int
        Number of different values.
    """

    name: str
    kind: Kind
    found: pa.Array
    values: pa.Array
    missing: float
    distinct: int

    @property
    def present(self) -> int:
        """Number of rows with a value."""
        return len(self.values) - self.values.null_count

    @property
    def unique(self) -> float:
        """Different values over rows with a value, from 0 to 1."""
        return self.distinct / max(self.present, 1)

    @property
    def example(self) -> str:
        """A value as it was found, for messages."""
        values = self.found.drop_null()
        return repr(values[0].as_py()) if len(values) else "none"


def read_sample(table: Table) -> pa.Table:
    """Return rows spread evenly over the whole table, values as found: at most 200,000, fewer of wide ones.

    The table is read once, batch by batch.
    """
    limit = max(1_000, min(SAMPLE_ROWS, SAMPLE_CELLS // max(len(table.schema), 1)))
    kept: list[pa.RecordBatch] = []
    rows, start, step = 0, 0, 1
    for batch in table.batches(min(limit, 65_536)):
        kept.append(batch.take(np.arange(-start % step, batch.num_rows, step)))
        start += batch.num_rows
        rows += kept[-1].num_rows
        while rows > limit:
            # Every second row of those kept so far is every 2 * step-th of the table.
            sample = pa.Table.from_batches(kept)
            kept = sample.take(np.arange(0, rows, 2)).combine_chunks().to_batches()
            rows, step = kept[0].num_rows, step * 2
    if not kept:
        raise InputError(f"{table.path} has no row with as many cells as its header; check its delimiter and quotes")
    return pa.Table.from_batches(kept).select(table.schema.names).combine_chunks()


def sniff(path: str | Path, settings: TableConfig | None = None) -> TableConfig:
    """Return settings with the delimiter that a CSV file's header suggests, unless they name one themselves.

    Parameters
    ----------
    path : str or Path
        A file or a folder, whose first file is looked at.
    settings : TableConfig, optional
        Settings to start from; their encoding is the one that the header is read in.
    """
    settings, path = settings or TableConfig(), Path(path)
    with readable(path, settings):
        file = next(iter(list_files(path)), path) if path.is_dir() else path
        if "delimiter" in settings.model_fields_set or not file.is_file():
            return settings
    if not file.name.lower().endswith((".csv", ".csv.gz")):
        return settings
    line = re.sub(r'"[^"]*"', "", header_line(file, settings))
    counts = {sign: line.count(sign) for sign in DELIMITERS}
    best = max(DELIMITERS, key=lambda sign: counts[sign])
    return settings.model_copy(update={"delimiter": best}) if counts[best] else settings


def profile_table(table: Table, sample: pa.Table, settings: TableConfig) -> tuple[TableConfig, dict[str, Profile]]:
    """Return the settings with the decimal sign that makes numbers of a CSV's text, and the profiles."""
    profiles = profile_columns(sample, settings)
    kinds = [profile.kind for profile in profiles.values()]
    if table.format == "csv" and settings.decimal == "." and "number" not in kinds:
        comma = settings.model_copy(update={"decimal": ","})
        others = profile_columns(sample.select([n for n, p in profiles.items() if p.kind == "text"]), comma)
        if any(profile.kind == "number" for profile in others.values()):
            return comma, profile_columns(sample, comma)
    return settings, profiles


def profile_columns(sample: pa.Table, settings: TableConfig) -> dict[str, Profile]:
    """Return what each column of a sample holds, by name, in the table's order."""
    return {name: _profile(name, pa.concat_arrays(sample[name].chunks), settings) for name in sample.schema.names}


def _profile(name: str, found: pa.Array, settings: TableConfig) -> Profile:
    kind = _kind(found, settings)
    wanted = "text" if kind in ("empty", "other") else kind
    values = pa.nulls(len(found), pa.string()) if kind == "other" else parse_column(found, wanted, settings)[0]
    missing = values.null_count / max(len(values), 1)
    distinct = pc.count_distinct(values, mode="only_valid").as_py()
    return Profile(
        name,
        kind if values.null_count < len(values) or kind == "other" else "empty",
        found,
        values,
        missing,
        distinct,
    )


def _kind(found: pa.Array, settings: TableConfig) -> Kind:
    types, kind = pa.types, found.type
    if types.is_timestamp(kind) or types.is_date(kind):
        return "timestamp"
    if types.is_boolean(kind):
        return "text"
    if types.is_integer(kind) or (types.is_decimal(kind) and kind.scale == 0):
        # Whole numbers that 64 bits do not hold are keys, which text does.
        return "text" if parse_column(found, "integer", settings)[1].any() else "integer"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "number" if parse_column(_some(found), "integer", settings)[1].any() else "integer"
    if not (types.is_string(kind) or types.is_null(kind)):
        return "other"
    some = _some(found)
    if some.null_count == len(some):
        return "empty"
    # 00123 is a key, and so are digits that no 64-bit number holds.
    if types.is_string(kind) and pc.any(pc.match_substring_regex(some, r"^\s*(?:0\d+|\d{19,})\s*$")).as_py():
        return "text"
    without_unit = settings.model_copy(update={"timestamp_unit": ""})
    tried: tuple[Kind, ...] = ("integer", "number", "timestamp")
    for wanted in tried:
        values, _ = parse_column(some, wanted, without_unit)
        if values.null_count < len(values) and len(values) - values.null_count >= FITS * (len(some) - some.null_count):
            return wanted
    return "text"


def _some(found: pa.Array) -> pa.Array:
    """Return up to 2,000 values spread over those that are there."""
    present = found.drop_null() if found.null_count < len(found) else found
    return present.take(np.arange(0, len(present), max(1, -(-len(present) // _TRIED))))


class Clock:
    """The timestamps of a sample, to tell the columns that only say the same again.

    Parameters
    ----------
    timestamps : pyarrow.Array
        n_rows moments, ``timestamp[us]`` in UTC.
    time_zone : str
        Zone whose days and hours the columns may count.
    """

    def __init__(self, timestamps: pa.Array, time_zone: str) -> None:
        self._rows = np.arange(0, len(timestamps), max(1, -(-len(timestamps) // _COMPARED)))
        moments = pd.DatetimeIndex(timestamps.take(self._rows).to_numpy(zero_copy_only=False))
        self._known = np.asarray(moments.notna())
        self._moments = moments[self._known]
        zones = dict.fromkeys(("UTC", time_zone))
        self._parts = [part for zone in zones for part in self._clock_parts(zone)]

    def repeated_by(self, profile: Profile) -> str | None:
        """Return how a column follows from the timestamp ("grows with the timestamp"), or None."""
        if profile.distinct < 2 or len(self._moments) < 10:
            return None
        some = profile.values.take(self._rows).filter(pa.array(self._known))
        here = some.is_valid().to_numpy(zero_copy_only=False)
        if here.sum() < 10:
            return None
        if profile.kind in ("integer", "number"):
            values = some.cast(pa.float64(), safe=False).drop_null().to_numpy()
            if self._grows(values, here) or self._grows(-values, here):
                return "grows with the timestamp"
            for name, part in self._parts:
                if np.ptp(part[here]) > 0 and np.ptp(values - part[here]) == 0:
                    return f"is the timestamp's {name}"
        if profile.distinct <= 400:
            codes = some.drop_null().dictionary_encode().indices.to_numpy()
            for name, part in self._parts:
                if self._follows(codes, part[here]):
                    return f"follows from the timestamp's {name}"
        return None

    def _grows(self, values: np.ndarray, here: np.ndarray) -> bool:
        moments = self._moments.asi8[here]
        order = np.lexsort((values, moments))
        moments, values = moments[order], values[order]
        # Between rows of one moment the order is ours, so only steps from one moment to the next count.
        steps = np.diff(values)[np.diff(moments) > 0]
        steps = steps[steps != 0]
        return len(steps) >= 3 and bool((steps > 0).mean() >= 0.999)

    def _clock_parts(self, zone: str) -> Iterator[tuple[str, np.ndarray]]:
        local = self._moments.tz_localize("UTC").tz_convert(zone)
        yield "day", local.tz_localize(None).normalize().asi8 // 86_400_000_000
        for attribute, name in _PARTS.items():
            yield name, getattr(local, attribute).to_numpy()

    def _follows(self, codes: np.ndarray, part: np.ndarray) -> bool:
        groups = np.unique(part, return_inverse=True)[1]
        if (groups.max() + 1) * 20 > len(codes):
            return False
        counts = np.zeros((groups.max() + 1, codes.max() + 1), dtype=np.int64)
        np.add.at(counts, (groups, codes), 1)
        other = 1 - counts.sum(axis=0).max() / len(codes)
        left = 1 - counts.max(axis=1).sum() / len(codes)
        return bool(other >= 0.05 and left <= 0.001)
