from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.tables.parquet import filter_rows, null_counts, read_batches, span, take_rows


def test_rows_are_taken_by_position_in_the_order_given(tmp_path):
    table = pa.table({"x": range(1000), "text": [f"row {number}" for number in range(1000)]})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=64)
    for places in ([], [7], [999, 0, 500, 501, 3], list(range(999, -1, -1))):
        found = take_rows(tmp_path / "rows.parquet", np.array(places, dtype=np.int64))
        assert found.equals(table.take(pa.array(places, pa.int64())))
        texts = take_rows(tmp_path / "rows.parquet", np.array(places, dtype=np.int64), ["text", "x"])
        assert texts.equals(found.select(["text", "x"]))


def test_batches_are_no_longer_than_asked_for_and_have_the_columns_asked_for(tmp_path):
    table = pa.table({"x": range(1000), "y": range(1000, 2000)})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=300)
    batches = list(read_batches(tmp_path / "rows.parquet", columns=["y"], rows=256))
    assert max(batch.num_rows for batch in batches) <= 256
    assert pa.Table.from_batches(batches).equals(table.select(["y"]))


def test_rows_are_kept_where_the_mask_says_so_also_into_the_file_itself(tmp_path):
    path, out = tmp_path / "rows.parquet", tmp_path / "kept.parquet"
    table = pa.table({"x": range(200_000), "text": [f"row {number % 7}" for number in range(200_000)]})
    pq.write_table(table, path, row_group_size=30_000)
    mask = np.random.default_rng(0).random(200_000) < 0.3
    kept = table.take(pa.array([row for row in range(200_000) if mask[row]]))
    assert filter_rows(path, out, mask) == kept.num_rows
    assert pq.read_table(out).equals(kept)
    assert pq.read_table(path).equals(table)
    assert filter_rows(path, path, mask) == kept.num_rows
    assert pq.read_table(path).equals(kept)
    assert filter_rows(path, path, np.zeros(kept.num_rows, dtype=bool)) == 0
    assert pq.read_table(path).equals(table.slice(0, 0))


def test_the_span_is_from_the_first_to_the_last_moment_in_whatever_order_rows_are(tmp_path):
    first = datetime(2025, 1, 1)
    moments = [first + timedelta(seconds=7 * (number * 7919 % 100_003)) for number in range(100_003)]
    pq.write_table(pa.table({"at": [*moments, None]}), tmp_path / "rows.parquet")
    assert span(tmp_path / "rows.parquet", "at") == (first, first + timedelta(seconds=7 * 100_002))


@pytest.mark.parametrize("statistics", [True, ["a.b"], False])
def test_span_and_missing_cells_are_the_same_with_a_footer_that_says_them_and_without(tmp_path, statistics):
    first = datetime(1969, 12, 31)
    moments = [first + timedelta(hours=5 * (number * 7 % 100)) for number in range(100)]
    cells = [None if number % 3 else float("nan") for number in range(100)]
    nested = pa.array([{"x": 1}] * 100)
    table = pa.table({"s": nested, "at": pa.array(moments, pa.timestamp("us")), "a.b": cells, "t": ["x", None] * 50})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=30, write_statistics=statistics)
    assert span(tmp_path / "rows.parquet", "at") == (first, first + timedelta(hours=5 * 99))
    assert null_counts(tmp_path / "rows.parquet", ["t", "a.b", "at"]) == {"t": 50, "a.b": 66, "at": 0}
    assert null_counts(tmp_path / "rows.parquet", []) == {}
