"""From the values as found to typed columns, cell by cell: what a contract's type cannot hold is marked.

Text (every CSV cell, and text in Parquet) is read strictly:

- Numbers: digits with at most one decimal sign and an exponent; blanks around them are dropped; ``inf`` is
  infinity, ``nan`` is missing.
- Timestamps: ISO 8601 (``2018-04-01``, ``2018-04-01T12:30``, ``2018-04-01 12:30:00.5+02:00``, ``...Z``) or
  the same with the day first and dots (``01.04.2018 12:30``). A time without a zone is local time of
  ``[table] time_zone``; where clocks are put back the first of the two hours is meant, and a time that
  clocks skip when put forward moves to the first one that exists. Inside, all is UTC in microseconds
  without a zone, for the years 1 to 9999.
- Labels: pipeline/tables/label_words.py.
"""

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BatchRefused
from pipeline.settings.config import Config, TableConfig
from pipeline.tables.headers import is_values
from pipeline.tables.label_words import read_labels
from pipeline.tables.period import TIMESTAMP

RULES = {
    "number": "is a number",
    "timestamp": "is a timestamp",
    "integer": "is a whole number",
    "label": "says fraud or not",
}
_TYPES = {
    "integer": pa.int64(),
    "text": pa.string(),
    "number": pa.float64(),
    "timestamp": TIMESTAMP,
    "label": pa.int8(),
}
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # seconds since 1970 of the years 1 and 9999, both ends
_YEAR = r"(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})"  # 0001 to 9999
_CLOCK = r"[T ]\d\d(?::\d\d(?::\d\d(?:[.,]\d{1,9})?)?)?"
_ZONE = r" ?(?:[Zz]|[+-]\d\d(?::?\d\d)?)"
_ISO = rf"^{_YEAR}-\d\d-\d\d(?:{_CLOCK}(?:{_ZONE})?)?$"
_NAMES_A_ZONE = r"^.{11}.*[Z+-]"
_DAY_FIRST = r"^(\d\d)\.(\d\d)\.(\d{4})"


def typed_schema(schema: pa.Schema, config: Config) -> pa.Schema:
    """Return the schema that :func:`parse` gives: the contract's columns typed, all others as found.

    Parameters
    ----------
    schema : pyarrow.Schema
        Columns as found; a contract's column that is not among them is left out.
    config : Config

    Returns
    -------
    pyarrow.Schema
        int64 or string for the id, entities and categories, ``timestamp[us]`` (UTC, without a zone),
        float64 for numbers, int8 for the label.

    Examples
    --------
    >>> config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    >>> typed_schema(pa.schema({"tx": pa.int64(), "eur": pa.string(), "note": pa.string()}), config).types
    [DataType(string), DataType(double), DataType(string)]
    """
    roles = set(config.contract.columns)
    return pa.schema(
        [
            pa.field(field.name, _TYPES[config.contract.type_of(field.name)]) if field.name in roles else field
            for field in schema
        ]
    )


def check_columns(schema: pa.Schema, config: Config, name: str) -> None:
    """Refuse a table that lacks a column of the contract, or has one of a type that can never fit.

    Text can hold anything and is judged cell by cell. A table without labels is fine: they come late.

    Parameters
    ----------
    schema : pyarrow.Schema
        Columns as found.
    config : Config
    name : str
        What the message calls the table, such as its path.

    Raises
    ------
    BatchRefused
        With the difference between the names, or with the column, its type and the one it should have.
    """
    contract = config.contract
    missing = [column for column in contract.required if column not in schema.names]
    if missing:
        if is_values(schema.names):
            raise BatchRefused(
                f"{name} has no header: its first line holds values; give it one, or name its columns in [table] "
                "columns"
            )
        known = {*contract.columns, *contract.ignored, "source_file", "source_row"}
        others = [column for column in schema.names if column not in known]
        more = f" and {len(others) - 10} more" if len(others) > 10 else ""
        raise BatchRefused(
            f"{name} does not fit the contract, missing: {', '.join(missing)}; "
            f"not in the contract: {', '.join(others[:10]) + more or 'none'}; "
            + ("renamed? Change the name in the table or in [contract]" if others else "deliver them")
        )
    for column in contract.columns:
        if column not in schema.names:
            continue
        found, wanted = schema.field(column).type, contract.type_of(column)
        if wanted == "timestamp" and _is_plain_number(found) and not config.table.timestamp_unit:
            raise BatchRefused(
                f"{name}: column {column!r} is of type {found}, not a timestamp; if it counts from 1970, set "
                f'[table] timestamp_unit to "s", "ms" or "us"'
            )
        if not _can_be(found, wanted):
            raise BatchRefused(
                f"{name}: column {column!r} is of type {found}, which cannot be a {wanted} as the contract "
                f"says; change the column's type in the table, or its role in [contract]"
            )


