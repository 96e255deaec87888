"""What is usual for a column, counted in plain Python."""

import math
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipeline.detector.encoder import Encoder
from pipeline.detector.reference import Reference
from pipeline.detector.usual import CATEGORIES, Usual, stability_index, watched
from pipeline.features.families import plan_of
from tests.pipeline.fitted import DAYS, config, detector_of, feature_table, transactions

ROWS = 3000


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    features = feature_table(tmp_path_factory.mktemp("usual"), transactions(ROWS), config())
    return detector_of(features, config())


def test_the_index_is_its_formula():
    before, after = np.array([10, 30, 60]), np.array([30, 30, 40])
    p, q = before / 100, after / 100
    assert stability_index(before, after) == pytest.approx(((q - p) * np.log(q / p)).sum())
    assert stability_index(after, before) == pytest.approx(stability_index(before, after))
    assert np.isfinite(stability_index(np.array([10, 0]), np.array([0, 10])))


def test_numbers_are_counted_between_deciles_and_missing_ones_last():
    numbers = [float(n) for n in range(1, 101)]
    column = pa.chunked_array([[*numbers, None, math.nan, math.inf]])
    usual = Usual.fit(column, "number", np.zeros(103, int))
    assert usual.counts == (10,) * 10 + (3,)
    later = pa.chunked_array([[-5.0, usual.edges[0], None], [1000.0]])
    assert usual.places(later).tolist() == [0, 0, 10, 9]


def test_of_many_values_the_most_frequent_have_a_bin_each():
    values = [f"v{n:03d}" for n in range(60) for _ in range(1 + (n < 55))]
    usual = Usual.fit(pa.chunked_array([[*values, None]]), "category", np.zeros(len(values) + 1, int))
    assert usual.values == tuple(f"v{n:03d}" for n in range(CATEGORIES))
    assert usual.counts == (2,) * CATEGORIES + (15, 1)  # five twice, five once


def test_a_column_without_a_value_and_one_of_a_single_value_are_counted():
    day = np.zeros(3, int)
    empty = Usual.fit(pa.chunked_array([[None] * 3], pa.float64()), "number", day)
    assert (empty.edges, empty.counts) == ((), (0, 3))
    single = Usual.fit(pa.chunked_array([[7] * 3]), "number", day)
    assert single.counts == (3, 0, 0)


def test_each_day_is_counted_and_the_oddest_one_remembered():
    values, day = ["a", "a", "b", "b", "b", "a"], np.array([0, 0, 0, 2, 2, 2])
    column = pa.chunked_array([values])
    usual = Usual.fit(column, "category", day)
    assert usual.count(column, day).tolist() == [[2, 1, 0, 0], [0, 0, 0, 0], [1, 2, 0, 0]]
    days = np.array([2, 1, 0, 0]), np.array([1, 2, 0, 0])
    assert usual.index == pytest.approx(max(stability_index(np.array([3, 3, 0, 0]), each) for each in days))


def test_of_many_days_those_at_both_ends_may_be_cut():
    values = ["a", *["a", "b"] * 3, "b"]
    usual = Usual.fit(pa.chunked_array([values]), "category", np.array([0, 1, 1, 2, 2, 3, 3, 4]))
    assert usual.index == 0


def test_an_artefact_knows_its_calibration_block(fitted):
    reference = fitted.reference
    rows = transactions(ROWS).to_pylist()
    block = [row for row in rows if row["at"] >= fitted.calibration_start]
    channels = Counter(row["channel"] for row in block)
    usual = reference.columns["channel"]
    assert dict(zip(usual.values, usual.counts, strict=False)) == channels
    hours = Counter(row["at"].hour for row in block)
    assert reference.day_hours is not None
    assert list(reference.day_hours.counts[:24]) == [hours[n] for n in range(24)]
    assert "eur" in reference.columns
    of_features = {feature.column for feature in fitted.features}
    assert of_features - set(reference.columns) == {"hour of day", "weekday"}


def test_what_a_days_weekday_gives_is_not_taken_for_drift(fitted):
    timely = {feature.column for feature in fitted.features if feature.source in ("hour of day", "weekday")}
    assert timely
    assert timely.isdisjoint(fitted.reference.columns)


def test_a_share_of_weekends_is_not_watched_whose_rows_all_lie_on_one_side_of_it_on_a_day():
    settings = config(features={"families": ["amount", "rhythm"]})
    features = plan_of(settings, reviewed=False).features
    names = {name for feature in features for name in (feature.column, feature.expected) if name}
    table = pa.table({name: np.arange(50.0) for name in names})
    seen = watched(Encoder.fit(table, features, settings.encoding), settings)
    rhythm = [feature.column for feature in features if feature.family == "rhythm"]
    assert len([name for name in rhythm if "weekend" in name]) == len(rhythm) / 2 > 0
    assert [name for name in rhythm if name in seen] == [name for name in rhythm if "weekend" not in name]


def test_the_types_are_those_of_the_table(fitted):
    assert fitted.reference.types == {
        "tx": "number", "at": "moment", "card": "text", "eur": "number", "channel": "text", "note": "text",
        "fraud": "number",
    }  # fmt: skip


def test_it_comes_back_from_json_and_older_artefacts_lack_it(fitted):
    raw = fitted.reference.to_dict()
    assert Reference.from_dict(raw) == fitted.reference
    for name in ("columns", "day_hours", "types"):
        del raw[name]
    older = Reference.from_dict(raw)
    assert (older.columns, older.day_hours, older.types) == ({}, None, {})


def test_a_day_has_the_rows_usual_for_its_weekday(fitted):
    by_weekday = Counter(row["at"].weekday() for row in transactions(ROWS).to_pylist())
    days = Counter((np.datetime64("2025-03-01") + n).item().weekday() for n in range(DAYS))
    monday = np.datetime64("2025-04-07")
    assert fitted.reference.rows_of_day(monday) == pytest.approx(by_weekday[0] / days[0])
