"""The quarantine table: rows as they came, as text, with their rules."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.settings.config import TableConfig
from pipeline.tables.reading import open_table
from pipeline.validation.quarantine import quarantine_schema, union, write_quarantine


def test_rows_and_rules(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": range(10), "line": ["x"] * 10}), tmp_path / "in.parquet")
    table = open_table(tmp_path / "in.parquet", TableConfig())
    broken = {"first": np.array([2, 7, 8]), "second": np.array([7])}
    for batch_rows in (1, 4, 100):
        write_quarantine(tmp_path / "q.parquet", table, broken, batch_id="b", batch_rows=batch_rows)
        found = pq.read_table(tmp_path / "q.parquet")
        assert found.schema.equals(quarantine_schema(table.schema))
        assert found["a"].to_pylist() == ["2", "7", "8"]
        assert found["line (as delivered)"].to_pylist() == ["x"] * 3
        assert found["source_row"].to_pylist() == [2, 7, 8]
        assert found["rules"].to_pylist() == [["first"], ["first", "second"], ["first"]]


def test_a_table_that_shrinks_meanwhile(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": range(3)}), tmp_path / "in.parquet")
    table = open_table(tmp_path / "in.parquet", TableConfig())
    with pytest.raises(InputError, match="changed while it was read"):
        write_quarantine(tmp_path / "q.parquet", table, {"r": np.array([1, 5])}, batch_id="b", batch_rows=10)
    assert not (tmp_path / "q.parquet").exists()


def test_union() -> None:
    assert union([np.array([3, 1]), np.array([1, 2])]).tolist() == [1, 2, 3]
    assert union([]).dtype == np.int64
