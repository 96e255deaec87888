"""Range windows in memory, held against DuckDB's own range frames."""

import itertools

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features import windows as module
from pipeline.features.plan import AGGREGATES, OF_ONE, SUMS, Window
from pipeline.features.windows import PLACED, QUARTILES, windowed

LARGEST = 10**15
KEYS = [("e0",), ("e1",), ("e1", "e0"), ("e0", "c0"), ("c0",), ("e1", "c1")]
FRAMES = [(1, 1), (3, 1), (9, 1), (40, 1), (9, 4), (2, 5)]
OF_LABELS = {"labels": "count(fraud)", "verdicts": "sum(fraud)"}
COMPUTED = {*AGGREGATES, *OF_ONE, *OF_LABELS}


def every(keys, frames, needed=1):
    """Return a window of each aggregate over each frame."""
    return {
        f"{aggregate}_{first}_{last}": Window(
            keys,
            aggregate,
            first,
            last,
            needed=keys[:needed],
            of={"distinct": 1}.get(aggregate, 0 if aggregate in PLACED else None),
        )
        for aggregate in sorted(COMPUTED)
        for first, last in frames
    }


moments = st.integers(0, 25) | st.sampled_from([-(10**17), -60, 10**17, 10**17 + 3])
events = st.lists(
    st.fixed_dictionaries(
        {
            "us": moments,
            "e0": st.sampled_from(["a", "b", "", None]),
            "e1": st.sampled_from([1, -(2**60), None]),
            "c0": st.sampled_from([0.0, -0.0, float("nan"), None]),
            "c1": st.sampled_from([True, False, None]),
            "amount": st.floats(allow_nan=False),
            "x": st.integers(-LARGEST, LARGEST) | st.integers(-5, 5) | st.just(LARGEST),
            "night": st.integers(0, 1),
            "weekend": st.integers(0, 1),
            "clock_cosine": st.integers(-(2**32), 2**32),
            "clock_sine": st.integers(-(2**32), 2**32),
            "fraud": st.sampled_from([None, 0, 1]),
            "lat0": st.none() | st.floats(-90, 90),
            "lon0": st.none() | st.floats(-180, 180),
        }
    ),
    max_size=40,
)
TYPES = {"e0": pa.string(), "e1": pa.int64(), "c0": pa.float64(), "c1": pa.bool_(), "fraud": pa.int8()}
TYPES |= {"lat0": pa.float64(), "lon0": pa.float64(), "night": pa.int32(), "weekend": pa.int32()}
TYPES |= dict.fromkeys(["us", "x", "clock_cosine", "clock_sine"], pa.int64()) | {"amount": pa.float64()}


def table(rows):
    rows = sorted(rows, key=lambda row: row["us"])
    columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()}
    return pa.table({"id": np.arange(len(rows)), **columns})


def sql(window):
    """Return a window's expression; Plan has none for labels of their own moment yet."""
    if window.aggregate not in OF_LABELS:
        return window.sql
    known = Window(window.keys, "known", window.first, window.last, window.needed)
    return known.sql.replace("count(*)", OF_LABELS[window.aggregate])


def by_duckdb(rows, windows):
    """Return the windows' values with each sum, a whole number, rounded once, as Python does; and DuckDB's own."""
    exact = [
        sql(window).replace(" AS DOUBLE)", " AS HUGEINT)") if is_sum(window) else sql(window)
        for window in windows.values()
    ]
    query = f"SELECT {', '.join([*exact, *map(sql, windows.values())])} FROM events ORDER BY us, id"
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("rows", rows)
        connection.execute("CREATE TABLE events AS SELECT *, CAST(x AS HUGEINT) * x AS x2 FROM rows")
        found = np.array(connection.sql(query).fetchall(), object).reshape(rows.num_rows, 2, len(windows))
    once, twice = (dict(zip(windows, map(doubles, found[:, number].T), strict=True)) for number in (0, 1))
    return once, twice


def is_sum(window):
    return window.aggregate in {*SUMS, *OF_LABELS}


def doubles(values):
    """Return values as doubles, each whole number rounded once, as Python does."""
    return np.array([np.nan if value is None else float(value) for value in values])


