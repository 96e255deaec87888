"""One file of a table: how CSV and Parquet are opened, and in which words they turn out to be unreadable."""

import codecs
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipeline.errors import InputError, ResourceError
from pipeline.settings.config import TableConfig
from pipeline.tables.lakes import live_files
from pipeline.tables.packed import FAULTS, unpacked, unpacked_ahead

SOURCE_FILE, SOURCE_ROW = "source_file", "source_row"
"""The columns that say where a row came from."""
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
DELIMITERS = (",", ";", "\t", "|")
"""Signs between the cells of a CSV file that are looked for."""
BLOCK_BYTES = 8 << 20
"""Of CSV text parsed at a time; the longest row that can be read."""


@dataclass(frozen=True)
class Header:
    """How a CSV file begins.

    Attributes
    ----------
    names : tuple of str
        What the columns are called, each by a name of its own.
    cells : tuple of str
        The first line as it came.
    delimiter : str
        What separates the cells: that of ``sep=``, where the file begins so, else that of the settings.
    skipped : int
        Lines above the first, 0 or 1.
    is_row : bool
        Whether the first line is a row, the names being those of the settings.
    """

    names: tuple[str, ...]
    cells: tuple[str, ...]
    delimiter: str
    skipped: int
    is_row: bool

    def place_of(self, number: int) -> int:
        """Return the 0-based data row of a line by the parser's number, which counts every line that is not blank."""
        return number - 1 - self.skipped - (not self.is_row)


def list_files(folder: Path) -> Iterator[Path]:
    """Yield a folder's files at any depth, in the order of their names, without hidden ones."""

    def fail(error: OSError) -> None:
        raise error

    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith((".", "_")))


def table_files(path: Path, settings: TableConfig) -> tuple[Path, ...]:
    """Return the files of a table, in the order in which they are read: itself, or those of a folder at any depth.

    Raises
    ------
    InputError
        For a name that is not UTF-8, and for what is no file: a pipe, a socket, a device, which reading might wait for.
    ResourceError
        When the table does not exist or may not be read.
    """
    _refuse_name(path)
    with readable(path, settings):
        if not path.exists():
            raise ResourceError(f"{path} does not exist; check the path")
        files = tuple(_files_of(path)) if path.is_dir() else (path,)
    for file in files:
        _refuse_name(file)
        with readable(file, settings):
            mode = file.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
            raise InputError(f"{file} is {kind} and no file; take it away, and deliver a file")
    return files


