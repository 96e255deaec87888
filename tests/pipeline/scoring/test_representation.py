"""Codes and expectations as tables."""

from dataclasses import replace as changed

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.scoring.representation import write_codes, write_expected
from tests.pipeline.fitted import config, detector_of, feature_table, replace, transactions

MISSING = 0.1


def settings(**model):
    return config(contract={"numeric": ("km", "weight")}, features={"families": ("amount", "columns")}, model=model)


def linked(rows=3000):
    """Rows whose weight follows from km but for a little noise, some of them without a weight."""
    generator = np.random.default_rng(5)
    table = transactions(rows)
    km = generator.gamma(2, 10, rows)
    weight = 3 * km + generator.normal(0, 2, rows)
    gone = generator.random(rows) < MISSING
    table = table.append_column("km", pa.array(km))
    return table.append_column("weight", pa.array(weight, mask=gone)), weight, gone


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    return feature_table(tmp_path_factory.mktemp("linked"), linked()[0], settings())


@pytest.fixture(scope="module")
def detector(features):
    model = {"name": "dense", "hidden": (32,), "code_size": 4, "max_epochs": 60, "patience": 20, "learning_rate": 0.01}
    return detector_of(features, settings(**model))


def test_codes_come_with_the_id_row_for_row(detector, features, tmp_path):
    assert write_codes(features, detector, tmp_path / "codes.parquet") == 4
    codes, rows = pq.read_table(tmp_path / "codes.parquet"), pq.read_table(features)
    assert codes.schema.names == ["tx", "code_1", "code_2", "code_3", "code_4"]
    assert codes["tx"].equals(rows["tx"])
    assert set(codes.schema.types[1:]) == {pa.float32()}
    expected = detector.model.encode(detector.encoder.transform(rows))
    assert np.array_equal(np.column_stack([codes[f"code_{place}"] for place in range(1, 5)]), expected)


def test_an_id_named_like_a_code_stays_beside_it(detector, features, tmp_path):
    contract = detector.config.contract.model_copy(update={"id": "code_1"})
    other = changed(detector, config=detector.config.model_copy(update={"contract": contract}))
    rows = pq.read_table(features)
    pq.write_table(rows.append_column("code_1", rows["tx"]), tmp_path / "features.parquet")
    write_codes(tmp_path / "features.parquet", other, tmp_path / "codes.parquet")
    assert pq.read_schema(tmp_path / "codes.parquet").names[:2] == ["code_1 (input)", "code_1"]


def test_missing_numbers_are_filled_from_the_other_columns_far_better_than_by_their_mean(detector, features, tmp_path):
    _, weight, gone = linked()
    assert write_expected(features, detector, tmp_path / "rows.parquet") == gone.sum()
    found, rows = pq.read_table(tmp_path / "rows.parquet"), pq.read_table(features)
    filled = found["weight"].to_numpy()
    assert np.array_equal(filled[~gone], rows["weight"].to_numpy()[~gone])
    assert np.isfinite(filled).all()
    error = np.sqrt(np.mean((filled[gone] - weight[gone]) ** 2))
    assert error < 0.5 * weight.std()
    assert found["km"].equals(rows["km"])


def test_what_is_expected_is_in_raw_units_for_every_feature(detector, features, tmp_path):
    write_expected(features, detector, tmp_path / "rows.parquet")
    found, rows = pq.read_table(tmp_path / "rows.parquet"), pq.read_table(features)
    whole = found.filter(rows["weight"].is_valid())
    given = rows.filter(rows["weight"].is_valid())
    assert set(found.schema.names) == {
        "tx", "km", "weight", *(f"{feature.name} (expected)" for feature in detector.features),
    }  # fmt: skip
    matrix = detector.encoder.transform(given)
    places = [place for place, column in enumerate(detector.encoder.columns) if column.role == "missing"]
    settled = detector.model.reconstruct(matrix)
    settled[:, places] = 0
    for name, values in detector.encoder.inverse(settled).items():
        column = whole[f"{name} (expected)"]
        if pa.types.is_string(column.type):
            assert column.to_pylist() == values.tolist()
        else:
            np.testing.assert_allclose(column.to_numpy(), values, rtol=1e-4, atol=1e-4)
    assert np.corrcoef(whole["km (expected)"].to_numpy(), given["km"].to_numpy())[0, 1] > 0.9


@pytest.mark.parametrize("name", ["tx", "km", "channel", "eur"])
def test_nothing_of_a_sensitive_column_is_written(detector, features, tmp_path, name):
    contract = detector.config.contract.model_copy(update={"sensitive": (name,)})
    masked = changed(detector, config=detector.config.model_copy(update={"contract": contract}))
    for write in (write_codes, write_expected):
        write(features, detector, tmp_path / "open.parquet")
        write(features, masked, tmp_path / "masked.parquet")
        shown, names = (pq.read_schema(tmp_path / f"{file}.parquet").names for file in ("open", "masked"))
        gone = {"tx", "km", "km (expected)", "channel (expected)", "eur (expected)", "eur (log) (expected)"}
        assert set(shown) - set(names) == {each for each in gone & set(shown) if each.split(" ")[0] == name}


def test_a_number_that_was_never_missing_before_is_filled_too(detector, features, tmp_path):
    rows = pq.read_table(features).slice(0, 200)
    rows = rows.filter(pc.is_valid(rows["weight"]))
    km = rows["km"].to_numpy()
    pq.write_table(replace(rows, "km", [None] * rows.num_rows), tmp_path / "features.parquet")
    assert write_expected(tmp_path / "features.parquet", detector, tmp_path / "rows.parquet") == rows.num_rows
    filled = pq.read_table(tmp_path / "rows.parquet")["km"].to_numpy()
    assert np.corrcoef(filled, km)[0, 1] > 0.7


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_codes, "the model of 'assay' is 'knn', which makes no code of a row; name a version"),
        (write_expected, "the model of 'assay' is 'knn', which does not reconstruct rows; name a version"),
    ],
)
def test_a_model_without_a_code_says_so(features, tmp_path, write, message):
    knn = detector_of(features, settings(name="knn"))
    with pytest.raises(InputError, match=message):
        write(features, knn, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [write_codes, write_expected])
def test_rows_are_counted_as_they_are_written(detector, features, tmp_path, write):
    done = []
    write(features, detector, tmp_path / "out.parquet", done.append)
    assert sum(done) == pq.read_table(tmp_path / "out.parquet").num_rows == 3000
