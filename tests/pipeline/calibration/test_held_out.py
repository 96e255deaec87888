from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest

from pipeline.calibration.held_out import ScoredRows
from pipeline.settings.config import Config
from tests.pipeline.calibration.held_out_rows import made

CONTRACT = {"id": "tx", "timestamp": "at", "amount": "eur", "entities": ["card"], "categorical": ["channel", "iban"]}


def table(moments, **columns):
    given = {"card": ["b"] * len(moments), "channel": ["web"] * len(moments), "iban": ["DE1"] * len(moments), **columns}
    texts = {name: pa.array(values, pa.string()) for name, values in given.items()}
    at, amounts = pa.array(moments, pa.timestamp("us")), pa.array([1.5] * len(moments))
    return pa.table({"at": at, "eur": amounts, **texts})


def rows_of(moments, config=None, before=None, **columns):
    config = config or Config.model_validate({"contract": {**CONTRACT, "sensitive": ["iban"]}})
    n = len(moments)
    return ScoredRows.of(
        table(moments, **columns),
        config,
        scores=np.arange(n),
        labels=np.zeros(n),
        normal=np.ones(n, bool),
        before=before,
    )


def test_days_are_calendar_days_of_the_tables_zone_counted_from_the_first():
    moments = [datetime(2025, 3, 1, 22, 30), datetime(2025, 3, 1, 23, 30), datetime(2025, 3, 4, 1)]
    assert rows_of(moments).day.tolist() == [0, 0, 3]
    berlin = Config.model_validate({"contract": CONTRACT, "table": {"time_zone": "Europe/Berlin"}})
    found = rows_of(moments, berlin)
    assert found.day.tolist() == [0, 1, 3]
    assert found.days == 3
    assert rows_of([]).days == 0


@pytest.mark.parametrize(
    ("before", "last_hour", "whole"),
    [
        (datetime(2025, 3, 1, 1), 23, [False, True, True]),
        (datetime(2025, 2, 28, 23), 23, [True, True, True]),
        (None, 23, [True, True, True]),
        (datetime(2025, 2, 28, 23), 12, [True, True, False]),
    ],
)
def test_a_day_that_begins_before_or_ends_early_is_not_whole(before, last_hour, whole):
    moments = [datetime(2025, 3, 1, 2), datetime(2025, 3, 1, 23), datetime(2025, 3, 2, 22, 30)]
    found = rows_of([*moments, datetime(2025, 3, 3, last_hour)], before=before)
    assert found.whole.tolist() == [whole[0], whole[0], whole[1], whole[2]]


@pytest.mark.parametrize(
    ("end", "whole"),
    [
        (datetime(2025, 3, 3, 21, 30), True),  # an hour before the earliest end of another day
        (datetime(2025, 3, 3, 21, 29, 59, 999_999), False),
    ],
)
def test_the_last_day_is_whole_when_it_ends_at_most_an_hour_before_all_others(end, whole):
    moments = [datetime(2025, 3, 1, 23, 30), datetime(2025, 3, 2, 22, 30), end]
    assert rows_of(moments).whole.tolist() == [True, True, whole]
    assert rows_of(moments[1:]).whole.tolist() == [True, whole]


def test_the_last_of_several_moments_before_says_whether_the_first_day_is_whole():
    moments = [datetime(2025, 3, 1, 2), datetime(2025, 3, 2, 2)]
    berlin = Config.model_validate({"contract": CONTRACT, "table": {"time_zone": "Europe/Berlin"}})
    # Half past eleven at night in UTC is the day of the rows in Berlin.
    assert rows_of(moments, before=datetime(2025, 2, 28, 23, 30)).whole.tolist() == [True, True]
    assert rows_of(moments, berlin, before=datetime(2025, 2, 28, 23, 30)).whole.tolist() == [False, True]


