import csv
import gzip
import os
import random
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.settings.config import TableConfig
from pipeline.tables import files as table_files
from pipeline.tables.parquet import read_batches, take_rows
from pipeline.tables.reading import SOURCE_FILE, SOURCE_ROW, BrokenLine, content_digest, open_table
from pipeline.tables.writing import ParquetWriter, write_csv, write_text

SETTINGS = TableConfig()


def rows_of(path, settings=SETTINGS, rows=1000) -> pa.Table:
    return pa.Table.from_batches(list(open_table(path, settings).batches(rows)))


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


# CSV


def test_csv_cells_are_strings_as_found(tmp_path):
    path = write(tmp_path / "a.csv", '\ufeffid,amount,note\n007, 1.50 ,"a, ""b""\nc"\n8,,""\n')
    table = open_table(path, SETTINGS)
    assert table.format == "csv"
    assert table.schema == pa.schema({name: pa.string() for name in ("id", "amount", "note")})
    (batch,) = table.batches(10)
    assert batch.to_pydict() == {
        "id": ["007", "8"],
        "amount": [" 1.50 ", None],
        "note": ['a, "b"\nc', None],
        SOURCE_FILE: ["a.csv", "a.csv"],
        SOURCE_ROW: [0, 1],
    }


@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 0.97, 1.0])
@pytest.mark.parametrize("block", [97, 1000])
def test_rows_keep_their_number_beside_broken_lines(tmp_path, monkeypatch, share, block):
    monkeypatch.setattr(table_files, "BLOCK_BYTES", block)
    draw = random.Random(repr((share, block)))
    lines, whole, broken = [], [], []
    for row in range(400):
        if draw.random() < share:
            text = draw.choice([f"{row},x", f"{row},x,y,z", f'{row},"two\nlines",y,z'])
            broken.append(BrokenLine("a.csv", row, text))
        else:
            text = draw.choice([f"{row},b,c", f'{row},b,"c\nd"'])
            whole.append(row)
        lines += [text] + [""] * (draw.random() < 0.1)
    path = write(tmp_path / "a.csv", "row,b,c\n" + "\n".join(lines) + "\n")
    table = open_table(path, SETTINGS)
    for _ in range(2):  # the second time starts anew
        batches = list(table.batches(37))
        assert [batch.num_rows for batch in batches[:-1]] == [37] * (len(batches) - 1)
        found = pa.Table.from_batches(batches) if batches else None
        assert (found[SOURCE_ROW].to_pylist() if found else []) == whole
        assert ([int(row) for row in found["row"].to_pylist()] if found else []) == whole
        assert table.broken == broken


