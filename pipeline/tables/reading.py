"""Other people's tables: CSV, Parquet, folders and hive-partitioned datasets as Arrow batches, values as they came.

Nothing here reads a whole table into memory, and every way in which a file can be unreadable ends as one
sentence: :class:`pipeline.errors.InputError`, or :class:`pipeline.errors.ResourceError` where the fault lies not in the
file but around it.
"""

import csv
import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from pipeline.errors import InputError
from pipeline.settings.config import TableConfig
from pipeline.tables.ahead import ahead
from pipeline.tables.files import (
    SOURCE_FILE,
    SOURCE_ROW,
    Header,
    cast_column,
    check_cells,
    csv_reader,
    merge_schemas,
    parquet_file,
    partition_values,
    readable,
    refuse_open_quote,
    table_files,
)
from pipeline.tables.headers import file_schema, read_header, unique_names
from pipeline.tables.lines import line_blocks
from pipeline.tables.made import with_made
from pipeline.tables.packed import PACKED, is_csv
from pipeline.tables.stretches import Groups, NotByItself, TableStretch, blocks_of, row_groups_of, table_stretches

_LINES_AT_FIRST = 1_000  # of which none has as many cells as the header: the rest of the file is not looked at
ACCEPTED = f"a .csv or .parquet file, CSV packed as {PACKED}, or a folder of one of them"


@dataclass(frozen=True)
class BrokenLine:
    """A CSV row with a wrong number of cells: its file, 0-based data row and text as it came."""

    source_file: str
    source_row: int
    text: str


