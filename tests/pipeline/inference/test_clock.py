"""Columns that are the timestamp over again."""

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.inference.clock import Clock
from pipeline.inference.profiles import profile_columns
from pipeline.settings.config import TableConfig
from tests.pipeline.inference.transactions import START


def repeats(values, times, zone="UTC"):
    profile = profile_columns(pa.table({"x": values}), TableConfig())["x"]
    return Clock(pa.array(times, pa.timestamp("us")), zone).repeated_by(profile)


def test_columns_that_follow_from_the_timestamp():
    rng = np.random.default_rng(0)
    times = pd.DatetimeIndex(START + rng.integers(0, 86_400 * 700, 5_000))  # in no order
    seconds = (times - times.min()).total_seconds().to_numpy()
    for values in (seconds, seconds // 3600, -seconds // 86_400, times.asi8, seconds / 86_400 + 17.25):
        assert repeats(values, times) == "grows with the timestamp"
    assert repeats(times.hour, times) == "is the timestamp's hour of day"
    assert repeats(times.day_of_week + 1, times) == "is the timestamp's weekday"
    assert repeats(times.month, times) == "is the timestamp's month"
    local = times.tz_localize("UTC").tz_convert("Asia/Tokyo")
    assert repeats(local.hour, times, "Asia/Tokyo") == "is the timestamp's hour of day"
    assert repeats(times.day_of_week >= 5, times) == "follows from the timestamp's weekday"
    assert repeats(list(times.day_name()), times) == "follows from the timestamp's weekday"
    assert repeats((times.hour < 7).astype(int), times) == "follows from the timestamp's hour of day"
    two_days = pd.DatetimeIndex(START + rng.integers(0, 86_400 * 2, 500))
    assert repeats((two_days - START).days, two_days) == "is the timestamp's day"


def test_columns_that_do_not():
    rng = np.random.default_rng(0)
    times = pd.DatetimeIndex(START + np.sort(rng.integers(0, 86_400 * 300, 5_000)))
    walk = np.cumsum(rng.normal(size=5_000))
    rare = (rng.random(5_000) < 0.001).astype(int)
    trend = np.arange(5_000) + rng.normal(size=5_000) * 300
    for values in (walk, rare, trend, rng.integers(0, 24, 5_000), rng.lognormal(size=5_000), np.zeros(5_000)):
        assert repeats(values, times) is None
    same_time = pd.DatetimeIndex(np.repeat(START, 5_000))
    assert repeats(rng.normal(size=5_000), same_time) is None
    days = pd.DatetimeIndex(START + 86_400 * np.sort(rng.integers(0, 9, 5_000)))
    assert repeats(rng.normal(size=5_000), days) is None