def test_a_table_of_broken_lines_only_is_not_empty(tmp_path):
    table = open_table(write(tmp_path / "a.csv", "a,b\n1\n2,3,4\n"), SETTINGS)
    assert list(table.batches(10)) == []
    assert table.broken == [BrokenLine("a.csv", 0, "1"), BrokenLine("a.csv", 1, "2,3,4")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiter_of_the_settings(tmp_path, delimiter):
    path = write(tmp_path / "a.csv", delimiter.join("ab") + "\n" + delimiter.join("12") + "\n")
    assert rows_of(path, TableConfig(delimiter=delimiter)).to_pylist()[0]["b"] == "2"
    other = ";" if delimiter != ";" else ","
    with pytest.raises(InputError) as error:
        open_table(path, TableConfig(delimiter=other))
    assert f"a single column when cut at {other!r}, and its header contains {delimiter!r}" in str(error.value)
    shown = "\\t" if delimiter == "\t" else delimiter
    assert str(error.value).endswith(f'set [table] delimiter = "{shown}"')


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16", "cp1252"])
def test_encoding_of_the_settings(tmp_path, encoding):
    path = write(tmp_path / "a.csv", "id,Händler\n1,Müller\n".encode(encoding))
    assert rows_of(path, TableConfig(encoding=encoding))["Händler"].to_pylist() == ["Müller"]


@pytest.mark.parametrize(
    ("data", "where", "remedy"),
    [
        ("a,b\n1,2\nä,2\n".encode("latin-1"), "near byte 8, line 3", "latin-1"),
        ("a,b\n1,2\nä,2,3\n".encode("latin-1"), "near byte 8, line 3", "latin-1"),
        ("ä,b\n1,2\n".encode("latin-1"), "near byte 0, line 1", "latin-1"),
        (b"a,b\n" + b"1,2\n" * 3_000_000 + b"\xff,2\n", "near byte 12000004, line 3000002", "latin-1"),
        ("a,b\n1,2\n".encode("utf-16"), "near byte 0, line 1", "utf-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), "zero bytes in line 1", "utf-16"),
    ],
)
def test_another_encoding_is_one_sentence(tmp_path, data, where, remedy):
    path = write(tmp_path / "a.csv", data)
    with pytest.raises(InputError) as error:
        list(open_table(path, SETTINGS).batches(100_000))
    assert str(error.value) == f'{path} is not utf-8 ({where}); set [table] encoding, e.g. "{remedy}"'


def test_an_unknown_encoding(tmp_path):
    path = write(tmp_path / "a.csv", "a,b\n1,2\n")
    with pytest.raises(InputError, match='encoding = "utf-9" is no encoding; use'):
        open_table(path, TableConfig(encoding="utf-9"))


@pytest.mark.parametrize(
    "text",
    [
        'a,b,c\n1,2,3\n4,"5,6\n7,8,9\n7,8,9\n',  # the rest becomes a row with too few cells
        'a,b\n1,2\n4,"5\n7,8\n',  # the rest becomes the last cell
        "a,b\n" + "1,2\n" * 50 + '4,"5\n' + "7,8\n" * 3_000_000,  # longer than a block
    ],
)
def test_a_quote_that_never_closes(tmp_path, text):
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(InputError, match=r"a quote that .* never closed") as error:
        list(open_table(path, SETTINGS).batches(1000))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data", ["", "\n", "a,b", "a,b\n", "a,b\n\n\n"])
def test_an_empty_csv(tmp_path, data):
    with pytest.raises(InputError, match=r"a\.csv is empty"):
        open_table(write(tmp_path / "a.csv", data), SETTINGS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,a\n1,2,3\n", "has two columns named 'a'; give each column a name of its own"),
        ("a,,c\n1,2,3\n", "column 2 of the header has no name"),
        ("a,source_row\n1,2\n", "a name that Assay adds itself; rename the column"),
    ],
)
def test_headers_that_cannot_be_used(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        open_table(write(tmp_path / "a.csv", text), SETTINGS)


def test_compressed_csv_and_what_is_left_of_it(tmp_path):
    draw = random.Random(0)
    text = "a,b\n" + "".join(f"{draw.random()},{row}\n" for row in range(20_000))
    packed = gzip.compress(text.encode())
    assert rows_of(write(tmp_path / "a.CSV.gz", packed), rows=7000)["b"][-1].as_py() == "19999"
    for data in (packed[: len(packed) // 2], b"a,b\n1,2\n"):
        path = write(tmp_path / "b.csv.gz", data)
        with pytest.raises(InputError, match=r"b\.csv\.gz cannot be read as CSV \("):
            list(open_table(path, SETTINGS).batches(1000))


# Parquet


def test_parquet_values_are_as_found_with_plain_storage(tmp_path):
    found = pa.table(
        {
            "name": pa.array(["a", None, "a"]).dictionary_encode(),
            "large": pa.array(["x", "y", None], pa.large_string()),
            "price": pa.array([Decimal("1.50"), None, Decimal("2.00")]),
            "at": pa.array([0, 1, None], pa.timestamp("ns", "Europe/Berlin")),
            "small": pa.array([1, 2, 3], pa.uint16()),
        }
    )
    pq.write_table(found, tmp_path / "a.parquet")
    table = open_table(tmp_path / "a.parquet", SETTINGS)
    assert table.schema.types == [pa.string(), pa.string(), found["price"].type, found["at"].type, pa.uint16()]
    got = pa.Table.from_batches(list(table.batches(2)))
    assert got.drop_columns([SOURCE_FILE, SOURCE_ROW]).to_pydict() == found.to_pydict()
    assert got[SOURCE_ROW].to_pylist() == [0, 1, 2]


def test_batches_do_not_depend_on_row_groups_and_stay_small(tmp_path):
    pq.write_table(pa.table({"a": range(300_000)}), tmp_path / "a.parquet", row_group_size=300_000)
    pq.write_table(pa.table({"a": range(300_000)}), tmp_path / "b.parquet", row_group_size=777)
    for name in ("a", "b"):
        batches = list(open_table(tmp_path / f"{name}.parquet", SETTINGS).batches(70_000))
        assert [batch.num_rows for batch in batches] == [70_000] * 4 + [20_000]
        assert pa.Table.from_batches(batches)["a"].to_pylist() == list(range(300_000))


def test_memory_stays_bounded_in_one_large_row_group(tmp_path):
    path = tmp_path / "a.parquet"
    random_text = pa.array([f"{random.random()}" for _ in range(100_000)])
    column = pa.chunked_array([random_text] * 20)
    pq.write_table(pa.table({"a": column}), path, row_group_size=2_000_000, use_dictionary=False)
    del column, random_text
    before, peak = pa.total_allocated_bytes(), 0
    for _ in open_table(path, SETTINGS).batches(50_000):
        peak = max(peak, pa.total_allocated_bytes() - before)
    assert path.stat().st_size > 25e6
    assert peak < 20e6


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_parquet(tmp_path, kept):
    pq.write_table(pa.table({"a": range(1000)}), tmp_path / "whole.parquet")
    data = (tmp_path / "whole.parquet").read_bytes()
    path = write(tmp_path / "cut.parquet", data[: int(kept * len(data))])
    with pytest.raises(InputError, match=r"cut\.parquet is truncated or no Parquet file \(.*\); write it again"):
        open_table(path, SETTINGS)


def test_a_parquet_damaged_in_the_middle(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": range(10_000)}), path, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    data[2000:2100] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.parquet is truncated or no Parquet file"):
        list(open_table(path, SETTINGS).batches(1000))


def test_a_parquet_without_rows_or_with_two_columns_of_one_name(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet is empty"):
        open_table(tmp_path / "a.parquet", SETTINGS)
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), tmp_path / "b.parquet")
    with pytest.raises(InputError, match="two columns named 'a'"):
        open_table(tmp_path / "b.parquet", SETTINGS)


# Folders


def test_a_folder_is_one_table_in_the_order_of_names(tmp_path):
    write(tmp_path / "b.csv", "y,x\n3,c\n")
    write(tmp_path / "a.csv", "x,y\na,1\nbroken\nb,2\n")
    write(tmp_path / "sub" / "c.csv", "x,y\nd,4\n")
    write(tmp_path / "empty.csv", "x,y\n")
    for hidden in ("_SUCCESS", ".hidden.csv", "_tmp/d.csv", ".tmp/e.csv"):
        write(tmp_path / hidden, "nothing")
    table = open_table(tmp_path, SETTINGS)
    (batch,) = table.batches(100)
    assert batch.to_pydict() == {
        "x": ["a", "b", "c", "d"],
        "y": ["1", "2", "3", "4"],
        SOURCE_FILE: ["a.csv", "a.csv", "b.csv", "sub/c.csv"],
        SOURCE_ROW: [0, 2, 0, 0],
    }
    assert table.broken == [BrokenLine("a.csv", 1, "broken")]


def test_partition_folders_become_columns(tmp_path):
    schema = pa.schema({"id": pa.int64()})
    for part, number in (("day=2018-04-01/shop=a%20b", 1), ("day=2018-04-02/shop=__HIVE_DEFAULT_PARTITION__", 2)):
        (tmp_path / part).mkdir(parents=True)
        pq.write_table(pa.table({"id": [number]}, schema), tmp_path / part / "part-0.parquet")
    table = open_table(tmp_path, SETTINGS)
    assert table.schema == pa.schema({"id": pa.int64(), "day": pa.string(), "shop": pa.string()})
    rows = pa.Table.from_batches(list(table.batches(1))).to_pylist()
    assert [(row["id"], row["day"], row["shop"]) for row in rows] == [
        (1, "2018-04-01", "a b"),
        (2, "2018-04-02", None),
    ]


def test_a_column_of_the_file_wins_over_its_folder(tmp_path):
    write(tmp_path / "day=1" / "a.csv", "id,day\n1,monday\n")
    assert rows_of(tmp_path)["day"].to_pylist() == ["monday"]


def test_types_that_widen_are_joined_and_others_refused(tmp_path):
    pq.write_table(pa.table({"a": pa.array([1], pa.int32()), "b": pa.nulls(1)}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"a": pa.array([2**40]), "b": ["x"]}), tmp_path / "b.parquet")
    found = rows_of(tmp_path)
    assert found["a"].to_pylist() == [1, 2**40]
    assert found["b"].to_pylist() == [None, "x"]
    pq.write_table(pa.table({"a": ["x"], "b": ["x"]}), tmp_path / "c.parquet")
    with pytest.raises(InputError, match=r"c\.parquet has column 'a' as string, .*a\.parquet has it as int64"):
        open_table(tmp_path, SETTINGS)


def test_folders_that_do_not_fit_together(tmp_path):
    write(tmp_path / "a" / "a.csv", "x,y\n1,2\n")
    write(tmp_path / "a" / "b.csv", "x,z\n1,2\n")
    with pytest.raises(InputError, match=r"b\.csv has other columns than .*a\.csv \(missing: y; more: z\)"):
        open_table(tmp_path / "a", SETTINGS)
    write(tmp_path / "b" / "a.csv", "x,y\n1,2\n")
    write(tmp_path / "b" / "b.parquet", b"")
    with pytest.raises(InputError, match=r"holds both a\.csv and b\.parquet"):
        open_table(tmp_path / "b", SETTINGS)
    write(tmp_path / "c" / "a.xlsx", b"")
    with pytest.raises(InputError, match=r"a\.xlsx is no table .*\.csv, \.csv\.gz or \.parquet"):
        open_table(tmp_path / "c", SETTINGS)
    (tmp_path / "d" / "sub").mkdir(parents=True)
    with pytest.raises(InputError, match="is a folder without tables"):
        open_table(tmp_path / "d", SETTINGS)


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv does not exist; check the path"):
        open_table(tmp_path / "none.csv", SETTINGS)
    with pytest.raises(InputError, match=r"a\.txt is no table that can be read; accepted is"):
        open_table(write(tmp_path / "a.txt", "a,b\n1,2\n"), SETTINGS)


def test_files_that_may_not_be_read(tmp_path):
    write(tmp_path / "in" / "a.csv", "a,b\n1,2\n")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    paths = (tmp_path / "in" / "a.csv", tmp_path / "a.parquet", tmp_path / "in")
    for path in paths:
        path.chmod(0)
    user = os.geteuid()
    if user == 0:  # nothing is forbidden to root
        os.seteuid(65534)
    try:
        for path in paths:
            with pytest.raises(InputError, match="may not be read; ask for permission"):
                open_table(path, SETTINGS)
    finally:
        os.seteuid(user)
        (tmp_path / "in").chmod(0o700)


def test_the_digest_tells_content_not_names(tmp_path):
    def digest(path):
        return open_table(path, SETTINGS).digest()

    one = digest(write(tmp_path / "a.csv", "a\n1\n"))
    assert digest(write(tmp_path / "b.csv", "a\n1\n")) == one
    assert digest(write(tmp_path / "a.csv", "a\n2\n")) != one
    write(tmp_path / "f" / "a.csv", "a\n1\n")
    write(tmp_path / "f" / "b.csv", "a\n2\n")
    folder = digest(tmp_path / "f")
    assert content_digest(tmp_path / "f", SETTINGS) == folder
    (tmp_path / "f" / "b.csv").rename(tmp_path / "f" / "c.csv")
    assert digest(tmp_path / "f") != folder
    with pytest.raises(InputError, match="does not exist"):
        content_digest(tmp_path / "none", SETTINGS)


# Writing


def test_a_parquet_file_is_there_as_a_whole(tmp_path):
    path = tmp_path / "new" / "a.parquet"
    schema = pa.schema({"a": pa.int64(), "b": pa.string()})
    with ParquetWriter(path, schema) as writer:
        writer.write(pa.record_batch({"b": ["x"], "a": pa.array([1], pa.int8())}))
        assert not path.exists()
        writer.write(pa.table({"a": [2, 3], "b": ["y", None], "more": [0, 0]}))
    batches = list(read_batches(path, columns=["b"], rows=2))
    assert [batch.to_pydict() for batch in batches] == [{"b": ["x", "y"]}, {"b": [None]}]
    assert [file.name for file in path.parent.iterdir()] == ["a.parquet"]


def test_a_writer_that_fails_leaves_the_old_file_and_no_trace(tmp_path):
    path = tmp_path / "a.parquet"
    schema = pa.schema({"a": pa.int64()})
    with ParquetWriter(path, schema) as writer:
        writer.write(pa.table({"a": [1]}))
    with pytest.raises(pa.ArrowInvalid, match="truncated"), ParquetWriter(path, schema) as writer:
        writer.write(pa.table({"a": [2.5]}))
    assert pq.read_table(path)["a"].to_pylist() == [1]

    def batches():
        yield pa.table({"a": [1]})
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_csv(tmp_path / "a.csv", batches(), schema)
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]


def test_text_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a.html"
    write_text(path, "alt")
    write_text(path, "neü\n")
    assert path.read_bytes() == "neü\n".encode()
    assert len(list(tmp_path.iterdir())) == 1


def test_spreadsheets_are_told_the_encoding(tmp_path):
    write_csv(tmp_path / "a.csv", [pa.table({"Straße": ["Zürich"]})], pa.schema({"Straße": pa.string()}))
    assert (tmp_path / "a.csv").read_bytes() == b"\xef\xbb\xbf" + '"Straße"\n"Zürich"\n'.encode()


def test_spreadsheets_get_no_formulas(tmp_path):
    hostile = ["=1+1", "+1", "-1", "@A1", "\tx", "\rx", "a=1", "", None, 'say "hi", x']
    rows = pa.table({"=name": hostile, "n": [-float(i) for i in range(10)], "left": ["out"] * 10})
    schema = pa.schema({"=name": pa.string(), "n": pa.float64()})
    write_csv(tmp_path / "a.csv", rows.to_batches(), schema)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8-sig") as stream:
        header, *found = csv.reader(stream)
    assert header == ["'=name", "n"]
    assert [row[0] for row in found] == [
        *(f"'{text}" for text in hostile[:6]),
        "a=1",
        "",
        "",
        'say "hi", x',
    ]
    assert [float(row[1]) for row in found] == rows["n"].to_pylist()


def test_rows_are_taken_by_position_in_the_order_given(tmp_path, monkeypatch):
    table = pa.table({"x": range(1000), "text": [f"row {number}" for number in range(1000)]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=64)
    for places in ([], [7], [999, 0, 500, 501, 3], list(range(999, -1, -1))):
        found = take_rows(tmp_path / "rows.parquet", np.array(places, dtype=np.int64))
        assert found.equals(table.take(pa.array(places, pa.int64())))
