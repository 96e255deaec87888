import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm
from sklearn.utils.estimator_checks import check_estimator

from models.memory import MemoryAutoencoder
from models.registry import load
from models.scores import RESIDUAL_SCORES

EVERY_SCORE = pytest.mark.parametrize("residual_score", ["likelihood", *RESIDUAL_SCORES])


def rows(n_rows=600, n_columns=5, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(n_rows, 2))
    mixing = np.random.default_rng(1).normal(size=(2, n_columns))
    return (np.tanh(codes @ mixing) + 0.1 * rng.normal(size=(n_rows, n_columns))).astype(np.float32)


def squared_distances(data, prototypes):
    return np.square(data[:, None].astype(np.float64) - prototypes[None]).sum(axis=2)


def read(values, data, prototypes, bandwidth):
    """The formula, in plain NumPy: softmax attention, without prototypes at distance zero."""
    squares = squared_distances(data, prototypes)
    weights = softmax(np.where(squares == 0, -np.inf, -squares / (2 * bandwidth**2)), axis=1)
    return weights @ values


def outputs(model, data):
    names = ("anomaly_score", "contributions", "residuals", "reconstruct", "encode", "predict")
    return {name: getattr(model, name)(data) for name in names}


def assert_same(found, expected):
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name, strict=True)


@pytest.mark.parametrize("residual_score", RESIDUAL_SCORES)  # the default is among every model
def test_it_is_a_scikit_learn_outlier_detector(residual_score):
    model = MemoryAutoencoder(residual_score=residual_score, n_prototypes=32)
    results = check_estimator(model, on_skip=None, on_fail=None)
    assert {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"} == {}


def test_the_bandwidth_is_the_median_distance_to_the_fifth_neighbour():
    fit_rows = rows()
    model = MemoryAutoencoder(bandwidth=0.5).fit(fit_rows)
    distances = np.sort(np.sqrt(squared_distances(fit_rows, fit_rows)), axis=1)[:, 5]
    assert model.bandwidth_ == pytest.approx(0.5 * np.median(distances), rel=1e-5)


def test_reconstructions_are_those_of_the_formula():
    fit_rows, data = rows(), 1.3 * rows(seed=1)
    model = MemoryAutoencoder().fit(fit_rows)
    expected = read(fit_rows, data, fit_rows, model.bandwidth_)
    np.testing.assert_allclose(model.reconstruct(data), expected, atol=2e-5)
    np.testing.assert_array_equal(model.residuals(data), data - model.reconstruct(data))


def test_a_fit_row_is_left_out_when_it_is_scored():
    fit_rows = rows()
    model = MemoryAutoencoder().fit(fit_rows)
    expected = read(fit_rows, fit_rows, fit_rows, model.bandwidth_)
    np.testing.assert_allclose(model.reconstruct(fit_rows), expected, atol=2e-5)
    # The same as a memory without that row has it, whatever else differs.
    without = MemoryAutoencoder().fit(np.delete(fit_rows, 7, axis=0))
    assert without.bandwidth_ == pytest.approx(model.bandwidth_, rel=0.01)
    np.testing.assert_allclose(model.reconstruct(fit_rows[7:8]), without.reconstruct(fit_rows[7:8]), atol=0.01)


def test_the_likelihood_is_that_of_the_formula():
    fit_rows, data = rows(), 1.3 * rows(seed=1)
    model = MemoryAutoencoder().fit(fit_rows)
    squares = (fit_rows - read(fit_rows, fit_rows, fit_rows, model.bandwidth_)) ** 2
    variance = squares.mean(axis=0) + 0.01 * squares.mean()
    smoothing = model.bandwidth_ / model.bandwidth * model.smoothing
    local = read(squares, data, fit_rows, smoothing) + 0.1 * variance
    expected = -2 * norm.logpdf(data, read(fit_rows, data, fit_rows, model.bandwidth_), np.sqrt(local))
    expected -= np.log(2 * np.pi * 0.1 * variance)
    np.testing.assert_allclose(model.contributions(data), expected, rtol=2e-3, atol=2e-3)
    assert (model.contributions(data) >= 0).all()


def test_a_row_that_equals_a_fit_row_is_taken_for_it_where_no_two_are_alike():
    model = MemoryAutoencoder(bandwidth=0.02).fit(rows(50))
    assert np.abs(model.residuals(rows(50))).max(axis=1).min() > 1e-3


def test_a_row_that_equals_a_fit_row_counts_as_often_as_rows_are_repeated():
    once, twice, thrice = rows(50)[:30], rows(50)[30:42], rows(50)[42:]
    fit_rows = np.concatenate([once, *[twice] * 2, *[thrice] * 3])
    model = MemoryAutoencoder(bandwidth=0.8).fit(fit_rows)
    assert sorted(model.copies_) == [1] * 30 + [2] * 12 + [3] * 8
    # Turing's estimates of how often rows seen once, twice and three times come: 2 x 12 / 30, 3 x 8 / 12, and 0.
    stay = {1: 1 - 1 / (1 + 0.8), 2: 2 - 2 / (2 + 2.0), 3: 3 - 3 / 3}
    distances = np.square(rows(50)[:, None].astype(float) - rows(50)[None]).sum(axis=2)
    counts = np.repeat([1.0, 2, 3], [30, 12, 8])
    weights = np.exp(-distances / (2 * model.bandwidth_**2)) * counts
    np.fill_diagonal(weights, [stay[count] for count in counts])
    expected = weights @ rows(50) / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.reconstruct(rows(50)), expected, atol=2e-5)


