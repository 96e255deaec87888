import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

from models import networks
from models.denoising import DenoisingAutoencoder
from models.registry import load
from models.scores import RESIDUAL_SCORES
from tests.processes import run

EVERY_SCORE = pytest.mark.parametrize("residual_score", RESIDUAL_SCORES)


def rows(n_rows=3000, n_columns=12, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(n_rows, 3))
    mixing = np.random.default_rng(1).normal(size=(3, n_columns))
    return (np.tanh(codes @ mixing) + 0.1 * rng.normal(size=(n_rows, n_columns))).astype(np.float32)


def fitted(residual_score="mahalanobis", data=None, **parameters):
    given = {"max_epochs": 3, "hidden": (32,), "code_size": 8} | parameters
    return DenoisingAutoencoder(residual_score=residual_score, **given).fit(rows() if data is None else data)


def outputs(model, data):
    return {
        name: getattr(model, name)(data)
        for name in ("anomaly_score", "contributions", "residuals", "reconstruct", "encode", "predict")
    }


def assert_same(found, expected):
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name, strict=True)


@EVERY_SCORE
def test_a_row_scores_the_same_in_any_batch_and_order_by_every_score(residual_score):
    data = rows(9000, 15)
    model = fitted(residual_score, data, hidden=(37,), code_size=5)
    whole = outputs(model, data)
    for batch_size, upto in ((1, 20), (7, 140), (1000, len(data)), (4096, len(data))):
        pieces = [outputs(model, data[at : at + batch_size]) for at in range(0, upto, batch_size)]
        found = {name: np.concatenate([piece[name] for piece in pieces]) for name in whole}
        assert_same(found, {name: values[:upto] for name, values in whole.items()})
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(data))
        assert_same(outputs(model, data[order]), {name: values[order] for name, values in whole.items()})


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@EVERY_SCORE
def test_fit_and_scores_are_the_same_with_any_number_of_threads(residual_score, threads):
    data = rows(3 * 4096, 21)
    found = []
    for n_threads in (1, 2, 5):
        threads(n_threads)
        model = fitted(residual_score, data, hidden=(300, 45), code_size=11, max_epochs=1)
        found.append((model.epochs_, model.residuals(data)))
        assert torch.get_num_threads() == n_threads
    for epochs, residuals in found[1:]:
        assert epochs == found[0][0]
        np.testing.assert_array_equal(residuals, found[0][1])


def test_residuals_are_the_rows_less_their_reconstruction():
    data = rows(1500)
    model = fitted("mean_squared", data)
    residuals = model.residuals(data)
    assert residuals.dtype == model.reconstruct(data).dtype == np.float32
    np.testing.assert_array_equal(residuals, data - model.reconstruct(data))
    expected = (residuals.astype(np.float64) ** 2).mean(axis=1)
    np.testing.assert_allclose(model.anomaly_score(data), expected, rtol=1e-12)


def test_scores_are_those_of_a_plain_numpy_pass():
    data = rows(200).astype(np.float64)
    model = fitted("mean_squared", data)
    weights = [value.numpy().astype(np.float64) for value in model.network_.state_dict().values()]
    hidden = data
    codes = []
    for layer, (weight, bias) in enumerate(zip(weights[::2], weights[1::2], strict=True)):
        hidden = hidden @ weight.T + bias
        codes.append(hidden)
        if layer in (0, 2):
            hidden = hidden * np.clip(hidden + 3, 0, 6) / 6
    np.testing.assert_allclose(model.encode(data), codes[1], atol=1e-5)
    np.testing.assert_allclose(model.anomaly_score(data), ((data - hidden) ** 2).mean(axis=1), rtol=1e-4)


def test_a_random_state_gives_other_weights_each_time():
    data = rows(200)
    model = DenoisingAutoencoder(random_state=np.random.RandomState(0), max_epochs=1)
    first = model.fit(data).anomaly_score(data)
    assert not np.array_equal(model.fit(data).anomaly_score(data), first)


