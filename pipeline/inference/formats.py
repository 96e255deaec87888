"""How a strange table is written, found in the whole of it: what `assay init` puts into ``[table]``."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import InputError
from pipeline.inference.column_names import name_score
from pipeline.inference.currencies import CODES
from pipeline.inference.marks import count_marks, sides, without_marks
from pipeline.inference.parts import date_and_time, in_and_out
from pipeline.inference.profiles import FITS, read_sample
from pipeline.inference.shapes import MOST_SHAPES, count_fields, count_shapes, date_format, shapes
from pipeline.settings.config import TableConfig
from pipeline.tables.files import list_files, readable
from pipeline.tables.headers import is_values, read_header
from pipeline.tables.packed import is_csv
from pipeline.tables.parsing import parse_column
from pipeline.tables.reading import Table, open_table


def name_columns(path: str | Path, settings: TableConfig) -> tuple[TableConfig, list[str]]:
    """Return settings with names for the columns of a CSV file without a header, and a warning where it has none.

    Parameters
    ----------
    path : str or Path
        A file or a folder, whose first file is looked at.
    settings : TableConfig
        Delimiter and encoding; ``columns`` that are set already stay.
    """
    path = Path(path)
    with readable(path, settings):
        file = next(iter(list_files(path)), path) if path.is_dir() else path
        if settings.columns or not file.is_file() or not is_csv(file):
            return settings, []
        cells = read_header(file, settings).cells
    if not is_values(cells):
        return settings, []
    names = tuple(f"column_{place}" for place in range(1, len(cells) + 1))
    warning = (
        f"the first line of {file} holds values, so that it is read as a row and the columns are called {names[0]} to "
        f"{names[-1]}; name them in order with --column, for roles go by names"
    )
    return settings.model_copy(update={"columns": names}), [warning]


NOTHING = ("null", "(null)", "<null>", "#null!", "n/a", "#n/a", "<na>", "\\n", "(blank)", "nan")
"""Words that mean an empty cell wherever they come."""
MAYBE_NOTHING = ("na", "none", "nil", "missing", "unknown", "-", "--", "?", ".", "n.a.", "k.a.")
"""Words that do so in a column of numbers, dates or keys, and may be a value of another one."""
_CODES = {*CODES, "Fr.", "Fr", "kr", "kr.", "Rs", "Rs.", "zł", "Kč", "lei", "TL"}
_NUMBER = r"^[^\d]{0,10}\d[\d.,'’\s\x{a0}\x{202f}\x{2009}]*[^\d]{0,10}$"
_OF_MONEY = r"[.,]99?\D*$|[.,]9{4,}$|^\(9.*\)$|9 ?-$"  # a fraction, not a group of three, or less than zero
_PAIRS = ((".", ""), (".", ","), (",", ""), (",", "."), (".", "'"), (",", " "), (".", " "), (",", "'"))


@dataclass
class Formats:
    """What was found of how a table is written.

    Attributes
    ----------
    table : Table
        Opened with the settings, and so with the columns that they make.
    sample : pyarrow.Table
    settings : TableConfig
    reasons : dict of str to str
        For a setting of ``[table]``, what in the table it was read off.
    warnings : list of str
        What may be otherwise, a sentence each.
    """

    table: Table
    sample: pa.Table
    settings: TableConfig
    reasons: dict[str, str]
    warnings: list[str]

    def set(self, name: str, value: Any, reason: str) -> None:
        """Set a setting of the table, and say why."""
        self.settings = self.settings.model_copy(update={name: value})
        self.reasons[name] = reason


def find_formats(table: Table, settings: TableConfig, named: Collection[str] = ()) -> Formats:
    """Return how a table writes empty cells, dates, times and numbers, judged on all of its rows.

    Parameters
    ----------
    table : Table
    settings : TableConfig
        Settings that a person named stay.
    named : collection of str
        Roles whose column a person named: "timestamp", "amount".

    Raises
    ------
    InputError
        For a column of timestamps by its name that has the day first in some rows and the month first in others.
    """
    sample = read_sample(table)
    formats = Formats(table, sample, settings, {}, [])
    texts = [name for name in sample.schema.names if pa.types.is_string(sample.schema.field(name).type)]
    if not settings.null_words:  # a label has words of its own
        _find_null_words(table, sample.select([name for name in texts if name_score("label", name) <= 0]), formats)
    _find_parts(formats, named)
    table, sample = formats.table, formats.sample
    texts = [name for name in sample.schema.names if pa.types.is_string(sample.schema.field(name).type)]
    cells = {name: spread(sample[name], formats.settings) for name in sample.schema.names}
    if not settings.timestamp_formats:
        _find_dates(table, cells, formats)
    if not (settings.thousands or settings.currency_signs or "decimal" in settings.model_fields_set):
        _find_numbers(table, {name: cells[name] for name in texts}, formats)
    return formats


def spread(column: pa.ChunkedArray, settings: TableConfig) -> pa.Array:
    """Return up to 2,000 cells, as trimmed text, spread over those that are there and no word for nothing."""
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_integer(kind)):
        return pa.array([], pa.string())
    cells = pc.utf8_trim_whitespace(column.cast(pa.string()).combine_chunks())
    nothing = pc.utf8_lower(pa.array(settings.null_words, pa.string()))
    cells = cells.filter(pc.invert(pc.is_in(pc.utf8_lower(cells), nothing))).drop_null()
    return cells.take(np.arange(0, len(cells), max(1, -(-len(cells) // 2_000))))


def _find_null_words(table: Table, sample: pa.Table, formats: Formats) -> None:
    words = pa.array((*NOTHING, *MAYBE_NOTHING), pa.string())
    counts: dict[str, Counter[str]] = {name: Counter() for name in sample.schema.names}
    for batch in table.batches(65_536) if counts else ():
        for name, counter in counts.items():
            cells = pc.utf8_trim_whitespace(batch.column(name).cast(pa.string()))
            for item in pc.value_counts(cells.filter(pc.is_in(pc.utf8_lower(cells), words))).to_pylist():
                counter[item["values"]] += item["counts"]
    found: dict[str, Counter[str]] = {}
    for name, counter in counts.items():
        others = pc.utf8_trim_whitespace(sample[name].combine_chunks()).drop_null()
        others = others.filter(pc.invert(pc.is_in(pc.utf8_lower(others), words)))
        with_digits = pc.mean(pc.match_substring_regex(others, r"^\S*\d")).as_py() or 0
        for word, count in counter.items():
            if word.lower() == "nan" and with_digits >= FITS:
                continue  # which numbers and times have without a setting
            if word.lower() in NOTHING or with_digits >= FITS:
                found.setdefault(word, Counter())[name] += count
    if found:
        places = "; ".join(f"{word!r} in {_rows(counter)}" for word, counter in found.items())
        formats.set("null_words", tuple(sorted(found)), f"{places}: read as empty cells")


def _rows(counter: Counter[str]) -> str:
    return ", ".join(f"{count:,} rows of {name!r}" for name, count in counter.most_common(5))


def _find_parts(formats: Formats, named: Collection[str]) -> None:
    """Find the columns that make the timestamp and the amount, and open the table with what they make."""
    settings = formats.settings
    if "timestamp" not in named and not settings.timestamp_from and (pair := date_and_time(formats.sample)):
        formats.set("timestamp_from", pair, f"{pair[0]!r} has dates without a time, {pair[1]!r} times")
    if (
        "amount" not in named
        and not settings.amount_from
        and (sides := in_and_out(formats.table, formats.sample, settings))
    ):
        formats.set(
            "amount_from", sides, f"{' and '.join(map(repr, sides))}: no row has an amount in both, or few have"
        )
    if formats.settings.timestamp_from or formats.settings.amount_from:
        formats.table = open_table(formats.table.path, formats.settings)
        formats.sample = read_sample(formats.table)


def _find_dates(table: Table, cells: dict[str, pa.Array], formats: Formats) -> None:
    candidates = [name for name, column in cells.items() if _looks_like_dates(name, column, formats.settings)]
    counts = count_shapes(table, candidates)
    fields = count_fields(table, [*counts])
    dates: dict[str, tuple[str, str]] = {}
    for name, shapes_of in counts.items():
        numeric = [shape for shape in shapes_of if re.match(r"9{1,2}([/.-])9{1,2}\1", shape)]
        order = _order(table, name, fields[name]) if numeric else "dmy"
        if order and numeric and max(max(field) for field in fields[name]) <= 12:
            order = _likely_order(name, numeric, fields[name], formats)
        for shape, _ in shapes_of.most_common():
            form = date_format(shape, order=order) if order else None
            if form and form not in ("%Y-%m-%d", "%d.%m.%Y"):  # which need no format
                # Names are read in full and short alike.
                dates.setdefault(form.replace("%B", "%b").replace("%A", "%a"), (form, name))
    if dates:
        written, places = zip(*dates.values(), strict=True)
        columns = ", ".join(repr(name) for name in dict.fromkeys(places))
        formats.set("timestamp_formats", written, f"{', '.join(written)}: as {columns} has dates and times")


def _looks_like_dates(name: str, column: pa.Array, settings: TableConfig) -> bool:
    if not len(column):
        return False
    if name_score("timestamp", name) <= 0 and pc.all(pc.match_substring_regex(column, r"^[\d.,+-]+$")).as_py():
        return False
    readable_cells = pc.mean(parse_column(column, "timestamp", settings)[0].is_valid()).as_py()
    forms = {shape: date_format(shape, order="dmy") for shape in pc.unique(shapes(column)).to_pylist()[:MOST_SHAPES]}
    dates = pa.array([shape for shape, form in forms.items() if form], pa.string())
    fits = pc.mean(pc.is_in(shapes(column), dates)).as_py()
    if any(form and form.startswith("%Y%m%d") for form in forms.values()):
        days = r"^(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
        fits = min(fits, pc.mean(pc.match_substring_regex(column, days)).as_py())
    return bool(readable_cells < 1 and fits + (readable_cells if fits else 0) >= FITS)


def _order(table: Table, name: str, fields: tuple[Counter[int], Counter[int]]) -> str | None:
    """Return whether days or months come first in the numbers of a column; None where it is both."""
    first, second = fields
    if max(first) > 31:
        return "ymd"
    if max(first) <= 12 or max(second) <= 12:
        return "mdy" if max(second) > 12 else "dmy"
    if name_score("timestamp", name) <= 0:
        return None
    raise InputError(
        f"{table.path}: column {name!r} has the day first in {_over(first):,} rows and the month first in "
        f"{_over(second):,}; write it in one way, and name that with --timestamp-format (timestamp_formats in [table])"
    )


def _likely_order(
    name: str, numeric: list[str], fields: tuple[Counter[int], Counter[int]], formats: Formats
) -> Literal["dmy", "mdy"]:
    """Return which of two numbers, both up to 12, is the day, and note that it may be the other one."""
    days = [len(field) for field in fields]
    is_halves = any("<p>" in shape for shape in numeric)
    order: Literal["dmy", "mdy"] = "mdy" if days[1] > days[0] or (days[1] == days[0] and is_halves) else "dmy"
    other = date_format(numeric[0], order="dmy" if order == "mdy" else "mdy")
    formats.warnings.append(
        f"no day after the 12th shows which number in {name!r} is the month: the "
        f"{'day' if order == 'dmy' else 'month'} is taken to be first; if it is not, say --timestamp-format '{other}' "
        "(timestamp_formats in [table])"
    )
    return order


def _over(counter: Counter[int]) -> int:
    return sum(count for number, count in counter.items() if number > 12)


def _find_numbers(table: Table, cells: dict[str, pa.Array], formats: Formats) -> None:
    numbers = [name for name, column in cells.items() if _looks_like_numbers(column, formats.settings)]
    decorated = [
        name
        for name in numbers
        if parse_column(cells[name], "number", formats.settings)[1].any() and _is_quantity(name, cells[name])
    ]
    if not decorated:
        return
    counts = count_shapes(table, numbers)
    counts = {name: shapes_of for name, shapes_of in counts.items() if name in decorated or _has_decimals(shapes_of)}
    columns = ", ".join(repr(name) for name in decorated)
    marks = _find_marks([counts[name] for name in decorated if name in counts], columns, formats)
    found = [currency_of(without_marks(shape, marks)) for name in decorated for shape in counts.get(name, ())]
    signs = dict.fromkeys(filter(None, found))
    settings = formats.settings.model_copy(update={"currency_signs": tuple(sorted(signs, key=len, reverse=True))})
    fits = {pair: sum(_fits(shapes_of, settings, pair) for shapes_of in counts.values()) for pair in _PAIRS}
    best = max(_PAIRS, key=lambda pair: fits[pair])
    if signs:
        formats.set(
            "currency_signs", settings.currency_signs, f"{', '.join(map(repr, signs))} beside numbers of {columns}"
        )
        if len(signs) > 1:
            formats.warnings.append(
                f"amounts in {columns} are in several currencies ({', '.join(signs)}), which do not compare, and are "
                "read as if they were one; keep a table for each, or have them converted"
            )
    for name, value in zip(("decimal", "thousands"), best, strict=True):
        if value != getattr(formats.settings, name):
            formats.set(name, value, f"{value!r} in numbers of {columns}")
    if fits[".", ","] == fits[",", ""] == fits[best] and best == (".", ","):
        formats.warnings.append(
            f"',' in {columns} has three digits behind it wherever it comes, and is read as the sign between "
            "thousands; if it is the decimal sign, set decimal to it and thousands to nothing in [table]"
        )


def _find_marks(counts: list[Counter[str]], columns: str, formats: Formats) -> Counter[str]:
    """Find which words beside numbers mean less than zero, and say that it may be the other way round."""
    total = sum(counts, Counter[str]())
    marks = count_marks(total)
    if not marks or formats.settings.plus_words or formats.settings.minus_words:
        return marks
    plus, minus = sides(marks, total.total() - marks.total())
    rows = " and ".join(f"{mark!r} in {count:,} rows" for mark, count in marks.most_common())
    formats.set("plus_words", plus, f"{rows} beside numbers of {columns}")
    formats.set("minus_words", minus, f"{rows} beside numbers of {columns}")
    formats.warnings.append(
        f"amounts in {columns} are marked {rows}, and those of {' and '.join(map(repr, minus))} are read as less than "
        "zero; if it is the other way round, exchange plus_words and minus_words in [table]"
    )
    return marks


def _looks_like_numbers(column: pa.Array, settings: TableConfig) -> bool:
    if not len(column) or pc.mean(parse_column(column, "timestamp", settings)[0].is_valid()).as_py() >= FITS:
        return False
    return bool(pc.mean(pc.match_substring_regex(column, _NUMBER)).as_py() >= FITS)


def _is_quantity(name: str, column: pa.Array) -> bool:
    """Return whether what looks like a number is one: by its name, a fraction, a bracket or a sign of currency."""
    if name_score("code", name) > 0 or (name_score("id", name) > 0 and name_score("amount", name) <= 0):
        return False
    found = pc.unique(shapes(column)).to_pylist()
    marks = count_marks(dict.fromkeys(found, 1))
    signs = [currency_of(without_marks(shape, marks)) for shape in found]
    if None in signs[:MOST_SHAPES]:
        return False
    says_so = any(signs) or any(re.search(_OF_MONEY, shape) for shape in found)
    return says_so or name_score("amount", name) > 0


def _has_decimals(shapes_of: Counter[str]) -> bool:
    return any(re.fullmatch(r"[+-]?9*[.,]9+", shape) for shape in shapes_of)


def currency_of(shape: str) -> str | None:
    """Return the sign of currency in a number's shape, "" where it has none, or None where the letters are no currency.

    Examples
    --------
    >>> currency_of("$9,999.99"), currency_of("-99 EUR"), currency_of("(9.99)"), currency_of("AB999")
    ('$', 'EUR', '', None)
    """
    word = re.sub(r"[()+\-\u2212\u2012\u2013\s]", "", re.sub(r"9(?:.*9)?", "", shape))
    is_sign = any(unicodedata.category(letter) == "Sc" for letter in word)
    return word if not word or is_sign or word in _CODES or word.upper() in _CODES else None


def _fits(shapes_of: Counter[str], settings: TableConfig, pair: tuple[str, str]) -> int:
    """Return how many cells of these shapes are numbers with a decimal sign and one between thousands."""
    settings = settings.model_copy(update={"decimal": pair[0], "thousands": pair[1]})
    numbers, _ = parse_column(pa.array(list(shapes_of), pa.string()), "number", settings)
    return sum(count for count, fits in zip(shapes_of.values(), numbers.is_valid().to_pylist(), strict=True) if fits)