def test_fit_rows_are_judged_without_one_of_their_copies():
    fit_rows = np.concatenate([rows(50), rows(50)[:10]])
    model = MemoryAutoencoder(residual_score="mean_squared", contamination=0.1).fit(fit_rows)
    distances = np.square(fit_rows[:, None].astype(float) - fit_rows[None]).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    weights = np.exp(-distances / (2 * model.bandwidth_**2))
    residuals = fit_rows - weights @ fit_rows / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.fit_row_scores(fit_rows), np.square(residuals).mean(axis=1), rtol=1e-3)
    assert -model.offset_ == pytest.approx(np.quantile(np.square(residuals).mean(axis=1), 0.9), rel=1e-3)


def test_a_fit_row_that_is_alone_is_suspected_also_where_rows_are_repeated():
    odd = np.full((1, 5), 9, np.float32)
    fit_rows = np.concatenate([*[rows(40)] * 2, rows(30, seed=1), odd])
    model = MemoryAutoencoder().fit(fit_rows)
    assert model.suspects(fit_rows, 1).tolist() == [len(fit_rows) - 1]
    assert model.anomaly_score(odd) < model.fit_row_scores(odd)  # once more, it may as well be one of many


def test_copies_weigh_as_much_as_they_are():
    fit_rows = np.concatenate([rows(60)] + [rows(60)[:20]] * 3)
    model = MemoryAutoencoder().fit(fit_rows)
    data = rows(100, seed=1)
    np.testing.assert_allclose(model.reconstruct(data), read(fit_rows, data, fit_rows, model.bandwidth_), atol=2e-5)


def test_a_negative_zero_is_a_zero():
    fit_rows = rows(40)
    fit_rows[:, 2] = 0
    data = fit_rows.copy()
    data[:, 2] = -0.0
    model = MemoryAutoencoder().fit(fit_rows)
    np.testing.assert_array_equal(model.anomaly_score(data), model.anomaly_score(fit_rows))


@EVERY_SCORE
def test_a_row_scores_the_same_in_any_batch(residual_score):
    data = np.concatenate([rows(5000, seed=2), rows(300)])
    model = MemoryAutoencoder(residual_score=residual_score).fit(rows(300))
    whole = outputs(model, data)
    order = np.random.default_rng(0).permutation(len(data))
    for chosen in (order, np.arange(5100), np.arange(4097, 4098), np.arange(3, 140), np.arange(5001, 5300)):
        assert_same(outputs(model, data[chosen]), {name: values[chosen] for name, values in whole.items()})


