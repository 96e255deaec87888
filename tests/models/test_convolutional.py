import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from models.convolutional import ConvolutionalAutoencoder, Fold, Unfold


def test_rows_unfold_by_lag_and_fold_back():
    rows = torch.arange(12.0).reshape(1, 12)  # four lags of three columns: lag 0 is 0, 1, 2
    sequences = Unfold(3)(rows)
    assert sequences[0].tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert torch.equal(Fold()(sequences), rows)


def test_a_filter_sees_the_same_wherever_it_stands():
    model = ConvolutionalAutoencoder(filters=(5,), kernel_size=3, max_epochs=1).fit(np.eye(16))
    convolution = model.network_.encoder[1]
    rows = torch.zeros(2, 1, 16)
    rows[0, 0, 4:7] = rows[1, 0, 8:11] = torch.tensor([1.0, -2.0, 3.0])
    seen = convolution(rows)
    assert torch.equal(seen[0, :, :4], seen[1, :, 2:6])  # two positions further after the stride of two


def sequences(n_rows, seed, lags=8):
    """Two columns that swing together over an entity's last rows, at a random phase and speed."""
    rng = np.random.default_rng(seed)
    phase, speed = rng.uniform(0, 6, size=(n_rows, 1)), rng.uniform(0.6, 0.9, size=(n_rows, 1))
    at = phase + speed * np.arange(lags)
    both = np.stack([np.sin(at), np.cos(at)], axis=2)
    return (both + 0.05 * rng.normal(size=both.shape)).reshape(n_rows, -1)


def test_a_row_that_breaks_its_entitys_past_is_found():
    usual, odd = sequences(300, 1), sequences(300, 2)
    odd[:, -2:] *= -1  # each value is a usual one, only not here
    model = ConvolutionalAutoencoder(lags=8, code_size=4, batch_size=64, learning_rate=5e-3).fit(sequences(3000, 0))
    scores = model.anomaly_score(np.concatenate([usual, odd]))
    assert roc_auc_score(np.repeat([0, 1], 300), scores) > 0.97
    last = model.contributions(odd)[:, -2:].sum(axis=1) / model.anomaly_score(odd)
    assert np.median(last) > 2 / 16


@pytest.mark.parametrize(("n_columns", "lags"), [(1, 1), (2, 2), (7, 1), (7, 7), (30, 5), (33, 11)])
def test_any_length_comes_back_whole(n_columns, lags):
    rows = np.random.default_rng(0).normal(size=(40, n_columns))
    model = ConvolutionalAutoencoder(lags=lags, filters=(4, 6, 3), kernel_size=5, code_size=2, max_epochs=1).fit(rows)
    assert model.reconstruct(rows).shape == rows.shape
    assert model.encode(rows).shape == (40, 2)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"lags": 2}, "lags=2 does not divide the 3 columns"),
        ({"kernel_size": 2}, "kernel_size=2 must be odd"),
        ({"filters": ()}, r"filters=\(\)"),
        ({"filters": (4, 0)}, r"filters=\(4, 0\)"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        ConvolutionalAutoencoder(**parameters).fit(np.eye(3))
