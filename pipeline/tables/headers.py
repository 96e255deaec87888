"""What the columns of a file are called: the header of CSV, names for columns that have none or share one."""

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.settings.config import TableConfig
from pipeline.tables.files import (
    DELIMITERS,
    SOURCE_FILE,
    SOURCE_ROW,
    Header,
    codec,
    is_bytes,
    is_text,
    parquet_file,
    partition_values,
    readable,
)
from pipeline.tables.packed import unpacked

_HEAD_BYTES = 1 << 20  # the header must end within them
_HEAD_ROWS = 1_000  # of Parquet, looked at to tell text from other bytes
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's own first line
_VALUE = re.compile(
    r"\s*(?:[+-]?\d+[.,]\d+|\d{4}[-/.]\d\d?[-/.]\d\d?\b.*|\d\d?[-/.](?:\d\d?|[A-Za-z]{3})[-/.]\d{2,4}\b.*)\s*"
)
_DIGITS = re.compile(r"\s*[+-]?\d+\s*")


def read_header(file: Path, settings: TableConfig) -> Header:
    """Return how a CSV file begins.

    Parameters
    ----------
    file : Path
    settings : TableConfig
        Encoding and delimiter, and the ``columns`` of files without a header.

    Raises
    ------
    InputError
        When the file is empty, of another encoding or delimiter, or has another number of columns than
        ``[table] columns`` names.
    """
    text = _head(file, settings)
    sign = _SEPARATOR.fullmatch(next(_lines(text), ""))
    delimiter = sign[1] if sign else settings.delimiter
    lines = _lines(text)
    if sign:
        next(lines)
    cells = next((row for row in csv.reader(lines, delimiter=delimiter) if row), [])
    if not cells:
        raise InputError(f"{file} is empty: it has no rows below its column names; give it a table with rows")
    if "\0" in "".join(cells):
        raise InputError(
            f'{file} is not {settings.encoding} (zero bytes in line 1); set [table] encoding, e.g. "utf-16"'
        )
    other = next((sign for sign in DELIMITERS if sign != delimiter and sign in cells[0]), None)
    if len(cells) == 1 and other:
        raise InputError(
            f"{file} has a single column when cut at {delimiter!r}, and its header contains "
            f'{other!r}; set [table] delimiter = "{other if other != chr(9) else chr(92) + "t"}"'
        )
    is_row = bool(settings.columns) and set(cells) != set(settings.columns)
    if is_row and len(cells) != len(settings.columns):
        raise InputError(
            f"{file} has {len(cells)} columns, and [table] columns names {len(settings.columns)}; name every column "
            "there, in the file's order"
        )
    names = unique_names(settings.columns if is_row else cells)
    return Header(tuple(names), tuple(cells), delimiter, int(bool(sign)), is_row)


def _head(file: Path, settings: TableConfig) -> str:
    decoder = codecs.getincrementaldecoder(codec(settings))()
    with unpacked(file) as stream:
        return decoder.decode(stream.read(_HEAD_BYTES)).removeprefix("\ufeff")


