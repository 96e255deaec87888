"""From the values as found to typed columns, cell by cell: what a contract's type cannot hold is marked.

Text (every CSV cell, and text in Parquet) is read strictly:

- Numbers: digits with at most one decimal sign and an exponent; blanks around them are dropped; ``inf`` is
  infinity, ``nan`` is missing; ``(12.50)`` and ``12.50-`` are less than zero. Signs between thousands and of
  currency are those of ``[table]``: pipeline/tables/digits.py.
- Timestamps: the formats of ``[table] timestamp_formats``, and ISO 8601 (``2018-04-01``, ``2018-04-01T12:30``,
  ``2018-04-01 12:30:00.5+02:00``, ``...Z``, ``... UTC``, ``2018/04/01 12:30``, ``20180401T123000Z``) or
  the same with the day first and dots (``01.04.2018 12:30``). A time without a zone is local time of
  ``[table] time_zone``; where clocks are put back the first of the two hours is meant, and a time that
  clocks skip when put forward moves to the first one that exists. Inside, all is UTC in microseconds
  without a zone, for the years 1 to 9999: pipeline/tables/moments.py.
- Empty cells: none but blanks, or a word of ``[table] null_words``.
- Labels: pipeline/tables/label_words.py.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import BatchRefused
from pipeline.settings.config import Config, TableConfig
from pipeline.tables.digits import read_integers, read_numbers, whole
from pipeline.tables.files import in_words
from pipeline.tables.headers import is_values
from pipeline.tables.label_words import read_labels
from pipeline.tables.moments import read_moments
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
            f"{name} does not fit the contract, missing: {in_words(missing)}; "
            f"not in the contract: {in_words(others[:10])}{more}; "
            + ("renamed? Change the name in the table or in [contract]" if others else "deliver them")
        )
    for column in contract.columns:
        if column not in schema.names:
            continue
        found, wanted = schema.field(column).type, contract.type_of(column)
        has_reading = config.table.timestamp_unit or (pa.types.is_integer(found) and config.table.timestamp_formats)
        if wanted == "timestamp" and _is_plain_number(found) and not has_reading:
            raise BatchRefused(
                f"{name}: column {column!r} is of type {found}, not a timestamp; if it counts from 1970, set "
                f'[table] timestamp_unit to "s", "ms" or "us", and if it is written as 20260131, timestamp_formats'
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
        if pc.any(pc.starts_with(column, '="')).as_py():  # how a spreadsheet is told to leave 00123 as it is
            column = pc.replace_substring_regex(column, r'^="([^"]*)"$', r"\1")
        present = pc.utf8_trim_whitespace(column)
        missing = r"^$" if wanted == "text" else r"^(?i:[+-]?nan)?$"
        present = pc.if_else(pc.match_substring_regex(present, missing), None, present)
        if settings.null_words:
            words = pc.utf8_lower(pa.array(settings.null_words, pa.string()))
            present = pc.if_else(pc.is_in(pc.utf8_lower(present), words), None, present)
    if wanted == "timestamp":
        typed = read_moments(present, settings)
    elif wanted == "number":
        typed = read_numbers(present, settings)
    elif wanted == "integer":
        typed = read_integers(present, settings.decimal)
    elif pa.types.is_string(column.type):
        # Blanks around a key are kept: they are part of its value.
        typed = pc.if_else(pc.is_valid(present), column, None)
    else:
        typed = _texts(present)
    if typed.null_count == present.null_count:  # what is missing stays missing, so that nothing else is
        return typed, np.zeros(len(typed), dtype=bool)
    failed = pc.and_(pc.is_valid(present), pc.is_null(typed))
    return typed, np.asarray(failed.to_numpy(zero_copy_only=False), dtype=bool)


def _without_nan(column: pa.Array) -> pa.Array:
    if not pa.types.is_floating(column.type):
        return column
    column = column.cast(pa.float64())
    is_nan = pc.is_nan(column)
    return pc.if_else(is_nan, None, column) if pc.any(is_nan).as_py() else column


def _texts(column: pa.Array) -> pa.Array:
    """Write keys that came as numbers as text: 12.0, which is what pandas makes of 12, as "12"."""
    if pa.types.is_floating(column.type):
        return pc.coalesce(whole(column).cast(pa.string()), column.cast(pa.string()))
    text = column.cast(pa.string())
    return pc.replace_substring_regex(text, r"\.0+$", "") if pa.types.is_decimal(column.type) else text
