import numpy as np
import pytest
import torch

from models.scores import RESIDUAL_SCORES, Mahalanobis, MeanSquared, Normalised, WorstShare


def correlated(n_rows, n_columns, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, n_columns)) @ rng.normal(size=(n_columns, n_columns)) + rng.normal(size=n_columns)


def plain_shrunk_covariance(centred):
    """Ledoit and Wolf (2004), section 3.2, as the paper writes it."""
    n_rows, n_columns = centred.shape
    sample = centred.T @ centred / n_rows
    m = np.trace(sample) / n_columns
    d2 = ((sample - m * np.eye(n_columns)) ** 2).sum() / n_columns
    outer = np.einsum("ni,nj->nij", centred, centred)
    b2 = min(((outer - sample) ** 2).sum() / n_columns / n_rows**2, d2)
    return b2 / d2 * m * np.eye(n_columns) + (d2 - b2) / d2 * sample


@pytest.mark.parametrize(("n_rows", "n_columns"), [(12, 8), (300, 5), (40, 60)])
def test_mahalanobis_is_the_plain_formula(n_rows, n_columns):
    fit_residuals, residuals = correlated(n_rows, n_columns), correlated(50, n_columns, seed=1)

    found = Mahalanobis.fit(fit_residuals).contributions(torch.from_numpy(residuals)).numpy()

    mean = fit_residuals.mean(axis=0)
    covariance = plain_shrunk_covariance(fit_residuals - mean)
    covariance += Mahalanobis.floor * np.trace(covariance) / n_columns * np.eye(n_columns)
    expected = [(row - mean) @ np.linalg.solve(covariance, row - mean) for row in residuals]
    np.testing.assert_allclose(found.sum(axis=1), expected, rtol=1e-9)
    by_column = [(row - mean) * np.linalg.solve(covariance, row - mean) for row in residuals]
    np.testing.assert_allclose(found, by_column, rtol=1e-7, atol=1e-9 * np.abs(found).max())


def test_mahalanobis_of_normal_rows_is_about_their_number_of_columns():
    residuals = correlated(20_000, 6)
    scores = Mahalanobis.fit(residuals).contributions(torch.from_numpy(residuals)).sum(dim=1)
    assert 0.8 * 6 < float(scores.mean()) <= 6


def test_mahalanobis_sees_a_broken_correlation_that_mean_squared_does_not():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(1000, 1))
    residuals = shared + 0.1 * rng.normal(size=(1000, 2))
    rows = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    with_it, against_it = Mahalanobis.fit(residuals).contributions(rows).sum(dim=1)
    assert against_it > 20 * with_it
    with_it, against_it = MeanSquared.fit(residuals).contributions(rows).sum(dim=1)
    assert against_it == with_it


def test_mahalanobis_of_constant_and_of_equal_residuals_stays_finite():
    residuals = np.random.default_rng(0).normal(size=(500, 3))
    residuals[:, 1] = 0
    moved = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    constant, varying = Mahalanobis.fit(residuals).contributions(moved).sum(dim=1)
    assert torch.isfinite(constant)
    assert constant > 10 * varying
    equal = Mahalanobis.fit(np.full((5, 3), 0.25)).contributions(torch.full((1, 3), 0.25, dtype=torch.float64))
    np.testing.assert_array_equal(equal, 0)


def test_mean_squared_is_the_plain_formula():
    residuals = correlated(30, 4)
    found = MeanSquared.fit(residuals).contributions(torch.from_numpy(residuals)).numpy()
    np.testing.assert_allclose(found.sum(axis=1), np.mean(residuals**2, axis=1), rtol=1e-12)
    assert (found >= 0).all()


def test_residuals_are_left_as_they_are():
    residuals = correlated(30, 4)
    before = residuals.copy()
    for kind in RESIDUAL_SCORES.values():
        kind.fit(residuals).contributions(torch.from_numpy(residuals))
        np.testing.assert_array_equal(residuals, before)


@pytest.mark.parametrize("name", RESIDUAL_SCORES)
def test_arrays_rebuild_the_score(name):
    score = RESIDUAL_SCORES[name].fit(correlated(50, 4))
    rows = torch.from_numpy(correlated(20, 4, seed=2))
    again = RESIDUAL_SCORES[name].from_arrays(score.arrays())
    np.testing.assert_array_equal(again.contributions(rows), score.contributions(rows))


def by_variance(fit_residuals, residuals):
    variance = fit_residuals.var(axis=0)
    return (residuals - fit_residuals.mean(axis=0)) ** 2 / (variance + Mahalanobis.floor * variance.mean())


def test_normalised_is_the_plain_formula():
    fit_residuals, residuals = correlated(300, 5), correlated(50, 5, seed=1)
    found = Normalised.fit(fit_residuals).contributions(torch.from_numpy(residuals)).numpy()
    np.testing.assert_allclose(found, by_variance(fit_residuals, residuals) / 5, rtol=1e-9)


def test_normalised_of_normal_rows_is_about_one_whatever_the_units():
    residuals = correlated(20_000, 4) * [0.5, 1, 2, 1]
    scores = Normalised.fit(residuals).contributions(torch.from_numpy(residuals)).sum(dim=1)
    assert 0.9 < float(scores.mean()) <= 1


@pytest.mark.parametrize(("n_columns", "n_worst"), [(1, 1), (4, 1), (10, 2), (13, 3)])
def test_worst_share_is_the_mean_of_the_worst_fifth(n_columns, n_worst):
    fit_residuals, residuals = correlated(300, n_columns), correlated(50, n_columns, seed=1)
    found = WorstShare.fit(fit_residuals).contributions(torch.from_numpy(residuals)).numpy()
    squares = by_variance(fit_residuals, residuals)
    expected = np.sort(squares, axis=1)[:, -n_worst:].mean(axis=1)
    np.testing.assert_allclose(found.sum(axis=1), expected, rtol=1e-9)
    assert ((found > 0).sum(axis=1) == n_worst).all()
    assert (found.argmax(axis=1) == squares.argmax(axis=1)).all()


def test_worst_share_sees_one_column_of_many_that_a_mean_hides():
    residuals = np.random.default_rng(0).normal(size=(2000, 100))
    rows = np.random.default_rng(1).normal(size=(400, 100))
    rows[200:, 3] += 6
    ranks = {}
    for kind in (Normalised, WorstShare):
        scores = kind.fit(residuals).contributions(torch.from_numpy(rows)).sum(dim=1).numpy()
        ranks[kind] = (scores[200:, None] > scores[None, :200]).mean()
    assert ranks[WorstShare] > ranks[Normalised] > 0.5
