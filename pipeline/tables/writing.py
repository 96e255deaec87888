"""Files that are there as a whole or not at all: Parquet, text, CSV that is harmless to spreadsheets."""

import codecs
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipeline.errors import plain


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a file beside ``path`` to write to, which takes its place on success and is gone otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A leading dot keeps readers of the folder from it.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("wb") as stream:
            yield stream
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


class ParquetWriter:
    """A writer of a Parquet file that is there as a whole or not at all.

    A writer is a context manager. The file takes its name when the block ends well, and leaves no trace when it raises.

    Parameters
    ----------
    path : Path
    schema : pyarrow.Schema
    distinct : collection of str
        Columns whose values hardly ever come twice, such as ids.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, distinct: Collection[str] = ()) -> None:
        self.path, self.schema, self._distinct = path, schema, distinct

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stream = stack.enter_context(replacing(self.path))
            self._writer = stack.enter_context(
                pq.ParquetWriter(stream, self.schema, use_dictionary=_with_dictionary(self.schema, self._distinct))
            )
            self._open = stack.pop_all()
        return self

    def write(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Append rows, whose columns are put into the schema's order."""
        if rows.num_rows:  # a row group without a row is one that other readers stumble over
            self._writer.write(rows.select(self.schema.names).cast(self.schema))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)


def _with_dictionary(schema: pa.Schema, distinct: Collection[str]) -> list[str] | bool:
    """Return the columns whose values Parquet is to look for a second time, or whether it is to for all.

    Numbers with a fraction and moments hardly ever come twice, either: looking takes longer than writing them.
    """
    if any(pa.types.is_nested(field.type) for field in schema):
        return True
    return [
        field.name
        for field in schema
        if not (pa.types.is_floating(field.type) or pa.types.is_temporal(field.type) or field.name in distinct)
    ]


def place_file(source: Path, target: Path, scratch: Path) -> None:
    """Give a file that nobody changes a second name, whole or not at all; where a disk has no links, copy it.

    Parameters
    ----------
    source : Path
    target : Path
        Its folder is made.
    scratch : Path
        A folder on the target's disk, that nobody else writes to.
    """
    staged = scratch / target.name
    try:
        staged.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, staged)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(target)


def flush(*paths: Path) -> None:
    """Bring files, and the names in folders, from the system's memory to the disk: they survive a power cut."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file that is there as a whole or not at all."""
    with replacing(path) as stream:
        stream.write(text.encode())


def write_csv(
    path: Path, batches: Iterable[pa.RecordBatch | pa.Table], schema: pa.Schema, *, second: Sequence[str] = ()
) -> None:
    """Write rows as CSV for a spreadsheet, as a whole or not at all.

    Parameters
    ----------
    path : Path
    batches : iterable of pyarrow.RecordBatch or pyarrow.Table
    schema : pyarrow.Schema
        The columns written, none of them nested. Text (names of columns too) that a spreadsheet would take
        for a formula, because it begins with ``= + - @``, tab or a line end, gets a leading ``'``. Control
        characters, but for tabs and line ends, and what turns the direction of writing are spelled out.
        The file begins with a byte-order mark, without which spreadsheets garble letters beyond ASCII.
    second : sequence of str
        A second header row, a cell a column; () for none.
    """
    safe = pa.schema([pa.field(_harmless(pa.array([field.name]))[0].as_py(), field.type) for field in schema])
    with replacing(path) as stream:
        stream.write(codecs.BOM_UTF8)
        if second:
            row = pa.record_batch([_harmless(pa.array([cell])) for cell in second], names=safe.names)
            pacsv.write_csv(row, stream)
        options = pacsv.WriteOptions(include_header=not second)
        with pacsv.CSVWriter(stream, safe, write_options=options) as writer:
            for batch in batches:
                rows = batch.select(schema.names).cast(schema)
                columns = [_harmless(cells) if pa.types.is_string(cells.type) else cells for cells in rows.columns]
                for part in pa.Table.from_arrays(columns, schema=safe).to_batches():
                    if part.num_rows:  # for a first batch without rows Arrow writes whatever lies in its memory
                        writer.write(part)


def read_back(text: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    r"""Return text that `write_csv` has written as it was before, such as ids by which labels come back.

    Examples
    --------
    >>> read_back(pa.array(["'=A1", "a\\x1bb", "it's", None])).to_pylist()
    ['=A1', 'a\x1bb', "it's", None]
    """

    def sign(match: re.Match[str]) -> str:
        letter = chr(int(match[1], 16))
        is_text = not 0xD800 <= ord(letter) < 0xE000  # half of a pair: no text that was written had one
        return letter if is_text and plain(letter) == match[0] else match[0]

    text = _changed(text, r"\\[xu]", lambda value: re.sub(r"\\[xu]((?<=x)[0-9a-f]{2}|(?<=u)[0-9a-f]{4})", sign, value))
    return pc.replace_substring_regex(text, r"\A'([=+\-@\t\r\n])", r"\1")


_ACTING = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\x{61c}\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}\x{feff}]"
"""What is spelled out in a spreadsheet, for RE2: a cell may have tabs and several lines."""


def _harmless(text: pa.Array) -> pa.Array:
    text = _changed(text, _ACTING, lambda value: re.sub(r"[^\t\r\n]+", lambda part: plain(part[0]), value))
    return pc.replace_substring_regex(text, r"\A([=+\-@\t\r\n])", r"'\1")


def _changed(
    text: pa.Array | pa.ChunkedArray, pattern: str, change: Callable[[str], str]
) -> pa.Array | pa.ChunkedArray:
    """Return text whose values that a pattern of RE2 finds are changed."""
    if not pc.any(pc.match_substring_regex(text, pattern)).as_py():
        return text
    values = text.unique()
    changed = pa.array([value if value is None else change(value) for value in values.to_pylist()], text.type)
    return changed.take(pc.index_in(text, values))
