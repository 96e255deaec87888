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


def corrupted(corruption, noise, batch):
    model = DenoisingAutoencoder(corruption=corruption, noise=noise)
    return model._corrupt(torch.from_numpy(batch), torch.Generator().manual_seed(0)).numpy()


def test_gaussian_corruption_adds_noise_of_that_standard_deviation():
    batch = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    noise = corrupted("gaussian", 0.3, batch) - batch
    np.testing.assert_allclose(noise.std(axis=0), 0.3, rtol=0.03)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.01)


def test_masking_sets_that_share_of_cells_to_zero_and_leaves_the_others():
    batch = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    found = corrupted("masking", 0.3, batch)
    np.testing.assert_allclose((found == 0).mean(axis=0), 0.3, atol=0.02)
    np.testing.assert_array_equal(found[found != 0], batch[found != 0])


def test_swapping_takes_values_of_the_same_column_from_other_rows():
    batch = np.arange(60_000, dtype=np.float32).reshape(20_000, 3)
    found = corrupted("swap", 0.3, batch)
    np.testing.assert_allclose((found != batch).mean(axis=0), 0.3, atol=0.02)
    np.testing.assert_array_equal(found % 3, batch % 3)  # every value keeps its column
    assert ((found != batch).sum(axis=1) == 1).any()  # and cells of a row are swapped one by one
    assert set(np.unique(found)) <= set(np.unique(batch))


@pytest.mark.parametrize("corruption", ["masking", "swap"])
def test_what_was_lost_is_restored_from_the_other_columns(corruption):
    rows = np.repeat(np.random.default_rng(0).normal(size=(3000, 1)), 5, axis=1).astype(np.float32)
    settings = {"hidden": (64,), "code_size": 16, "batch_size": 64, "learning_rate": 5e-3, "max_epochs": 20}
    broken = rows[:500].copy()
    broken[:, 0] = 0 if corruption == "masking" else rows[500:1000, 0]
    errors = []
    for noise in (0, 0.3):
        model = DenoisingAutoencoder(corruption=corruption, noise=noise, **settings).fit(rows)
        errors.append(np.square(model.reconstruct(broken)[:, 0] - rows[:500, 0]).mean())
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"corruption": "salt"}, "corruption=.salt. must be one of .gaussian., .masking., .swap."),
        ({"corruption": "swap", "noise": 1.5}, "noise=1.5 is a share of cells"),
        ({"noise": -0.1}, "noise=-0.1 must be 0 or more"),
        ({"noise": float("nan")}, "noise=nan must be 0 or more"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder(**parameters).fit(np.eye(3))
