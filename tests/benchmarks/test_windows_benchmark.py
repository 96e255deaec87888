"""benchmarks/windows.py on a small table."""

import importlib.util

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import windows
from pipeline.settings.config import Config

ROLES = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ["card", "shop"]}


@pytest.fixture
def events(tmp_path):
    random, size = np.random.default_rng(3), 500
    moments = np.datetime64("2025-03-01", "us") + random.integers(0, 80 * 24, size).astype("timedelta64[h]")
    table = pa.table(
        {
            "tx": random.permutation(size),
            "at": moments,
            "card": random.integers(0, 5, size),
            "shop": random.integers(0, 20, size).astype(str),
            "eur": np.round(random.exponential(60, size), 2),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    return windows.events_of(tmp_path / "rows.parquet", Config.model_validate({"contract": ROLES}))


def test_each_way_gives_the_same_24_features(events):
    assert events["us"].to_pylist() == sorted(events["us"].to_pylist())
    totals, frames, rolling, *polars = windows.side_by_side(events, 1)
    assert (totals["rows"], totals["ratio"], totals["different"]) == (500, 1, 0)
    assert frames["different"] == 0
    assert frames["ratio"] == frames["seconds"] / totals["seconds"]
    assert float(rolling["furthest"]) < 1e-12
    if importlib.util.find_spec("polars") is None:
        assert polars == [{"table": "24 windows", "what": "Polars' rolling", "status": "not installed"}]


def test_a_mean_is_of_the_rows_of_the_days_before(events):
    found = windows.by_totals(events)
    assert len(found) == 24
    at, card, amount = (events[name].to_numpy() for name in ("us", "e0", "amount"))
    before = (card == card[400]) & (at < at[400]) & (at >= at[400] - 7 * 86_400_000_000)
    assert found["e0_count_7"][400] == before.sum() > 0
    assert found["e0_mean_7"][400] == pytest.approx(amount[before].mean())


def test_values_that_differ_are_counted():
    ours = {"a": np.array([1.0, np.nan, 3.0]), "b": np.array([0.0, 2.0, 4.0])}
    assert windows.apart(ours, ours) == {"different": 0, "furthest": "0"}
    other = {"a": np.array([1.0, np.nan, 3.3]), "b": np.array([0.0, 2.0, 4.0 + 1e-9])}
    assert windows.apart(other, ours) == {"different": 2, "furthest": "0.1"}
    assert windows.apart({**ours, "a": np.array([1.0, 2.0, 3.0])}, ours) == {"different": 1, "furthest": "inf"}
    turned = {"row": np.array([2, 1, 0]), **{name: values[::-1] for name, values in ours.items()}}
    assert windows.apart(turned, ours) == {"different": 0, "furthest": "0"}


def test_amounts_in_another_unit_are_refused(tmp_path):
    config = Config.model_validate({"contract": ROLES, "validation": {"max_amount": 1e12}})
    with pytest.raises(SystemExit, match=r"amounts must be summed in millionths, not in 0\.001; lower it"):
        windows.events_of(tmp_path, config)
