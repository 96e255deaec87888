import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline.detector.columns import OTHER, QUANTILES
from pipeline.detector.encoder import Encoder
from pipeline.features import Feature
from pipeline.settings.config import EncodingConfig

SETTINGS = EncodingConfig()


def number(name, scale="linear", period=0.0):
    return Feature(name=name, kind="number", scale=scale, source=name, text=f"The {name}.", period=period)


def category(name):
    return Feature(name=name, kind="category", scale="linear", source=name, text=f"The {name}.")


def fit_one(feature, values, settings=SETTINGS):
    return Encoder.fit(pa.table({feature.name: values}), [feature], settings)


def names(encoder):
    return [column.name for column in encoder.columns]


@pytest.mark.parametrize(
    ("scale", "step"), [("linear", lambda x: x), ("log", lambda x: np.sign(x) * np.log1p(np.abs(x)))]
)
def test_numbers_are_standard_scaled_after_the_scale_step(scale, step):
    values = np.random.default_rng(0).normal(5, 40, 500)
    scaled = step(values)
    expected = (scaled - scaled.mean()) / scaled.std()
    matrix = fit_one(number("x", scale), values).transform(pa.table({"x": values}))
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_a_cycle_becomes_sine_and_cosine_so_that_its_ends_meet():
    hours = np.random.default_rng(1).uniform(0, 24, 1000)
    encoder = fit_one(number("hour", "cycle", 24), hours)
    sine, cosine = np.sin(hours * np.pi / 12), np.cos(hours * np.pi / 12)
    expected = np.column_stack([(part - part.mean()) / part.std() for part in (sine, cosine)])
    np.testing.assert_allclose(encoder.transform(pa.table({"hour": hours})), expected, rtol=1e-4, atol=1e-5)
    ends = encoder.transform(pa.table({"hour": [0.0, 24.0, 12.0]}))
    np.testing.assert_allclose(ends[0], ends[1], atol=1e-5)
    assert np.abs(ends[0] - ends[2]).max() > 1


def test_a_reconstruction_between_categories_is_read_as_the_highest():
    encoder = fit_one(category("channel"), ["web"] * 3 + ["shop"] * 2)
    assert names(encoder) == ["channel = web", "channel = shop", f"channel = {OTHER}"]
    matrix = np.array([[0.4, 0.5, 0.1], [0.4, 0.3, 0.1], [0.0, 0.1, 0.7]])
    assert encoder.inverse(matrix)["channel"].tolist() == ["shop", "web", OTHER]


def test_missing_values_become_the_mean_with_an_indicator_where_fit_rows_had_some():
    encoder = Encoder.fit(
        pa.table({"a": [1.0, None, 3.0, 5.0], "b": [1.0, 2.0, 3.0, 5.0]}),
        [number("a"), number("b")],
        SETTINGS,
    )
    assert names(encoder) == ["a", "a is missing", "b"]
    matrix = encoder.transform(pa.table({"a": pa.array([None, 3.0]), "b": pa.array([None, 2.75])}))
    np.testing.assert_allclose(matrix, [[0, 1, 0], [0, 0, 0]], atol=1e-6)
    raw = encoder.inverse(matrix)
    assert np.isnan(raw["a"][0])
    np.testing.assert_allclose([raw["a"][1], *raw["b"]], [3, 2.75, 2.75], atol=1e-6)


def test_tails_are_bounded_at_the_bound_and_not_before():
    values = np.random.default_rng(2).normal(size=1000)
    for bound in (10, 15.5):
        encoder = fit_one(number("x"), values, EncodingConfig(bound=bound))
        asked = np.array([9.99, 14, 1e9, -1e300, 1e300]) * values.std() + values.mean()
        expected = np.clip((asked - values.mean()) / values.std(), -bound, bound)
        np.testing.assert_allclose(encoder.transform(pa.table({"x": asked}))[:, 0], expected, rtol=1e-5)


def test_one_absurd_cell_does_not_flatten_the_column():
    values = np.random.default_rng(3).normal(size=5000)
    plain = fit_one(number("x"), values).transform(pa.table({"x": values}))
    for absurd in (1e12, 1e300, -np.finfo(float).max):
        spoiled = fit_one(number("x"), np.append(values, absurd)).transform(pa.table({"x": values}))
        # Held at ten times the central range (some 70 deviations), one cell widens the scale by half at most.
        assert 0.6 < spoiled.std() / plain.std() <= 1