@EVERY_SCORE
def test_contributions_sum_to_the_score(residual_score):
    model = MemoryAutoencoder(residual_score=residual_score).fit(rows())
    data = 2 * rows(seed=1)
    assert model.contributions(data).shape == data.shape
    np.testing.assert_allclose(model.contributions(data).sum(axis=1), model.anomaly_score(data), rtol=1e-12)


@EVERY_SCORE
def test_a_saved_model_scores_bit_for_bit(residual_score, tmp_path):
    data = np.concatenate([rows(100), rows(seed=1)])
    model = MemoryAutoencoder(residual_score=residual_score, n_prototypes=200).fit(rows())
    model.save(tmp_path)
    again = load(tmp_path)
    assert again.get_params() == model.get_params()
    assert_same(outputs(again, data), outputs(model, data))


def test_prototypes_are_drawn_from_the_fit_rows():
    fit_rows = rows()
    model = MemoryAutoencoder(n_prototypes=50).fit(fit_rows)
    assert model.prototypes_.shape == (50, 5)
    assert {tuple(row) for row in model.prototypes_} < {tuple(row) for row in fit_rows}
    other = MemoryAutoencoder(n_prototypes=50, random_state=1).fit(fit_rows)
    assert not np.array_equal(other.prototypes_, model.prototypes_)


def test_prototypes_are_drawn_from_a_table_on_disk(tmp_path):
    np.save(tmp_path / "rows.npy", rows())
    stored = np.load(tmp_path / "rows.npy", mmap_mode="r")
    model = MemoryAutoencoder(n_prototypes=50).fit(stored)
    assert_same(outputs(model, stored), outputs(MemoryAutoencoder(n_prototypes=50).fit(rows()), rows()))


def test_anomalies_off_a_curve_are_found():
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, size=2000)
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    model = MemoryAutoencoder().fit(ring[:1000])
    normal, odd = model.anomaly_score(ring[1000:]), model.anomaly_score(0.8 * ring[1000:])
    assert np.quantile(normal, 0.99) < np.quantile(odd, 0.01)


def test_rows_that_are_all_alike_are_fitted():
    model = MemoryAutoencoder().fit(np.ones((20, 3)))
    same, other = model.anomaly_score([[1.0, 1.0, 1.0], [1.0, 1.0, 2.0]])
    assert other > same


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_prototypes": 1}, "n_prototypes=1 must be 2 or more"),
        ({"bandwidth": 0}, "bandwidth=0 must be above 0"),
        ({"smoothing": -1}, "smoothing=-1 must be above 0"),
        ({"code_size": 0}, "code_size=0 must be 1 or more"),
        ({"residual_score": "worst"}, "residual_score='worst' must be one of 'likelihood', 'mean_squared'"),
    ],
)
def test_a_parameter_out_of_range_is_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        MemoryAutoencoder(**parameters).fit(rows(50))


def test_a_row_too_large_for_float32_is_named():
    model = MemoryAutoencoder().fit(rows())
    data = rows(5)
    data[3, 2] = 3e38
    with pytest.raises(ValueError, match="row 3 has no finite score; its largest value is 3e\\+38, in column '2'"):
        model.anomaly_score(data)


def test_a_table_on_disk_is_read_from_there_and_gives_the_same_model(tmp_path):
    data = rows(3000)
    table = np.memmap(tmp_path / "rows", np.float32, "w+", shape=data.shape)
    table[:] = data
    settings = {"n_prototypes": 200, "random_state": 3}
    streamed, in_memory = (MemoryAutoencoder(**settings).fit(given) for given in (table, data))
    assert_same(outputs(streamed, table), outputs(in_memory, data))
    assert streamed.offset_ == in_memory.offset_
