import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipeline.detector.columns import OTHER, QUANTILES
from pipeline.detector.encoder import Encoder
from pipeline.errors import TrainingError
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


@pytest.mark.parametrize("seed", range(10))
def test_inverse_is_exact_within_the_bound(seed):
    generator = np.random.default_rng(seed)
    rows = pa.table(
        {
            "linear": generator.normal(100, 7, 300),
            "log": generator.lognormal(3, 1, 300) * generator.choice([-1, 1], 300),
            "hour": generator.uniform(0, 24, 300),
            "day": generator.integers(0, 7, 300).astype(float),
            "channel": generator.choice(["web", "shop", "phone"], 300),
            "same": np.full(300, 4.25),
        }
    )
    features = [
        number("linear"),
        number("log", "log"),
        number("hour", "cycle", 24),
        number("day", "cycle", 7),
    ]
    encoder = Encoder.fit(rows, [*features, category("channel"), number("same")], SETTINGS)
    raw = encoder.inverse(encoder.transform(rows))
    for name in ("linear", "log", "same"):
        np.testing.assert_allclose(raw[name], rows.column(name).to_numpy(), rtol=2e-5, atol=1e-4)
    for name, period in (("hour", 24), ("day", 7)):
        apart = np.abs(raw[name] - rows.column(name).to_numpy())
        np.testing.assert_allclose(np.minimum(apart, period - apart), 0, atol=2e-5)
        assert ((raw[name] >= 0) & (raw[name] < period)).all()
    assert raw["channel"].tolist() == rows.column("channel").to_pylist()


def test_features_missing_on_the_same_rows_share_an_indicator():
    encoder = Encoder.fit(
        pa.table({"a": [1.0, None, 3.0], "b": [2.0, None, 5.0], "c": [None, 1.0, 2.0]}),
        [number("a"), number("b"), number("c")],
        SETTINGS,
    )
    assert names(encoder) == ["a", "a is missing", "b", "c", "c is missing"]
    raw = encoder.inverse(encoder.transform(pa.table({"a": [None, 1.0], "b": [None, 2.0], "c": [2.0, None]})))
    assert [np.isnan(raw[name]).tolist() for name in "abc"] == [[True, False], [True, False], [False, True]]


def test_a_round_trip_through_json_encodes_bit_for_bit_alike():
    generator = np.random.default_rng(5)
    rows = pa.table(
        {
            "x": pa.array(generator.normal(size=200), mask=generator.random(200) < 0.1),
            "hour": generator.uniform(0, 24, 200),
            "k": generator.choice(["=cmd()", "ä", ""], 200),
        }
    )
    encoder = Encoder.fit(rows, [number("x", "log"), number("hour", "cycle", 24), category("k")], SETTINGS)
    again = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict(), allow_nan=False)))
    assert again.columns == encoder.columns
    assert again.features == encoder.features
    assert again.statistics("x") == encoder.statistics("x")
    assert (again.transform(rows) == encoder.transform(rows)).all()


def test_batches_of_any_size_and_chunking_encode_alike():
    generator = np.random.default_rng(6)
    rows = pa.table({"x": generator.normal(size=100), "k": generator.choice(["a", "b"], 100)})
    encoder = Encoder.fit(rows, [number("x"), category("k")], SETTINGS)
    whole = encoder.transform(rows)
    pieces = [encoder.transform(batch) for batch in rows.to_batches(max_chunksize=7)]
    assert (np.concatenate(pieces) == whole).all()
    assert (encoder.transform(pa.concat_tables([rows.slice(0, 31), rows.slice(31)])) == whole).all()
    assert encoder.transform(rows.slice(0, 0)).shape == (0, 4)


def test_rows_that_are_all_alike_are_refused():
    rows = pa.table({"x": np.full(30, 2.0), "k": ["web"] * 30})
    with pytest.raises(TrainingError, match="no feature varies among the 30 rows to fit on"):
        Encoder.fit(rows, [number("x"), category("k")], SETTINGS)


def test_usual_settings_start_with_the_most_usual():
    generator = np.random.default_rng(7)
    rows = pa.table(
        {"x": generator.lognormal(size=400), "y": generator.normal(size=400), "k": ["a"] * 300 + ["b"] * 100}
    )
    features = [replace(number("x", "log"), source="both"), replace(number("y"), source="both"), category("k")]
    encoder = Encoder.fit(rows, features, SETTINGS)
    places, settings = encoder.usual("both")
    assert places.tolist() == [0, 1]
    matrix = np.zeros((len(settings), len(encoder.columns)))
    matrix[:, places] = settings
    raw = encoder.inverse(matrix)
    for name in "xy":
        np.testing.assert_allclose(np.sort(raw[name]), np.quantile(rows[name].to_numpy(), QUANTILES), rtol=1e-6)
        assert raw[name][0] == pytest.approx(np.median(rows[name].to_numpy()))
    assert (np.argsort(raw["x"]) == np.argsort(raw["y"])).all()
    places, settings = encoder.usual("k")
    assert [encoder.columns[place].name for place in places] == ["k = a", "k = b", f"k = {OTHER}"]
    assert settings.tolist() == [[1, 0, 0], [0, 1, 0]]
    assert encoder.usual("nothing")[1].size == 0


