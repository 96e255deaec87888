import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import SGDOneClassSVM
from sklearn.neighbors import NearestNeighbors

from models.baselines import IsolationTrees, NearestNeighbours, OneClassSVM, PrincipalComponents
from models.registry import load

EVERY = pytest.mark.parametrize("model_class", [PrincipalComponents, NearestNeighbours, IsolationTrees, OneClassSVM])


def rows(n_rows=700, n_columns=5, seed=0):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(n_columns, n_columns))
    return (rng.normal(size=(n_rows, n_columns)) @ mixing).astype(np.float32)


@EVERY
def test_a_saved_model_scores_bit_for_bit(model_class, tmp_path):
    data = rows()
    model = model_class().fit(data)
    model.save(tmp_path)
    again = load(tmp_path)
    assert type(again) is model_class
    np.testing.assert_array_equal(again.anomaly_score(data), model.anomaly_score(data), strict=True)
    np.testing.assert_array_equal(again.predict(data), model.predict(data))


@EVERY
def test_a_score_does_not_depend_on_the_rows_around(model_class):
    data = rows()
    model = model_class().fit(rows(seed=3))
    scores = model.anomaly_score(data)
    assert scores.dtype == np.float64
    order = np.random.default_rng(0).permutation(len(data))
    np.testing.assert_array_equal(model.anomaly_score(data[order]), scores[order])
    for start, stop in ((0, 1), (3, 20), (13, 613)):
        np.testing.assert_array_equal(model.anomaly_score(data[start:stop]), scores[start:stop])


def test_neighbours_are_those_of_scikit_learn():
    data, fit_rows = rows(seed=1), rows()
    model = NearestNeighbours(n_neighbors=4).fit(fit_rows)
    neighbours = NearestNeighbors(n_neighbors=4, algorithm="kd_tree").fit(fit_rows.astype(np.float64))
    expected = neighbours.kneighbors(data.astype(np.float64))[0][:, 3]
    np.testing.assert_allclose(model.anomaly_score(data), expected, rtol=1e-12)


def test_copies_of_a_fit_row_are_at_distance_zero():
    model = NearestNeighbours(n_neighbors=1).fit([[0.0], [5.0], [5.0], [9.0]])
    np.testing.assert_array_equal(model.anomaly_score([[5.0], [7.0]]), [0.0, 2.0])


@pytest.mark.parametrize("n_rows", [40, 700])
def test_trees_are_those_of_scikit_learn(n_rows):
    data, fit_rows = rows(seed=1), rows(n_rows)
    forest = IsolationForest(max_samples=min(256, n_rows), random_state=5).fit(fit_rows)
    scores = IsolationTrees(random_state=5).fit(fit_rows).anomaly_score(data)
    np.testing.assert_allclose(scores, -forest.score_samples(data), rtol=1e-12)


def test_support_vectors_are_those_of_scikit_learn():
    data, fit_rows = rows(seed=1), rows()
    random = np.random.RandomState(2)
    gamma = 1 / (5 * fit_rows.astype(np.float64).var())
    kernel = Nystroem(gamma=gamma, n_components=60, random_state=random)
    machine = SGDOneClassSVM(nu=0.2, random_state=random).fit(kernel.fit_transform(fit_rows.astype(np.float64)))
    expected = -machine.decision_function(kernel.transform(data.astype(np.float64)))
    scores = OneClassSVM(nu=0.2, n_components=60, random_state=2).fit(fit_rows).anomaly_score(data)
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)


def test_components_give_the_mahalanobis_distance():
    data, fit_rows = rows(seed=1).astype(np.float64), rows().astype(np.float64)
    apart = data - fit_rows.mean(axis=0)
    expected = np.einsum("ij,jk,ik->i", apart, np.linalg.inv(np.cov(fit_rows.T)), apart)
    np.testing.assert_allclose(PrincipalComponents().fit(fit_rows).anomaly_score(data), expected, rtol=1e-5)


def test_components_without_variance_are_left_out():
    fit_rows = rows()
    fit_rows[:, 2] = 3
    fit_rows[:, 4] = fit_rows[:, 0]
    model = PrincipalComponents().fit(fit_rows)
    assert model.axes_.shape == (5, 3)
    assert np.isfinite(model.anomaly_score(rows(seed=1))).all()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (PrincipalComponents(floor=1), "floor=1 must be 0 or more and below 1"),
        (NearestNeighbours(n_neighbors=0), "n_neighbors=0 must be 1 or more"),
        (IsolationTrees(max_samples=0), "max_samples=0 must be 1 or more"),
        (OneClassSVM(nu=0), "nu=0 must lie above 0"),
        (OneClassSVM(n_components=0), "n_components=0 must be 1 or more"),
        (OneClassSVM(contamination=0.7), "contamination=0.7 must lie above 0 and not above 0.5"),
    ],
)
def test_a_parameter_out_of_range_is_named(model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(rows(50))
