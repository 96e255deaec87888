import numpy as np
import pytest
import torch

from models.tails import Tail


def test_a_tail_is_the_empirical_one_and_paretos_beyond():
    scores = np.random.default_rng(0).pareto(3, size=5000) + 1
    tail = Tail.fit(scores)
    inside = np.quantile(scores, [0.1, 0.5, 0.8])
    expected = [-np.log((scores >= score).mean()) for score in inside]
    np.testing.assert_allclose(tail(torch.tensor(inside)), expected, atol=0.01)
    u = np.quantile(scores, 0.9)
    xi = np.log(scores[scores > u] / u).mean()
    beyond = np.array([1.0, 2.0, 50.0, 1e6]) * u
    np.testing.assert_allclose(tail(torch.tensor(beyond)), np.log(10) + np.log(beyond / u) / xi, rtol=1e-6)
    # Of a Pareto distribution of index 3 it finds the true tail, far beyond all that it was fitted on.
    assert float(tail(torch.tensor([100.0], dtype=torch.float64))[0]) == pytest.approx(3 * np.log(100), rel=0.1)


@pytest.mark.parametrize("scores", [np.zeros(30), np.ones(30), np.array([0.0, 2.0]), np.repeat([0.0, 1.0], [28, 2])])
def test_a_tail_rises_whatever_it_is_fitted_on(scores):
    levels = Tail.fit(scores)(torch.linspace(0, 5, 1001, dtype=torch.float64))
    assert torch.isfinite(levels).all()
    assert levels[0] == 0
    assert (levels.diff() >= 0).all()
    assert levels[-1] > levels[0]