def test_one_fit_cell_in_a_hundred_becomes_unseen_where_no_fit_row_is():
    rows = pa.table({"k": ["a"] * 15_000 + ["b"] * 5_000, "m": ["c", "d", "e", "f"] * 5_000})
    encoder = Encoder.fit(rows, [category("k"), category("m")], EncodingConfig(max_categories=3))
    before = encoder.transform(rows)
    after, again, other = before.copy(), before.copy(), before.copy()
    for matrix, seed in ((after, 3), (again, 3), (other, 4)):
        encoder.put_unseen(matrix, seed)
    assert before[:, 2].sum() == 0
    assert 140 < after[:, 2].sum() < 260
    assert (after[:, :3].sum(axis=1) == 1).all()
    assert (after[:, 3:] == before[:, 3:]).all()  # m has a value too rare for a column: its last one is in use
    assert (again == after).all()
    assert (other != after).any()


def test_the_groups_of_columns_say_numbers_indicators_and_each_category(monkeypatch):
    rows = pa.table(
        {
            "x": [1.0, 2.0, None, 4.0],
            "y": [4.0, 5.0, 9.0, 7.0],
            "k": ["a", "b", "a", "a"],
            "m": ["c", "d", "e", "c"],
            "z": [0.0, 1.0, 5.0, 3.0],
        }
    )
    features = [number("x"), number("y"), category("k"), category("m"), number("z")]
    encoder = Encoder.fit(rows, features, EncodingConfig())
    expected = [("number", 1), ("binary", 1), ("number", 1), ("category", 3), ("category", 4), ("number", 1)]
    assert encoder.column_groups == expected
    matrix, start = encoder.transform(rows), 0
    for kind, width in expected:
        block = matrix[:, start : start + width]
        assert kind == "number" or np.isin(block, [0, 1]).all()
        assert kind != "category" or (block.sum(axis=1) == 1).all()
        start += width
    assert start == matrix.shape[1]


def test_cells_of_missing_numbers_are_their_values_not_their_indicators():
    rows = pa.table({"x": [1.0, 2.0, None, 4.0], "k": ["a", "b", None, "a"], "z": [0.0, float("inf"), 5.0, 3.0]})
    encoder = Encoder.fit(rows, [number("x"), category("k"), number("z")], EncodingConfig())
    cells = [
        (int(row), encoder.columns[place].name) for row, place in zip(*encoder.missing(rows).nonzero(), strict=True)
    ]
    assert cells == [(1, "z"), (2, "x")]


def test_the_matrix_has_a_name_for_each_column_as_transformers_of_scikit_learn_have():
    rows = pa.table({"eur": [1.0, None, 4.0], "channel": ["web", "shop", None]})
    encoder = Encoder.fit(rows, [number("eur"), category("channel")], SETTINGS)
    columns = encoder.get_feature_names_out()
    assert (columns.dtype, columns.shape) == (object, (encoder.transform(rows).shape[1],))
    categories = ["channel is missing", "channel = shop", "channel = web", f"channel = {OTHER}"]
    assert columns.tolist() == ["eur", "eur is missing", *categories]


def test_views_are_the_columns_of_the_core_of_behaviour_and_of_those_that_speak_above():
    def number(name, family, **settings):
        return Feature(name, "number", settings.pop("scale", "linear"), name, "", family=family, **settings)

    features = [
        number("eur", "amount"),
        number("height", "columns"),
        number("hour", "calendar", scale="cycle", period=24.0),
        number("pace", "velocity", direction="above"),
    ]
    table = pa.table(
        {
            "eur": [1.0, 2.0, 3.0, 4.0],
            "height": [1.0, 2.0, 1.0, 2.0],
            "hour": [1.0, 7.0, 13.0, 20.0],
            "pace": [1.0, None, 2.0, 3.0],
        }
    )
    encoder = Encoder.fit(table, features, EncodingConfig())
    names = [column.name for column in encoder.columns]
    views = {view: [names[place] for place in places] for view, places in encoder.views(["eur", "hour"]).items()}
    assert views["core"] == [name for name in names if name.startswith(("eur", "hour"))]
    assert views["behaviour"] == ["eur", "pace"]
    assert views["above"] == ["pace"]
    assert encoder.views()["core"] == list(range(len(names)))
    assert "core" not in encoder.views(["nothing that is there"])
    ignoring = encoder.views(ignored=["pace", "eur"])
    assert encoder.names_of(ignoring["ignored"]) == ["eur", "pace"]
    assert set(ignoring) == {"core", "ignored"}
    assert sorted(ignoring["core"] + ignoring["ignored"]) == list(range(len(names)))
