"""A look at a table's columns: a bounded sample of the rows, and what each column holds."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.settings.config import TableConfig
from pipeline.tables.files import DELIMITERS, list_files, readable
from pipeline.tables.headers import header_line
from pipeline.tables.packed import is_csv
from pipeline.tables.parsing import parse_column
from pipeline.tables.reading import Table

SAMPLE_ROWS = 200_000
"""Rows of a sample at most."""
SAMPLE_CELLS = 5_000_000
"""Cells of a sample at most: a wide table's has fewer rows."""
FITS = 0.95
"""Share of a text column's cells that must parse for the column to be of a type."""
_TYPE_CELLS = 2_000  # cells that decide on a text column's type
_SHORT_FORM = r"^\s*\d[.,]\d{1,14}[eE]\+(?:1\d|2\d)\s*$"
Kind = Literal["empty", "integer", "number", "timestamp", "text", "other"]


@dataclass(frozen=True)
class Profile:
    """A profile: what one column of the sample holds.

    Attributes
    ----------
    name : str
    kind : {"empty", "integer", "number", "timestamp", "text", "other"}
    cells, values : pyarrow.Array
        The sample's n_rows cells as they came, and as the kind (int64, float64, ``timestamp[us]`` or string).
    missing : float
        Share of the rows without a value, from 0 to 1.
    distinct : int
        Number of different values.
    """

    name: str
    kind: Kind
    cells: pa.Array
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
        """A value as it came, for messages."""
        return _first_of(self.cells)

    def unfit(self, kind: str, settings: TableConfig) -> str:
        """Return a value as it came, for messages: the first that is not of a kind, where there is one."""
        _, failures = parse_column(self.cells, kind, settings)
        return _first_of(self.cells.filter(pa.array(failures)) if failures.any() else self.cells)

    @property
    def is_rounded_key(self) -> bool:
        """Whether most values are long numbers in a spreadsheet's short form, such as 4.01100E+15, digits lost."""
        present = self.cells.drop_null()
        if not pa.types.is_string(present.type) or not len(present):
            return False
        return bool((pc.mean(pc.match_substring_regex(present, _SHORT_FORM)).as_py() or 0) > 0.5)


