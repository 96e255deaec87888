import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from models.contractive import ContractiveAutoencoder, squared_norm
from models.layers import dense_layers


def encoder_of(sizes):
    encoder = dense_layers(sizes, generator=torch.Generator().manual_seed(0), activation=nn.Sigmoid, last=nn.Sigmoid)
    return encoder, list(encoder)[::2]


def outputs_of(layers, batch):
    outputs = [batch]
    for layer in layers:
        outputs.append(torch.sigmoid(layer(outputs[-1])))
    return outputs[1:]


def by_jacobian(encoder, batch):
    return torch.stack([jacobian(lambda row: encoder(row[None])[0], row).square().sum() for row in batch])


def test_with_one_layer_the_norm_is_that_of_the_jacobian():
    encoder, layers = encoder_of([5, 7])
    batch = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    found = squared_norm(layers, outputs_of(layers, batch), torch.Generator())
    torch.testing.assert_close(found, by_jacobian(encoder, batch))


def test_with_more_layers_it_is_so_in_the_mean():
    encoder, layers = encoder_of([5, 9, 4])
    batch = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    many = batch.repeat(20_000, 1)
    found = squared_norm(layers, outputs_of(layers, many), torch.Generator().manual_seed(2))
    torch.testing.assert_close(found.reshape(-1, 3).mean(dim=0), by_jacobian(encoder, batch), rtol=0.03, atol=0)


@pytest.mark.parametrize("hidden", [(), (16,)])
def test_the_heavier_the_penalty_the_flatter_the_code(hidden):
    rows = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)
    norms, errors = [], []
    settings = {"hidden": hidden, "code_size": 12, "learning_rate": 0.01, "batch_size": 64}
    for contraction in (0, 3):
        model = ContractiveAutoencoder(contraction=contraction, **settings).fit(rows)
        norms.append(by_jacobian(model.network_.encoder, torch.from_numpy(rows[:50])).mean().item())
        errors.append(np.square(model.residuals(rows)).mean())
    assert norms[0] > 2 * norms[1]
    assert errors[0] < errors[1]


def test_a_negative_penalty_is_refused():
    with pytest.raises(ValueError, match="contraction=-1 must be 0 or more"):
        ContractiveAutoencoder(contraction=-1).fit(np.eye(3))
