import csv

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.tables.parquet import read_batches
from pipeline.tables.writing import ParquetWriter, place_file, read_back, write_csv, write_text


def test_a_parquet_file_is_there_as_a_whole(tmp_path):
    path = tmp_path / "new" / "a.parquet"
    schema = pa.schema({"a": pa.int64(), "b": pa.string()})
    with ParquetWriter(path, schema) as writer:
        writer.write(pa.record_batch({"b": ["x"], "a": pa.array([1], pa.int8())}))
        assert not path.exists()
        writer.write(pa.table({"a": [], "b": []}))
        writer.write(pa.table({"a": [2, 3], "b": ["y", None], "more": [0, 0]}))
    assert pq.read_metadata(path).num_row_groups == 2
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


def test_only_columns_whose_values_come_again_are_looked_through_for_them(tmp_path):
    rows = pa.table({"text": ["a", "a"], "number": [1.5, 1.5], "at": pa.array([0, 0], pa.timestamp("us")), "n": [1, 1]})
    with ParquetWriter(tmp_path / "plain.parquet", rows.schema) as writer:
        writer.write(rows)
    nested = rows.append_column("list", pa.array([["a"], ["a"]]))
    with ParquetWriter(tmp_path / "nested.parquet", nested.schema) as writer:
        writer.write(nested)

    def with_dictionary(name):
        group = pq.read_metadata(tmp_path / name).row_group(0)
        return [group.column(n).path_in_schema for n in range(group.num_columns) if group.column(n).has_dictionary_page]

    with ParquetWriter(tmp_path / "ids.parquet", rows.schema, distinct=["n"]) as writer:
        writer.write(rows)
    assert with_dictionary("plain.parquet") == ["text", "n"]
    assert with_dictionary("ids.parquet") == ["text"]
    assert "list.list.element" in with_dictionary("nested.parquet")
    assert pq.read_table(tmp_path / "nested.parquet").equals(nested)


def test_a_file_gets_a_second_name_and_a_copy_where_the_disk_has_no_links(tmp_path, monkeypatch):
    scratch, source = tmp_path / "scratch", tmp_path / "rows"
    scratch.mkdir()
    source.write_bytes(b"abc")
    place_file(source, tmp_path / "new" / "linked", scratch)
    assert (tmp_path / "new" / "linked").samefile(source)

    def no_links(self, target):
        raise OSError("no links here")

    monkeypatch.setattr(type(source), "hardlink_to", no_links)
    place_file(source, tmp_path / "new" / "copied", scratch)
    assert not (tmp_path / "new" / "copied").samefile(source)
    assert (tmp_path / "new" / "copied").read_bytes() == b"abc"
    with pytest.raises(FileNotFoundError):
        place_file(tmp_path / "nothing", tmp_path / "new" / "none", scratch)
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["copied", "linked"]


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


def test_spreadsheets_get_nothing_that_acts_and_it_is_read_back(tmp_path):
    cells = ["\x1b[2Ja", "b\x9bc", "\u202egnp", "\ufeffd", "two\nlines\tand a tab", "plain \\x41", "=A1", "it's", None]
    write_csv(tmp_path / "a.csv", [pa.table({"id": cells})], pa.schema({"id": pa.string()}))
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8-sig") as stream:
        _, *rows = csv.reader(stream)
    texts = [row[0] if row else None for row in rows]
    spelled = ["\\x1b[2Ja", "b\\x9bc", "\\u202egnp", "\\ufeffd", "two\nlines\tand a tab", "plain \\x41", "'=A1", "it's"]
    assert texts[:8] == spelled
    assert read_back(pa.array([*spelled, None])).to_pylist() == cells
    assert read_back(pa.chunked_array([spelled[:3], spelled[3:]])).to_pylist() == cells[:8]


def test_a_second_header_row_is_as_harmless_as_the_first(tmp_path):
    rows = pa.table({"n": [1.5], "=x": ["a"]})
    write_csv(tmp_path / "a.csv", [rows], rows.schema, second=["=Amount, (EUR)", "x\u202ey"])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8-sig") as stream:
        assert list(csv.reader(stream)) == [["n", "'=x"], ["'=Amount, (EUR)", r"x\u202ey"], ["1.5", "a"]]
    write_csv(tmp_path / "none.csv", [], rows.schema, second=["Amount", "x"])
    assert (tmp_path / "none.csv").read_text(encoding="utf-8-sig").count("\n") == 2


def test_a_text_that_looks_like_half_of_a_pair_stays_as_it_is() -> None:
    assert read_back(pa.array(["\\ud800", "a\\x1bb"])).to_pylist() == ["\\ud800", "a\x1bb"]


def test_a_part_without_rows_brings_nothing_from_memory_into_csv(tmp_path):
    schema = pa.schema({"id": pa.string(), "eur": pa.float64()})
    held = pa.array([b"what was a password" * 50_000])
    del held
    rows = pa.concat_tables([schema.empty_table(), pa.table({"id": ["a"], "eur": [1.5]}, schema=schema)])
    write_csv(tmp_path / "a.csv", [rows], schema, second=["Id", "Amount"])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8-sig") as stream:
        assert list(csv.reader(stream)) == [["id", "eur"], ["Id", "Amount"], ["a", "1.5"]]