class Table:
    """A table is a file or a folder that was opened but not read; `open_table` makes it.

    Attributes
    ----------
    path : Path
        The file or folder that was opened.
    files : tuple of Path
        Its files, in the order in which they are read.
    format : {"csv", "parquet"}
    schema : pyarrow.Schema
        Columns as found: all strings in CSV; the ``key=value`` folders of a partitioned dataset are string
        columns at the end, and behind them the columns that the settings make of others.
    broken : list of BrokenLine
        CSV rows with a wrong number of cells, met so far by the latest :meth:`batches`.
    renamed : dict of str to str
        By column that is called otherwise than in the files, its name there, "" where it has none.
    """

    def __init__(
        self,
        path: Path,
        files: tuple[Path, ...],
        *,
        kind: Literal["csv", "parquet"],
        schema: pa.Schema,
        settings: TableConfig,
        renamed: Mapping[str, str],
    ) -> None:
        self.path, self.files, self.settings = path, files, settings
        self._found = schema
        self.schema = with_made(_no_rows(schema), settings).schema
        self.renamed = renamed
        self.format: Literal["csv", "parquet"] = kind
        self.broken: list[BrokenLine] = []

    def digest(self) -> str:
        """Return a SHA-256 over the content: a single file's bytes, or a folder's relative names and bytes.

        The same file under another name has the same digest; a changed one under the same name has not.
        """
        return content_digest(self.path, self.settings)

    def batches(self, rows: int, stretch: TableStretch | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows in file order, values as found, with the columns ``source_file`` and ``source_row``.

        Parameters
        ----------
        rows : int
            Rows a batch; only the last has fewer, so that batches do not depend on how files are cut.
        stretch : TableStretch, optional
            The only rows to read; all when left out.

        Yields
        ------
        pyarrow.RecordBatch
            The columns of ``schema``, then ``source_file`` (string) and ``source_row`` (int64: the row's
            0-based place among its file's rows, those with a wrong number of cells counted).

        Raises
        ------
        InputError
            When a file turns out to be unreadable on the way.
        NotByItself
            When that takes more of a CSV file than the stretch.
        """
        # The parser may still run ahead for an iteration that was given up: a list of its own for each.
        self.broken = broken = list[BrokenLine]()
        parts: list[pa.RecordBatch] = []
        count = 0
        read = self._all_batches(broken, rows) if stretch is None else self._batches_of(stretch, rows)
        for file, cells, places in read:
            batch = self._with_source(file, cells, places)
            while count + batch.num_rows >= rows:
                first = batch.slice(0, rows - count)
                yield pa.concat_batches([*parts, first]) if parts else first
                batch = batch.slice(rows - count)
                parts, count = [], 0
            if batch.num_rows:
                parts.append(batch)
                count += batch.num_rows
        if parts:
            yield pa.concat_batches(parts)

    def stretches(self, batch_rows: int, rows: int) -> list[TableStretch]:
        """Return stretches of so many rows, about, that begin where batches do; none where a table is read in order.

        That is CSV whose lines `line_blocks` can't tell apart. Other CSV is taken to have as many cells in each line as
        in the header; where it has not, reading a stretch raises `NotByItself`.

        Raises
        ------
        InputError
            When a file turns out to be unreadable.
        """
        groups: list[Groups] = []
        for file in self.files:
            with readable(file, self.settings):
                if self.format == "parquet":
                    groups += row_groups_of(file)
                    continue
                blocks = line_blocks(file, self.settings, read_header(file, self.settings))
            if not blocks:
                return []
            groups += blocks_of(file, blocks)
        return table_stretches(groups, batch_rows, rows)

    def _name(self, file: Path) -> str:
        return file.name if file == self.path else file.relative_to(self.path).as_posix()

    def _all_batches(self, broken: list[BrokenLine], rows: int) -> Iterator[tuple[Path, pa.RecordBatch, np.ndarray]]:
        is_text = self.format == "csv"
        for file in self.files:
            with readable(file, self.settings):
                batches = self._csv_batches(file, broken) if is_text else ahead(self._parquet_batches(file, rows=rows))
                yield from ((file, cells, places) for cells, places in batches)

    def _batches_of(self, stretch: TableStretch, rows: int) -> Iterator[tuple[Path, pa.RecordBatch, np.ndarray]]:
        start, stop = stretch.skipped, stretch.skipped + stretch.rows
        for groups in stretch.groups:
            with readable(groups.file, self.settings):
                read = self._lines_of if groups.within else partial(self._parquet_batches, rows=rows)
                for cells, places in ahead(read(groups.file, groups, stretch.folder)):
                    first, end = min(max(start, 0), len(places)), min(stop, len(places))
                    yield groups.file, cells.slice(first, end - first), places[first:end]
                    start, stop = start - len(places), stop - len(places)
                    if stop <= 0:
                        return

    def _lines_of(self, file: Path, groups: Groups, folder: Path) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        start = groups.first
        try:
            header = read_header(folder / file, self.settings)
            with csv_reader(folder / file, self.settings, header, _refused, within=groups.within) as reader:
                for batch in reader:
                    yield batch.rename_columns(header.names), np.arange(start, start + batch.num_rows)
                    start += batch.num_rows
        except (pa.ArrowException, UnicodeError, InputError):
            raise NotByItself from None
        if start != groups.first + groups.rows:
            raise NotByItself

    def _parquet_batches(
        self, file: Path, groups: Groups | None = None, folder: Path = Path(), *, rows: int
    ) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        numbers, start = (None, 0) if groups is None else (list(groups.numbers), groups.first)
        with parquet_file(folder / file) as reader:
            for batch in reader.iter_batches(rows, row_groups=numbers):
                check_cells(batch, file, start)
                batch = batch.rename_columns(unique_names(batch.schema.names))
                yield batch, np.arange(start, start + batch.num_rows)
                start += batch.num_rows

    def _csv_batches(self, file: Path, broken: list[BrokenLine]) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        header, before = read_header(file, self.settings), len(broken)
        try:
            yield from self._whole_rows(file, header, broken)
        except pa.ArrowInvalid:
            lines = broken[before:]
            if len(lines) < _LINES_AT_FIRST or lines[-1].source_row + 1 > len(lines):
                raise
            cells = next(csv.reader(lines[0].text.splitlines(), delimiter=header.delimiter), [])
            raise InputError(
                f"{file}: none of its first {len(lines):,} rows has as many cells as its header, which has "
                f"{len(header.names)} where the first row has {len(cells)}; name each column there, or check delimiter "
                "and quotes"
            ) from None

    def _whole_rows(
        self, file: Path, header: Header, broken: list[BrokenLine]
    ) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
        broken_rows: list[int] = []

        def note(row: pacsv.InvalidRow) -> str:
            place = header.place_of(row.number)
            broken_rows.append(place)
            broken.append(BrokenLine(self._name(file), place, row.text))
            return "error" if place + 1 == len(broken_rows) >= _LINES_AT_FIRST else "skip"

        lines_checked = len(broken)
        start = lines_passed = 0
        with csv_reader(file, self.settings, header, note) as reader:
            last = ""
            for batch in reader:
                lines = broken[lines_checked:]
                lines_checked += len(lines)
                _refuse_open_quotes(file, lines, header)
                if not batch.num_rows:
                    continue
                # A block is parsed before it is converted, so every broken row among these is known by now.
                # The j-th whole row lies behind all broken rows that have at most j whole rows before them.
                ahead = np.array(broken_rows[lines_passed:], dtype=np.int64)
                whole_before = ahead - np.arange(len(ahead)) - start
                places = np.arange(batch.num_rows)
                places += start + np.searchsorted(whole_before, places, side="right")
                start = int(places[-1]) + 1
                lines_passed = bisect_left(broken_rows, start)
                last = batch.column(batch.num_columns - 1)[-1].as_py() or ""
                yield batch.rename_columns(header.names), places
            _refuse_open_quotes(file, broken[lines_checked:], header)
            refuse_open_quote(file, max(start - 1, 0), last, header)

    def _with_source(self, file: Path, batch: pa.RecordBatch, places: np.ndarray) -> pa.RecordBatch:
        cells = dict(zip(batch.schema.names, batch.columns, strict=True))
        partition = partition_values(self.path, file)
        columns = []
        for field in self._found:
            if field.name in cells:
                column = cells[field.name]
                columns.append(column if column.type == field.type else cast_column(column, field, file))
            else:
                columns.append(pa.repeat(pa.scalar(partition[field.name], pa.string()), batch.num_rows))
        made = with_made(pa.record_batch(columns, schema=self._found), self.settings)
        columns = [*made.columns, pa.repeat(self._name(file), batch.num_rows), pa.array(places, pa.int64())]
        schema = self.schema.append(pa.field(SOURCE_FILE, pa.string())).append(pa.field(SOURCE_ROW, pa.int64()))
        return pa.record_batch(columns, schema=schema)


def _refused(row: pacsv.InvalidRow) -> str:
    return "error"


def _refuse_open_quotes(file: Path, lines: list[BrokenLine], header: Header) -> None:
    for line in lines:
        refuse_open_quote(file, line.source_row, line.text, header)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.array([], field.type) for field in schema], schema=schema)


def content_digest(path: str | Path, settings: TableConfig) -> str:
    """Return the digest of a file or folder as ``Table.digest`` does, also of one that is no readable table.

    Raises
    ------
    InputError
        When it is no file, such as a pipe, or its name is not UTF-8.
    ResourceError
        When it does not exist or may not be read.
    """
    path = Path(path)
    total = hashlib.sha256()
    for file in table_files(path, settings):
        with readable(file, settings), file.open("rb") as stream:
            name = "" if file == path else file.relative_to(path).as_posix()
            total.update(f"{name}\0".encode())
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def open_table(path: str | Path, settings: TableConfig) -> Table:
    """Open a file or folder as one table, without reading its rows.

    Parameters
    ----------
    path : str or Path
        A ``.csv`` or ``.parquet`` file, or a folder with files of one of the two kinds at any depth. CSV may be packed
        (gzip, bzip2, zstd, xz, a zip archive of one file). Names that begin with ``.`` or ``_`` are left out;
        ``key=value`` folders become columns.
    settings : TableConfig
        Delimiter and encoding of CSV files.

    Raises
    ------
    InputError
        With one sentence: empty, of another kind, truncated, with another delimiter or encoding, or with files
        that do not fit together.
    ResourceError
        When it does not exist or may not be read.
    """
    path = Path(path)
    files = table_files(path, settings)
    if not files:
        raise InputError(f"{path} is a folder without tables; put .csv or .parquet files into it")
    kinds = {file: _kind(file) for file in files}
    if len(set(kinds.values())) > 1:
        other = next(file for file in files if kinds[file] != kinds[files[0]])
        raise InputError(
            f"{path} holds both {files[0].name} and {other.name}; keep CSV and Parquet in separate folders"
        )
    kind = kinds[files[0]]
    table_schema: pa.Schema | None = None
    renamed: dict[str, str] = {}
    for file in files:
        with readable(file, settings):
            schema, names = file_schema(path, file, kind, settings)
            renamed |= names
            table_schema = schema if table_schema is None else merge_schemas(table_schema, schema, files[0], file)
    table = Table(path, files, kind=kind, schema=table_schema, settings=settings, renamed=renamed)
    if not _has_rows(table):
        raise InputError(f"{path} is empty: it has no rows below its column names; give it a table with rows")
    return table


def _has_rows(table: Table) -> bool:
    if table.format == "parquet":
        return any(_parquet_rows(file, table.settings) for file in table.files)
    return next(table.batches(1), None) is not None or bool(table.broken)


def _parquet_rows(file: Path, settings: TableConfig) -> int:
    with readable(file, settings), parquet_file(file) as reader:
        return int(reader.metadata.num_rows)


def _kind(file: Path) -> Literal["csv", "parquet"]:
    if is_csv(file):
        return "csv"
    if file.name.lower().endswith(".parquet"):
        return "parquet"
    raise InputError(
        f"{file} is no table that can be read; accepted is {ACCEPTED}, and names beginning with _ are left out"
    )