def test_customers_are_the_first_entity_and_a_sensitive_amount_is_not_kept():
    moments = [datetime(2025, 3, 1, hour) for hour in range(3)]
    config = Config.model_validate({"contract": {**CONTRACT, "entities": ["card", "channel"], "categorical": []}})
    found = rows_of(moments, config, card=["x", "y", "x"], channel=["web", "web", "fax"])
    assert found.customers.tolist() == [0, 1, 0]
    assert found.amounts.tolist() == [1.5, 1.5, 1.5]
    hidden = Config.model_validate({"contract": {**CONTRACT, "entities": [], "sensitive": ["eur"]}})
    assert rows_of(moments, hidden).amounts is None
    assert rows_of(moments, hidden).customers is None
    with pytest.raises(ValueError, match="these rows have no customers"):
        rows_of(moments, hidden).queue("customers")


def test_customers_are_numbers_and_sensitive_columns_are_left_out():
    moments = [datetime(2025, 3, 1, hour) for hour in range(4)]
    found = rows_of(moments, card=["x", "a", None, "x"], channel=["web", None, "fax", "web"])
    assert found.customers.tolist() == [0, 1, -1, 0]
    assert list(found.segments) == ["channel"]
    assert found.where("channel", "web").tolist() == [True, False, False, True]
    assert found.counts("channel") == {"fax": 1, "web": 2}
    assert found.take(np.array([1, 2])).counts("channel") == {"fax": 1}
    assert found.where("channel", "pigeon").tolist() == [False] * 4
    assert len(found.take(found.where("channel", "pigeon"))) == 0
    assert ScoredRows.columns(Config.model_validate({"contract": {**CONTRACT, "sensitive": ["iban"]}})) == [
        "at", "eur", "card", "channel"
    ]  # fmt: skip


def test_read_in_pieces_the_rows_are_the_same():
    moments = [datetime(2025, 3, 1, hour) for hour in range(6)]
    given = {"card": ["b", "a", None, "c", "b", "a"], "channel": ["web", "fax", "web", None, "fax", "app"]}
    config = Config.model_validate({"contract": CONTRACT})
    whole = table(moments, **given)
    pieces = pa.Table.from_batches([ScoredRows.read(batch, config) for batch in whole.to_batches(max_chunksize=2)])
    labels = np.zeros(6)
    one, other = (
        ScoredRows.of(rows, config, scores=np.arange(6), labels=labels, normal=labels == 0) for rows in (whole, pieces)
    )
    assert other.customers.tolist() == one.customers.tolist() == [0, 1, -1, 2, 0, 1]
    assert other.segments["channel"].to_pylist() == given["channel"]
    assert pa.types.is_dictionary(pieces.schema.field("card").type)


def test_the_queue_of_customers_is_their_highest_row_of_each_day():
    generator = np.random.default_rng(0)
    day, customers = generator.integers(0, 5, 300), generator.integers(0, 20, 300)
    rows = made(generator.normal(size=300), day=day, customers=customers)
    best = {}
    for key, score in zip(zip(day, customers, strict=True), rows.scores, strict=True):
        best[key] = max(score, best.get(key, -np.inf))
    queue = rows.queue("customers")
    assert sorted(queue.scores) == sorted(best.values())
    assert rows.queue("alerts") is rows
    flags = rows.scores > 1
    expected = [len({c for d, c, f in zip(day, customers, flags, strict=True) if f and d == n}) for n in range(5)]
    assert rows.daily(flags, "customers").tolist() == expected
    assert rows.daily(flags, "alerts").tolist() == [int(flags[day == number].sum()) for number in range(5)]


def test_a_saved_table_gives_the_same_rows_again():
    generator = np.random.default_rng(1)
    labels = generator.choice([0, 1, np.nan], 50)
    channel = generator.choice(["a", "b"], 50).tolist()
    for more in ({}, {"amounts": generator.random(50), "customers": np.arange(50)}):
        rows = made(generator.normal(size=50), labels=labels, day=np.arange(50) // 9, days=5.5, channel=channel, **more)
        again = ScoredRows.from_table(rows.to_table(), rows.days)
        assert again.to_table().equals(rows.to_table())
        assert again.days == 5.5
        assert (again.amounts is None) == (not more)
        np.testing.assert_array_equal(again.labels, labels)
        some = again.take(labels == 1)
        assert len(some) == (labels == 1).sum()
        assert some.segments["channel"].to_pylist() == [c for c, one in zip(channel, labels == 1, strict=True) if one]
