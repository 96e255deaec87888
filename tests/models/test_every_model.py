"""One suite over every model: it finds the classes by itself, and no model may do without a check."""

import importlib
import inspect
import json
import pkgutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import check_estimator

import models
from models.audit import check_not_degenerate
from models.base import Autoencoder
from models.dense import DenseAutoencoder, LinearAutoencoder
from models.networks import NetworkAutoencoder
from models.one_class import OneClassModel
from models.registry import MODELS, load, model_class


def found():
    for module in pkgutil.walk_packages(models.__path__, "models."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, OneClassModel) and not inspect.isabstract(kind) and kind.__module__ == module.name:
                yield kind


CLASSES = sorted(found(), key=lambda kind: kind.__name__)
SMALL = {
    "max_epochs": 3,
    "n_steps": 20,
    "hidden": (16,),
    "code_size": 3,
    "batch_size": 64,
    "learning_rate": 0.01,
    "filters": (4,),
    "n_estimators": 20,
}
EVERY_MODEL = pytest.mark.parametrize("kind", CLASSES)
EVERY_AUTOENCODER = pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, Autoencoder)])


def small(kind, **parameters):
    """A model that is quick to fit: what it has of the usual parameters is set low."""
    given = SMALL | parameters
    return kind(**{name: value for name, value in given.items() if name in kind().get_params()})


def rows(n_rows=400, n_columns=6, seed=0):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(2, n_columns))
    return (np.tanh(rng.normal(size=(n_rows, 2)) @ mixing) + 0.05 * rng.normal(size=(n_rows, n_columns))).astype("f4")


FITTED = {}


def fitted(kind):
    """The model on the usual rows, fitted once; no test may change it."""
    if kind not in FITTED:
        FITTED[kind] = small(kind).fit(rows())
    return FITTED[kind]


def outputs(model, data):
    names = ["anomaly_score"]
    if isinstance(model, Autoencoder):
        names += ["contributions", "residuals", "reconstruct", "encode"]
    return {name: getattr(model, name)(data) for name in names}


def assert_same(found, expected):
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name, strict=True)


def test_every_model_has_one_short_name():
    assert sorted(path.rpartition(".")[2] for path in MODELS.values()) == [kind.__name__ for kind in CLASSES]
    assert {model_class(name) for name in MODELS} == set(CLASSES)


