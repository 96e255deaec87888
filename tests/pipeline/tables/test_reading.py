import random
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError, ResourceError
from pipeline.tables import files as table_files
from pipeline.tables.reading import SOURCE_FILE, SOURCE_ROW, BrokenLine, content_digest, open_table
from tests.pipeline.tables.table_files import SETTINGS, rows_of, write


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


@pytest.mark.parametrize("data", ["", "\n", "a,b", "a,b\n", "a,b\n\n\n"])
def test_an_empty_csv(tmp_path, data):
    with pytest.raises(InputError, match=r"a\.csv is empty"):
        open_table(write(tmp_path / "a.csv", data), SETTINGS)


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


def test_a_parquet_without_rows_and_one_with_two_columns_of_one_name(tmp_path):
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a\.parquet is empty"):
        open_table(tmp_path / "a.parquet", SETTINGS)
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]), tmp_path / "b.parquet")
    assert rows_of(tmp_path / "b.parquet").drop_columns([SOURCE_FILE, SOURCE_ROW]).to_pylist() == [{"a": 1, "a_2": 2}]


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
    with pytest.raises(InputError, match=r"a\.xlsx is no table .*\.csv or \.parquet file, CSV packed as \.csv\.gz"):
        open_table(tmp_path / "c", SETTINGS)
    (tmp_path / "d" / "sub").mkdir(parents=True)
    with pytest.raises(InputError, match="is a folder without tables"):
        open_table(tmp_path / "d", SETTINGS)


def test_missing_and_unknown_files(tmp_path):
    with pytest.raises(ResourceError, match=r"none\.csv does not exist; check the path"):
        open_table(tmp_path / "none.csv", SETTINGS)
    with pytest.raises(InputError, match=r"a\.txt is no table that can be read; accepted is"):
        open_table(write(tmp_path / "a.txt", "a,b\n1,2\n"), SETTINGS)


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
    with pytest.raises(ResourceError, match="does not exist"):
        content_digest(tmp_path / "none", SETTINGS)


def test_bytes_in_parquet_are_text_where_they_are(tmp_path):
    keys = pa.array([b"AB1", None, "caf\u00e9".encode()])
    columns = {
        "plain": keys,
        "large": keys.cast(pa.large_binary()),
        "view": keys.cast(pa.binary_view()),
        "coded": keys.dictionary_encode(),
        "words": pa.array(["AB1", None, "caf\u00e9"]).dictionary_encode(),
        "fixed": pa.array([b"AB1", None, b"CD2"], pa.binary(3)),
        "digest": pa.array([b"\xff\xfe", b"AB", None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    rows = rows_of(tmp_path / "a.parquet")
    for name in ("plain", "large", "view", "coded", "words"):
        assert (rows[name].type, rows[name].to_pylist()) == (pa.string(), ["AB1", None, "caf\u00e9"]), name
    assert rows["fixed"].to_pylist() == ["AB1", None, "CD2"]
    assert rows["digest"].to_pylist() == columns["digest"].to_pylist()  # carried along; no role can have it


def test_bytes_that_turn_out_to_be_no_text(tmp_path):
    keys = pa.array([b"AB"] * 2_000 + [b"\xff"])
    pq.write_table(pa.table({"key": keys}), tmp_path / "a.parquet")
    with pytest.raises(
        InputError, match=r"a\.parquet: column 'key' holds bytes that are no text in UTF-8; write it as"
    ):
        rows_of(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": [1]}, {"a": ["x"]}),
        ({"a": [1]}, {"a": [b"x"]}),
        ({"a": [True]}, {"a": ["x"]}),
        ({"a": [datetime(2026, 6, 1)]}, {"a": ["2026-06-01"]}),
        ({"a": [datetime(2026, 6, 1)]}, {"a": [1]}),
        ({"a": [datetime(2026, 6, 1)]}, {"a": [datetime(2026, 6, 1, tzinfo=UTC)]}),
        ({"a": [[1]]}, {"a": ["x"]}),
        ({"a": [1], "b": [1]}, {"a": [1]}),
        ({"a": [1]}, {"b": [1], "a": [1]}),
    ],
)
def test_files_of_a_folder_that_do_not_fit_name_file_and_column(tmp_path, one, other):
    pq.write_table(pa.table(one), tmp_path / "1.parquet")
    pq.write_table(pa.table(other), tmp_path / "2.parquet")
    with pytest.raises(InputError, match=r"2\.parquet has (?:column 'a' as|other columns than .*: b\b)") as error:
        rows_of(tmp_path)
    assert "1.parquet" in str(error.value)


def test_files_of_a_folder_go_by_name_and_by_the_wider_type(tmp_path):
    pq.write_table(pa.table({"a": pa.array([1], pa.int32()), "b": ["x"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"b": ["y"], "a": [2.5]}), tmp_path / "2.parquet")
    pq.write_table(pa.table({"b": pa.array([None], pa.null()), "a": pa.array([7], pa.int64())}), tmp_path / "3.parquet")
    rows = rows_of(tmp_path)
    assert (rows["a"].to_pylist(), rows["b"].to_pylist()) == ([1.0, 2.5, 7.0], ["x", "y", None])
