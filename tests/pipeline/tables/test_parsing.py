from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import BatchRefused
from pipeline.settings.config import Config, TableConfig
from pipeline.tables.parsing import check_columns, parse, parse_column, typed_schema

CONTRACT = {
    "id": "tx",
    "timestamp": "at",
    "amount": "eur",
    "entities": ["card"],
    "categorical": ["kind"],
    "label": "fraud",
    "ignored": ["note"],
    "types": {"tx": "integer"},
}
SETTINGS = TableConfig()
BERLIN = TableConfig(time_zone="Europe/Berlin")


def config(**table) -> Config:
    return Config.model_validate({"contract": CONTRACT, "table": table})


def column(values, wanted, settings=SETTINGS, kind=None):
    typed, failed = parse_column(pa.array(values, kind), wanted, settings)
    assert failed.dtype == bool
    assert failed.shape == (len(values),)
    return typed.to_pylist(), failed.tolist()


def failing(values, wanted, settings=SETTINGS, kind=None):
    """Return the cells that fail; every one of them must have become missing."""
    typed, failed = column(values, wanted, settings, kind)
    assert all(value is None for value, wrong in zip(typed, failed, strict=True) if wrong)
    return [value for value, wrong in zip(values, failed, strict=True) if wrong]


# Numbers


def test_numbers_as_text():
    values = ["1.5", " 1e3 ", "-.5", "+2", "1.", "1E-2", "1e300", "inf", "-Infinity", "1e400"]
    typed, failed = column(values, "number")
    assert typed == [1.5, 1000, -0.5, 2, 1, 0.01, 1e300, np.inf, -np.inf, np.inf]
    assert not any(failed)
    assert column(["", "  ", None, "nan", "NaN", "-nan"], "number") == ([None] * 6, [False] * 6)
    wrong = ["1,5", "1 000", "0x1F", ".", "e5", "1_0", "abc", "1.2.3", "--1", "١", "1e", "€5"]
    assert failing(wrong, "number") == wrong


def test_text_is_read_as_python_reads_it():
    rng = np.random.default_rng(0)
    values = [repr(float(x)) for x in rng.normal(size=500) * 10.0 ** rng.integers(-300, 300, 500)]
    assert column(values, "number")[0] == [float(text) for text in values]


def test_decimal_comma():
    comma = TableConfig(decimal=",")
    assert column(["1,5", "-0,25", "3", "1,5e2"], "number", comma)[0] == [1.5, -0.25, 3, 150]
    assert failing(["1.5", "1.234,5", "1,2,3"], "number", comma) == ["1.5", "1.234,5", "1,2,3"]
    assert column(["12,00", "12"], "integer", comma)[0] == [12, 12]


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint64(), pa.float32(), pa.decimal128(5, 2), pa.float16()])
def test_numbers_of_any_type(kind):
    values = [Decimal("1.00"), None, Decimal("7.00")] if pa.types.is_decimal(kind) else [1, None, 7]
    if kind == pa.float16():
        values = np.array([1, np.nan, 7], dtype=np.float16)
    assert column(values, "number", kind=kind) == ([1.0, None, 7.0], [False] * 3)


def test_missing_numbers_and_infinite_ones():
    assert column([np.nan, np.inf, 1e300, None], "number") == ([None, np.inf, 1e300, None], [False] * 4)
    assert column([None, None], "number") == ([None, None], [False, False])


# Keys


def test_whole_numbers_as_text():
    values = ["12", "12.0", " 7 ", "-3", "+4", "0012", "0", "000", "9223372036854775807", "-9223372036854775808"]
    typed, failed = column(values, "integer")
    assert typed == [int(text.split(".")[0]) for text in values]
    assert not any(failed)
    wrong = ["12.5", "1e3", "0x1F", "inf", "abc", "9223372036854775808", "-9223372036854775809", "9" * 40]
    assert failing(["1", *wrong], "integer") == wrong
    assert column(["", " ", None, "nan"], "integer") == ([None] * 4, [False] * 4)