def _files_of(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that hold rows; of a Delta table in it, the files that its log has now."""
    delta = live_files(folder)
    if delta is not None:
        yield from delta
        return
    parents: set[Path] = set()
    for file in list_files(folder):
        for parent in file.relative_to(folder).parents:
            if parent not in parents and (folder / parent / "_delta_log").is_dir():
                raise InputError(f"{folder} holds the Delta table {folder / parent} beside others; name that folder")
            parents.add(parent)
        yield file


def _refuse_name(path: Path) -> None:
    if printable(path) != str(path):
        raise InputError(f"{printable(path)}: the name is not UTF-8; rename it")


def printable(path: Path) -> str:
    r"""Return a path in letters that can be written anywhere, bytes that are no UTF-8 as ``\xe9``.

    Examples
    --------
    >>> printable(Path("caf\udce9.csv"))
    'caf\\xe9.csv'
    """
    return os.fsencode(path).decode(errors="backslashreplace")


def in_words(names: Iterable[str]) -> str:
    r"""Return columns' names in one line, in quotes where blanks or signs in them would not be seen; "none" for none.

    Examples
    --------
    >>> in_words(["card", " card", "\ufefftx"]), in_words([])
    ("card, ' card', '\\ufefftx'", 'none')
    """
    return ", ".join(name if name.isprintable() and name == name.strip() else repr(name) for name in names) or "none"


def parquet_file(file: Path) -> pq.ParquetFile:
    """Return an open Parquet file, to be read with little memory and its checksums verified."""
    # Buffered reading without pre-buffering keeps a large row group from being read as a whole.
    return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True)


def csv_reader(
    file: Path,
    settings: TableConfig,
    header: Header,
    on_broken: Callable[[pacsv.InvalidRow], str],
    *,
    within: tuple[int, int] | None = None,
) -> pacsv.CSVStreamingReader:
    """Return a reader of a CSV file's batches, in which every column is text.

    Parameters
    ----------
    file : Path
    settings : TableConfig
        Encoding.
    header : Header
        From `read_header`; a batch's columns are called as in the file.
    on_broken : callable
        Called with each row that has too few or too many cells; "skip" or "error" is what becomes of it.
    within : pair of int, optional
        Only these bytes of a file that is not packed are read, and no line of them is the header.

    Raises
    ------
    InputError
        For an encoding that is none.
    """
    name = codec(settings)
    # utf-8-sig drops a byte-order mark and, unlike plain utf-8, is checked before the cells are cut.
    encoding = "utf-8-sig" if name == "utf-8" else name
    start, end = within or (0, 0)
    return pacsv.open_csv(
        pa.OSFile(str(file)).get_stream(start, end - start) if within else unpacked_ahead(file),
        read_options=pacsv.ReadOptions(
            use_threads=False,  # only the parser of one thread knows the numbers of broken rows
            block_size=BLOCK_BYTES,
            encoding=encoding,
            skip_rows=0 if within else header.skipped,
            column_names=header.names if within or header.is_row else None,
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=header.delimiter, newlines_in_values=True, invalid_row_handler=on_broken
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys((*header.cells, *header.names), pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    )


def codec(settings: TableConfig) -> str:
    """Return the name of the encoding of CSV files.

    Raises
    ------
    InputError
        For an encoding that is none.
    """
    try:
        return codecs.lookup(settings.encoding).name
    except LookupError:
        raise InputError(
            f'[table] encoding = "{settings.encoding}" is no encoding; use e.g. "utf-8", "latin-1", "utf-16"'
        ) from None


def encoding_of(file: Path, settings: TableConfig) -> str:
    """Return the encoding that a CSV file can be read in: the configured one, that of its byte-order mark, or latin-1.

    Parameters
    ----------
    file : Path
    settings : TableConfig
        Its encoding is the first that is tried.
    """
    decoder = codecs.getincrementaldecoder(codec(settings))()
    with unpacked(file) as stream:
        block = stream.read(1 << 20)
        if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        try:
            while block:
                decoder.decode(block)
                block = stream.read(1 << 20)
            decoder.decode(b"", final=True)
        except UnicodeError:
            return "latin-1"
    return settings.encoding


def refuse_open_quote(file: Path, row: int, text: str, header: Header) -> None:
    """Refuse a cell or a broken row that has swallowed whole rows: its quote never closes.

    Parameters
    ----------
    file : Path
    row : int
        0-based data row of the file.
    text : str
        Of the cell or the row.
    header : Header

    Raises
    ------
    InputError
    """
    if "\n" not in text:
        return
    lines, signs = text.split("\n")[1:], len(header.names) - 1
    if signs and any('"' not in line and line.count(header.delimiter) == signs for line in lines):
        raise InputError(f"{file}: a quote that opens in data row {row + 1} is never closed; close it there")


@contextmanager
def readable(file: Path, settings: TableConfig) -> Iterator[None]:
    """Turn what goes wrong in reading a file, inside the block, into one sentence for the user.

    Raises
    ------
    InputError
        For what lies in the file.
    ResourceError
        For what does not: it is gone, may not be read, the disk or the memory fails.
    """
    try:
        yield
    except PermissionError as error:
        raise ResourceError(f"{error.filename or file} may not be read; ask for permission to read it") from None
    except FileNotFoundError:
        raise ResourceError(f"{file} does not exist any more; check the path") from None
    except MemoryError:
        raise ResourceError(f"there is not enough memory to read {file}; run this again with more") from None
    except (pa.ArrowException, UnicodeError, OSError, EOFError, *FAULTS) as error:
        # Arrow's own complaints about a file are OSErrors, too, but without the system's number.
        if isinstance(error, OSError) and error.errno is not None:
            raise ResourceError(f"{file} can't be read ({error.strerror}); mend that, then run this again") from None
        raise InputError(_explain(file, settings, error)) from None


def _explain(file: Path, settings: TableConfig, error: Exception) -> str:
    reason = _spelled_out(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__
    if file.name.lower().endswith(".parquet"):
        return f"{file} is truncated or no Parquet file ({reason}); write it again"
    if "mpty CSV" in reason:
        return f"{file} is empty: it has no rows below its column names; give it a table with rows"
    if "straddling" in reason or "out of sync" in reason:
        return f"{file} has a quote that is never closed, or a row longer than {BLOCK_BYTES >> 20} MiB; close the quote"
    if isinstance(error, UnicodeError):
        place, start = _first_undecodable(file, settings.encoding)
        other = "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "latin-1"
        return f'{file} is not {settings.encoding} ({place}); set [table] encoding, e.g. "{other}"'
    return f"{file} cannot be read as CSV ({reason}); write it again"


def _first_undecodable(file: Path, encoding: str) -> tuple[str, bytes]:
    """Return where a file's text stops being in an encoding ("near byte 7, line 1") and its first bytes."""
    decoder = codecs.getincrementaldecoder(encoding)()
    position = lines = 0
    head = b""
    with unpacked(file) as stream:
        while block := stream.read(1 << 20):
            head = head or block[:4]
            try:
                decoder.decode(block)
            except UnicodeError as error:
                place = getattr(error, "start", 0)
                lines += block[:place].count(b"\n")
                return f"near byte {position + place}, line {lines + 1}", head
            position += len(block)
            lines += block.count(b"\n")
    return f"near byte {position}, line {lines + 1}", head


def check_cells(batch: pa.RecordBatch, file: Path, start: int) -> None:
    """Refuse a Parquet file with a cell that is not what its column's type says, such as text that is not UTF-8.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        Rows of the file as they came; Arrow itself does not look at them.
    file : Path
    start : int
        How many rows of the file are before them.

    Raises
    ------
    InputError
    """
    for name, cells in zip(batch.schema.names, batch.columns, strict=True):
        # Of a dictionary, any part is as faulty as the whole.
        column = cells.dictionary_decode() if isinstance(cells, pa.DictionaryArray) else cells
        if fault := _fault(column):
            first, behind = 0, len(column)
            while behind - first > 1:
                middle = (first + behind) // 2
                first, behind = (first, middle) if _fault(column.slice(first, middle - first)) else (middle, behind)
            fault = "the text is not UTF-8" if "UTF8" in fault else fault
            raise InputError(
                f"{file}: column {name!r} can't be read in row {start + first + 1}: {fault}; write it again"
            )


def _fault(column: pa.Array) -> str:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        return _spelled_out(str(error).splitlines()[0])
    return ""


def _spelled_out(reason: str) -> str:
    """Return a library's words, in which bytes of the file may be quoted, in letters that are only shown."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in reason)


def merge_schemas(table_schema: pa.Schema, schema: pa.Schema, first: Path, file: Path) -> pa.Schema:
    """Return the columns that hold the values of two files' columns, of the wider type of each.

    Parameters
    ----------
    table_schema : pyarrow.Schema
        Of the files before.
    schema : pyarrow.Schema
        Of ``file``.
    first, file : Path
        The first file and this one, for the message.

    Raises
    ------
    InputError
        When the files have other columns, or types of which none holds the other.
    """
    lacks = sorted(set(table_schema.names) - set(schema.names))
    extra = sorted(set(schema.names) - set(table_schema.names))
    if lacks or extra:
        raise InputError(
            f"{file} has other columns than {first} (missing: {in_words(lacks)}; "
            f"more: {in_words(extra)}); keep tables of different kinds in folders of their own"
        )
    try:
        return pa.unify_schemas([table_schema, schema], promote_options="permissive")
    except pa.ArrowTypeError:
        for field in table_schema:
            try:
                pa.unify_schemas(
                    [pa.schema([field]), pa.schema([schema.field(field.name)])], promote_options="permissive"
                )
            except pa.ArrowTypeError:
                raise InputError(
                    f"{file} has column {field.name!r} as {schema.field(field.name).type}, {first} has it as "
                    f"{field.type}; write the files of one folder with the same types"
                ) from None
        raise


def _decoded(column: pa.Array) -> pa.Array:
    """Return a column without a dictionary, and bytes of one length as any others."""
    column = column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column
    return column.cast(pa.binary()) if pa.types.is_fixed_size_binary(column.type) else column


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether a column holds bytes, which may be text that other programs wrote without saying so."""
    types = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(is_kind(kind) for is_kind in types)


def is_text(column: pa.Array) -> bool:
    r"""Return whether all bytes of a column are text in UTF-8.

    Examples
    --------
    >>> is_text(pa.array([b"AB", None])), is_text(pa.array([b"\xff"]))
    (True, False)
    """
    try:
        _decoded(column).cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def cast_column(column: pa.Array, field: pa.Field, file: Path) -> pa.Array:
    """Return a file's column in the type that the table has it in.

    Raises
    ------
    InputError
        When a value does not fit that type.
    """
    if is_bytes(_decoded(column).type) and pa.types.is_string(field.type) and not is_text(column):
        raise InputError(f"{file}: column {field.name!r} holds bytes that are no text in UTF-8; write it as text")
    try:
        return _decoded(column).cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(
            f"{file}: column {field.name!r} of type {column.type} does not fit the other files' "
            f"{field.type}; write the files of one folder with the same types"
        ) from None


def partition_values(path: Path, file: Path) -> dict[str, str | None]:
    """Return the ``key=value`` folders between a dataset's folder and one of its files.

    Examples
    --------
    >>> partition_values(Path("tx"), Path("tx/day=2025-03-01/shop=a%20b/0.parquet"))
    {'day': '2025-03-01', 'shop': 'a b'}
    """
    if file == path:
        return {}
    pairs = (part.split("=", 1) for part in file.relative_to(path).parts[:-1] if "=" in part)
    return {unquote(key): None if value == _NULL_PARTITION else unquote(value) for key, value in pairs}