def _is_plain_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _can_be(kind: pa.DataType, wanted: str) -> bool:
    types = pa.types
    if types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind) or _is_plain_number(kind):
        return True
    if wanted == "timestamp":
        return bool(types.is_timestamp(kind) or types.is_date(kind))
    if wanted == "text":
        return bool(types.is_boolean(kind) or types.is_date(kind))
    return bool(wanted == "label" and types.is_boolean(kind))


def parse(batch: pa.RecordBatch, config: Config) -> tuple[pa.RecordBatch, dict[str, np.ndarray]]:
    """Type the contract's columns of a batch; a cell that cannot be typed becomes missing and is marked.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        n_rows rows as found, of a schema that :func:`check_columns` lets pass.
    config : Config

    Returns
    -------
    typed : pyarrow.RecordBatch
        n_rows rows of :func:`typed_schema`. NaN, and cells without a character other than blanks, are
        missing.
    failures : dict of numpy.ndarray
        For each rule that was broken anywhere, such as ``"TX_AMOUNT: is a number"``, a bool array (n_rows,)
        that marks the rows.
    """
    roles = set(config.contract.columns)
    columns: list[pa.Array] = []
    failures: dict[str, np.ndarray] = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.name not in roles:
            columns.append(column)
            continue
        wanted = config.contract.type_of(field.name)
        typed, failed = parse_column(column, wanted, config.table)
        columns.append(typed)
        if failed.any():
            failures[f"{field.name}: {RULES[wanted]}"] = failed
    return pa.record_batch(columns, schema=typed_schema(batch.schema, config)), failures


def parse_column(column: pa.Array, wanted: str, settings: TableConfig) -> tuple[pa.Array, np.ndarray]:
    """Type one column: return it, and a bool array that marks the cells that are there but do not fit.

    Parameters
    ----------
    column : pyarrow.Array
        n_rows values as found.
    wanted : {"integer", "text", "number", "timestamp", "label"}
    settings : TableConfig
        Decimal sign, unit of timestamps given as numbers, time zone, and words of the label.
    """
    if not pa.types.is_string(column.type):
        is_text = pa.types.is_null(column.type) or pa.types.is_large_string(column.type)
        column = column.cast(pa.string()) if is_text else _without_nan(column)
    if wanted == "label":
        return read_labels(column, settings)
    present = column
    if pa.types.is_string(column.type):
        present = pc.utf8_trim_whitespace(column)
        missing = r"^$" if wanted == "text" else r"^(?i:[+-]?nan)?$"
        present = pc.if_else(pc.match_substring_regex(present, missing), None, present)
    if wanted == "timestamp":
        typed = _timestamps(present, settings)
    elif wanted == "number":
        typed = _numbers(present, settings.decimal)
    elif wanted == "integer":
        typed = _integers(present, settings.decimal)
    elif pa.types.is_string(column.type):
        # Blanks around a key are kept: they are part of its value.
        typed = pc.if_else(pc.is_valid(present), column, None)
    else:
        typed = _texts(present)
    failed = pc.and_(pc.is_valid(present), pc.is_null(typed))
    return typed, np.asarray(failed.to_numpy(zero_copy_only=False), dtype=bool)


def _without_nan(column: pa.Array) -> pa.Array:
    if not pa.types.is_floating(column.type):
        return column
    column = column.cast(pa.float64())
    return pc.if_else(pc.is_nan(column), None, column)


def _matching(text: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(text, pattern), text, None)


def _numbers(column: pa.Array, decimal: str) -> pa.Array:
    if not pa.types.is_string(column.type):
        return column.cast(pa.float64(), safe=False)
    sign = re.escape(decimal)
    text = _matching(column, rf"^[+-]?(?:(?:\d+{sign}?\d*|{sign}\d+)(?:[eE][+-]?\d+)?|(?i:inf(?:inity)?))$")
    return pc.replace_substring(text, decimal, ".").cast(pa.float64())


def _integers(column: pa.Array, decimal: str) -> pa.Array:
    if pa.types.is_floating(column.type):
        return _whole(column)
    if pa.types.is_decimal(column.type):
        column, decimal = column.cast(pa.string()), "."
    if not pa.types.is_string(column.type):
        if pa.types.is_uint64(column.type):
            column = pc.if_else(pc.less_equal(column, pa.scalar(2**63 - 1, pa.uint64())), column, None)
        return column.cast(pa.int64())
    if pc.all(pc.match_substring_regex(column, r"^-?\d{1,18}$")).as_py() is not False:
        return column.cast(pa.int64())
    parts = pc.extract_regex(column, rf"^(?P<sign>[+-]?)0*(?P<digits>\d+)(?:{re.escape(decimal)}0*)?$")
    negative = pc.equal(pc.struct_field(parts, "sign"), "-")
    digits = pc.struct_field(parts, "digits")
    # Digits of one length compare as text like as numbers, which finds those beyond 64 bits.
    length, limit = pc.utf8_length(digits), pc.if_else(negative, str(2**63), str(2**63 - 1))
    fits = pc.or_(pc.less(length, 19), pc.and_(pc.equal(length, 19), pc.less_equal(digits, limit)))
    signed = pc.binary_join_element_wise(pc.if_else(negative, "-", ""), digits, "")
    return pc.if_else(fits, signed, None).cast(pa.int64())


