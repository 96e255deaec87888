"""Files that are broken by chance, by a seed, each with the rows that may be accepted of it.

A fault is of one of three kinds: of the sheet (columns and cells), of its text as CSV, or of a file's bytes. What a
file then says is read off the sheet, or by Python's own CSV reader; no part of the package has a say in it.
"""

import csv
import gzip
import io
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

KEYS = ("tx", "at", "eur", "card", "channel")
"""What a row is held by: id, UTC, amount, card and channel."""
START = datetime(2025, 4, 5)  # in a date of it, day and month can be taken for each other
ROWS = 60
COUNT_UP = 9_000
JUNK = (b"\0", b"\xff\xfe", b'"', b"\r", b"\n", b",", b";", b"\x1b[31m", "\u202e".encode(), b"NaN", b"1e999", b"=1+1")
NOTHING = object()
"""What a cell means that may not be accepted."""

Row = tuple[Any, ...]
"""The values of `KEYS`."""


class Cell(NamedTuple):
    """A cell as it is written, and what it means."""

    text: str
    value: Any


@dataclass
class Sheet:
    """Columns' names, and rows of as many cells."""

    names: list[str]
    rows: list[list[Cell]]

    def place(self, name: str) -> int:
        """Return which column has a name."""
        return self.names.index(name)

    def meaning(self) -> set[Row]:
        """Return the rows that may be accepted, for all that the sheet says."""
        if not set(KEYS) <= set(self.names):
            return set()
        places = [self.place(name) for name in KEYS]
        rows = [tuple(row[place].value for place in places) for row in self.rows]
        return {row for row in rows if NOTHING not in row and None not in row[:4]}


@dataclass(frozen=True)
class BrokenFile:
    """A file that may be broken.

    Attributes
    ----------
    name : str
    data : bytes
    rows : set of tuple
        What may be accepted, by `KEYS`; at most these.
    count : int
        Rows that it has, broken ones among them; none is lost without a word.
    faults : tuple of str
        What was done to it.
    """

    name: str
    data: bytes = field(repr=False)
    rows: set[Row] = field(repr=False)
    count: int
    faults: tuple[str, ...]


def good_sheet() -> Sheet:
    """Return rows of one day in which nothing is wrong."""
    draw = random.Random(0)
    rows = []
    for number in range(ROWS):
        at = START + timedelta(minutes=23 * number, seconds=draw.randrange(60))
        eur = draw.randrange(1_000, 9_999) / 100
        card, channel = f"card-{draw.randrange(40):02d}", draw.choice(["web", "shop", "phone"])
        values = [COUNT_UP + number, at, eur, card, channel, f"=note, {number}"]
        rows.append([Cell(str(value), value) for value in values])
    return Sheet([*KEYS, "note"], rows)


def broken_file(seed: int) -> BrokenFile:
    """Return a file, as the seed has it."""
    draw = random.Random(f"file {seed}")
    make = draw.choice((_broken_sheet, _broken_sheet, _broken_text, _broken_bytes))
    return make(draw)


def _broken_sheet(draw: random.Random) -> BrokenFile:
    sheet = good_sheet()
    faults = draw.choices(list(OF_SHEETS), k=draw.randint(1, 2))
    for name in faults:
        OF_SHEETS[name](sheet, draw)
    rows, form = sheet.meaning(), draw.choice((*FORMS, *3 * ("csv", "parquet")))
    return BrokenFile(*FORMS[form](sheet, draw), rows=rows, count=len(sheet.rows), faults=(*faults, form))


def _broken_text(draw: random.Random) -> BrokenFile:
    text, fault = as_csv(good_sheet(), draw), draw.choice(list(OF_TEXTS))
    text = OF_TEXTS[fault](text, draw)
    data = text.encode()
    return BrokenFile("in.csv", data, *as_it_stands(data), (fault,))


