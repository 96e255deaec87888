import math

import numpy as np
import pytest
import torch

from models import training
from tests.models.shift import Shift, rows, settings


def test_the_minimum_is_found():
    network, data = Shift(), rows() + 2
    epochs = training.fit(network, network.loss, data, settings=settings(max_epochs=200, learning_rate=0.05))
    np.testing.assert_allclose(network.at.detach(), data.mean(dim=0), atol=0.02)
    assert epochs[-1]["train_loss"] == pytest.approx(float(data.var(dim=0, correction=0).mean()), rel=0.01)
    assert [set(epoch) for epoch in epochs] == [{"epoch", "train_loss"}] * 200


def test_one_step_is_adamw_with_a_clipped_gradient():
    network, data = Shift(), torch.tensor([[30.0, 40.0, 0.0]])
    training.fit(network, network.loss, data, settings=settings(max_epochs=1, learning_rate=0.1))
    # Adam's first step is the learning rate times the gradient's sign, whatever its size.
    np.testing.assert_allclose(network.at.detach(), [0.1, 0.1, 0.0], rtol=1e-5)


def test_every_row_is_seen_once_an_epoch_in_another_order():
    seen = []
    data = torch.arange(150, dtype=torch.float32).reshape(50, 3)
    network = Shift()

    def loss(batch, generator):
        seen.append(batch[:, 0].clone())
        return network.loss(batch, generator)

    training.fit(network, loss, data, settings=settings(batch_size=16, max_epochs=2))
    assert [len(batch) for batch in seen] == [16, 16, 16, 2] * 2
    first, second = torch.cat(seen[:4]), torch.cat(seen[4:])
    assert not torch.equal(first, second)
    torch.testing.assert_close(first.sort().values, data[:, 0])
    torch.testing.assert_close(second.sort().values, data[:, 0])


def test_learning_rate_rises_to_its_peak_and_falls_towards_zero():
    rates = [training.learning_rate(step, 1000, settings(learning_rate=0.5)) for step in range(1000)]
    peak = int(np.argmax(rates))
    assert rates[peak] == 0.5
    assert peak == 49
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    assert 0 < rates[-1] < 1e-5
    middle = (peak + 1000) // 2
    assert rates[middle] == pytest.approx(0.25, rel=0.01)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_learning_rate_of_few_steps_is_above_zero(n_steps):
    assert all(training.learning_rate(step, n_steps, settings()) > 0 for step in range(n_steps))


def test_early_stopping_keeps_the_weights_of_the_best_epoch():
    network, data = Shift(), torch.full((64, 3), 3.0)
    weights = []
    # On its way to 3 the training passes 1, where the held-out rows lie.
    epochs = training.fit(
        network,
        network.loss,
        data,
        held_out=torch.full((10, 3), 1.0),
        settings=settings(max_epochs=200, learning_rate=0.05, patience=4),
        on_epoch=lambda *_: weights.append(network.at.detach().clone()),
    )
    losses = [epoch["held_out_loss"] for epoch in epochs]
    best = int(np.argmin(losses))
    assert best > 0
    assert len(epochs) == best + 1 + 4 < 200
    assert torch.equal(network.at, weights[best])
    assert not torch.equal(network.at, weights[-1])
    assert float((network.at.detach() - 1).square().mean()) == pytest.approx(losses[best], rel=1e-5)


def test_an_equal_loss_is_no_better_one():
    network, epochs_seen = Shift(), []
    data = torch.zeros(8, 3)  # the network is at their mean already, so that no epoch moves it
    epochs = training.fit(
        network,
        network.loss,
        data,
        held_out=data,
        settings=settings(max_epochs=9, patience=2),
        on_epoch=lambda epoch, *_: epochs_seen.append(epoch),
    )
    assert [epoch["held_out_loss"] for epoch in epochs] == [0, 0, 0]
    assert epochs_seen == [1, 2, 3]


def test_held_out_loss_does_not_depend_on_the_epoch_noise():
    network = Shift()

    def loss(batch, generator):
        return 0 * network.loss(batch, generator) + torch.rand(batch.shape, generator=generator)

    epochs = training.fit(network, loss, rows(), held_out=rows(50, seed=1), settings=settings(patience=9))
    assert len({epoch["held_out_loss"] for epoch in epochs}) == 1
    assert len({epoch["train_loss"] for epoch in epochs}) == len(epochs) == 5


