"""What a killed training goes on from."""

import json

import pytest
import torch
from safetensors import safe_open

from models import training
from models.denoising import DenoisingAutoencoder
from tests.models.shift import Shift, rows, settings


class Killed(Exception):
    pass


@pytest.mark.parametrize("held_out", [None, rows(50, seed=1)])
@pytest.mark.parametrize("killed_after", [1, 4, 6])
def test_a_killed_training_ends_with_the_same_weights(held_out, killed_after, tmp_path):
    def noisy(network):
        def loss(batch, generator):
            return network.loss(batch + torch.randn(batch.shape, generator=generator), generator)

        return loss

    whole, resumed = Shift(), Shift()
    given = {"max_epochs": 6, "patience": 9, "batch_size": 16}
    expected = training.fit(whole, noisy(whole), rows(), held_out=held_out, settings=settings(**given))

    def kill(epoch, of, losses):
        if epoch == killed_after:
            raise Killed

    with pytest.raises(Killed):
        training.fit(
            resumed,
            noisy(resumed),
            rows(),
            held_out=held_out,
            settings=settings(**given, checkpoint=tmp_path),
            on_epoch=kill,
        )
    heard, again = [], Shift()
    epochs = training.fit(
        again,
        noisy(again),
        rows(),
        held_out=held_out,
        settings=settings(**given, checkpoint=tmp_path),
        on_epoch=lambda epoch, *_: heard.append(epoch),
    )
    assert heard == list(range(killed_after + 1, 7))
    assert epochs == expected
    assert torch.equal(again.at, whole.at)


def test_a_checkpoint_of_other_data_or_settings_is_not_used(tmp_path):
    network = Shift()
    training.fit(network, network.loss, rows(), settings=settings(checkpoint=tmp_path, patience=9))
    others = [
        (rows(seed=9), None, {}),
        (rows(), rows(9), {}),
        (rows(), None, {"seed": 1}),
        (rows(), None, {"identity": "other"}),
        (rows(), None, {"learning_rate": 0.5}),
        (rows()[:-1], None, {}),
    ]
    heard = []
    for data, held_out, changes in others:
        heard.clear()
        other = Shift()
        training.fit(
            other,
            other.loss,
            data,
            held_out=held_out,
            settings=settings(**{"checkpoint": tmp_path, "patience": 9} | changes),
            on_epoch=lambda *a: heard.append(a),
        )
        assert len(heard) == 5
    assert len(list(tmp_path.iterdir())) == 1 + len(others)


def test_a_checkpoint_is_one_safetensors_file_with_json(tmp_path):
    network = Shift()
    epochs = training.fit(network, network.loss, rows(), held_out=rows(9), settings=settings(checkpoint=tmp_path))
    (path,) = tmp_path.iterdir()
    with safe_open(path, framework="np") as file:
        assert json.loads(file.metadata()["json"])["epochs"] == epochs
        assert {"weights.values", "weights.mean", "weights.square", "order", "noise", "best"} <= set(file.keys())


def test_clearing_leaves_other_files_alone(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    DenoisingAutoencoder(checkpoint=str(tmp_path), max_epochs=1).fit(rows(20))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
