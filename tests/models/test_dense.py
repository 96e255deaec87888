import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from models.dense import DenseAutoencoder, LinearAutoencoder


@pytest.mark.parametrize("seed", range(3))
def test_the_linear_model_spans_the_subspace_of_pca(seed):
    """Baldi and Hornik (1989): every minimum of the loss is a projection onto the first principal components."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    rows = rng.normal(size=(2000, 6)) * [3, 2, 1, 0.5, 0.3, 0.1] @ turn + rng.normal(size=6)
    model = LinearAutoencoder(
        code_size=2, learning_rate=0.02, max_epochs=60, batch_size=100, residual_score="mean_squared", random_state=seed
    ).fit(rows)
    pca = PCA(2).fit(rows)
    spanned = np.linalg.svd(model.reconstruct(rows) - rows.mean(axis=0))[2][:2]
    assert np.rad2deg(subspace_angles(spanned.T, pca.components_.T).max()) < 2
    by_pca = pca.inverse_transform(pca.transform(rows))
    np.testing.assert_allclose(model.reconstruct(rows), by_pca, atol=0.25)
    assert model.anomaly_score(rows).mean() == pytest.approx(((rows - by_pca) ** 2).mean(), rel=0.01)


@pytest.mark.parametrize(
    ("hidden", "decoder", "expected"),
    [
        ((), None, [(3, 5), (5, 3)]),
        ((16, 8), None, [(16, 5), (8, 16), (3, 8), (8, 3), (16, 8), (5, 16)]),
        ((16,), (7, 9), [(16, 5), (3, 16), (7, 3), (9, 7), (5, 9)]),
        ((16,), (), [(16, 5), (3, 16), (5, 3)]),
    ],
)
def test_widths_are_those_asked_for(hidden, decoder, expected):
    model = DenseAutoencoder(hidden=hidden, decoder=decoder, code_size=3, max_epochs=1).fit(np.eye(5))
    shapes = [tuple(value.shape) for name, value in model.network_.named_parameters() if name.endswith("weight")]
    assert shapes == expected
    assert model.encode(np.eye(5)).shape == (5, 3)


def test_depth_beats_a_plane_on_a_curve():
    at = np.random.default_rng(0).uniform(-1.5, 1.5, 2000)
    rows = np.column_stack([at, np.sin(3 * at), np.cos(3 * at)])
    settings = {"batch_size": 64, "learning_rate": 5e-3, "max_epochs": 40, "residual_score": "mean_squared"}
    deep = DenseAutoencoder(hidden=(64, 64), code_size=1, **settings).fit(rows).anomaly_score(rows).mean()
    plane = LinearAutoencoder(code_size=2, **settings).fit(rows).anomaly_score(rows).mean()
    assert deep < plane / 4  # with one number in the code, against two


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden": (8, 0)}, r"hidden=\(8, 0\)"),
        ({"code_size": 0}, "code_size=0"),
        ({"decoder": (0,)}, r"decoder=\(0,\)"),
    ],
)
def test_widths_below_one_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        DenseAutoencoder(**parameters).fit(np.eye(3))
    if "code_size" in parameters:
        with pytest.raises(ValueError, match=message):
            LinearAutoencoder(**parameters).fit(np.eye(3))