def test_held_out_loss_is_a_mean_over_all_rows():
    n_rows = training.HELD_OUT_ROWS + 100
    held_out = torch.zeros(n_rows, 3)
    held_out[training.HELD_OUT_ROWS :] = 5
    network = Shift()
    network.at.requires_grad_(requires_grad=True)
    epochs = training.fit(network, network.loss, torch.zeros(4, 3), held_out=held_out, settings=settings(max_epochs=1))
    assert epochs[0]["held_out_loss"] == pytest.approx(25 * 100 / n_rows, rel=1e-4)


def test_on_epoch_hears_of_each_epoch():
    heard = []
    network = Shift()
    training.fit(
        network,
        network.loss,
        rows(),
        held_out=rows(20, seed=1),
        settings=settings(patience=9),
        on_epoch=lambda *a: heard.append(a),
    )
    assert [(epoch, of) for epoch, of, _ in heard] == [(epoch, 5) for epoch in range(1, 6)]
    assert all(set(losses) == {"train_loss", "held_out_loss"} for *_, losses in heard)
    assert all(math.isfinite(value) for *_, losses in heard for value in losses.values())


@pytest.mark.parametrize("value", [1e30, math.inf, math.nan])
def test_a_loss_that_is_not_finite_names_epoch_batch_and_column(value):
    network, data = Shift(), rows(100)
    data[70, 1] = value
    n_threads = torch.get_num_threads()
    with pytest.raises(ValueError, match=r"no longer finite \(epoch 1, batch \d\).*in column 'b'"):
        training.fit(network, network.loss, data, settings=settings())
    assert torch.get_num_threads() == n_threads
    assert torch.isfinite(network.at).all()


def test_a_gradient_that_is_not_finite_stops_too():
    network = Shift()

    def loss(batch, generator):
        return (network.at * 0).sqrt() * batch

    with pytest.raises(ValueError, match="epoch 1, batch 1"):
        training.fit(network, loss, rows(), settings=settings())


def test_a_held_out_loss_that_is_not_finite_names_the_column():
    network, held_out = Shift(), rows(20)
    held_out[3, 2] = -1e30
    with pytest.raises(ValueError, match=r"epoch 1, held-out rows.*-1e\+30 in column 'c'"):
        training.fit(network, network.loss, rows(), held_out=held_out, settings=settings())


class Table:
    """Rows that can only be had slice by slice, and that remember how many were asked for at once."""

    def __init__(self, array):
        self.array, self.shape, self.most = array, array.shape, 0

    def __len__(self):
        return len(self.array)

    def __getitem__(self, part):
        assert isinstance(part, slice)
        self.most = max(self.most, part.stop - part.start)
        return self.array[part]


def test_rows_on_disk_are_read_in_runs_and_each_is_seen_once(monkeypatch):
    monkeypatch.setattr(training, "DISK_ROWS", 10)
    monkeypatch.setattr(training, "WINDOW_CELLS", 120)  # four runs of ten rows and three columns
    table = Table(np.arange(300, dtype=np.float32).reshape(100, 3))
    seen = []
    network = Shift()

    def loss(batch, generator):
        seen.append(batch[:, 0].clone())
        return network.loss(batch, generator)

    training.fit(network, loss, table, settings=settings(batch_size=16, max_epochs=2))
    assert [len(batch) for batch in seen] == [16] * 6 + [4] + [16] * 6 + [4]
    first, second = torch.cat(seen[:7]), torch.cat(seen[7:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == table.array[:, 0].tolist()
    assert not torch.equal(first, second)
    window = set((first[:32] // 30).int().tolist())  # the first window's rows come from four runs
    assert len(window) == 4
    assert window != {0, 1, 2, 3}
    assert table.most <= 10


def test_rows_on_disk_reach_the_same_minimum():
    data = rows(5000) + 2
    network = Shift()
    training.fit(network, network.loss, Table(data.numpy()), settings=settings(max_epochs=20, learning_rate=0.05))
    np.testing.assert_allclose(network.at.detach(), data.mean(dim=0), atol=0.02)
