"""What columns are called: files with and without a header, columns without a name, and two of one name."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BatchRefused, InputError
from pipeline.settings.config import Config, TableConfig
from pipeline.tables.headers import is_values
from pipeline.tables.parsing import check_columns
from pipeline.tables.reading import SOURCE_FILE, SOURCE_ROW, open_table
from tests.pipeline.tables.table_files import SETTINGS, rows_of, write


def rows(path, settings=SETTINGS):
    table = rows_of(path, settings).drop_columns([SOURCE_FILE])
    return table.column_names[:-1], [tuple(row.values()) for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("text", "names", "first"),
    [
        (",a,b\n0,1,2\n", ["column_1", "a", "b"], ("0", "1", "2", 0)),
        ("a,b,\n1,2,\n", ["a", "b", "column_3"], ("1", "2", None, 0)),
        ('a," ",column_2\n1,2,3\n', ["a", "column_2_2", "column_2"], ("1", "2", "3", 0)),
        ("a,b,a\n1,2,3\n", ["a", "b", "a_2"], ("1", "2", "3", 0)),
        ("a,A,a_2\n1,2,3\n", ["a", "A_3", "a_2"], ("1", "2", "3", 0)),
        ('sep=;\n"a";b\n1;2\n', ["a", "b"], ("1", "2", 0)),
        ('\ufeff"sep=\t"\r\n\r\na\tb\r\n1\t2\r\n', ["a", "b"], ("1", "2", 0)),
        ('"a\nb",c\n1,2\n', ["a\nb", "c"], ("1", "2", 0)),
        ("\n\r\na,b\r1,2\r", ["a", "b"], ("1", "2", 0)),
    ],
)
def test_every_column_has_a_name_of_its_own(tmp_path, text, names, first):
    path = write(tmp_path / "a.csv", text)
    assert rows(path) == (names, [first])


def test_what_is_called_otherwise_is_said(tmp_path):
    path = write(tmp_path / "a.csv", ",a,a\n1,2,3\n")
    assert open_table(path, SETTINGS).renamed == {"column_1": "", "a_2": "a"}
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["", "b"]), tmp_path / "a.parquet")
    assert open_table(tmp_path / "a.parquet", SETTINGS).schema.names == ["column_1", "b"]
    assert open_table(write(tmp_path / "b.csv", "a,b\n1,2\n"), SETTINGS).renamed == {}


def test_files_without_a_header(tmp_path):
    settings = TableConfig(columns=("tx", "eur"))
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "1.csv", "7,1.50\n8,2,5\n9,3\n")
    write(tmp_path / "in" / "2.csv", "eur,tx\n4,10\n")  # says its names, in an order of its own
    write(tmp_path / "in" / "3.csv", "sep=,\n11,5\n12\n13,6\n")
    table = open_table(tmp_path / "in", settings)
    batch = next(table.batches(100))
    assert list(zip(*(batch[name].to_pylist() for name in ("tx", "eur", SOURCE_ROW)), strict=True)) == [
        ("7", "1.50", 0), ("9", "3", 2), ("10", "4", 0), ("11", "5", 0), ("13", "6", 2),
    ]  # fmt: skip
    assert [(line.source_file, line.source_row, line.text) for line in table.broken] == [
        ("1.csv", 1, "8,2,5"), ("3.csv", 1, "12"),
    ]  # fmt: skip
    path = write(tmp_path / "b.csv", "1,2,3\n")
    with pytest.raises(InputError, match=r"b\.csv has 3 columns, and \[table\] columns names 2"):
        open_table(path, settings)


def test_a_file_without_a_header_where_one_should_be(tmp_path):
    config = Config.model_validate({"contract": {"id": "tx", "timestamp": "at", "amount": "eur"}})
    path = write(tmp_path / "a.csv", "1,2026-06-01 12:00,9.50\n2,2026-06-01 12:00,9.50\n")
    with pytest.raises(BatchRefused, match=r"no header: its first line holds values; .* \[table\] columns"):
        check_columns(open_table(path, SETTINGS).schema, config, str(path))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "01/02/2026", "x"], True),
        (["A1", "3-Jun-26 10:00"], True),
        (["17", "23", "card"], True),
        (["tx", "1.5"], True),
        (["tx_id", "amount", "V1"], False),
        (["0", "1", "2", "3"], False),
        (["1", "2", "3"], False),
        (["tx", "2025", "2026", "note"], False),
        (["5"], False),
    ],
)
def test_first_lines_of_values(cells, expected):
    assert is_values(cells) is expected


def test_rows_none_of_which_fits_the_header_are_refused_at_once(tmp_path):
    seen = "a,b\n" + "1,2,3\n" * 1_200
    with pytest.raises(InputError, match=r"none of its first 1,000 rows .* which has 2 where the first row has 3"):
        open_table(write(tmp_path / "a.csv", seen), SETTINGS)
    table = open_table(write(tmp_path / "b.csv", "a,b\n1,2\n" + "1,2,3\n" * 1_200), SETTINGS)
    assert sum(batch.num_rows for batch in table.batches(10)) == 1
    assert (len(table.broken), table.broken[-1].source_row) == (1_200, 1_200)