def test_whole_numbers_of_other_types():
    assert column([12.0, np.nan, -(2.0**63)], "integer")[0] == [12, None, -(2**63)]
    assert failing([12.5, 2.0**63, np.inf, 3.0], "integer") == [12.5, 2.0**63, np.inf]
    assert failing([2**63, 2**63 - 1], "integer", kind=pa.uint64()) == [2**63]
    assert failing([Decimal("12.00"), Decimal("12.50")], "integer") == [Decimal("12.50")]


def test_text_stays_as_it_is():
    values = ["00123", " a ", "nan", "=1", "ü", "", "  ", None]
    assert column(values, "text") == ([*values[:5], None, None, None], [False] * 8)


def test_keys_that_came_as_numbers_have_no_decimals():
    # pandas turns integers with a missing value among them into floats.
    assert column([12.0, None, 12.5, np.nan], "text")[0] == ["12", None, "12.5", None]
    assert column([7, None], "text")[0] == ["7", None]
    assert column([Decimal("12.00"), Decimal("12.50")], "text")[0] == ["12", "12.50"]
    assert column([True, None], "text")[0] == ["true", None]
    assert column([date(2018, 4, 1)], "text")[0] == ["2018-04-01"]


def test_labels():
    values = ["0", "1", "true", "False", "TRUE", "0.0", "1.0", " 1 ", "", "nan", None]
    assert column(values, "label") == ([0, 1, 1, 0, 1, 0, 1, 1, None, None, None], [False] * 11)
    assert failing(["1", "2", "-1", "yes", "0.5"], "label") == ["2", "-1", "0.5"]
    assert column([True, False, None], "label")[0] == [1, 0, None]
    assert failing([0.0, 1.0, 0.5, np.nan], "label") == [0.5]
    assert failing([0, 1, 7], "label") == [7]


# Timestamps


def test_timestamps_as_text():
    day = datetime(2018, 4, 1)
    values = {
        "2018-04-01": day,
        " 2018-04-01 ": day,
        "2018-04-01T12": day.replace(hour=12),
        "2018-04-01 12:30": day.replace(hour=12, minute=30),
        "2018-04-01T12:30:15": day.replace(hour=12, minute=30, second=15),
        "2018-04-01 12:30:15.5": day.replace(hour=12, minute=30, second=15, microsecond=500_000),
        "2018-04-01 12:30:15,25": day.replace(hour=12, minute=30, second=15, microsecond=250_000),
        "2018-04-01 12:30:15.123456789": day.replace(hour=12, minute=30, second=15, microsecond=123_456),
        "2018-04-01T12:30:15Z": day.replace(hour=12, minute=30, second=15),
        "2018-04-01T12:30:15+02:00": day.replace(hour=10, minute=30, second=15),
        "2018-04-01 12:30:15 -0130": day.replace(hour=14, minute=0, second=15),
        "2018-04-01T12:30+02": day.replace(hour=10, minute=30),
        "01.04.2018": day,
        "01.04.2018 12:30:15": day.replace(hour=12, minute=30, second=15),
        "2020-02-29": datetime(2020, 2, 29),
        "0001-01-01": datetime(1, 1, 1),
        "1900-01-01": datetime(1900, 1, 1),
        "2999-12-31 23:59:59": datetime(2999, 12, 31, 23, 59, 59),
        "9999-12-31T23:59:59": datetime(9999, 12, 31, 23, 59, 59),
    }
    assert column(list(values), "timestamp") == (list(values.values()), [False] * len(values))
    for text, moment in values.items():  # a cell is read the same whatever stands beside it
        assert column([text], "timestamp") == ([moment], [False])
    assert column(["", " ", None, "nan"], "timestamp") == ([None] * 4, [False] * 4)


def test_text_that_is_no_timestamp():
    wrong = [
        *("2018-02-29", "2018-04-31", "2018-13-01", "2018-00-01", "2018-01-00", "0000-01-01", "1900-02-29"),
        *("2018-04-01 24:00", "2018-04-01 12:60", "2018-04-01 12:30:60", "2018-04-01T12:30+25:00"),
        *("20180401", "2018-4-1", "04/01/2018", "2018-04-01 12:30 PM", "yesterday", "1522540831", "12:30", "-"),
    ]
    assert failing(["2018-04-01", *wrong], "timestamp") == wrong
    for text in wrong:
        assert failing([text], "timestamp") == [text]