def read_sample(table: Table) -> pa.Table:
    """Return rows spread evenly over the whole table, values as found: at most 200,000, fewer of wide ones.

    The table is read once, batch by batch.

    Raises
    ------
    InputError
        When no row of the table could be cut into cells.
    """
    limit = max(1_000, min(SAMPLE_ROWS, SAMPLE_CELLS // max(len(table.schema), 1)))
    batches: list[pa.RecordBatch] = []
    rows, start, step = 0, 0, 1
    for batch in table.batches(min(limit, 65_536)):
        batches.append(batch.take(np.arange(-start % step, batch.num_rows, step)))
        start += batch.num_rows
        rows += batches[-1].num_rows
        while rows > limit:
            # Every second row of these is every 2 * step-th of the table.
            sample = pa.Table.from_batches(batches)
            batches = sample.take(np.arange(0, rows, 2)).combine_chunks().to_batches()
            rows, step = batches[0].num_rows, step * 2
    if not batches:
        raise InputError(f"{table.path} has no row with as many cells as its header; check its delimiter and quotes")
    return pa.Table.from_batches(batches).select(table.schema.names).combine_chunks()


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
    if not is_csv(file):
        return settings
    line = re.sub(r'"[^"]*"', "", header_line(file, settings))
    counts = {sign: line.count(sign) for sign in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda sign: counts[sign])
    return settings.model_copy(update={"delimiter": delimiter}) if counts[delimiter] else settings


def profile_table(table: Table, sample: pa.Table, settings: TableConfig) -> tuple[TableConfig, dict[str, Profile]]:
    """Return the settings with the decimal sign that makes numbers of a CSV's text, and the profiles.

    Parameters
    ----------
    table : Table
    sample : pyarrow.Table
        From `read_sample`.
    settings : TableConfig

    Returns
    -------
    settings : TableConfig
    profiles : dict of str to Profile
        By column, in the table's order.
    """
    profiles = profile_columns(sample, settings)
    kinds = [profile.kind for profile in profiles.values()]
    if table.format == "csv" and settings.decimal == "." and "number" not in kinds:
        comma = settings.model_copy(update={"decimal": ","})
        others = profile_columns(sample.select([n for n, p in profiles.items() if p.kind == "text"]), comma)
        if any(profile.kind == "number" for profile in others.values()):
            return comma, profile_columns(sample, comma)
    return settings, profiles


def profile_columns(sample: pa.Table, settings: TableConfig) -> dict[str, Profile]:
    """Return what each column of a sample holds, by name, in the table's order.

    Examples
    --------
    >>> sample = pa.table({"tx": ["00123", "00124"], "at": ["2025-03-01 12:00", None], "eur": ["5", "7.5"]})
    >>> {name: (profile.kind, profile.missing) for name, profile in profile_columns(sample, TableConfig()).items()}
    {'tx': ('text', 0.0), 'at': ('timestamp', 0.5), 'eur': ('number', 0.0)}
    """
    return {name: _profile(name, pa.concat_arrays(sample[name].chunks), settings) for name in sample.schema.names}


def _profile(name: str, cells: pa.Array, settings: TableConfig) -> Profile:
    kind = _kind(cells, settings)
    type_name = "text" if kind in ("empty", "other") else kind
    values = pa.nulls(len(cells), pa.string()) if kind == "other" else parse_column(cells, type_name, settings)[0]
    missing = values.null_count / max(len(values), 1)
    distinct = pc.count_distinct(values, mode="only_valid").as_py()
    return Profile(
        name,
        kind if values.null_count < len(values) or kind == "other" else "empty",
        cells,
        values,
        missing,
        distinct,
    )


def _kind(cells: pa.Array, settings: TableConfig) -> Kind:
    types, kind = pa.types, cells.type
    if types.is_timestamp(kind) or types.is_date(kind) or _are_days(cells, settings):
        return "timestamp"
    if types.is_boolean(kind):
        return "text"
    if types.is_integer(kind) or (types.is_decimal(kind) and kind.scale == 0):
        # Whole numbers that 64 bits do not hold are keys, which text does.
        return "text" if parse_column(cells, "integer", settings)[1].any() else "integer"
    if types.is_floating(kind) or types.is_decimal(kind):
        return "number" if parse_column(_spread(cells), "integer", settings)[1].any() else "integer"
    if not (types.is_string(kind) or types.is_null(kind)):
        return "other"
    sample = _spread(cells)
    if sample.null_count == len(sample):
        return "empty"
    # 00123 is a key, and so are digits that no 64-bit number holds.
    if types.is_string(kind) and pc.any(pc.match_substring_regex(sample, r"^\s*(?:0\d+|\d{19,})\s*$")).as_py():
        return "text"
    without_unit = settings.model_copy(update={"timestamp_unit": ""})
    kinds: tuple[Kind, ...] = ("integer", "number", "timestamp")
    if settings.timestamp_formats:  # 20260131 is no number where the table writes dates so
        kinds = ("timestamp", "integer", "number")
    for candidate in kinds:
        values, _ = parse_column(sample, candidate, without_unit)
        parsed_cells = len(values) - values.null_count
        if parsed_cells and parsed_cells >= FITS * (len(sample) - sample.null_count):
            return candidate
    return "text"


def _first_of(cells: pa.Array) -> str:
    values = cells.drop_null()
    return repr(values[0].as_py()) if len(values) else "none"


def _are_days(cells: pa.Array, settings: TableConfig) -> bool:
    """Return whether whole numbers are days such as 20260131, in a table that writes them so."""
    if not (pa.types.is_integer(cells.type) and settings.timestamp_formats) or settings.timestamp_unit:
        return False
    return not parse_column(_spread(cells), "timestamp", settings)[1].any()


def _spread(cells: pa.Array) -> pa.Array:
    """Return up to 2,000 values spread over those that are there."""
    values = cells.drop_null() if cells.null_count < len(cells) else cells
    return values.take(np.arange(0, len(values), max(1, -(-len(values) // _TYPE_CELLS))))