def _whole(column: pa.Array) -> pa.Array:
    """Return float64 numbers as int64; those with a fraction, or beyond 64 bits, are missing."""
    fits = pc.and_(pc.greater_equal(column, -(2.0**63)), pc.less(column, 2.0**63))
    return pc.if_else(pc.and_(fits, pc.equal(pc.floor(column), column)), column, None).cast(pa.int64())


def _texts(column: pa.Array) -> pa.Array:
    """Write keys that came as numbers as text: 12.0, which is what pandas makes of 12, as "12"."""
    if pa.types.is_floating(column.type):
        return pc.coalesce(_whole(column).cast(pa.string()), column.cast(pa.string()))
    text = column.cast(pa.string())
    return pc.replace_substring_regex(text, r"\.0+$", "") if pa.types.is_decimal(column.type) else text


def _timestamps(column: pa.Array, settings: TableConfig) -> pa.Array:
    kind = column.type
    if pa.types.is_string(kind):
        if not settings.timestamp_unit:
            return _from_text(column, settings.time_zone)
        counted = _from_seconds(_numbers(column, settings.decimal), settings.timestamp_unit)
        return pc.coalesce(counted, _from_text(column, settings.time_zone))
    if pa.types.is_timestamp(kind):
        moments = _from_count(column.cast(pa.int64()), kind.unit)
        return moments if kind.tz else _to_utc(moments, settings.time_zone)
    if pa.types.is_date(kind):
        days = column.cast(pa.date32()).cast(pa.int32()).cast(pa.int64())
        return _to_utc(_from_count(pc.multiply(days, 86_400), "s"), settings.time_zone)
    if pa.types.is_integer(kind):
        return _from_count(_integers(column, "."), settings.timestamp_unit)
    return _from_seconds(column.cast(pa.float64(), safe=False), settings.timestamp_unit)


def _from_count(count: pa.Array, unit: str) -> pa.Array:
    """Return the moments that lie ``count`` (int64) units after 1970; missing outside the years 1 to 9999."""
    per_second = _PER_SECOND[unit]
    number = count.fill_null(0).to_numpy(zero_copy_only=False)
    seconds = number // per_second
    missing = (seconds < _FIRST) | (seconds > _LAST) | pc.is_null(count).to_numpy(zero_copy_only=False)
    number = np.where(missing, 0, number)
    micro = number // 1000 if unit == "ns" else number * (1_000_000 // per_second)
    return pa.array(micro, pa.int64(), mask=missing).cast(TIMESTAMP)


def _from_seconds(number: pa.Array, unit: str) -> pa.Array:
    """Return the moments that lie ``number`` (float64) units after 1970, to the nearest microsecond."""
    micro = pc.round(pc.multiply(number, 1_000_000 / _PER_SECOND[unit]))
    inside = pc.and_(pc.greater_equal(micro, _FIRST * 1e6), pc.less(micro, (_LAST + 1) * 1e6))
    return pc.if_else(inside, micro, None).cast(pa.int64()).cast(TIMESTAMP)


def _to_utc(local: pa.Array, time_zone: str) -> pa.Array:
    """Take moments (``timestamp[us]``) for local time of a zone and return them in UTC.

    Of a local time that comes twice the first is taken; one that is skipped moves to the first that exists.
    """
    if time_zone == "UTC":
        return local
    import pandas as pd

    # pandas brings its own time zones; Arrow needs the system's, which a bare container lacks.
    index = pd.DatetimeIndex(local.to_numpy(zero_copy_only=False))
    first = np.ones(len(index), dtype=bool)
    zoned = index.tz_localize(time_zone, ambiguous=first, nonexistent="shift_forward")
    return _from_count(pa.array(zoned.asi8.view("datetime64[us]")).cast(pa.int64()), "us")


def _from_text(text: pa.Array, time_zone: str) -> pa.Array:
    try:  # One well-formed way of writing in the whole column is read many times faster.
        return _to_utc(_from_count(text.cast(TIMESTAMP).cast(pa.int64()), "us"), time_zone)
    except pa.ArrowInvalid:
        iso = _matching(pc.replace_substring_regex(text, _DAY_FIRST, r"\3-\2-\1"), _ISO)
    import pandas as pd

    # pandas reads neither a comma nor a small z; more than six digits would be nanoseconds, which end in 2262.
    iso = pc.utf8_upper(pc.replace_substring_regex(iso, r"[.,](\d{1,6})\d*", r".\1"))
    written = iso.to_numpy(zero_copy_only=False)
    moments = pd.to_datetime(written, format="ISO8601", utc=True, errors="coerce").as_unit("us")
    count = pa.array(moments.tz_localize(None).to_numpy()).cast(pa.int64())
    is_zoned = pc.match_substring_regex(iso, _NAMES_A_ZONE)
    local = _to_utc(_from_count(pc.if_else(is_zoned, None, count), "us"), time_zone)
    return pc.if_else(is_zoned, _from_count(count, "us"), local)