def spelling_and_moment(rng) -> tuple[str, datetime | None]:
    """Return a moment spelled in one of the ways that are read, and what the standard library reads of it in UTC."""
    year = int(rng.choice([1, 4, 1900, 2000, 2023, 2024, 9999, rng.integers(1, 10_000)]))
    month, day = (
        int(rng.choice([rng.integers(1, last), last, last + 1, 0], p=[0.8, 0.1, 0.05, 0.05])) for last in (12, 31)
    )
    hour, minute, second = (int(rng.choice([rng.integers(0, n), n + 1], p=[0.97, 0.03])) for n in (24, 60, 60))
    fraction = "".join(rng.choice(list("0123456789"), rng.integers(1, 10)))
    offset = f"{rng.choice(['+', '-'])}{rng.choice([0, 2, 14, 23, 24], p=[0.3, 0.3, 0.2, 0.15, 0.05]):02}"
    offset_minutes = f"{rng.choice([0, 30, 59]):02}"
    zone, utc_offset = [
        ("", "+00:00"),
        ("Z", "+00:00"),
        (" z", "+00:00"),
        (offset, f"{offset}:00"),
        (f"{offset}{offset_minutes}", f"{offset}:{offset_minutes}"),
        (f" {offset}:{offset_minutes}", f"{offset}:{offset_minutes}"),
    ][rng.integers(6)]
    clocks = [
        ("", "00:00:00"),
        (f"{hour:02}{zone}", f"{hour:02}:00:00{utc_offset}"),
        (f"{hour:02}:{minute:02}{zone}", f"{hour:02}:{minute:02}:00{utc_offset}"),
        (f"{hour:02}:{minute:02}:{second:02}{zone}", f"{hour:02}:{minute:02}:{second:02}{utc_offset}"),
        (
            f"{hour:02}:{minute:02}:{second:02}{rng.choice(['.', ','])}{fraction}{zone}",
            f"{hour:02}:{minute:02}:{second:02}.{fraction[:6]:0<6}{utc_offset}",
        ),
    ]
    clock, whole_clock = clocks[rng.integers(5)]
    dated = rng.choice([f"{year:04}-{month:02}-{day:02}", f"{day:02}.{month:02}.{year:04}"])
    text = f"{dated}{rng.choice(['T', ' ']) if clock else ''}{clock}"
    try:
        moment = datetime.fromisoformat(f"{year:04}-{month:02}-{day:02}T{whole_clock}")
        return text, moment.replace(tzinfo=None) - (moment.utcoffset() or timedelta())
    except (ValueError, OverflowError):  # no such day, no such time of day, or a year before 1 or after 9999
        return text, None


@pytest.mark.parametrize("seed", range(25))
def test_every_spelling_is_the_moment_that_the_standard_library_reads(seed):
    rng = np.random.default_rng(seed)
    cells = [spelling_and_moment(rng) for _ in range(200)]
    assert 5 < sum(moment is None for _, moment in cells) < 100
    typed, failed = column([text for text, _ in cells], "timestamp")
    assert dict(zip([text for text, _ in cells], typed, strict=True)) == dict(cells)
    assert failed == [moment is None for _, moment in cells]
    for text, moment in cells[:20]:  # a cell is read the same whatever stands beside it
        assert column([text], "timestamp")[0] == [moment]


def test_fractions_are_cut_after_the_microsecond():
    second = datetime(9999, 12, 31, 23, 59, 59)
    for digits in range(1, 10):
        texts = [f"9999-12-31T23:59:59{sign}{'9' * digits}{zone}" for sign in ".," for zone in ("", "Z")]
        moment = second.replace(microsecond=int(f"{'9' * min(digits, 6):0<6}"))
        assert column(texts, "timestamp")[0] == [moment] * 4


