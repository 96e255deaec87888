from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from models.denoising import DenoisingAutoencoder


def curve(n_rows, rng):
    at = rng.uniform(-1.5, 1.5, n_rows)
    return np.column_stack([at, np.sin(3 * at), np.cos(3 * at)])


def test_points_off_a_curve_are_found_where_a_line_of_the_same_code_size_fails():
    rng = np.random.default_rng(0)
    rows = curve(3000, rng)
    box = rng.uniform(-1.5, 1.5, size=(4000, 3))
    dense = curve(3000, rng)
    distance = np.sqrt(((box[:, None] - dense[None, ::10]) ** 2).sum(axis=2)).min(axis=1)
    test = np.concatenate([curve(500, rng), box[distance > 0.4][:500]])
    is_odd = np.repeat([0, 1], 500)

    model = DenoisingAutoencoder(
        hidden=(64, 64),
        code_size=1,
        noise=0.02,
        residual_score="mean_squared",
        batch_size=64,
        learning_rate=5e-3,
        max_epochs=60,
    )
    found = roc_auc_score(is_odd, model.fit(rows).anomaly_score(test))
    line = PCA(1).fit(rows)
    by_line = ((test - line.inverse_transform(line.transform(test))) ** 2).mean(axis=1)
    assert found > 0.95
    assert roc_auc_score(is_odd, by_line) < 0.8


def test_without_hidden_layers_and_noise_it_is_pca():
    """Baldi and Hornik, "Neural networks and principal component analysis" (1989)."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(2000, 6)) * [3, 2, 1, 0.5, 0.3, 0.1] @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    model = DenoisingAutoencoder(
        hidden=(),
        code_size=2,
        noise=0,
        residual_score="mean_squared",
        learning_rate=0.02,
        max_epochs=100,
        batch_size=100,
    ).fit(rows)
    pca = PCA(2).fit(rows)
    by_pca = ((rows - pca.inverse_transform(pca.transform(rows))) ** 2).mean()
    assert model.anomaly_score(rows).mean() == pytest.approx(by_pca, rel=0.02)


def test_noise_makes_a_linear_model_shrink_as_theory_says():
    """With noise of variance s2 the best linear reconstruction of a column of variance v is v / (v + s2) of it."""
    rows = np.random.default_rng(2).normal(size=(20_000, 1)) * 2
    model = DenoisingAutoencoder(hidden=(), code_size=1, noise=2.0, learning_rate=0.02, max_epochs=10).fit(rows)
    low, high = model.reconstruct([[-1.0], [1.0]])[:, 0]
    assert (high - low) / 2 == pytest.approx(0.5, abs=0.03)


def test_the_noise_touches_no_score():
    rows = np.random.default_rng(3).normal(size=(50, 4))
    model = DenoisingAutoencoder(noise=5.0, max_epochs=1).fit(rows)
    np.testing.assert_array_equal(model.anomaly_score(rows), model.anomaly_score(rows))


@pytest.mark.parametrize("hidden", [(), (8,), (16, 8)])
def test_the_decoder_mirrors_the_encoder(hidden):
    model = DenoisingAutoencoder(hidden=hidden, code_size=3, max_epochs=1).fit(np.eye(5))
    shapes = [tuple(value.shape) for name, value in model.network_.named_parameters() if name.endswith("weight")]
    sizes = [5, *hidden, 3]
    encoder = [(out, inn) for inn, out in pairwise(sizes)]
    assert shapes == encoder + [(inn, out) for out, inn in encoder[::-1]]
    assert model.encode(np.eye(5)).shape == (5, 3)


def test_first_weights_are_drawn_as_torch_draws_them():
    drawn = DenoisingAutoencoder()._build(100, torch.Generator().manual_seed(0)).encoder[0]
    assert drawn.weight.abs().max().item() == pytest.approx(0.1, rel=0.01)
    assert drawn.weight.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.03)
    assert 0 < drawn.bias.abs().max().item() <= 0.1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden": (8, 0)}, r"hidden=\(8, 0\)"),
        ({"code_size": 0}, "code_size=0 must be 1 or more"),
        ({"noise": -0.1}, "noise=-0.1 must be 0 or more"),
        ({"noise": float("nan")}, "noise=nan must be 0 or more"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder(**parameters).fit(np.eye(3))
