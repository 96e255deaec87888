"""One step of training: a network's gradient on a batch, and AdamW.

Both are written out here for stacks of dense layers under squared error; torch's autograd finds the gradient of all
else. What that saves, in times the seconds of a step (``benchmarks/steps.py``: medians of nine turns on one core):

=====================  =====  ================================  =================
layers                 batch  autograd and AdamW(fused=True)    ``torch.compile``
=====================  =====  ================================  =================
30-64-16-64-30            32  3.3                               3.3
30-64-16-64-30           512  2.2                               2.4
30-128-64-128-30          32  2.8                               3.1
30-128-64-128-30         512  1.6                               1.7
60-512-128-512-60         32  1.5                               2.1
60-512-128-512-60        512  1.1                               1.2
=====================  =====  ================================  =================

The default is 128 and 64 nodes and batches of 512; in a network as wide as the last, only the products count.
"""

from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from models.layers import Dense, Network
from models.losses import Reconstruction

BETAS, EPSILON, WEIGHT_DECAY = (0.9, 0.999), 1e-8, 0.01
"""AdamW's constants, as torch has them."""

Layer = tuple[Dense, type[nn.Module] | None]
"""A layer and its activation."""

_HARDSWISH, _HARDSWISH_BACKWARD = torch.ops.aten.hardswish.out, torch.ops.aten.hardswish_backward.out
_SIGMOID_BACKWARD = torch.ops.aten.sigmoid_backward.grad_input
_RELU_BACKWARD = torch.ops.aten.threshold_backward.grad_input