def assert_same(found, expected):
    assert list(found) == list(expected)
    for alias, values in expected.items():
        np.testing.assert_array_equal(found[alias], values, err_msg=alias, strict=True)


@settings(max_examples=100)
@given(
    rows=events,
    keys=st.sampled_from(KEYS),
    needed=st.integers(0, 2),
    frames=st.lists(st.sampled_from(FRAMES), min_size=1, max_size=2, unique=True),
    block=st.sampled_from([1, 7, 1 << 16]),
    tile=st.sampled_from([1, 3, 1 << 18]),
    plain=st.sampled_from([1, 1 << 62]),
    random=st.randoms(use_true_random=False),
)
def test_values_are_those_of_range_frames_to_the_last_bit(*, rows, keys, needed, frames, block, tile, plain, random):
    rows, windows = table(rows), every(keys, frames, needed)
    asks = np.array([random.random() < 0.4 for _ in range(rows.num_rows)], bool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        patch.setattr(module, "TILE", tile)
        patch.setattr(module, "PLAIN", plain)
        found = windowed(rows, windows)
        asked = windowed(rows, windows, asks, threads=2)
    assert_same(asked, {alias: values[asks] for alias, values in found.items()})
    exact, rounded = by_duckdb(rows, windows)
    amounts = rows["amount"].to_numpy()
    for alias in [alias for alias, window in windows.items() if window.aggregate in QUARTILES]:
        if np.abs(amounts).max(initial=0) < 1e300:  # so that the distance of two is a number
            close = 2**-50 * np.abs(amounts).max(initial=0)
            np.testing.assert_allclose(found[alias], exact[alias], rtol=0, atol=close, err_msg=alias)
        del found[alias], exact[alias], rounded[alias]
    assert_same(found, exact)
    for alias, values in rounded.items():
        # DuckDB rounds a large sum twice, which moves its last bit at most.
        np.testing.assert_allclose(found[alias], values, rtol=2**-52, err_msg=alias)
        small = np.abs(found[alias]) < 2.0**53
        np.testing.assert_array_equal(found[alias][small], values[small], err_msg=alias)


@settings(max_examples=300)
@given(
    mantissa=st.integers(2**52, 2**54),
    shift=st.integers(0, 72),
    more=st.sampled_from([-1, 0, 1]) | st.integers(0, 2**70),
    sign=st.sampled_from([1, -1]),
)
def test_a_sum_is_rounded_once_to_the_nearest_double_ties_to_even(mantissa, shift, more, sign):
    number = sign * ((mantissa << shift) + more)
    limbs = [number & (2**32 - 1), number >> 32 & (2**32 - 1), number >> 64]
    assert module._rounded([np.array([limb], np.int64) for limb in limbs]).tolist() == [float(number)]
    if abs(number) < 2**90:
        assert module._rounded([np.array([limb], np.int64) for limb in (limbs[0], number >> 32)]) == [float(number)]


@pytest.mark.parametrize("largest", [1, 10**5, 10**9, 10**12, LARGEST])
def test_sums_and_squares_are_exact_at_every_size(largest):
    size = 20_000
    values = np.random.default_rng(largest % 97).integers(-largest, largest, size, endpoint=True)
    values[:3] = largest, -largest, largest
    rows = pa.table({"us": np.arange(size), "e0": ["a"] * size, "x": values})
    found = windowed(rows, {name: Window(("e0",), name, size, 1) for name in ("sum", "squares")})
    totals = itertools.accumulate(values.tolist(), initial=0)
    squares = itertools.accumulate((value**2 for value in values.tolist()), initial=0)
    assert found["sum"].tolist() == [float(value) for value in totals][:-1]
    assert found["squares"].tolist() == [float(value) for value in squares][:-1]


def test_a_sum_that_63_bits_do_not_hold_is_exact():
    rows = pa.table({"us": np.arange(15_001), "e0": ["a"] * 15_001, "x": np.full(15_001, LARGEST)})
    found = windowed(rows, {"sum": Window(("e0",), "sum", 15_000, 1)}, np.arange(15_001) == 15_000)
    assert found["sum"].tolist() == [1.5e19]


def test_of_two_zeros_the_highest_is_the_one_without_a_sign():
    rows = pa.table({"us": [1, 1, 2, 3, 4], "e0": ["a"] * 5, "amount": [0.0, -0.0, -0.0, -1.0, 2.0]})
    found = windowed(rows, {"most": Window(("e0",), "max", 2, 1)})["most"]
    assert [str(value) for value in found] == ["nan", "nan", "0.0", "0.0", "0.0"]


def many(seed, size=3_000, parties=40):
    """Return the columns of many random events, in the order of time."""
    random = np.random.default_rng(seed)
    known = random.random(size) < 0.6
    return pa.table(
        {
            "us": np.sort(random.integers(0, size, size)),
            "e0": pa.array(random.integers(0, parties, size), mask=random.random(size) < 0.05),
            "e1": random.integers(0, 9, size).astype(str),
            "c0": random.integers(0, 3, size) / 2,
            "amount": np.round(random.normal(0, 1e4, size), 2),
            "x": random.integers(-(10**12), 10**12, size),
            **{name: random.integers(0, 2, size) for name in ("night", "weekend")},
            **{name: random.integers(-(2**32), 2**32, size) for name in ("clock_cosine", "clock_sine")},
            "fraud": pa.array(random.integers(0, 2, size).astype(np.int8), mask=~known),
            **{name: pa.array(random.normal(0, 40, size), mask=~known) for name in ("lat0", "lon0")},
        }
    )


SOME = every(("e0",), [(50, 1), (900, 30)]) | {
    f"{'_'.join(keys)}_{alias}": window
    for keys in (("e0", "e1"), ("e1", "e0"))
    for alias, window in every(keys, [(900, 1)]).items()
}


def test_rows_of_other_parties_change_nothing():
    rows = many(1)
    chosen = rows["e0"].to_numpy() % 3 == 1
    alone = windowed(rows.filter(pa.array(chosen)), SOME)
    assert_same(windowed(rows, SOME, chosen), alone)
    assert_same({alias: values[chosen] for alias, values in windowed(rows, SOME).items()}, alone)


def test_the_order_of_rows_of_one_moment_changes_nothing_but_which_place_is_the_last():
    rows = many(2)
    order = np.lexsort([np.random.default_rng(5).random(rows.num_rows), rows["us"].to_numpy()])
    windows = {alias: window for alias, window in SOME.items() if window.aggregate not in ("latitude", "longitude")}
    expected = {alias: values[order] for alias, values in windowed(rows, windows).items()}
    assert_same(windowed(rows.take(order), windows), expected)


def test_later_rows_and_those_that_no_window_reaches_change_nothing():
    rows = many(3)
    asks = (rows["us"].to_numpy() >= 2_000) & (rows["us"].to_numpy() < 2_010)
    last = int(np.flatnonzero(asks)[-1]) + 1
    first = int(np.searchsorted(rows["us"].to_numpy(), 2_000 - 900))
    expected = windowed(rows.slice(first, last - first), SOME, asks[first:last])
    assert_same(windowed(rows, SOME, asks), expected)
    assert np.count_nonzero(expected["count_900_30"]) > 0


def test_both_ends_of_a_frame_are_in_it():
    rows = pa.table({"us": [10, 11, 14, 15], "e0": ["a"] * 4})
    windows = {f"{first}_{last}": Window(("e0",), "count", first, last) for first, last in [(5, 1), (4, 1), (5, 4)]}
    found = windowed(rows, windows, np.array([False, False, False, True]))
    assert {alias: values.tolist() for alias, values in found.items()} == {"5_1": [3], "4_1": [2], "5_4": [2]}


@pytest.mark.parametrize("threads", [1, 3])
def test_more_parties_than_sixteen_bits_number_in_many_blocks(threads, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 10_000)
    rows = many(4, size=150_000, parties=90_000)
    columns = ["us", "e0", "amount", "x"]
    windows = {name: Window(("e0",), name, 10**5, 1, ("e0",)) for name in ("count", "sum", "max")}
    events = rows.select(columns).append_column("id", pa.array(np.arange(rows.num_rows)))
    exact, rounded = by_duckdb(events, windows)
    assert_same(windowed(rows, windows, threads=threads), exact)
    assert_same(exact, rounded)


def test_a_party_with_most_of_the_rows_is_worked_on_by_stretches_of_time(monkeypatch):
    rows = 40_000
    random = np.random.default_rng(0)
    table = pa.table({"us": np.arange(rows) // 2, "e0": ["heavy"] * rows, "x": random.integers(-100, 100, rows)})
    windows = {"total": Window(("e0",), "sum", 500, 1), "rows": Window(("e0",), "count", 500, 1)}
    whole, lengths = windowed(table, windows), []
    column = module._Block.column
    monkeypatch.setattr(module, "TILE", 1_000)
    monkeypatch.setattr(module._Block, "column", lambda own, name: lengths.append(len(own.rows)) or column(own, name))
    assert_same(windowed(table, windows), whole)
    assert len(lengths) == 40
    assert max(lengths) == 2_000  # its own thousand rows, and the thousand that they look back to


def test_labels_are_seen_by_the_rows_that_ask_from_the_moment_at_which_they_became_known():
    rows = pa.table(
        {
            "us": [1, 4, 4, 5, 9, 9],
            "e0": ["a", "a", "b", "a", "a", "b"],
            "fraud": pa.array([100, 1, 100, None, None, None], pa.int32()),
        }
    )
    asks = np.array([False, False, False, True, True, True])
    windows = {name: Window(("e0",), name, 5, 1, ("e0",)) for name in ("labels", "verdicts")}
    found = windowed(rows, windows, asks)
    assert {alias: values.tolist() for alias, values in found.items()} == {
        "labels": [2.0, 1.0, 1.0],
        "verdicts": [101.0, 1.0, 100.0],
    }


@pytest.mark.parametrize(
    "keys",
    [
        pa.array([7, 8, 7, None], pa.int8()),
        pa.array(["a", "b", "a", None], pa.large_string()),
        pa.array([b"a", b"", b"a", None]),
        pa.chunked_array([pa.array(["a", "b"]), pa.array(["a", None])]),
        pa.array([0.5, float("inf"), 0.5, None], pa.float32()),
        pa.array([1, 2, 1, None], pa.timestamp("us")),
        pa.array([1, 2, 1, None], pa.decimal128(9, 2)),
    ],
    ids=lambda keys: str(keys.type),
)
def test_keys_are_of_any_type(keys):
    rows = pa.table({"us": [1, 2, 3, 4], "e0": keys})
    assert windowed(rows, {"n": Window(("e0",), "count", 5, 1)})["n"].tolist() == [0, 0, 1, 0]


def test_a_column_of_nulls_is_one_value_and_no_party():
    rows = pa.table({"us": [1, 2, 3], "e0": pa.nulls(3)})
    windows = {"alike": Window(("e0",), "count", 5, 1), "known": Window(("e0",), "count", 5, 1, ("e0",))}
    found = windowed(rows, windows)
    assert found["alike"].tolist() == [0, 1, 2]
    assert np.isnan(found["known"]).all()


def test_no_row_and_nobody_who_asks_give_no_value():
    rows = many(5, size=20)
    for values in (windowed(rows.slice(0, 0), SOME), windowed(rows, SOME, np.zeros(20, bool))):
        assert {alias: value.shape for alias, value in values.items()} == dict.fromkeys(SOME, (0,))
    assert windowed(rows, {}) == {}


def test_rows_out_of_order_and_missing_amounts_are_refused():
    rows = pa.table({"us": [2, 1], "e0": ["a", "a"], "amount": [1.0, None]})
    with pytest.raises(ValueError, match="rows must be in the order of us; sort them first"):
        windowed(rows, {"n": Window(("e0",), "count", 5, 1)})
    with pytest.raises(ValueError, match="column 'amount' must not have nulls, but has 1"):
        windowed(rows.slice(1), {"most": Window(("e0",), "max", 5, 1)})
