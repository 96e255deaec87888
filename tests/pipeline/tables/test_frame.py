"""Data frames as Arrow: what is missing, and what becomes text."""

from datetime import datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.tables.frame import frame_to_arrow

EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("values", "dtype", "cells"),
    [
        ([1.5, np.nan], "float64", [1.5, None]),
        ([1.5, np.nan, None], "double[pyarrow]", [1.5, None, None]),
        ([7, pd.NA], "Int64", [7, None]),
        ([7, None], "int64[pyarrow]", [7, None]),
        ([7, np.nan, None, pd.NA, pd.NaT], object, [7, None, None, None, None]),
        (["a", np.nan, None], "str", ["a", None, None]),
        (["a", np.nan, None, pd.NA, pd.NaT], object, ["a", None, None, None, None]),
        (["a", None], "string[pyarrow]", ["a", None]),
        (["a", None, "b"], "category", ["a", None, "b"]),
        ([3, None, 4], "category", [3, None, 4]),
        ([True, None], "boolean", [True, None]),
        ([1.0, np.nan], pd.SparseDtype("float64"), ["1.0", None]),
        ([pd.NaT, None], object, [None, None]),
        # Mixed values are text, judged cell by cell.
        ([1, "a", None, 2.5, np.nan, np.float64(0.1)], object, ["1", "a", None, "2.5", None, "0.1"]),
        ([2**70, 1], object, [str(2**70), "1"]),
        ([1j, 2], "complex128", ["1j", "(2+0j)"]),
        ([pd.Period("2025-01", "M"), pd.NaT], "period[M]", ["2025-01", None]),
    ],
)
def test_cells_are_what_the_column_holds_and_none_where_it_holds_nothing(values, dtype, cells):
    table = frame_to_arrow(pd.DataFrame({"a": pd.Series(values, dtype=dtype)}), ".")
    assert table["a"].to_pylist() == cells


def test_times_of_a_zone_are_moments_and_mixed_ones_text():
    local = pd.Series(pd.to_datetime(["2025-07-01 12:00", None])).dt.tz_localize("Europe/Berlin")
    mixed = pd.Series([datetime(2025, 7, 1, 12), datetime(2025, 7, 1, 12, tzinfo=EAST)], dtype=object)
    table = frame_to_arrow(pd.DataFrame({"local": local, "mixed": mixed}), ".")
    assert table["local"].cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us")).to_pylist() == [
        datetime(2025, 7, 1, 10),
        None,
    ]
    assert table["mixed"].to_pylist() == ["2025-07-01 12:00:00", "2025-07-01 12:00:00+02:00"]


def test_numbers_among_mixed_values_have_the_decimal_sign_of_the_table():
    table = frame_to_arrow(pd.DataFrame({"a": ["1,5", 2.5]}, dtype=object), ",")
    assert table["a"].to_pylist() == ["1,5", "2,5"]


def test_the_index_is_no_column_and_names_become_text():
    frame = pd.DataFrame([[1, 2]], index=pd.Index([5], name="own"), columns=["a", 0])
    assert frame_to_arrow(frame, ".").to_pydict() == {"a": [1], "0": [2]}
