"""What networks are made of."""

import pytest
import torch

from models.layers import dense_layers


def test_first_weights_are_drawn_as_torch_draws_them():
    layer = dense_layers([100, 128], generator=torch.Generator().manual_seed(0))[0]
    assert layer.weight.abs().max().item() == pytest.approx(0.1, rel=0.01)
    assert layer.weight.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.03)
    assert 0 < layer.bias.abs().max().item() <= 0.1


def test_layers_are_made_without_torchs_global_generator():
    state = torch.get_rng_state()
    dense_layers([3, 4], generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)