@EVERY_MODEL
def test_it_is_a_scikit_learn_outlier_detector(kind):
    results = check_estimator(small(kind, max_epochs=1), on_skip=None, on_fail=None)
    assert len(results) > 40
    assert {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"} == {}


@EVERY_MODEL
def test_parameters_are_keyword_only_and_documented(kind):
    signature = inspect.signature(kind)
    assert {parameter.kind for parameter in signature.parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    documented = "\n".join(parent.__doc__ or "" for parent in kind.__mro__[:-1])
    assert [name for name in signature.parameters if f"\n    {name} : " not in documented] == []


@EVERY_MODEL
def test_same_seed_same_scores_and_global_generators_are_left_alone(kind):
    data = rows(seed=2)
    torch.manual_seed(1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = small(kind).fit(data), small(kind).fit(data)
    assert_same(outputs(second, data), outputs(first, data))
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    if issubclass(kind, NetworkAutoencoder):
        other = small(kind, random_state=8).fit(data)
        assert not np.array_equal(other.anomaly_score(data), first.anomaly_score(data))


@EVERY_MODEL
def test_scoring_is_pure(kind):
    model, data = fitted(kind), rows(seed=3)
    before = data.copy()
    first = outputs(model, data)
    model.anomaly_score(10 * rows(50, seed=4))
    assert_same(outputs(model, data), first)
    np.testing.assert_array_equal(data, before)


@EVERY_MODEL
@pytest.mark.parametrize("n_columns", [1, 7, 30])
def test_a_row_scores_the_same_in_any_batch_and_order(kind, n_columns):
    data = rows(4500, n_columns)
    model = small(kind, max_epochs=1, hidden=(37,), code_size=5).fit(data[:300])
    whole = outputs(model, data)
    for batch_size, upto in ((1, 5), (7, 35), (1000, len(data)), (4096, len(data))):
        pieces = [outputs(model, data[at : min(at + batch_size, upto)]) for at in range(0, upto, batch_size)]
        found = {name: np.concatenate([piece[name] for piece in pieces]) for name in whole}
        assert_same(found, {name: values[:upto] for name, values in whole.items()})
    order = np.random.default_rng(0).permutation(len(data))
    assert_same(outputs(model, data[order]), {name: values[order] for name, values in whole.items()})


@EVERY_MODEL
def test_a_row_scores_the_same_however_it_lies_in_memory(kind):
    model, data = fitted(kind), rows(seed=3)
    whole = outputs(model, data)
    shifted = np.frombuffer(b"\0" * 4 + data.tobytes(), np.float32)[1:].reshape(data.shape)
    spread = np.repeat(data, 2, axis=1)[:, ::2]
    read_only = data.copy()
    read_only.flags.writeable = False
    for other in (np.asfortranarray(data), read_only, shifted, spread, data.astype(np.float64), data.tolist()):
        assert_same(outputs(model, other), whole)


@EVERY_MODEL
def test_a_saved_model_scores_bit_for_bit_and_holds_no_pickle(kind, tmp_path):
    frame = pd.DataFrame(rows(), columns=list("abcdef"))
    model = small(kind).fit(frame)
    model.save(tmp_path)
    again = load(tmp_path)
    assert type(again) is kind
    assert_same(outputs(again, frame), outputs(model, frame))
    assert again.get_params() == model.get_params()
    assert_same(outputs(clone(again).fit(frame), frame), outputs(model, frame))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    assert json.loads((tmp_path / "model.json").read_text())["class"] == kind.__name__
    arrays = load_file(tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    header = int.from_bytes(content[:8], "little")
    assert sum(array.nbytes for array in arrays.values()) == len(content) - 8 - header  # nothing beside the arrays


@EVERY_MODEL
def test_columns_that_moved_are_named(kind):
    frame = pd.DataFrame(rows(), columns=["amount", "hour", "count", "risk", "days", "rank"])
    model = small(kind, max_epochs=1).fit(frame)
    moved = r"same order as they were in fit.\nMoved: column 0 was 'amount' and is 'hour'; column 1 was 'hour' and is"
    with pytest.raises(ValueError, match=moved):
        model.anomaly_score(frame[["hour", "amount", "count", "risk", "days", "rank"]])
    with pytest.raises(ValueError, match=r"unseen at fit time:\n- betrag\n.*yet now missing:\n- amount"):
        model.anomaly_score(frame.rename(columns={"amount": "betrag"}))


@EVERY_MODEL
def test_an_unfitted_model_neither_scores_nor_saves(kind, tmp_path):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        kind().anomaly_score(rows())
    with pytest.raises(NotFittedError, match="not fitted yet"):
        kind().save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


@EVERY_MODEL
@pytest.mark.parametrize(("n_rows", "n_columns"), [(20, 6), (200, 1500)])
def test_small_and_wide_tables_train(kind, n_rows, n_columns):
    data = rows(n_rows, n_columns)
    model = small(kind, max_epochs=2).fit(data)
    scores = model.anomaly_score(data)
    assert scores.shape == (n_rows,)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    assert model.anomaly_score(data[:1] + 5)[0] > np.median(scores)


@EVERY_MODEL
def test_anomalies_are_found(kind):
    usual = rows(300, seed=5)
    unusual = np.random.default_rng(6).uniform(-3, 3, size=(100, 6))
    model = small(kind, max_epochs=60, n_steps=1000, hidden=(32,), code_size=2).fit(rows(1000))
    scores = model.anomaly_score(np.concatenate([usual, unusual]))
    assert roc_auc_score(np.repeat([0, 1], [300, 100]), scores) > 0.97
    assert set(model.suspects(np.concatenate([usual, unusual]), 30)) <= set(range(300, 400))
    check_not_degenerate(model, usual)


@EVERY_MODEL
def test_the_words_of_scikit_learn_agree(kind):
    data = rows(seed=3)
    model = fitted(kind)
    scores = model.anomaly_score(data)
    np.testing.assert_array_equal(model.score_samples(data), -scores)
    np.testing.assert_array_equal(model.decision_function(data), -scores - model.offset_)
    np.testing.assert_array_equal(model.predict(data), np.where(-scores < model.offset_, -1, 1))


@EVERY_AUTOENCODER
def test_contributions_sum_to_the_score(kind):
    data = rows(seed=3)
    variants = [{"residual_score": name} for name in kind.score_names] or [{}]
    for parameters in variants:
        model = small(kind, **parameters).fit(rows())
        contributions, scores = model.contributions(data), model.anomaly_score(data)
        assert contributions.dtype == np.float64
        assert contributions.shape == data.shape
        np.testing.assert_allclose(contributions.sum(axis=1), scores, rtol=1e-9, err_msg=str(parameters))


@EVERY_AUTOENCODER
def test_residuals_are_the_rows_less_their_reconstruction(kind):
    model, data = fitted(kind), rows(seed=3)
    found = model.residuals(data)
    assert found.dtype == model.reconstruct(data).dtype == np.float32
    np.testing.assert_array_equal(found, data - model.reconstruct(data))
    assert model.encode(data).shape == (len(data), len(model.get_feature_names_out()))
    assert model.encode(data).shape[1] == model.get_params().get("code_size", 2)


def test_a_deep_model_solves_what_a_linear_one_cannot():
    def ring(n_rows, seed):
        rng = np.random.default_rng(seed)
        angle = rng.uniform(0, 2 * np.pi, n_rows)
        return np.column_stack([np.cos(angle), np.sin(angle)]) + 0.03 * rng.normal(size=(n_rows, 2))

    centre = np.random.default_rng(0).uniform(-0.5, 0.5, size=(300, 2))
    test, is_odd = np.concatenate([ring(300, 1), centre]), np.repeat([0, 1], 300)
    settings = {
        "residual_score": "mean_squared",
        "code_size": 1,
        "batch_size": 64,
        "learning_rate": 0.01,
    }
    deep = DenseAutoencoder(hidden=(64, 64), max_epochs=60, **settings).fit(ring(2000, 2))
    linear = LinearAutoencoder(max_epochs=60, **settings).fit(ring(2000, 2))
    assert roc_auc_score(is_odd, deep.anomaly_score(test)) > 0.9
    assert roc_auc_score(is_odd, linear.anomaly_score(test)) < 0.6
