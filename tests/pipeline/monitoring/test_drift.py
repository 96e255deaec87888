import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.features import Feature
from pipeline.monitoring.drift import drifts
from pipeline.settings.contract import Contract
from pipeline.settings.sensitive import MASK

CONTRACT = Contract(id="tx", timestamp="at", amount="eur")
FEATURES = [
    Feature("still", "number", "linear", "still", ""),
    Feature("moved", "number", "linear", "moved", ""),
    Feature("gone", "number", "linear", "gone", ""),
    Feature("channel", "category", "linear", "channel", ""),
]


def write(path, *, shift, missing, channels, seed):
    rng = np.random.default_rng(seed)
    gone = np.where(rng.random(20_000) < missing, np.nan, rng.normal(size=20_000))
    table = {
        "still": rng.normal(size=20_000),
        "moved": rng.normal(size=20_000) + shift,
        "gone": pa.array(gone, from_pandas=True),
        "channel": rng.choice(["web", "shop", "new"], 20_000, p=channels),
    }
    pq.write_table(pa.table(table), path)
    return path


def test_what_moved_comes_first_and_what_stood_still_has_next_to_no_drift(tmp_path):
    before = write(tmp_path / "before.parquet", shift=0, missing=0.0, channels=[0.7, 0.3, 0.0], seed=0)
    after = write(tmp_path / "after.parquet", shift=1, missing=0.5, channels=[0.3, 0.4, 0.3], seed=1)
    found = {drift.feature: drift for drift in drifts(before, after, FEATURES, CONTRACT)}
    assert list(found)[-1] == "still"
    assert found["still"].index < 0.01
    assert found["still"].verdict == "little"
    # For two normal laws of variance 1, a mean apart, the divergences add up to 1; ten bins lose a little of it.
    assert 0.85 < found["moved"].index < 1.0
    assert found["moved"].verdict == found["gone"].verdict == found["channel"].verdict == "much"
    assert (found["channel"].before, found["channel"].after) == ("web", "shop")
    # Half of the values went from known to missing.
    assert found["gone"].index == pytest.approx(0.5 * np.log(0.5 / 1e-4) + 0.5 * np.log(2), rel=0.02)


def test_what_is_usual_of_a_sensitive_column_is_masked_and_how_far_it_moved_is_not(tmp_path):
    before = write(tmp_path / "before.parquet", shift=0, missing=0.0, channels=[0.7, 0.3, 0.0], seed=0)
    after = write(tmp_path / "after.parquet", shift=1, missing=0.5, channels=[0.3, 0.4, 0.3], seed=1)
    sensitive = {"numeric": ("moved",), "categorical": ("channel",), "sensitive": ("moved", "channel")}
    contract = CONTRACT.model_copy(update=sensitive)
    moved, open_ = ({each.feature: each for each in drifts(before, after, FEATURES, c)} for c in (contract, CONTRACT))
    for name in ("moved", "channel"):
        assert (moved[name].before, moved[name].after) == (MASK, MASK)
        assert moved[name].index == open_[name].index
    assert moved["still"] == open_["still"]


def test_a_constant_or_empty_feature_has_an_index_too(tmp_path):
    features = [Feature("one", "number", "linear", "one", ""), Feature("none", "number", "linear", "none", "")]
    for name, value in (("a", 1.0), ("b", 2.0)):
        columns = {"one": np.full(10, value), "none": pa.nulls(10, pa.float64())}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    found = {each.feature: each for each in drifts(tmp_path / "a.parquet", tmp_path / "b.parquet", features, CONTRACT)}
    assert found["one"].verdict == "much"
    assert (found["none"].index, found["none"].before) == (0, "none")