def test_other_spellings_of_iso_8601_are_no_timestamps():
    wrong = [
        *("2018-W13", "2018-W13-7", "2018W137", "2018-091", "2018091", "2018-04", "2018", "20180401T1230Z"),
        *("+002018-04-01", "-2018-04-01", "12018-04-01", "0000-12-31T23:00-02:00", "2018-04-01t12:30", "2018-04-01T"),
        *("2018-04-01T12:30:15.", "2018-04-01T12:30:15.1234567890", "2018-04-01T12:30.5", "2018-04-01T1230"),
        *("2018-04-01Z", "2018-04-01T12:30+2", "2018-04-01T12:30+02:60", "2018-04-01T12:30+24:00"),
        *(
            "2018-04-01T12:30+02:00:30",
            "2018-04-01T12:30  Z",
            "2018-04-01T12:30 CET",
            "2018-04-01  12:30",
            "now",
            "NaT",
        ),
    ]
    assert failing(["2018-04-01", *wrong], "timestamp") == wrong
    for text in wrong:
        assert failing([text], "timestamp") == [text]


def test_random_moments_survive_in_every_notation():
    rng = np.random.default_rng(0)
    first, last = np.datetime64("0001-01-02", "us").astype(int), np.datetime64("9999-12-30", "us").astype(int)
    moments = [datetime(1970, 1, 1) + timedelta(microseconds=int(us)) for us in rng.integers(first, last, 300)]
    assert column([moment.isoformat(" ") for moment in moments], "timestamp")[0] == moments
    zones = [f"{moment.isoformat()}+05:30" for moment in moments]
    shifted = [moment - timedelta(hours=5, minutes=30) for moment in moments]
    assert column([*zones, "x"], "timestamp")[0][:-1] == shifted


def test_local_time_becomes_utc():
    texts = ["2018-03-25 01:59", "2018-03-25 03:00", "2018-10-28 01:59", "2018-10-28 03:00", "1900-06-01 12:00"]
    zone = ZoneInfo("Europe/Berlin")
    expected = [
        datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC).replace(tzinfo=None) for text in texts
    ]
    assert column(texts, "timestamp", BERLIN)[0] == expected
    naive = [datetime.fromisoformat(text) for text in texts]
    for unit in ("s", "ms", "us"):
        assert column(naive, "timestamp", BERLIN, pa.timestamp(unit))[0] == expected
    assert column([date(2018, 4, 1)], "timestamp", BERLIN)[0] == [datetime(2018, 3, 31, 22)]


def test_times_that_come_twice_or_never():
    # 02:30 comes twice on 2018-10-28, first at UTC+2; on 2018-03-25 clocks go from 02:00 to 03:00 (UTC+2).
    texts = ["2018-10-28 02:30", "2018-03-25 02:30"]
    assert column(texts, "timestamp", BERLIN)[0] == [datetime(2018, 10, 28, 0, 30), datetime(2018, 3, 25, 1)]


def test_a_zone_that_is_given_is_kept():
    assert column(["2018-04-01T12:00Z", "2018-04-01T12:00+02:00", "2018-04-01T12:00"], "timestamp", BERLIN)[0] == [
        datetime(2018, 4, 1, 12),
        datetime(2018, 4, 1, 10),
        datetime(2018, 4, 1, 10),
    ]
    for unit in ("s", "ms", "us", "ns"):
        kind = pa.timestamp(unit, "America/New_York")
        moment = datetime(2018, 4, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo"))
        assert column([moment, None], "timestamp", BERLIN, kind)[0] == [datetime(2018, 4, 1, 3), None]


def test_moments_beyond_the_calendar_fail():
    typed, failed = parse_column(pa.array([2**62, 0]).cast(pa.timestamp("s")), "timestamp", SETTINGS)
    assert typed.to_pylist() == [None, datetime(1970, 1, 1)]
    assert failed.tolist() == [True, False]
    assert failing(["0001-01-01"], "timestamp", BERLIN) == ["0001-01-01"]  # the year 0 in UTC


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1e3), ("us", 1e6)])
def test_counts_from_1970(unit, factor):
    settings = TableConfig(timestamp_unit=unit, time_zone="Europe/Berlin")
    moment = datetime(2018, 4, 1, 0, 0, 31)
    count = int(moment.replace(tzinfo=UTC).timestamp() * factor)
    assert column([count, None], "timestamp", settings)[0] == [moment, None]
    assert column([float(count), np.nan], "timestamp", settings)[0] == [moment, None]
    assert column([str(count), "2018-04-01", ""], "timestamp", settings)[0] == [
        moment,
        datetime(2018, 3, 31, 22),
        None,
    ]
    assert failing([np.inf, 1e300, float(count)], "timestamp", settings) == [np.inf, 1e300]
    assert failing([2**63 - 1, -(2**63), count], "timestamp", settings) == [2**63 - 1, -(2**63)]


