import numpy as np
import pytest
import torch
from scipy.stats import norm, rankdata

from models.ranks import RANK_KNOTS, MemberTail, NormalRanks, surprisal


def rows(n_rows=300, seed=0):
    rng = np.random.default_rng(seed)
    columns = rng.lognormal(size=n_rows), rng.integers(0, 2, n_rows), rng.integers(0, 9, n_rows), np.full(n_rows, 3.0)
    return np.column_stack(columns).astype(np.float32)


def test_fit_rows_get_van_der_waerdens_scores():
    data = rows()
    found = NormalRanks.fit(data)(torch.from_numpy(data)).numpy()
    expected = norm.ppf(np.apply_along_axis(rankdata, 0, data) / (len(data) + 1))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert (found[:, 3] == 0).all()


def test_values_between_two_are_interpolated_and_beyond_all_go_on_one_for_one():
    data = rows()
    ranks = NormalRanks.fit(data)
    column = np.sort(data[:, 0])
    asked = np.linspace(column[0], column[-1], 1001).astype(np.float32)
    found = ranks(torch.from_numpy(np.column_stack([asked] * 4)))[:, 0].numpy()
    expected = np.interp(asked, column, norm.ppf(np.arange(1, 301) / 301))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    low, high = data.min(axis=0) - 5, data.max(axis=0) + 7
    at_ends = ranks(torch.from_numpy(np.array([data.min(axis=0), data.max(axis=0)])))
    beyond = ranks(torch.from_numpy(np.array([low, high])))
    np.testing.assert_allclose((beyond - at_ends).numpy(), np.repeat([[-5], [7]], 4, axis=1), atol=1e-5)


def test_a_long_column_is_remembered_by_its_quantiles():
    data = np.random.default_rng(0).standard_t(3, size=(50_000, 1)).astype(np.float32)
    ranks = NormalRanks.fit(data)
    assert ranks.values.shape[1] <= RANK_KNOTS
    found = ranks(torch.from_numpy(data))[:, 0].numpy()
    np.testing.assert_allclose(
        np.quantile(found, [0.001, 0.1, 0.5, 0.9, 0.999]), norm.ppf([0.001, 0.1, 0.5, 0.9, 0.999]), atol=0.02
    )
    assert ranks.values[0, 0] == data.min()
    assert found.max() == pytest.approx(norm.ppf(50_000 / 50_001), abs=1e-4)


def test_units_and_long_tails_do_not_matter_within_what_was_seen():
    data = np.random.default_rng(0).normal(size=(RANK_KNOTS, 3)).astype(np.float32)
    stretched = np.sinh(2 * data).astype(np.float32)
    plain, found = (NormalRanks.fit(values)(torch.from_numpy(values)) for values in (data, stretched))
    np.testing.assert_allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize("n_rows", [2, 3, 50])
def test_they_rise_with_the_value(n_rows):
    ranks = NormalRanks.fit(rows(n_rows))
    asked = torch.linspace(-20, 40, 4001)[:, None].repeat(1, 4)
    assert (ranks(asked).diff(dim=0) >= -1e-6).all()


def test_surprisal_is_minus_the_log_of_the_tail_probability():
    scores = torch.tensor([[0.0, -1.0, 5.0], [30.0, -60.0, 1e-9]])
    expected = -(np.log(2) + norm.logsf(np.abs(scores.double().numpy())))
    np.testing.assert_allclose(surprisal(scores), expected, atol=1e-8)
    assert (surprisal(scores) >= 0).all()


def test_what_was_saved_maps_bit_for_bit():
    data = torch.from_numpy(rows(seed=1))
    ranks = NormalRanks.fit(rows())
    assert torch.equal(NormalRanks.from_arrays(ranks.arrays())(data), ranks(data))


def test_a_tail_is_the_empirical_one_and_paretos_beyond():
    scores = np.random.default_rng(0).pareto(3, size=5000) + 1
    tail = MemberTail.fit(scores)
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
    levels = MemberTail.fit(scores)(torch.linspace(0, 5, 1001, dtype=torch.float64))
    assert torch.isfinite(levels).all()
    assert levels[0] == 0
    assert (levels.diff() >= 0).all()
    assert levels[-1] > levels[0]