@pytest.mark.parametrize("value", [0.1, 1e9, 0.0])
def test_a_column_that_never_varied_has_no_part_in_the_matrix_and_cannot_explode_later(value):
    rows = pa.table({"same": np.full(1000, value), "x": np.arange(1000.0)})
    encoder = Encoder.fit(rows, [number("same"), number("x")], SETTINGS)
    assert names(encoder) == ["x"]
    assert encoder.unused == ["same"]
    later = encoder.transform(pa.table({"same": [value + 1e6], "x": [499.5]}))
    np.testing.assert_allclose(later, [[0]], atol=1e-6)
    assert encoder.inverse(later)["same"][0] == value


def test_a_column_without_any_value_has_no_part_and_no_expected_value():
    rows = pa.table({"none": pa.nulls(50, pa.float64()), "x": np.arange(50.0)})
    encoder = Encoder.fit(rows, [number("none"), number("x")], SETTINGS)
    assert names(encoder) == ["x"]
    assert np.isnan(encoder.inverse(np.zeros((2, 1)))["none"]).all()


def test_infinities_count_as_missing():
    encoder = fit_one(number("x"), [1.0, 2.0, np.inf, -np.inf, np.nan])
    assert names(encoder) == ["x", "x is missing"]
    matrix = encoder.transform(pa.table({"x": [np.inf, 1.5]}))
    np.testing.assert_allclose(matrix, [[0, 1], [0, 0]], atol=1e-6)


def test_the_most_frequent_categories_get_a_column_and_the_rest_share_one():
    values = ["a"] * 5 + ["c"] * 3 + ["b"] * 3 + ["d"]
    encoder = fit_one(category("k"), values, EncodingConfig(max_categories=2))
    assert names(encoder) == ["k = a", "k = b", f"k = {OTHER}"]
    matrix = encoder.transform(pa.table({"k": ["a", "b", "c", "d", "new", None]}))
    assert matrix.argmax(axis=1).tolist() == [0, 1, 2, 2, 2, 2]
    assert (matrix.sum(axis=1) == 1).all()
    unseen = encoder.unseen(pa.table({"k": ["a", "c", "d", "new", None]}))
    assert unseen["k"].tolist() == [False, False, False, True, False]


def test_missing_is_a_category_of_its_own_when_seen():
    encoder = fit_one(category("k"), pa.array([None, None, "a"]))
    assert names(encoder) == ["k is missing", "k = a", f"k = {OTHER}"]
    matrix = encoder.transform(pa.table({"k": pa.array(["a", None, "b"])}))
    assert matrix.argmax(axis=1).tolist() == [1, 0, 2]
    assert encoder.inverse(matrix)["k"].tolist() == ["a", None, OTHER]


def test_whole_numbers_are_categories_that_keep_their_type():
    encoder = fit_one(category("mcc"), pa.array([5411, 5411, 5999]))
    again = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    matrix = again.transform(pa.table({"mcc": pa.array([5999, 5411, 1])}))
    assert again.inverse(matrix)["mcc"].tolist() == [5999, 5411, OTHER]


def test_raw_statistics_are_kept_in_the_raw_unit():
    values = np.random.default_rng(4).lognormal(3, 1, 400)
    found = fit_one(number("eur", "log"), [*values, None]).statistics("eur")
    assert (found.rows, found.missing, found.whole) == (401, 1, False)
    assert found.mean == pytest.approx(values.mean())
    assert found.std == pytest.approx(values.std())
    assert found.quantiles == pytest.approx(np.quantile(values, QUANTILES))
    assert fit_one(number("n"), [1.0, 2.0, 7.0]).statistics("n").whole


def test_a_number_that_is_not_to_be_used_gets_no_column_and_keeps_its_statistics():
    table = pa.table({"x": [1.0, 2.0, 6.0], "y": [5.0, 6.0, 7.0]})
    encoder = Encoder.fit(table, [number("x"), number("y")], SETTINGS, unused={"x"})
    assert (names(encoder), encoder.unused) == (["y"], ["x"])
    assert encoder.statistics("x").mean == 3
    again = Encoder.from_dict(encoder.to_dict())
    assert (again.transform(table) == encoder.transform(table)).all()