def test_held_out_rows_never_touch_the_fit():
    data = rows(600)
    one, other = rows(100, seed=3), 5 + 10 * rows(80, seed=4)
    parameters = {"max_epochs": 1, "hidden": (16,), "code_size": 4}
    # After a single epoch there is nothing to choose: whatever the held-out rows are, the model is the same.
    scores = [
        DenoisingAutoencoder(**parameters).fit(data, X_held_out=h).anomaly_score(data) for h in (one, other, None)
    ]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])
    # And over many epochs, all that they can change is where it stops.
    parameters |= {"max_epochs": 6, "patience": 6}
    epochs = [DenoisingAutoencoder(**parameters).fit(data, X_held_out=h).epochs_ for h in (one, other)]
    losses = [[(epoch["train_loss"], epoch["held_out_loss"]) for epoch in found] for found in epochs]
    for (train, held_out), (train_other, held_out_other) in zip(*losses, strict=False):
        assert train == train_other
        assert held_out != held_out_other


def test_early_stopping_keeps_the_best_weights():
    model = DenoisingAutoencoder(
        noise=0,
        hidden=(64,),
        code_size=8,
        learning_rate=0.03,
        max_epochs=300,
        patience=10,
        residual_score="mean_squared",
    )
    held_out = rows(500, seed=9)
    model.fit(rows(15), X_held_out=held_out)  # few rows, learnt by heart
    losses = [epoch["held_out_loss"] for epoch in model.epochs_]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 10 < 300
    assert model.anomaly_score(held_out).mean() == pytest.approx(losses[best], rel=1e-4)
    assert losses[-1] > losses[best]


@EVERY_SCORE
def test_a_saved_model_scores_bit_for_bit(residual_score, tmp_path):
    frame = pd.DataFrame(rows(), columns=[f"c{i}" for i in range(12)])
    heard = []
    model = fitted(residual_score, frame, on_epoch=lambda *given: heard.append(given))
    assert heard == [(e["epoch"], 3, {"train_loss": e["train_loss"]}) for e in model.epochs_]
    model.save(tmp_path / "new" / "model")
    again = load(tmp_path / "new" / "model")
    assert type(again) is DenoisingAutoencoder
    assert_same(outputs(again, frame), outputs(model, frame))
    assert again.offset_ == model.offset_
    assert again.epochs_ == model.epochs_
    assert again.get_params() == model.get_params() | {"on_epoch": None}
    np.testing.assert_array_equal(again.feature_names_in_, model.feature_names_in_)
    assert_same(outputs(clone(again).fit(frame), frame), outputs(model, frame))


def test_a_saved_model_scores_bit_for_bit_in_another_process(tmp_path):
    data = rows(50)
    model = fitted(data=data)
    model.save(tmp_path)
    np.save(tmp_path / "rows.npy", data)
    code = "import sys, numpy as np; from models.registry import load; model = load(sys.argv[1]);"
    code += "np.save(sys.argv[1] + '/scores.npy', model.anomaly_score(np.load(sys.argv[1] + '/rows.npy')))"
    root = Path(networks.__file__).parents[1]
    process = run(sys.executable, "-c", code, tmp_path, cwd=root)
    assert process.status == 0, process
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), model.anomaly_score(data))


def test_columns_that_moved_or_changed_their_name_are_named():
    frame = pd.DataFrame(rows(100, 4), columns=["amount", "hour", "count", "risk"])
    model = fitted(data=frame)
    moved = r"same order as they were in fit.\nMoved: column 0 was 'amount' and is 'hour'; column 1 was 'hour' and is"
    for method in (model.anomaly_score, model.contributions, model.encode):
        with pytest.raises(ValueError, match=moved):
            method(frame[["hour", "amount", "count", "risk"]])
    renamed = r"unseen at fit time:\n- betrag\n.*yet now missing:\n- amount"
    with pytest.raises(ValueError, match=renamed):
        model.anomaly_score(frame.rename(columns={"amount": "betrag"}))
    with pytest.raises(ValueError, match="yet now missing:\n- risk"):
        model.anomaly_score(frame.drop(columns="risk"))
    with pytest.raises(ValueError, match="Moved: column 2"):
        model.fit(frame, X_held_out=frame[["amount", "hour", "risk", "count"]])
    wide = pd.DataFrame(rows(50, 12), columns=[f"c{i}" for i in range(12)])
    with pytest.raises(ValueError, match=r"column 4 was 'c4' and is 'c7'; and 7 more"):
        fitted(data=wide).anomaly_score(wide[wide.columns[::-1]])