def _broken_bytes(draw: random.Random) -> BrokenFile:
    kind, sheet = draw.choice(("csv", "csv.gz", "parquet")), good_sheet()
    if kind == "parquet":
        data = as_parquet(sheet, draw)
    else:
        data = as_csv(sheet, draw).encode()
        data = gzip.compress(data, mtime=0) if kind == "csv.gz" else data
    data = broken_bytes(data, draw)
    # What is compressed has a checksum, and so have the pages of Parquet: there, no cell may be another.
    rows, count = as_it_stands(data) if kind == "csv" else (sheet.meaning(), ROWS)
    return BrokenFile(f"in.{kind}", data, rows, count, (f"bytes of {kind}",))


def broken_bytes(data: bytes, draw: random.Random) -> bytes:
    """Return bytes with one to three faults: some cut, doubled, exchanged, put in or turned over."""
    for _ in range(draw.randint(1, 3)):
        place, length = draw.randrange(max(len(data), 1)), draw.choice((1, 2, 7, 40))
        part = data[place : place + length]
        change = {
            "cut": data[:place],
            "gone": data[:place] + data[place + length :],
            "twice": data[:place] + part + part + data[place + length :],
            "junk": data[:place] + draw.choice(JUNK) + data[place:],
            "over": data[:place] + draw.choice(JUNK) + data[place + 1 :],
            "turned": data[:place] + bytes(255 - byte for byte in part) + data[place + length :],
        }
        data = change[draw.choice(list(change))]
    return data


