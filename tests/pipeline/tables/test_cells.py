from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.settings.config import TableConfig
from pipeline.tables.cells import as_text, describe_cells
from pipeline.tables.reading import open_table


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([1e300, None]), ["1e+300", None]),
        (pa.array([datetime(2999, 1, 1)]), ["2999-01-01 00:00:00.000000"]),
        (pa.array([date(1900, 1, 1)]), ["1900-01-01"]),
        (pa.array([True]), ["true"]),
        (pa.array([b"ok", b"\xff"]), ["b'ok'", "b'\\xff'"]),
        (pa.array([{"a": [1, None]}]), ["{'a': [1, None]}"]),
    ],
)
def test_any_type_as_text(column: pa.Array, text: list[str | None]) -> None:
    assert as_text(column).to_pylist() == text


@pytest.mark.parametrize("batch_rows", [1, 4, 100])
def test_cells_are_told_with_their_place(tmp_path: Path, batch_rows: int) -> None:
    cells = {"a": range(10), "line": ["x"] * 9 + ["y" * 41], "none": [None] * 10}
    pq.write_table(pa.table(cells), tmp_path / "in.parquet")
    table = open_table(tmp_path / "in.parquet", TableConfig())
    places = [("a", 7), ("line", 2), ("line", 9), ("none", 7)]
    assert describe_cells(table, places, batch_rows) == {
        ("a", 7): ("'7'", "in.parquet, source_row 7"),
        ("line", 2): ("'x'", "in.parquet, source_row 2"),
        ("line", 9): (repr("y" * 40 + "…"), "in.parquet, source_row 9"),
        ("none", 7): ("nothing", "in.parquet, source_row 7"),
    }
