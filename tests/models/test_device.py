"""Training on a device that is not the CPU, without one: tensors that only claim to be there.

Torch's fake tensors work out shapes and devices and no values, and refuse an operation between two devices as a GPU
does. So they find each tensor that a loss, a corruption or an optimiser forgets on the CPU. Torch lets a process have
one more kind of device, for good; hence a process of its own.
"""

from contextlib import contextmanager
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from models import training
from models.registry import MODELS, model_class
from models.steps import AutogradStep, DenseStep, Weights
from tests.processes import SECONDS

DEVICE = "elsewhere"
BATCH = 256
MIXED = {"loss": "mixed", "column_groups": [("number", 2), ("binary", 1), ("category", 3)], "scale_loss": True}
TRAINED = {
    "denoising": [{}, {"corruption": "masking"}, {"corruption": "swap"}, MIXED],
    "dense": [{}, {"loss": "huber"}, {"loss": "gaussian"}, {"scale_loss": True}],
    "sparse": [{"penalty": "kl"}, {"penalty": "l1"}],
    "variational": [{}, {"loss": "squared"}, MIXED],
    "convolutional": [{}, {"lags": 2}],
    "linear": [{}],
    "contractive": [{}],
    "belief": [{}],
    "ensemble": [{}],
    "committee": [{}],
}
UNTRAINED = {"memory", "pca", "knn", "isolation_forest", "one_class_svm"}
CASES = [(name, settings) for name, cases in TRAINED.items() for settings in cases]


def rows():
    data = np.random.default_rng(0).normal(size=(600, 6)).astype(np.float32)
    data[:, 2] = data[:, 2] > 0
    data[:, 3:] = np.eye(3)[data[:, 3:].argmax(axis=1)]
    return data


class Arrived(Exception):
    """Two steps and a held-out loss were taken."""


@contextmanager
def elsewhere():
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend as add_device

    if torch._C._get_privateuse1_backend_name() != DEVICE:
        add_device(DEVICE)
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True):
        yield


def move(network):
    """Put another in the place of each parameter and buffer, as ``network.to(DEVICE)`` would."""
    for module in network.modules():
        for name, old in list(module._parameters.items()):
            if old is not None:
                new = torch.empty(old.shape, dtype=old.dtype, device=DEVICE)
                module._parameters[name] = nn.Parameter(new, requires_grad=old.requires_grad)
        for name, old in list(module._buffers.items()):
            if old is not None:
                module._buffers[name] = torch.empty(old.shape, dtype=old.dtype, device=DEVICE)


def take_steps(network, loss, rows, **_):
    """What ``training.fit`` does to a chunk of rows, but for the numbers."""
    with elsewhere():
        move(network)
        weights = Weights(network)
        step = DenseStep.of(network, loss) or AutogradStep(loss, weights)
        chunk = torch.empty(2 * BATCH, rows.shape[1], device=DEVICE)
        found = weights.values.new_empty(2, 2)
        step.start(chunk, BATCH, None)
        for at in range(2):
            step.backward(at, found[0][at])
            weights.update(1e-3, 1.0, found[1][at])
        weights.restore(weights.state())
        assert loss(chunk, None).device.type == DEVICE
        assert {weights.values.device.type, weights.gradient.device.type, found.device.type} == {DEVICE}
    raise Arrived


def train(name, settings):
    training.fit = take_steps
    try:
        model_class(name)(**settings).fit(rows())
    except Arrived:
        return "arrived"
    return "never trained"


def train_with_a_tensor_left_behind():
    network, left = nn.Linear(6, 6), torch.ones(6)
    try:
        take_steps(network, lambda batch, generator: (network(batch) - batch) * left, rows())
    except RuntimeError as error:
        return str(error)


@pytest.fixture(scope="module")
def process():
    with get_context("spawn").Pool(1) as pool:  # which ends its process at the end, whatever that does
        yield pool


def test_every_model_is_tried_or_has_nothing_to_train():
    assert TRAINED.keys() | UNTRAINED == MODELS.keys()


@pytest.mark.parametrize(("name", "settings"), CASES, ids=[f"{name} {settings}" for name, settings in CASES])
def test_a_training_step_leaves_no_tensor_on_the_cpu(process, name, settings):
    assert process.apply_async(train, (name, settings)).get(SECONDS) == "arrived"


@pytest.mark.parametrize("name", sorted(UNTRAINED))
def test_the_others_do_not_train(process, name):
    assert process.apply_async(train, (name, {})).get(SECONDS) == "never trained"


def test_a_tensor_left_on_the_cpu_is_found(process):
    found = process.apply_async(train_with_a_tensor_left_behind).get(SECONDS)
    assert "found at least two devices" in found
    assert DEVICE in found