def as_it_stands(data: bytes) -> tuple[set[Row], int]:
    """Return the rows that CSV text says, by `KEYS`, and how many it has; none of text that is not UTF-8."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeError:
        return set(), 0
    lines = [cells for cells in csv.reader(io.StringIO(text, newline="")) if cells]
    if not lines or not set(KEYS) <= set(lines[0]):
        return set(), 0
    places = [lines[0].index(name) for name in KEYS]
    rows = (_values([cells[place] for place in places]) for cells in lines[1:] if len(cells) == len(lines[0]))
    return {row for row in rows if row}, len(lines) - 1


def _values(texts: list[str]) -> Row | None:
    tx, at, eur, card, channel = texts
    try:
        moment = datetime.fromisoformat(at.strip())
        moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
        return int(float(tx)), moment, float(eur), card, channel or None
    except (ValueError, OverflowError):
        return None


# Faults of a sheet.


def _write_extreme(sheet: Sheet, name: str, draw: random.Random) -> None:
    """Write one of a column's extremes into one row, or into one in three."""
    if name in sheet.names:
        cell = Cell(*draw.choice(EXTREMES[name]))
        for row in draw.sample(sheet.rows, len(sheet.rows) // 3 if draw.random() < 0.3 else 1):
            row[sheet.place(name)] = cell


def _spell(name: str, spell: Callable[[Any], str], draw: random.Random, sheet: Sheet) -> None:
    """Spell the cells of a column otherwise, in all rows or in some."""
    if name not in sheet.names:
        return
    place, share = sheet.place(name), draw.choice((1.0, 0.5, 0.05))
    for row in sheet.rows:
        if draw.random() < share and isinstance(row[place].value, datetime | float):
            row[place] = Cell(spell(row[place].value), row[place].value)


MOMENTS: tuple[Callable[[datetime], str], ...] = (
    *(
        lambda at, form=form: at.strftime(form)  # type: ignore[misc]
        for form in (
            "%d/%m/%Y %H:%M:%S",
            "%m/%d/%Y %H:%M:%S",
            "%m/%d/%Y %I:%M:%S %p",
            "%d.%m.%Y %H:%M:%S",
            "%m-%d-%Y %H:%M:%S",
            "%Y/%m/%d %H:%M:%S",
            "%Y-%d-%m %H:%M:%S",
            "%Y%m%dT%H%M%S",
            "%Y%m%d%H%M%S",
            "%d %b %Y %H:%M:%S",
            "%Y-%m-%dT%H:%M:%SZ",
            "%Y-%m-%d %H:%M:%S UTC",
            "%Y-%m-%d %H:%M:%S.000001 EST",
        )
    ),
    lambda at: str(int(at.replace(tzinfo=UTC).timestamp())),
    lambda at: str(int(at.replace(tzinfo=UTC).timestamp() * 1000)),
    lambda at: str((at - datetime(1899, 12, 30)) / timedelta(days=1)),
    lambda at: (at + timedelta(hours=2)).isoformat() + "+02:00",
    lambda at: (at - timedelta(hours=5, minutes=30)).isoformat(" ") + "-0530",
)
AMOUNTS: tuple[Callable[[float], str], ...] = (
    lambda eur: f"{eur:.2f}".replace(".", ","),
    lambda eur: f"{eur:,.2f}",
    lambda eur: f"€ {eur}",
    lambda eur: f"{eur} EUR",
    lambda eur: f"0{eur}",
    lambda eur: f"{eur:e}",
    lambda eur: f"+{eur}",
    lambda eur: f"{eur}00",
    lambda eur: f" {eur}\u00a0",
    lambda eur: f"'{eur}",
    lambda eur: f'="{eur}"',
    lambda eur: f"{eur:.2f}".replace(".", " ."),
    lambda eur: "".join(chr(0xFF10 + int(sign)) if sign.isdigit() else sign for sign in str(eur)),
    lambda eur: float(eur).hex(),
)
EXTREMES = {
    "tx": [
        ("", None),
        ("-5", -5),
        ("9" * 20, NOTHING),
        ("9223372036854775807", 2**63 - 1),
        ("9.5", NOTHING),
        ("9e3", NOTHING),
        ("9_001", NOTHING),
        ("0x2328", NOTHING),
        ("x\0y", NOTHING),
        (str(COUNT_UP), COUNT_UP),
    ],
    "at": [
        ("", None),
        ("NaT", NOTHING),
        ("0001-01-01 00:00:00", NOTHING),
        ("9999-12-31 23:59:59", NOTHING),
        ("2025-02-30 12:00:00", NOTHING),
        ("2025-04-05 24:00:00", NOTHING),
        ("2025-04-05 12:60:00", NOTHING),
        ("1899-12-31", NOTHING),
        ("12:00:00", NOTHING),
        ("-2025-04-05", NOTHING),
        ("12025-04-05", NOTHING),
    ],
    "eur": [
        ("", None),
        ("nan", None),
        ("inf", NOTHING),
        ("-inf", NOTHING),
        ("1e300", NOTHING),
        ("1e999", NOTHING),
        ("-12.5", NOTHING),
        ("(12.50)", NOTHING),
        ("12.50-", NOTHING),
        ("0", 0.0),
        ("-0.0", 0.0),
        ("1e-320", 1e-320),
        ("999999999.99", 999999999.99),
        ("#REF!", NOTHING),
        ("=1+1", NOTHING),
        ("12.5.0", NOTHING),
        ("1e", NOTHING),
        ("null", NOTHING),
    ],
    "card": [
        ("", None),
        ("  ", None),
        (" card-01 ", " card-01 "),
        ("x" * 70_000, "x" * 70_000),
        ("\u202ecard\x1b[2J", "\u202ecard\x1b[2J"),
        ("a\nb", "a\nb"),
        ('q"q', 'q"q'),
        ("NULL", "NULL"),
        ("😀", "😀"),
        ("=1+1", "=1+1"),
    ],
    "channel": [("", None), ("WEB", "WEB"), ("web ", "web "), ("<b>", "<b>"), ("0", "0"), ("NaN", "NaN")],
}


def _extreme(name: str) -> Callable[[Sheet, random.Random], None]:
    return lambda sheet, draw: _write_extreme(sheet, name, draw)


def _order_columns(sheet: Sheet, draw: random.Random) -> None:
    order = draw.sample(range(len(sheet.names)), len(sheet.names))
    sheet.names = [sheet.names[place] for place in order]
    sheet.rows = [[row[place] for place in order] for row in sheet.rows]


def _swap_names(sheet: Sheet, draw: random.Random) -> None:
    one, other = draw.sample(range(len(sheet.names)), 2)
    sheet.names[one], sheet.names[other] = sheet.names[other], sheet.names[one]


def _rename(sheet: Sheet, draw: random.Random) -> None:
    place = draw.randrange(len(sheet.names))
    name = sheet.names[place]
    names = (name.upper(), f" {name}", f"{name}_2", "", f"{name}\0", f"\x1b[31m{name}", "source_file", "anomaly_score")
    sheet.names[place] = draw.choice(names)


def _drop_column(sheet: Sheet, draw: random.Random) -> None:
    place = draw.randrange(len(sheet.names))
    del sheet.names[place]
    for row in sheet.rows:
        del row[place]


def _double_column(sheet: Sheet, draw: random.Random) -> None:
    place, other = draw.randrange(len(sheet.names)), draw.choice(sheet.rows)
    sheet.names.append(sheet.names[place])
    for row in sheet.rows:
        row.append(draw.choice((row[place], other[place])))


def _add_column(sheet: Sheet, draw: random.Random) -> None:
    sheet.names.insert(0, draw.choice(("Unnamed: 0", "", "index", "is_flagged", "rank", 'a,b\n"c', "x" * 5_000)))
    for number, row in enumerate(sheet.rows):
        row.insert(0, Cell(str(number), number))


def _double_ids(sheet: Sheet, draw: random.Random) -> None:
    for row in draw.sample(sheet.rows, draw.choice((1, 20))):
        sheet.rows.insert(draw.randrange(len(sheet.rows)), draw.choice(sheet.rows)[:1] + row[1:])


def _order_rows(sheet: Sheet, draw: random.Random) -> None:
    draw.shuffle(sheet.rows)


def _double_rows(sheet: Sheet, draw: random.Random) -> None:
    sheet.rows += [list(row) for row in draw.sample(sheet.rows, draw.randint(1, len(sheet.rows)))]


def _shift(sheet: Sheet, draw: random.Random) -> None:
    """Move one column's cells down by a row, as a sheet does in which one column was sorted."""
    place = draw.randrange(len(sheet.names))
    cells = [row[place] for row in sheet.rows]
    for row, cell in zip(sheet.rows, cells[-1:] + cells[:-1], strict=True):
        row[place] = cell


OF_SHEETS: dict[str, Callable[[Sheet, random.Random], None]] = {
    "nothing": lambda sheet, draw: None,
    "moments": lambda sheet, draw: _spell("at", draw.choice(MOMENTS), draw, sheet),
    "amounts": lambda sheet, draw: _spell("eur", draw.choice(AMOUNTS), draw, sheet),
    **{f"cell of {name}": _extreme(name) for name in EXTREMES},
    "order of columns": _order_columns,
    "names swapped": _swap_names,
    "column renamed": _rename,
    "column gone": _drop_column,
    "column twice": _double_column,
    "column more": _add_column,
    "ids twice": _double_ids,
    "order of rows": _order_rows,
    "rows twice": _double_rows,
    "cells moved": _shift,
}


# Faults of CSV text.


def _cut_last(text: str, draw: random.Random) -> str:
    return text[: -draw.randint(1, 60)]


def _insert_line(text: str, draw: random.Random, line: str) -> str:
    lines = text.splitlines(keepends=True)
    lines.insert(draw.choice((0, 1, len(lines) // 2, len(lines))), line)
    return "".join(lines)


def _other_delimiter(text: str, draw: random.Random) -> str:
    lines, sign = text.splitlines(keepends=True), draw.choice(";\t|")
    for place in draw.sample(range(1, len(lines)), draw.choice((1, 20))):
        lines[place] = lines[place].replace(",", sign)
    return "".join(lines)


OF_TEXTS: dict[str, Callable[[str, random.Random], str]] = {
    "last line cut": _cut_last,
    "header again": lambda text, draw: _insert_line(text, draw, text.splitlines(keepends=True)[0]),
    "total": lambda text, draw: _insert_line(text, draw, "Total,,3456.78,,,\n"),
    "remark": lambda text, draw: _insert_line(text, draw, "# exported by a tool\n"),
    "blank lines": lambda text, draw: _insert_line(text, draw, "\n\r\n   \n"),
    "commas behind": lambda text, draw: text.replace("\n", ",\n"),
    "mixed delimiters": _other_delimiter,
    "mixed line ends": lambda text, draw: "".join(
        line.rstrip("\r\n") + draw.choice(("\n", "\r\n", "\r")) for line in text.splitlines(keepends=True)
    ),
    "two marks of order": lambda text, draw: "\ufeff\ufeff" + text,
    "end of file sign": lambda text, draw: text + "\x1a",
    "zero bytes behind": lambda text, draw: text + "\0" * draw.choice((1, 4_096)),
    "file twice": lambda text, draw: text + text,
    "quote alone": lambda text, draw: _insert_line(text, draw, '9500,"2025-04-05 12:00:00,12.5,card-01,web,x\n'),
}


# Ways to write a sheet.


def as_csv(sheet: Sheet, draw: random.Random) -> str:
    """Return the sheet as CSV, with line ends and quotes by chance."""
    stream = io.StringIO(newline="")
    quoting = draw.choice((csv.QUOTE_MINIMAL, csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    writer = csv.writer(stream, lineterminator=draw.choice(("\n", "\r\n")), quoting=quoting)
    writer.writerow(sheet.names)
    writer.writerows([cell.text for cell in row] for row in sheet.rows)
    return stream.getvalue()


def as_parquet(sheet: Sheet, draw: random.Random) -> bytes:
    """Return the sheet as Parquet, the types of its columns by chance."""
    columns = [_as_column(list(cells), draw) for cells in zip(*sheet.rows, strict=True)]
    sink = pa.BufferOutputStream()
    table = pa.Table.from_arrays(columns, names=sheet.names)
    pq.write_table(table, sink, write_page_checksum=True, row_group_size=draw.choice((7, 1_000)))
    return bytes(sink.getvalue())


def _as_column(cells: list[Cell], draw: random.Random) -> pa.Array:
    """Return cells typed, where all are of one type and are written plainly, else as text."""
    kinds = {type(cell.value) for cell in cells} - {type(None)}
    is_plain = all(cell.text == ("" if cell.value is None else str(cell.value)) for cell in cells)
    if len(kinds) > 1 or not is_plain or draw.random() < 0.2:
        column = pa.array([cell.text or None for cell in cells], pa.string())
        return column.dictionary_encode() if draw.random() < 0.3 else column
    column = pa.array([cell.value for cell in cells])
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp(draw.choice(("ms", "us", "ns")), draw.choice((None, "UTC"))))
    if pa.types.is_int64(column.type) and pc.max(pc.abs(column)).as_py() < 2**53:
        return column.cast(draw.choice((pa.int64(), pa.float64(), pa.decimal128(22, 2))))
    return column


def _packed(sheet: Sheet, draw: random.Random) -> tuple[str, bytes]:
    """Write gzip of one part or two, with something behind it by chance."""
    data = as_csv(sheet, draw).encode()
    place = draw.choice((0, len(data) // 2))
    parts = [gzip.compress(part, mtime=0) for part in (data[:place], data[place:]) if part]
    return "in.csv.gz", b"".join(parts) + draw.choice((b"", b"", b"\0" * 512, b"more"))


def _other_name(sheet: Sheet, draw: random.Random) -> tuple[str, bytes]:
    """Write a file under a name of another kind."""
    text = as_csv(sheet, draw).encode()
    return draw.choice(
        [
            ("in.csv.gz", text),
            ("in.csv", gzip.compress(text, mtime=0)),
            ("in.csv.gz", gzip.compress(gzip.compress(text, mtime=0), mtime=0)),
            ("in.csv.gz", zlib.compress(text)),
            ("in.parquet", text),
            ("in.csv", as_parquet(sheet, draw)),
            ("in.CSV", text),
            ("in.txt", text),
            ("in.csv", b"PK\x03\x04" + text),
            ("in.csv", b""),
            ("in.parquet", b"PAR1PAR1"),
        ]
    )


FORMS: dict[str, Callable[[Sheet, random.Random], tuple[str, bytes]]] = {
    "csv": lambda sheet, draw: ("in.csv", as_csv(sheet, draw).encode()),
    "csv with a mark of order": lambda sheet, draw: ("in.csv", as_csv(sheet, draw).encode("utf-8-sig")),
    "csv in utf-16": lambda sheet, draw: ("in.csv", as_csv(sheet, draw).encode("utf-16")),
    "csv in latin-1": lambda sheet, draw: ("in.csv", as_csv(sheet, draw).encode("latin-1", errors="replace")),
    "csv.gz": _packed,
    "parquet": lambda sheet, draw: ("in.parquet", as_parquet(sheet, draw)),
    "another name": _other_name,
}