class Weights:
    """A network's parameters, their gradients and AdamW's moments, each in one vector.

    Loshchilov and Hutter, "Decoupled weight decay regularization" (2019), algorithm 2. One vector instead of a
    tensor a layer, since a small network's step is mostly the cost of calling torch. The parameters become views
    of the vector until ``release``.

    Attributes
    ----------
    values, gradient : float32 tensors of shape (n_weights,)
    """

    def __init__(self, network: nn.Module) -> None:
        self._parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        sizes = [-(-parameter.numel() // 16) * 16 for parameter in self._parameters]  # each begins on 64 bytes
        self.values = self._parameters[0].new_zeros(sum(sizes))
        self.gradient, self._mean, self._square = (torch.zeros_like(self.values) for _ in range(3))
        self._scratch, self._scale = torch.empty_like(self.values), self.values.new_empty(())
        self._n_steps = 0
        start = 0
        for parameter, size in zip(self._parameters, sizes, strict=True):
            inside = slice(start, start + parameter.numel())
            self.values[inside] = parameter.data.flatten()
            parameter.data = self.values[inside].view(parameter.shape)
            parameter.grad = self.gradient[inside].view(parameter.shape)
            start += size

    def update(self, rate: float, max_norm: float, norm: Tensor) -> None:
        """Take one step along the gradient, scaled down to a norm of ``max_norm``; write its norm to ``norm``."""
        torch.linalg.vector_norm(self.gradient, out=norm)
        torch.div(norm, max_norm, out=self._scale).clamp_(min=1)
        self.gradient.div_(self._scale)
        self._n_steps += 1
        first, second = BETAS
        self._mean.lerp_(self.gradient, 1 - first)
        self._square.mul_(second).addcmul_(self.gradient, self.gradient, value=1 - second)
        torch.sqrt(self._square, out=self._scratch)
        self._scratch.mul_((1 - second**self._n_steps) ** -0.5).add_(EPSILON)
        self.values.mul_(1 - rate * WEIGHT_DECAY)
        self.values.addcdiv_(self._mean, self._scratch, value=-rate / (1 - first**self._n_steps))

    def state(self) -> dict[str, Tensor]:
        """Return all that a later step depends on, by name."""
        return {
            "values": self.values,
            "mean": self._mean,
            "square": self._square,
            "n_steps": torch.tensor(self._n_steps),
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what ``state`` gave."""
        self.values.copy_(state["values"])
        self._mean.copy_(state["mean"])
        self._square.copy_(state["square"])
        self._n_steps = int(state["n_steps"])

    def release(self) -> None:
        """Give each parameter a tensor of its own again."""
        for parameter in self._parameters:
            parameter.data = parameter.data.clone()
            parameter.grad = None


class Step(Protocol):
    """Finds the gradient on the batches of a chunk of rows."""

    def start(self, chunk: Tensor, batch_size: int, generator: torch.Generator) -> None:
        """Take up a chunk, shape (n_rows, n_columns), its rows already in random order."""

    def backward(self, number: int, mean: Tensor) -> None:
        """Write the gradient on one of the chunk's batches to the weights, and the mean loss to ``mean``."""


class AutogradStep:
    """The gradient of any loss of any network, by torch's autograd."""

    def __init__(self, loss: Any, weights: Weights) -> None:
        self._loss = loss
        self._weights = weights

    def start(self, chunk: Tensor, batch_size: int, generator: torch.Generator) -> None:
        """Take up a chunk of rows."""
        self._batches, self._generator = chunk.split(batch_size), generator

    def backward(self, number: int, mean: Tensor) -> None:
        """Find the gradient on one of its batches."""
        self._weights.gradient.zero_()
        with torch.enable_grad():
            value = self._loss(self._batches[number], self._generator).mean()
            value.backward()
        mean.copy_(value)


class DenseStep:
    """The same gradient for a stack of dense layers, written out, into tensors that are there already.

    Autograd's bookkeeping costs more than the arithmetic of a small batch. Rows are corrupted a chunk at a time. What
    lies above the decoder's outputs, and a penalty on the code, is left to autograd unless it is the squared error.
    """

    def __init__(
        self, loss: Reconstruction, layers: list[tuple[Dense, type[nn.Module] | None]], n_encoder: int
    ) -> None:
        self._loss = loss
        self._layers = layers
        self._code = n_encoder - 1
        self._is_plain = loss.network.head.is_plain and loss.penalty is None
        self._buffers: dict[int, list[dict[str, Tensor]]] = {}

    @classmethod
    def of(cls, network: nn.Module, loss: Any) -> Self | None:
        """Return the step, or None where the network or its loss is of another make."""
        if not (isinstance(loss, Reconstruction) and type(network) is Network and loss.network is network):
            return None
        layers: list[Layer] = []
        n_encoder = 0
        for part in (network.encoder, network.decoder):
            n_encoder = len(layers)
            for module in part if isinstance(part, nn.Sequential) else (part,):
                if type(module) is Dense:
                    layers.append((module, None))
                elif type(module) in (nn.Hardswish, nn.ReLU, nn.Sigmoid) and layers and layers[-1][1] is None:
                    layers[-1] = (layers[-1][0], type(module))
                else:
                    return None
        if n_encoder == 0 or any(True for _ in network.head.parameters()):
            return None
        return cls(loss, layers, n_encoder)

    def start(self, chunk: Tensor, batch_size: int, generator: torch.Generator) -> None:
        """Take up a chunk of rows, and corrupt it."""
        seen = chunk if self._loss.corrupt is None else self._loss.corrupt(chunk, generator)
        self._batches = list(zip(seen.split(batch_size), chunk.split(batch_size), strict=True))

    def backward(self, number: int, mean: Tensor) -> None:
        """Find the gradient on one of its batches."""
        values, batch = self._batches[number]
        if len(batch) not in self._buffers:
            self._buffers[len(batch)] = [self._allocate(layer, len(batch)) for layer, _ in self._layers]
        buffers = self._buffers[len(batch)]
        inputs = []
        for (layer, activation), buffer in zip(self._layers, buffers, strict=True):
            inputs.append(values)
            values = torch.addmm(layer.bias, values, layer.weight.t(), out=buffer["sums"])
            if activation is nn.Hardswish:
                values = _HARDSWISH(values, out=buffer["outputs"])
            elif activation is nn.ReLU:
                values = torch.clamp(values, min=0, out=buffer["outputs"])
            elif activation is nn.Sigmoid:
                values = torch.sigmoid(values, out=buffer["outputs"])
        on_code = self._top(values, inputs[self._code + 1], batch, gradient=buffers[-1]["gradient"], mean=mean)
        for at in range(len(self._layers) - 1, -1, -1):
            (layer, activation), buffer = self._layers[at], buffers[at]
            gradient = buffer["gradient"]
            if at == self._code and on_code is not None:
                gradient.add_(on_code)
            if activation is nn.Hardswish:
                gradient = _HARDSWISH_BACKWARD(gradient, buffer["sums"], out=buffer["inner"])
            elif activation is nn.ReLU:
                gradient = _RELU_BACKWARD(gradient, buffer["sums"], 0, grad_input=buffer["inner"])
            elif activation is nn.Sigmoid:
                gradient = _SIGMOID_BACKWARD(gradient, buffer["outputs"], grad_input=buffer["inner"])
            torch.mm(gradient.t(), inputs[at], out=layer.weight.grad)
            torch.sum(gradient, 0, out=layer.bias.grad)
            if at:
                torch.mm(gradient, layer.weight, out=buffers[at - 1]["gradient"])

    def _top(self, outputs: Tensor, code: Tensor, batch: Tensor, *, gradient: Tensor, mean: Tensor) -> Tensor | None:
        """Write loss and gradient of the outputs; return the gradient of the code's penalty, if there is one."""
        if self._is_plain:
            torch.sub(outputs, batch, out=gradient)
            torch.linalg.vector_norm(gradient, out=mean)
            mean.square_().div_(batch.numel())
            gradient.mul_(2 / batch.numel())
            return None
        outputs, code = outputs.detach().requires_grad_(), code.detach().requires_grad_()
        with torch.enable_grad():
            value = self._loss.cells(outputs, code, batch).mean()
            on_outputs, on_code = torch.autograd.grad(value, (outputs, code), allow_unused=True)
        mean.copy_(value)
        gradient.copy_(on_outputs)
        return on_code

    @staticmethod
    def _allocate(layer: Dense, n_rows: int) -> dict[str, Tensor]:
        names = ("sums", "outputs", "gradient", "inner")
        return {name: layer.weight.new_empty(n_rows, layer.out_features) for name in names}