def test_fractions_of_counts_are_kept():
    settings = TableConfig(timestamp_unit="s")
    assert column([1522540831.25], "timestamp", settings)[0] == [datetime(2018, 4, 1, 0, 0, 31, 250_000)]


# Batches


def test_a_batch_is_typed_and_its_failures_are_named():
    batch = pa.record_batch(
        {
            "note": ["keep", None, "me"],
            "tx": ["1", "2.5", None],
            "at": ["2018-04-01", "then", "2018-04-02"],
            "eur": ["1.5", "2", "much"],
            "card": ["007", "a", ""],
            "kind": ["x", None, "y"],
            "fraud": ["0", "1", "2"],
            "source_row": pa.array([4, 5, 6]),
        }
    )
    typed, failures = parse(batch, config())
    assert typed.schema == typed_schema(batch.schema, config())
    assert typed.schema.types == [
        *(pa.string(), pa.int64(), pa.timestamp("us"), pa.float64(), pa.string(), pa.string(), pa.int8()),
        pa.int64(),
    ]
    assert typed.to_pydict() == {
        "note": ["keep", None, "me"],
        "tx": [1, None, None],
        "at": [datetime(2018, 4, 1), None, datetime(2018, 4, 2)],
        "eur": [1.5, 2, None],
        "card": ["007", "a", None],
        "kind": ["x", None, "y"],
        "fraud": [0, 1, None],
        "source_row": [4, 5, 6],
    }
    assert {rule: mask.tolist() for rule, mask in failures.items()} == {
        "tx: is a whole number": [False, True, False],
        "at: is a timestamp": [False, True, False],
        "eur: is a number": [False, False, True],
        "fraud: says fraud or not": [False, False, True],
    }


def test_cells_do_not_depend_on_their_batch():
    rng = np.random.default_rng(0)
    cells = {
        "tx": ["1", "2.0", "x", "", "99999999999999999999", "-7"],
        "at": ["2018-04-01", "2018-04-01T12:00:00Z", "x", "", "01.04.2018 12:00", "2018-03-25 02:30"],
        "eur": ["1.5", "inf", "x", "", "1e400", "-2"],
        "card": ["a", " ", "", "007", "nan", "b"],
        "kind": ["a", "b", "", "c", "d", "e"],
        "fraud": ["0", "1", "2", "", "true", "nan"],
    }
    rows = pa.record_batch({name: rng.choice(values, 200).tolist() for name, values in cells.items()})
    settings = config(time_zone="Europe/Berlin")
    whole, failures = parse(rows, settings)
    parts = [parse(rows.slice(start, 7), settings) for start in range(0, 200, 7)]
    assert pa.Table.from_batches([typed for typed, _ in parts]).to_pylist() == whole.to_pylist()
    for rule, mask in failures.items():
        empty = [np.zeros(typed.num_rows, dtype=bool) for typed, _ in parts]
        pieces = [found.get(rule, none) for (_, found), none in zip(parts, empty, strict=True)]
        assert np.array_equal(np.concatenate(pieces), mask)


