"""What is known of a label as of a moment, in Arrow and in SQL alike."""

from datetime import datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from pipeline.config import Config
from pipeline.labels import available_at_sql, known_labels, quote

START = datetime(2025, 3, 1)
MOMENTS = pa.array([START, START + timedelta(days=1), START + timedelta(days=2)], pa.timestamp("us"))


def config(delay=7.0, **contract):
    roles = {"id": "tx", "timestamp": "at", "amount": "eur", "label": "fraud", **contract}
    return Config.model_validate({"contract": roles, "features": {"label_delay_days": delay}})


def test_a_label_is_known_once_the_delay_is_over_and_not_a_moment_before():
    rows = pa.table({"at": MOMENTS, "fraud": pa.array([1, 0, None], pa.int8())})
    just = START + timedelta(days=8)
    np.testing.assert_array_equal(known_labels(rows, config(), just), [1, 0, np.nan])
    before = just - timedelta(microseconds=1)
    np.testing.assert_array_equal(known_labels(rows, config(), before), [1, np.nan, np.nan])
    np.testing.assert_array_equal(known_labels(rows, config(delay=0.5), START + timedelta(hours=36)), [1, 0, np.nan])


def test_labelled_at_goes_before_the_delay_where_there_is_one():
    said = pa.array([START + timedelta(days=30), START + timedelta(days=1), None], pa.timestamp("us"))
    rows = pa.table({"at": MOMENTS, "fraud": pa.array([1, 0, 1], pa.int8()), "known_at": said})
    settings = config(labelled_at="known_at")
    np.testing.assert_array_equal(known_labels(rows, settings, START + timedelta(days=1)), [np.nan, 0, np.nan])
    np.testing.assert_array_equal(known_labels(rows, settings, START + timedelta(days=9)), [np.nan, 0, 1])
    np.testing.assert_array_equal(known_labels(rows, settings, START + timedelta(days=30)), [1, 0, 1])
    without = rows.drop_columns(["known_at"])
    np.testing.assert_array_equal(known_labels(without, settings, START + timedelta(days=8)), [1, 0, np.nan])


@pytest.mark.parametrize("label", [None, "elsewhere"])
def test_without_a_label_column_nothing_is_known(label):
    rows = pa.table({"at": MOMENTS})
    found = known_labels(rows, config(label=label), START + timedelta(days=99))
    assert found.dtype == np.float64
    assert np.isnan(found).all()


@pytest.mark.parametrize("labelled_at", [None, 'known "at"'])
def test_the_sql_says_the_same_moment(labelled_at):
    random = np.random.default_rng(0)
    at = np.datetime64(START, "us") + random.integers(0, 10**12, 50).astype("timedelta64[us]")
    said = pa.array(at + random.integers(0, 10**12, 50).astype("timedelta64[us]"), mask=random.random(50) < 0.5)
    rows = pa.table({"at": pa.array(at), "fraud": pa.array(random.integers(0, 2, 50), pa.int8()), 'known "at"': said})
    settings = config(delay=2.5, **({"labelled_at": labelled_at} if labelled_at else {}))
    moments = [found for (found,) in duckdb.sql(f"SELECT {available_at_sql(settings)} FROM rows").fetchall()]
    for as_of in [*moments[:10], START + timedelta(days=6)]:
        known = ~np.isnan(known_labels(rows, settings, as_of))
        np.testing.assert_array_equal(known, [moment <= as_of for moment in moments])


def test_identifiers_are_quoted():
    assert quote('a"b; DROP') == '"a""b; DROP"'
