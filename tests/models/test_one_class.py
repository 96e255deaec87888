"""What every model has from its base class."""

import numpy as np
import pytest

from models.baselines import NearestNeighbours


@pytest.fixture(scope="module")
def model():
    """Gaps of 1 to 10 between the fit rows, so that their scores are 1, 1, 2, ... 10."""
    return NearestNeighbours(n_neighbors=2, contamination=0.1).fit(np.cumsum(np.arange(11.0))[:, None])


def test_the_offset_is_the_quantile_of_the_fit_rows_scores(model):
    assert model.offset_ == -9


def test_a_row_at_the_offset_is_no_outlier_and_one_beyond_it_is(model):
    rows = [[53.5], [54.0], [54.5]]  # second to the row at 45, of the fit rows that lie nearest
    assert model.decision_function(rows).tolist() == [0.5, 0.0, -0.5]
    assert model.predict(rows).tolist() == [1, 1, -1]
