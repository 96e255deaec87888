from itertools import product

import numpy as np
import pytest
import torch

from models.belief import DeepBeliefAutoencoder, Machine
from models.heads import Head
from models.layers import Dense


def machine(n_visible, n_hidden, **settings):
    torch_seed = torch.Generator().manual_seed(0)
    up, down = Dense(n_visible, n_hidden), Dense(n_hidden, n_visible)
    for part in (up.weight, up.bias, down.bias):
        part.data = 0.1 * torch.randn(part.shape, generator=torch_seed)
    given = {"visible": torch.sigmoid, "hidden_is_gaussian": False} | settings
    return Machine(up, down, **given), up, down


def exact_log_likelihood(rows, up, down):
    """Of binary rows, by summing over every state: Hinton (2002), with the energy of a Boltzmann machine."""
    weight, hidden_bias, visible_bias = (part.detach().numpy() for part in (up.weight, up.bias, down.bias))

    def unnormalised(visible):
        return visible @ visible_bias + np.logaddexp(0, visible @ weight.T + hidden_bias).sum(axis=1)

    states = np.array(list(product([0, 1], repeat=rows.shape[1])), dtype=np.float64)
    return (unnormalised(rows) - np.logaddexp.reduce(unnormalised(states))).mean()


@torch.no_grad()
def test_contrastive_divergence_raises_the_likelihood_of_binary_rows():
    rng = np.random.default_rng(0)
    rows = (rng.integers(0, 2, size=(500, 1)) ^ (rng.random((500, 6)) < 0.1)).astype(np.float32)
    rbm, up, down = machine(6, 4)
    found = [exact_log_likelihood(rows, up, down)]
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        for _ in range(400):
            rbm.step(torch.from_numpy(rows), rate=0.1, momentum=0.5, generator=generator)
        found.append(exact_log_likelihood(rows, up, down))
    independent = (
        rows.mean(axis=0) * np.log(rows.mean(axis=0)) + (1 - rows.mean(axis=0)) * np.log1p(-rows.mean(axis=0))
    ).sum()
    assert found[-1] > independent + 0.5 > found[0]
    assert found[1] > found[0]


@torch.no_grad()
def test_one_step_is_the_plain_formula():
    """With Gaussian units on both sides and no noise to speak of, the step has no chance in it."""
    rbm, up, down = machine(3, 2, visible=Head(), hidden_is_gaussian=True)
    weight, hidden_bias, visible_bias = (part.numpy().copy() for part in (up.weight, up.bias, down.bias))
    batch = 1e4 * torch.randn(8, 3, generator=torch.Generator().manual_seed(2))  # beside which unit noise is small
    rbm.step(batch, rate=1e-9, momentum=0.5, generator=torch.Generator().manual_seed(3))
    rows = batch.numpy().astype(np.float64)
    hidden = rows @ weight.T + hidden_bias
    again = hidden @ weight + visible_bias
    hidden_again = again @ weight.T + hidden_bias
    gradient = (hidden.T @ rows - hidden_again.T @ again) / 8
    np.testing.assert_allclose(up.weight.numpy() - weight, 1e-9 * gradient, rtol=0.02, atol=2e-4)
    np.testing.assert_allclose(
        down.bias.numpy() - visible_bias, 1e-9 * (rows - again).mean(axis=0), rtol=0.02, atol=1e-6
    )


def rows(n_rows=1500):
    rng = np.random.default_rng(0)
    return (np.tanh(rng.normal(size=(n_rows, 2)) @ rng.normal(size=(2, 10)))).astype(np.float32)


def test_pretraining_starts_the_fine_tuning_lower():
    losses = []
    for epochs in (0, 10):
        model = DeepBeliefAutoencoder(
            hidden=(32, 16),
            code_size=2,
            pretrain_epochs=epochs,
            max_epochs=2,
            batch_size=32,
            pretrain_learning_rate=0.1,
        ).fit(rows())
        losses.append(model.epochs_[0]["train_loss"])
    assert losses[1] < 0.9 * losses[0]


def test_unrolled_the_decoder_is_the_encoder_transposed():
    model = DeepBeliefAutoencoder(hidden=(7,), code_size=3, max_epochs=1, learning_rate=1e-9).fit(rows(200))
    weights = [value for name, value in model.network_.state_dict().items() if name.endswith("weight")]
    for up, down in zip(weights[:2], weights[:1:-1], strict=True):
        np.testing.assert_allclose(up, down.T, atol=1e-6)
    weight, bias, code_weight, code_bias = (value.numpy() for value in list(model.network_.encoder.parameters()))
    hidden = 1 / (1 + np.exp(-(rows(5) @ weight.T + bias)))
    np.testing.assert_allclose(model.encode(rows(5)), hidden @ code_weight.T + code_bias, atol=1e-5)  # a linear code


def test_mixed_tables_have_binary_visible_units():
    data = rows(600)
    data[:, :4] = data[:, :4] > 0
    model = DeepBeliefAutoencoder(hidden=(32,), code_size=4, loss="mixed", learning_rate=0.01, batch_size=32).fit(data)
    assert model.column_groups_ == [("binary", 4), ("number", 6)]
    expected = model.reconstruct(data)[:, :4]
    assert ((expected > 0) & (expected < 1)).all()
    assert ((expected > 0.5) == data[:, :4]).mean() > 0.9


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pretrain_epochs": -1}, "pretrain_epochs=-1 must be 0"),
        ({"pretrain_learning_rate": 0}, "rate=0 must be above"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        DeepBeliefAutoencoder(**parameters).fit(np.eye(3))
