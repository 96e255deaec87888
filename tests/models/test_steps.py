import numpy as np
import pytest
import torch
from torch import nn

from models.heads import Head
from models.layers import Network, dense_layers
from models.losses import Reconstruction
from models.steps import AutogradStep, DenseStep, Weights


def rows(n_rows=70):
    data = torch.from_numpy(np.random.default_rng(0).normal(size=(n_rows, 6)).astype(np.float32))
    data[:, 4] = (data[:, 4] > 0).float()
    return data


def network(activation=nn.Hardswish, last=None, head=None):
    generator = torch.Generator().manual_seed(0)
    encoder = dense_layers([6, 16, 5], generator=generator, activation=activation, last=last)
    return Network(encoder, dense_layers([5, 9, 6], generator=generator, activation=activation), head=head)


MIXED = Head(groups=[("number", 4), ("binary", 1), ("number", 1)], number="huber", weight=torch.arange(1.0, 7.0))


@pytest.mark.parametrize(
    ("activation", "last", "head", "penalty"),
    [
        (nn.Hardswish, None, None, None),
        (None, None, None, None),
        (nn.Sigmoid, nn.Sigmoid, None, lambda code: code.mean(dim=0).square().sum().expand(len(code))),
        (nn.ReLU, nn.ReLU, None, lambda code: code.abs().sum(dim=1)),
        (nn.Hardswish, None, MIXED, None),
    ],
)
def test_the_written_out_gradient_is_that_of_autograd(activation, last, head, penalty):
    gradients, means = [], []
    for kind in ("dense", "autograd"):
        net = network(activation, last, head)
        weights = Weights(net)
        loss = Reconstruction(net, penalty=penalty)
        step = DenseStep.of(net, loss) if kind == "dense" else AutogradStep(loss, weights)
        assert step is not None
        mean = torch.empty(2)
        with torch.no_grad():
            step.start(rows(), 40, torch.Generator())
            for number in (0, 1):
                step.backward(number, mean[number])  # the second batch is a short one
                gradients.append(weights.gradient.clone())
        means.append(mean)
    torch.testing.assert_close(means[0], means[1])
    torch.testing.assert_close(gradients[0], gradients[2], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradients[1], gradients[3], rtol=1e-4, atol=1e-6)
    assert gradients[0].abs().max() > 1e-3


def test_corrupted_rows_are_what_the_encoder_sees_and_whole_rows_what_is_asked_for():
    net = network()
    weights = Weights(net)
    step = DenseStep.of(net, Reconstruction(net, corrupt=lambda batch, generator: torch.zeros_like(batch)))
    mean, data = torch.empty(1), rows()
    with torch.no_grad():
        step.start(data, 70, torch.Generator())
        step.backward(0, mean[0])
        expected = (net(torch.zeros_like(data)) - data).square().mean()
    assert mean.item() == pytest.approx(expected.item(), rel=1e-5)
    weights.release()


def test_other_networks_and_losses_are_left_to_autograd():
    net = network()
    assert DenseStep.of(net, lambda batch, generator: batch) is None
    assert DenseStep.of(network(), Reconstruction(net)) is None
    odd = Network(nn.Sequential(nn.Linear(6, 3)), nn.Sequential(nn.Linear(3, 6)))
    assert DenseStep.of(odd, Reconstruction(odd)) is None
    learnt = network(head=Head(groups=[("number", 6)], number="gaussian"))
    assert DenseStep.of(learnt, Reconstruction(learnt)) is None


def test_steps_are_those_of_adamw_with_clipped_gradients():
    rng = np.random.default_rng(3)
    layer = nn.Linear(3, 2)
    weights = Weights(layer)
    reference = nn.Linear(3, 2)
    reference.load_state_dict({name: value.clone() for name, value in layer.state_dict().items()})
    optimizer = torch.optim.AdamW(reference.parameters(), lr=0.1)
    for step in range(20):
        rate = 0.1 / (step + 1)
        optimizer.param_groups[0]["lr"] = rate
        for parameter, other in zip(layer.parameters(), reference.parameters(), strict=True):
            gradient = torch.from_numpy(rng.normal(size=parameter.shape).astype(np.float32)) * 10.0 ** (step % 3 - 1)
            parameter.grad.copy_(gradient)
            other.grad = gradient.clone()
        norm, expected = torch.empty(()), nn.utils.clip_grad_norm_(reference.parameters(), 2.0)
        with torch.no_grad():
            weights.update(rate, 2.0, norm)
        optimizer.step()
        torch.testing.assert_close(norm, expected)
        for parameter, other in zip(layer.parameters(), reference.parameters(), strict=True):
            torch.testing.assert_close(parameter.data, other.data, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(parameter.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_released_parameters_own_their_memory():
    layer = nn.Linear(3, 2)
    weights = Weights(layer)
    weights.release()
    before = layer.weight.clone()
    weights.values.fill_(7)
    assert torch.equal(layer.weight, before)
    assert layer.weight.grad is None