def test_an_empty_batch():
    batch = pa.record_batch({name: pa.array([], pa.string()) for name in ("tx", "at", "eur", "card", "kind")})
    typed, failures = parse(batch, config(time_zone="Europe/Berlin"))
    assert typed.num_rows == 0
    assert failures == {}


# Columns as a whole

FOUND = {
    "tx": pa.int64(),
    "at": pa.timestamp("ns"),
    "eur": pa.float64(),
    "card": pa.string(),
    "kind": pa.string(),
}


def test_missing_columns_are_told_with_the_others():
    found = {"tx": pa.int64(), "at_time": pa.string(), "eur": pa.float64(), "kind": pa.string(), "note": pa.string()}
    with pytest.raises(BatchRefused) as error:
        check_columns(pa.schema(found), config(), "a.csv")
    assert str(error.value) == (
        "a.csv does not fit the contract, missing: at, card; not in the contract: at_time; "
        "renamed? Change the name in the table or in [contract]"
    )
    without = {name: kind for name, kind in FOUND.items() if name != "card"}
    with pytest.raises(BatchRefused, match="missing: card; not in the contract: none; deliver them"):
        check_columns(pa.schema(without), config(), "a.csv")
    odd = {**without, " card": pa.string(), "\ufeffcard": pa.string(), "a\nb": pa.string()}
    with pytest.raises(BatchRefused, match=r"not in the contract: ' card', '\\ufeffcard', 'a\\nb'; renamed"):
        check_columns(pa.schema(odd), config(), "a.csv")
    many = {**without, **{f"V{i}": pa.string() for i in range(30)}}
    with pytest.raises(BatchRefused, match="V8, V9 and 20 more; renamed"):
        check_columns(pa.schema(many), config(), "a.csv")


def test_labels_may_be_missing():
    check_columns(pa.schema(FOUND), config(), "a.csv")
    check_columns(pa.schema({**FOUND, "fraud": pa.bool_()}), config(), "a.csv")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("at", kind) for kind in (pa.string(), pa.large_string(), pa.date32(), pa.timestamp("s", "UTC"), pa.null())),
        *(("eur", kind) for kind in (pa.string(), pa.int8(), pa.uint64(), pa.decimal128(9, 2), pa.null())),
        *(("tx", kind) for kind in (pa.string(), pa.float64(), pa.decimal128(9, 2))),
        *(("card", kind) for kind in (pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.null())),
        *(("fraud", kind) for kind in (pa.bool_(), pa.int64(), pa.float64(), pa.string())),
    ],
)
def test_types_that_can_fit_can_be_parsed(name, kind):
    schema = pa.schema({**FOUND, name: kind})
    check_columns(schema, config(), "a.parquet")
    batch = pa.record_batch([pa.nulls(2, field.type) for field in schema], schema=schema)
    typed, failures = parse(batch, config())
    assert typed.schema == typed_schema(schema, config())
    assert typed[name].null_count == 2
    assert failures == {}


@pytest.mark.parametrize(
    ("name", "kind", "wanted"),
    [
        ("at", pa.bool_(), "timestamp"),
        ("at", pa.list_(pa.int64()), "timestamp"),
        ("eur", pa.timestamp("us"), "number"),
        ("eur", pa.bool_(), "number"),
        ("tx", pa.date32(), "integer"),
        ("card", pa.struct({"a": pa.int64()}), "text"),
        ("fraud", pa.timestamp("us"), "label"),
    ],
)
def test_types_that_cannot_fit_are_refused(name, kind, wanted):
    with pytest.raises(BatchRefused) as error:
        check_columns(pa.schema({**FOUND, name: kind}), config(), "a.parquet")
    assert f"a.parquet: column {name!r} is of type {kind}, which cannot be a {wanted}" in str(error.value)


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64()])
def test_a_numeric_timestamp_needs_a_unit(kind):
    schema = pa.schema({**FOUND, "at": kind})
    with pytest.raises(BatchRefused, match=r"column 'at' is of type .*set \[table\] timestamp_unit to"):
        check_columns(schema, config(), "a.parquet")
    check_columns(schema, config(timestamp_unit="s"), "a.parquet")
