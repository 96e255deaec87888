import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from models import base
from models.base import load
from models.denoising import DenoisingAutoencoder
from models.scores import SCORES

BOTH_SCORES = pytest.mark.parametrize("residual_score", SCORES)


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


@BOTH_SCORES
def test_it_is_a_scikit_learn_outlier_detector(residual_score):
    results = check_estimator(DenoisingAutoencoder(residual_score=residual_score), on_skip=None, on_fail=None)
    assert len(results) > 40
    assert {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"} == {}


@BOTH_SCORES
@pytest.mark.parametrize("n_columns", [1, 7, 15, 30])
def test_a_row_scores_the_same_in_any_batch_and_order(residual_score, n_columns):
    data = rows(2 * base.BLOCK_ROWS + 500, n_columns)
    model = fitted(residual_score, data, hidden=(37,), code_size=5)
    whole = outputs(model, data)
    for batch_size, upto in ((1, 100), (7, 700), (1000, len(data)), (base.BLOCK_ROWS, len(data))):
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


@BOTH_SCORES
def test_fit_and_scores_are_the_same_with_any_number_of_threads(residual_score, threads):
    data = rows(3 * base.BLOCK_ROWS, 21)
    found = []
    for n_threads in (1, 2, 5):
        threads(n_threads)
        model = fitted(residual_score, data, hidden=(300, 45), code_size=11, max_epochs=1)
        found.append((model.epochs_, model.residuals(data)))
        assert torch.get_num_threads() == n_threads
    for epochs, residuals in found[1:]:
        assert epochs == found[0][0]
        np.testing.assert_array_equal(residuals, found[0][1])


@BOTH_SCORES
def test_a_row_scores_the_same_however_it_lies_in_memory(residual_score):
    data = rows(1500)
    model = fitted(residual_score, data)
    whole = outputs(model, data)
    read_only = data.copy()
    read_only.flags.writeable = False
    shifted = np.frombuffer(b"\0" * 4 + data.tobytes(), np.float32)[1:].reshape(data.shape)
    spread = np.repeat(data, 2, axis=1)[:, ::2]
    for other in (
        np.asfortranarray(data),
        read_only,
        shifted,
        spread,
        data.astype(np.float64),
        data.tolist(),
    ):
        assert_same(outputs(model, other), whole)


@BOTH_SCORES
def test_scoring_is_pure(residual_score):
    data = rows()
    before = data.copy()
    model = fitted(residual_score, data)
    weights = {name: value.clone() for name, value in model.network_.state_dict().items()}
    first = outputs(model, data)
    model.anomaly_score(100 * rows(50, seed=5))
    assert_same(outputs(model, data), first)
    np.testing.assert_array_equal(data, before)
    for name, value in model.network_.state_dict().items():
        assert torch.equal(value, weights[name])


@BOTH_SCORES
def test_contributions_sum_to_the_score(residual_score):
    data = rows(1500)
    model = fitted(residual_score, data)
    contributions, scores = model.contributions(data), model.anomaly_score(data)
    assert contributions.dtype == scores.dtype == np.float64
    assert contributions.shape == data.shape
    np.testing.assert_allclose(contributions.sum(axis=1), scores, rtol=1e-12)
    assert (scores >= 0).all()
    assert (contributions < 0).any() == (residual_score == "mahalanobis")


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


@BOTH_SCORES
def test_the_words_of_scikit_learn_agree(residual_score):
    data = rows()
    model = fitted(residual_score, data, contamination=0.05)
    scores = model.anomaly_score(data)
    np.testing.assert_array_equal(model.score_samples(data), -scores)
    np.testing.assert_array_equal(model.decision_function(data), -scores - model.offset_)
    assert (model.predict(data) == -1).sum() == 150
    assert set(model.predict(data)[scores > np.quantile(scores, 0.96)]) == {-1}


def test_same_seed_same_scores_whatever_the_global_state():
    data = rows(500)
    torch.manual_seed(1)
    first = fitted(data=data, random_state=7)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    second = clone(first).fit(data)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert_same(outputs(second, data), outputs(first, data))
    assert second.epochs_ == first.epochs_
    assert not np.array_equal(fitted(data=data, random_state=8).anomaly_score(data), first.anomaly_score(data))


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


@BOTH_SCORES
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
    code = "import sys, numpy as np; from models.base import load; model = load(sys.argv[1]);"
    code += "np.save(sys.argv[1] + '/scores.npy', model.anomaly_score(np.load(sys.argv[1] + '/rows.npy')))"
    root = Path(base.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=root)
    np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), model.anomaly_score(data))


@BOTH_SCORES
def test_a_saved_model_holds_json_and_safetensors_and_no_pickle(residual_score, tmp_path):
    fitted(residual_score).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    described = json.loads((tmp_path / "model.json").read_text())
    assert (described["format"], described["class"]) == (1, "DenoisingAutoencoder")
    content = (tmp_path / "model.safetensors").read_bytes()
    header = int.from_bytes(content[:8], "little")
    described = json.loads(content[8 : 8 + header])
    ends = [tensor["data_offsets"][1] for tensor in described.values()]
    assert max(ends) == len(content) - 8 - header  # nothing beside the named arrays
    assert any(name.startswith("score.") for name in load_file(tmp_path / "model.safetensors")) == (
        residual_score == "mahalanobis"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has format 2, and this version reads 1"),
        ({"format": None}, "has format None"),
        ({"class": "Popen"}, "names the class 'Popen'; known are DenoisingAutoencoder"),
        ({"class": "os.system"}, "names the class 'os.system'"),
    ],
)
def test_a_foreign_artefact_is_refused(changes, message, tmp_path):
    fitted().save(tmp_path)
    described = json.loads((tmp_path / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps(described | changes))
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_an_unfitted_model_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="not fitted yet"):
        DenoisingAutoencoder().save(tmp_path)
    assert list(tmp_path.iterdir()) == []


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
@BOTH_SCORES
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


@BOTH_SCORES
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


@BOTH_SCORES
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
    monkeypatch.setattr(base, "COVARIANCE_CELLS", 1000 * data.shape[1])
    part = fitted(data=data).anomaly_score(data)
    assert not np.array_equal(part, whole)
    assert np.corrcoef(part, whole)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"residual_score": "l1"}, "residual_score='l1' must be one of 'mean_squared', 'mahalanobis'"),
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


def test_parameters_are_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        DenoisingAutoencoder((64,))
