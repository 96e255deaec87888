import numpy as np
import pytest
import torch

from models.sparse import SparseAutoencoder


def rows(n_rows=2000):
    return np.random.default_rng(0).normal(size=(n_rows, 8)).astype(np.float32)


@pytest.mark.parametrize("target", [0.05, 0.2])
def test_every_node_reaches_its_target_activation(target):
    model = SparseAutoencoder(code_size=24, target=target, weight=30, learning_rate=5e-3, batch_size=100).fit(rows())
    code = model.encode(rows())
    assert code.shape == (2000, 24)  # wider than the rows
    assert ((code > 0) & (code < 1)).all()
    np.testing.assert_allclose(code.mean(axis=0), target, atol=0.15 * target)
    assert code.std(axis=0).min() > 0.01  # and they still say something


def test_without_a_penalty_the_target_is_left():
    code = SparseAutoencoder(code_size=24, weight=0, max_epochs=40, learning_rate=5e-3).fit(rows()).encode(rows())
    assert np.abs(code.mean(axis=0) - 0.05).max() > 0.05


def test_l1_makes_nodes_exactly_zero_the_more_the_heavier():
    active = []
    for weight in (0, 0.3, 1):
        settings = {"penalty": "l1", "weight": weight, "max_epochs": 40, "learning_rate": 5e-3}
        active.append((SparseAutoencoder(code_size=24, **settings).fit(rows()).encode(rows()) > 0).mean())
    assert active[0] > 1.3 * active[1] > 1.3 * 1.1 * active[2] > 0


def test_the_penalties_are_the_plain_formulas():
    code = torch.rand(30, 5, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    model = SparseAutoencoder(target=0.2, weight=1.5)
    a, t = code.numpy().mean(axis=0), 0.2
    divergence = (t * np.log(t / a) + (1 - t) * np.log((1 - t) / (1 - a))).sum()
    np.testing.assert_allclose(model._price(code), np.full(30, 1.5 * divergence), rtol=1e-5)
    absolute = SparseAutoencoder(penalty="l1", weight=1.5)._price(code - 0.5)
    np.testing.assert_allclose(absolute, 1.5 * np.abs(code.numpy() - 0.5).sum(axis=1), rtol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"penalty": "l2"}, "penalty='l2' must be one of 'kl', 'l1'"),
        ({"weight": -1}, "weight=-1 must be 0 or more"),
        ({"target": 0}, "target=0 must lie above 0"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        SparseAutoencoder(**parameters).fit(np.eye(3))
