"""Columns that ``[table]`` makes of others: an amount of several, a timestamp of a date and a time."""

import re

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.settings.config import TableConfig
from pipeline.tables.parsing import parse_column


def made_columns(settings: TableConfig) -> dict[str, tuple[str, ...]]:
    """Return the columns that settings make, each with those that it is made of.

    Examples
    --------
    >>> made_columns(TableConfig(amount_from=("credit", "-debit"), timestamp_from=("day", "time")))
    {'credit - debit': ('credit', 'debit'), 'day + time': ('day', 'time')}
    >>> made_columns(TableConfig(amount_from=("eur",), currency="code", currency_rates={"EUR": 1}))
    {'eur at rates': ('eur', 'code')}
    """
    made: dict[str, tuple[str, ...]] = {}
    if settings.amount_from:
        parts = [part.removeprefix("-") for part in settings.amount_from]
        name = "".join(
            f" {'-' if part.startswith('-') else '+'} {part.removeprefix('-')}" for part in settings.amount_from
        )
        name = re.sub(r"^ \+ ", "", name).strip()
        rates = (settings.currency,) if settings.currency else ()
        made[f"{name} at rates" if rates else name] = (*parts, *rates)
    if settings.timestamp_from:
        made[" + ".join(settings.timestamp_from)] = settings.timestamp_from
    return made


def with_made(batch: pa.RecordBatch, settings: TableConfig) -> pa.RecordBatch:
    """Return a batch with the columns that the settings make behind its own; one whose parts it lacks is not made.

    A made cell is text, which is parsed as any other; where a part can't be read, it holds the parts as they came.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        n_rows rows, values as found.
    settings : TableConfig

    Examples
    --------
    >>> rows = pa.record_batch({"in": ["5", None, "x"], "out": [None, "7.50", None]})
    >>> with_made(rows, TableConfig(amount_from=("in", "-out")))["in - out"].to_pylist()
    ['5', '-7.5', 'x']
    """
    for name, parts in made_columns(settings).items():
        if set(parts) <= set(batch.schema.names) and name not in batch.schema.names:
            cells = [batch.column(part) for part in parts]
            column = _joined(cells) if parts == settings.timestamp_from else _sum(cells, settings)
            batch = batch.append_column(name, column)
    return batch


def _joined(cells: list[pa.Array]) -> pa.Array:
    """Return dates and times as one text; without a date there is none."""
    texts = [pc.utf8_trim_whitespace(_text(column)) for column in cells]
    # A spreadsheet's day is midnight.
    first = pc.replace_substring_regex(texts[0], r"[ T]00:00(?::00(?:\.0+)?)?$", "")
    others = [column.fill_null("") for column in texts[1:]]
    return pc.utf8_rtrim_whitespace(pc.binary_join_element_wise(first, *others, " "))


def _text(column: pa.Array) -> pa.Array:
    return column.cast(pa.string())


def _sum(cells: list[pa.Array], settings: TableConfig) -> pa.Array:
    rates = cells.pop() if settings.currency else None
    total, is_there, is_broken = pa.scalar(0.0), pa.scalar(False), pa.scalar(False)  # noqa: FBT003 (Arrow's own)
    for part, column in zip(settings.amount_from, cells, strict=True):
        numbers, failed = parse_column(column, "number", settings)
        is_broken = pc.or_(is_broken, pa.array(failed))
        is_there = pc.or_(is_there, numbers.is_valid())
        numbers = numbers.fill_null(0.0)
        total = pc.add(total, pc.negate(numbers) if part.startswith("-") else numbers)
    texts = [_text(column).fill_null("") for column in cells]
    if rates is not None:
        codes = pc.utf8_upper(pc.utf8_trim_whitespace(_text(rates)))
        places = pc.index_in(codes, pa.array([code.upper() for code in settings.currency_rates], pa.string()))
        factors = pa.array(list(settings.currency_rates.values()), pa.float64()).take(places)
        is_broken = pc.or_(is_broken, places.is_null())
        total = pc.multiply(total, factors)
        texts.append(_text(rates).fill_null(""))
    written = pc.replace_substring(total.cast(pa.string()), ".", settings.decimal)
    found = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*texts, " "))
    return pc.if_else(is_there, pc.if_else(is_broken, found, written), pc.if_else(is_broken, found, None))


def parts_of(names: tuple[str, ...], settings: TableConfig) -> tuple[str, ...]:
    """Return the columns that a table must have for some to be there: a made one is replaced by its parts.

    Examples
    --------
    >>> parts_of(("tx", "day + time", "eur"), TableConfig(timestamp_from=("day", "time")))
    ('tx', 'day', 'time', 'eur')
    """
    made = made_columns(settings)
    return tuple(dict.fromkeys(part for name in names for part in made.get(name, (name,))))