@pytest.mark.parametrize(("n_rows", "n_columns"), [(2, 1), (2, 3), (20, 6), (50, 1), (60, 1500), (20, 500)])
@EVERY_SCORE
def test_small_and_wide_tables(n_rows, n_columns, residual_score):
    data = rows(n_rows, n_columns)
    model = DenoisingAutoencoder(residual_score=residual_score, max_epochs=3).fit(data, X_held_out=data[:1])
    scores = model.anomaly_score(data)
    assert scores.shape == (n_rows,)
    assert np.isfinite(scores).all()
    assert model.anomaly_score(data[:1])[0] == scores[0]
    assert model.anomaly_score(data[:1] + 50)[0] > scores.max()


def test_one_row_is_too_few():
    with pytest.raises(ValueError, match="1 sample"):
        DenoisingAutoencoder().fit([[1.0, 2.0]])


@EVERY_SCORE
def test_rows_all_alike_and_constant_columns(residual_score):
    alike = np.full((200, 3), 2.0)
    model = fitted(residual_score, alike)
    scores = model.anomaly_score(alike)
    assert (scores == scores[0]).all()
    assert model.anomaly_score(alike[:1] + 1)[0] > scores[0]

    data = rows(500)
    data[:, 4] = 0
    model = fitted(residual_score, data, max_epochs=20)
    odd = data[:1].copy()
    odd[0, 4] = 3
    assert model.anomaly_score(odd)[0] > model.anomaly_score(data).max()
    assert model.contributions(odd)[0].argmax() == 4


def test_a_value_too_large_to_train_on_is_named():
    frame = pd.DataFrame(rows(600, 3), columns=["hour", "amount", "risk"])
    frame.loc[[5, 80], "amount"] = 1e30
    with pytest.raises(ValueError, match=r"epoch 1, batch \d.* 1e\+30 in column 'amount'"):
        fitted(data=frame, batch_size=64)
    with pytest.raises(ValueError, match=r"held-out rows.*1e\+30 in column '1'"):
        fitted().fit(rows(50, 3), X_held_out=frame.to_numpy())


@EVERY_SCORE
def test_a_value_too_large_to_score_is_named_and_not_passed_over(residual_score):
    model = fitted(residual_score)
    data = rows(10)
    data[7] = 3e38
    data[7, 2] = -3.4e38
    with pytest.raises(ValueError, match=r"row 7 has no finite score; its largest value is -3.4e\+38, in column '2'"):
        model.predict(data)


def test_a_covariance_from_a_part_of_the_rows_is_near_that_of_all(monkeypatch):
    data = rows(4000)
    whole = fitted(data=data).anomaly_score(data)
    monkeypatch.setattr(networks, "SCORE_CELLS", 1000 * data.shape[1])
    part = fitted(data=data).anomaly_score(data)
    assert not np.array_equal(part, whole)
    assert np.corrcoef(part, whole)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"residual_score": "l1"}, "residual_score='l1' must be one of 'mean_squared', "),
        ({"batch_size": 0}, "batch_size=0 must be 1 or more"),
        ({"max_epochs": 0}, "max_epochs=0 must be 1 or more"),
        ({"patience": 0}, "patience=0 must be 1 or more"),
        ({"learning_rate": 0}, "learning_rate=0 must be above 0"),
        ({"contamination": 0.6}, "contamination=0.6 must lie above 0"),
        ({"contamination": 0}, "contamination=0 must lie above 0"),
    ],
)
def test_parameters_out_of_range_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        DenoisingAutoencoder(**parameters).fit(rows(10))


class Killed(Exception):
    pass


@pytest.mark.parametrize("killed_at", [2, 5])
def test_a_killed_fit_goes_on_where_it_was_and_ends_the_same(killed_at, tmp_path):
    data, folder, heard = rows(600), tmp_path / "checkpoint", []
    settings = {"max_epochs": 3, "hidden": (16,), "trim": 0.05}  # two fits of three epochs
    whole = DenoisingAutoencoder(**settings).fit(data, X_held_out=rows(50, seed=3))

    def kill(*_):
        heard.append(1)
        if len(heard) == killed_at:
            raise Killed

    model = DenoisingAutoencoder(checkpoint=folder, on_epoch=kill, **settings)
    with pytest.raises(Killed):
        model.fit(data, X_held_out=rows(50, seed=3))
    assert len(list(folder.iterdir())) == (1 if killed_at < 4 else 2)
    model.fit(data, X_held_out=rows(50, seed=3))
    assert len(heard) == 6  # none of them twice
    assert_same(outputs(model, data), outputs(whole, data))
    assert model.epochs_ == whole.epochs_
    assert not folder.exists()
