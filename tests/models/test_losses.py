import numpy as np
import torch

from models.dense import DenseAutoencoder
from models.losses import Reconstruction


def test_a_penalty_is_spread_over_the_cells():
    model = DenseAutoencoder(max_epochs=1, hidden=(), code_size=2).fit(np.eye(4))
    batch = torch.eye(4)
    plain = Reconstruction(model.network_)(batch, torch.Generator())
    paid = Reconstruction(model.network_, penalty=lambda code: code.square().sum(dim=1))(batch, torch.Generator())
    price = model.encode(np.eye(4)) ** 2
    np.testing.assert_allclose((paid - plain).sum(dim=1), price.sum(axis=1), rtol=1e-4)
