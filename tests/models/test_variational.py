import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from models.registry import load
from models.variational import VariationalAutoencoder, divergence


def rows(n_rows=2000, seed=0):
    rng = np.random.default_rng(seed)
    at = rng.normal(size=(n_rows, 2))
    mixing = np.array([[1.0, 0.5, -1.0, 0.3], [0.2, -1.0, 0.4, 0.8]])
    return (at @ mixing + 0.2 * rng.normal(size=(n_rows, 4))).astype(np.float32)


def fitted(**parameters):
    settings = {"code_size": 2, "learning_rate": 5e-3, "max_epochs": 40, "batch_size": 128} | parameters
    return VariationalAutoencoder(**settings).fit(rows())


def test_the_divergence_is_that_of_two_gaussians():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = (torch.randn(20, 3, generator=generator) for _ in range(2))
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(dim=1)
    torch.testing.assert_close(divergence(mean, log_variance), expected)


@pytest.mark.parametrize("residual_score", ["elbo", "reconstruction_probability"])
def test_scores_are_the_plain_formula_over_the_same_draws(residual_score):
    model, data = fitted(residual_score=residual_score, max_epochs=3, n_draws=5), rows(50, seed=1)
    network = model.network_
    mean, log_variance = network.encoder.moments(torch.from_numpy(data))
    variance = np.exp(network.head.log_variance.numpy())
    expected = np.zeros(len(data))
    for draw in network.draws.numpy():
        code = mean.numpy() + np.exp(0.5 * log_variance.numpy()) * draw
        centre = network.decoder(torch.from_numpy(code)).numpy()
        likelihood = Normal(torch.from_numpy(centre), torch.from_numpy(variance**0.5)).log_prob(torch.from_numpy(data))
        expected += (-2 * likelihood.numpy() - np.log(2 * np.pi)).sum(axis=1) / 5
    if residual_score == "elbo":
        expected += 2 * divergence(mean, log_variance).numpy()
    np.testing.assert_allclose(model.anomaly_score(data), expected, rtol=1e-3, atol=1e-3)


def test_the_bound_holds_against_the_true_likelihood():
    """Rows come from a known Gaussian: no model's bound is below its negative log-likelihood, and ours is near it."""
    model, data = fitted(n_draws=256, learning_rate=0.02, max_epochs=30), rows(2000, seed=1)
    covariance = np.cov(rows(200_000, seed=2), rowvar=False)
    truth = np.einsum("ni,ij,nj->n", data, np.linalg.inv(covariance), data) + np.linalg.slogdet(covariance)[1]
    bound = model.anomaly_score(data)
    assert truth.mean() - 0.2 < bound.mean() < truth.mean() + 0.5
    assert np.corrcoef(truth, bound)[0, 1] > 0.95


def test_synthetic_rows_are_like_normal_ones():
    model = fitted()
    drawn = model.sample(20_000, random_state=3)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.15)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), np.cov(rows(20_000, seed=4), rowvar=False), atol=0.3)
    np.testing.assert_array_equal(model.sample(20_000, random_state=3), drawn)
    assert not np.array_equal(model.sample(5, random_state=4), model.sample(5, random_state=3))


def test_a_heavier_divergence_makes_the_codes_more_alike():
    spread = [fitted(beta=beta, max_epochs=15).encode(rows()).std() for beta in (0.1, 20)]
    assert spread[0] > 3 * spread[1]


def test_draws_come_with_the_artefact(tmp_path):
    model = fitted(max_epochs=1)
    model.save(tmp_path)
    again = load(tmp_path)
    assert torch.equal(again.network_.draws, model.network_.draws)
    np.testing.assert_array_equal(again.sample(10), model.sample(10))


def test_mixed_tables_draw_zeros_and_ones():
    data = np.column_stack([rows(1000)[:, 0], rows(1000)[:, 1] > 0]).astype(np.float32)
    model = VariationalAutoencoder(loss="mixed", code_size=2, learning_rate=5e-3, batch_size=64).fit(data)
    drawn = model.sample(2000)
    assert set(np.unique(drawn[:, 1])) == {0, 1}
    assert drawn[:, 1].mean() == pytest.approx(data[:, 1].mean(), abs=0.1)


@pytest.mark.parametrize(
    ("parameters", "message"), [({"beta": -1}, "beta=-1 must be 0"), ({"n_draws": 0}, "n_draws=0 must be 1")]
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        VariationalAutoencoder(**parameters).fit(np.eye(3))
