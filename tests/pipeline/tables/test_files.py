import gzip
import os
import random
import socket
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import AssayError, InputError, ResourceError
from pipeline.settings.config import TableConfig
from pipeline.tables.files import readable
from pipeline.tables.reading import SOURCE_FILE, SOURCE_ROW, content_digest, open_table
from tests.pipeline.tables.table_files import SETTINGS, rows_of, write


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,source_row\n1,2\n", "'source_row', a name that Assay adds itself; rename the column"),
        ("a,Source_File\n1,2\n", "'Source_File', a name that Assay adds itself; rename the column"),
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
            with pytest.raises(ResourceError, match="may not be read; ask for permission"):
                open_table(path, SETTINGS)
    finally:
        os.seteuid(user)
        (tmp_path / "in").chmod(0o700)


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a named pipe"),
        (a_socket, "a socket"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
)
@pytest.mark.parametrize("table", ["a.csv", "folder"])
def test_what_reading_would_wait_for_is_refused_and_not_opened(tmp_path, make, kind, table):
    file = tmp_path / table / "b.csv" if table == "folder" else tmp_path / table
    file.parent.mkdir(exist_ok=True)
    make(file)
    for read in (open_table, content_digest):
        with pytest.raises(InputError) as error:
            read(tmp_path / table, SETTINGS)
        assert str(error.value) == f"{file} is {kind} and no file; take it away, and deliver a file"


@pytest.mark.parametrize("table", [b"caf\xe9.csv", b"folder"])
def test_a_name_that_is_not_utf_8_is_refused_in_words_that_are(tmp_path, table):
    file = tmp_path / os.fsdecode(table) / os.fsdecode(b"caf\xe9.csv" if table == b"folder" else b"")
    write(file, "a,b\n1,2\n")
    with pytest.raises(InputError) as error:
        open_table(tmp_path / os.fsdecode(table), SETTINGS)
    assert str(error.value).endswith("/caf\\xe9.csv: the name is not UTF-8; rename it")
    assert str(error.value).encode()


def test_a_link_to_itself_does_not_exist(tmp_path):
    (tmp_path / "a.csv").symlink_to(tmp_path / "a.csv")
    with pytest.raises(ResourceError, match=r"a\.csv does not exist"):
        open_table(tmp_path / "a.csv", SETTINGS)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
@pytest.mark.parametrize("place", [0, 1, 68_000, 69_999])
def test_one_cell_of_another_encoding_in_parquet_is_named(tmp_path, kind, place):
    values = ["Müller".encode()] * 70_000
    values[place] = "Müller".encode("latin-1")
    plain = pa.array(values).view(pa.string())  # which doesn't look at the bytes
    column = plain.dictionary_encode() if pa.types.is_dictionary(kind) else plain.cast(kind)
    pq.write_table(pa.table({"id": range(70_000), "name": column}), tmp_path / "a.parquet")
    with pytest.raises(InputError) as error:
        rows_of(tmp_path / "a.parquet")
    assert str(error.value) == (
        f"{tmp_path}/a.parquet: column 'name' can't be read in row {place + 1}: the text is not UTF-8; write it again"
    )


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (OSError(5, "Input/output error"), ResourceError, r"a\.csv can't be read \(Input/output error\)"),
        (FileNotFoundError(2, "No such file"), ResourceError, r"a\.csv does not exist any more"),
        (pa.ArrowMemoryError("malloc of size 64 failed"), ResourceError, r"not enough memory to read a\.csv"),
        (MemoryError(), ResourceError, r"not enough memory to read a\.csv"),
        (OSError("zlib inflate failed"), InputError, r"a\.csv cannot be read as CSV \(zlib inflate failed\)"),
        (OSError("what type: \x0f"), InputError, r"a\.csv cannot be read as CSV \(what type: \\x0f\)"),
        (EOFError("ended early"), InputError, r"a\.csv cannot be read as CSV \(ended early\)"),
    ],
)
def test_only_what_lies_in_a_file_is_an_error_of_the_input(error, kind, says):
    with pytest.raises(AssayError, match=says) as caught, readable(Path("a.csv"), SETTINGS):
        raise error
    assert type(caught.value) is kind
