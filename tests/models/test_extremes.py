"""Extremes: the range of each column, and how far beyond it a row lies."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.extremes import Extremes


@given(seed=st.integers(0, 10_000), n_rows=st.integers(1, 30), n_columns=st.integers(1, 5))
def test_the_distance_is_that_of_the_farthest_column_to_all_fit_rows(seed, n_rows, n_columns):
    random = np.random.default_rng(seed)
    rows, others = (random.normal(size=(n, n_columns)).astype(np.float32) for n in (n_rows, 20))
    above = [column for column in range(n_columns) if random.random() < 0.5]
    halves = [rows[: n_rows // 2], rows[n_rows // 2 :]]
    ignored = [column for column in range(n_columns) if random.random() < 0.2]
    extremes = Extremes.fit(halves, above, ignored=ignored)
    for row, distance in zip(others, extremes(others), strict=True):
        looked_at = [column for column in range(n_columns) if column not in ignored]
        gaps = [row[column] - rows[:, column].max() for column in looked_at]
        gaps += [rows[:, column].min() - row[column] for column in looked_at if column not in above]
        np.testing.assert_allclose(distance, max([0, *gaps]), rtol=1e-6)
    assert (extremes(rows) == 0).all()
    again = Extremes.from_arrays(extremes.arrays())
    np.testing.assert_array_equal(again(others), extremes(others))