def _lines(text: str) -> Iterator[str]:
    """Yield lines that are not blank, with their ends: a quoted cell may go on in the next."""
    return (line for line in re.split(r"(?<=\n)|(?<=\r)(?!\n)", text) if line.strip("\r\n"))


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names for all columns of a file, each of its own: ``column_3`` for the third, where it has none.

    A name that came before, in whatever case, gets a number behind it, because SQL does not tell case apart.

    Examples
    --------
    >>> unique_names(["", "account", "Account", "eur", "account"])
    ['column_1', 'account', 'Account_2', 'eur', 'account_3']
    """
    taken = {name.casefold() for name in names}
    unique: list[str] = []
    for place, name in enumerate(names, start=1):
        word = name if name.strip() else f"column_{place}"
        if (name.strip() and word.casefold() in (before.casefold() for before in unique)) or (
            not name.strip() and word.casefold() in taken
        ):
            numbers = (f"{word}_{number}" for number in range(2, len(names) + 2))
            word = next(text for text in numbers if text.casefold() not in taken)
        taken.add(word.casefold())
        unique.append(word)
    return unique


def renamed(names: Sequence[str]) -> dict[str, str]:
    """Return the columns that are called otherwise than the file names them, each with its name there.

    Examples
    --------
    >>> renamed(["", "account", "account"])
    {'column_1': '', 'account_2': 'account'}
    """
    pairs = zip(unique_names(names), names, strict=True)
    return {word: name if name.strip() else "" for word, name in pairs if word != name}


def is_values(cells: Sequence[str]) -> bool:
    """Return whether the first line of a CSV file holds values of a row, such as dates and numbers, and not names.

    Examples
    --------
    >>> is_values(["1", "2026-06-01 05:12:00", "12.50"]), is_values(["tx", "2025", "note"]), is_values(["0", "1", "2"])
    (True, False, False)
    """
    digits = [cell for cell in cells if _DIGITS.fullmatch(cell)]
    counts = [str(number) for number in range(len(cells))]
    is_count = list(cells) in (counts, [str(number) for number in range(1, len(cells) + 1)])
    return any(_VALUE.fullmatch(cell) for cell in cells) or (not is_count and 2 * len(digits) > len(cells) > 1)


def header_line(file: Path, settings: TableConfig) -> str:
    """Return the first line of a CSV file that is not blank, whatever its delimiter; ``sep=`` is none."""
    with readable(file, settings), unpacked(file) as stream:
        text = stream.read(_HEAD_BYTES).decode(codec(settings), errors="replace").lstrip("\ufeff")
    lines = (line for line in text.splitlines() if line.strip() and not _SEPARATOR.fullmatch(line))
    return next(lines, "")


def file_schema(path: Path, file: Path, kind: str, settings: TableConfig) -> tuple[pa.Schema, dict[str, str]]:
    """Return the columns of one file of a table, those of its ``key=value`` folders last, and what they are called.

    Parameters
    ----------
    path : Path
        The table: the file itself, or the folder that it is in at any depth.
    file : Path
    kind : {"csv", "parquet"}
        Every column of a CSV file is text.
    settings : TableConfig

    Returns
    -------
    schema : pyarrow.Schema
    names : dict of str to str
        From `renamed`.

    Raises
    ------
    InputError
        When a column has a name that is added here.
    """
    if kind == "csv":
        header = read_header(file, settings)
        found = settings.columns if header.is_row else header.cells
        fields = [pa.field(name, pa.string()) for name in header.names]
    else:
        with parquet_file(file) as reader:
            found = tuple(reader.schema_arrow.names)
            kinds = _kinds(reader)
        fields = [pa.field(name, kind) for name, kind in zip(unique_names(found), kinds, strict=True)]
    names = {field.name.casefold() for field in fields}
    for field in fields:
        if field.name.casefold() in (SOURCE_FILE, SOURCE_ROW):
            raise InputError(f"{file} has a column {field.name!r}, a name that Assay adds itself; rename the column")
    partition = (name for name in partition_values(path, file) if name.casefold() not in names)
    return pa.schema([*fields, *(pa.field(name, pa.string()) for name in partition)]), renamed(found)


def _kinds(reader: pq.ParquetFile) -> list[pa.DataType]:
    """Return the types of a Parquet file's columns; bytes are text where those of the first rows are."""
    kinds = [_plain(kind) for kind in reader.schema_arrow.types]
    if any(is_bytes(kind) for kind in kinds):
        head = next(reader.iter_batches(_HEAD_ROWS), None)
        for place, kind in enumerate(kinds):
            if is_bytes(kind) and (head is None or is_text(head.column(place))):
                kinds[place] = pa.string()
    return kinds


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type without the ways of storing it: no dictionary, no large or view strings."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind
