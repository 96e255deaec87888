"""What the days of a batch were like, counted in plain Python."""

import json
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest

from pipeline.detector.usual import COUNTED_ROWS
from pipeline.errors import ResourceError
from pipeline.monitoring import profile as module
from pipeline.monitoring.martingale import LEVELS
from pipeline.monitoring.profile import DayProfile, read_profile, together, write_profile
from pipeline.tables.parquet import read_batches


@pytest.fixture(scope="module")
def two_days(watched, day):
    """Rows of two days, their scores, and their profiles."""
    table = pa.concat_tables([day(0), day(1)])
    _, scored, days = watched.scored(table)
    return table.to_pylist(), scored, days


def same(one, other):
    return one.keys() == other.keys() and all(
        json.dumps(one[day].to_dict(), sort_keys=True) == json.dumps(other[day].to_dict(), sort_keys=True)
        for day in one
    )


def test_each_day_has_its_counts(watched, two_days):
    rows, scored, days = two_days
    p_values = watched.detector.calibration.p_value(scored.column("anomaly_score"))
    assert list(days) == sorted({row["at"].date() for row in rows})
    for moment, each in days.items():
        mine = [n for n, row in enumerate(rows) if row["at"].date() == moment]
        assert each.rows == len(mine) == each.blocks.sum()
        assert each.flagged == scored.column("is_flagged")[mine].sum()
        hours = Counter(rows[n]["at"].hour for n in mine)
        assert each.hours.tolist() == [hours[n] for n in range(24)]
        for counts, level in zip(each.up_to, LEVELS, strict=True):
            assert counts.sum() == (p_values[mine] <= level).sum()
            assert (counts <= each.blocks).all()
        channels = Counter(rows[n]["channel"] for n in mine)
        usual = watched.detector.reference.columns["channel"]
        assert each.columns["channel"].tolist() == [*(channels[value] for value in usual.values), 0, 0]
        assert each.unseen == {"channel": 0}


def test_all_rows_of_a_card_are_in_one_block(watched, two_days):
    rows, scored, _ = two_days
    [features] = read_batches(scored.alerts.parents[1] / "features.parquet")
    blocks = module._blocks(features, watched.detector.config.contract)
    of_card = defaultdict(set)
    for row, block in zip(rows, blocks.tolist(), strict=True):
        of_card[row["card"]].add(block)
    assert all(len(each) == 1 for each in of_card.values())
    assert len(set.union(*of_card.values())) > 20


def test_parts_of_a_day_add_up_to_the_day(watched, day, two_days):
    first = day(0)
    scores = two_days[1].column("anomaly_score")[: first.num_rows]
    _, scored, whole = watched.scored(first)
    np.testing.assert_array_equal(scored.column("anomaly_score"), scores)
    halves = [DayProfile.from_dict(each.to_dict()) for each in whole.values()]
    doubled = together([whole, dict.fromkeys(whole, halves[0])])
    for moment, each in doubled.items():
        one = whole[moment]
        assert (each.rows, each.flagged) == (2 * one.rows, 2 * one.flagged)
        for name in ("hours", "blocks", "up_to"):
            assert (getattr(each, name) == 2 * getattr(one, name)).all()
        assert all((each.columns[name] == 2 * counts).all() for name, counts in one.columns.items())


def test_a_new_value_is_counted(watched, day):
    table = day(2)
    channel = pa.array(["fax"] * 7 + table["channel"].to_pylist()[7:])
    table = table.set_column(table.schema.get_field_index("channel"), "channel", channel)
    (each,) = watched.days(table).values()
    assert each.unseen == {"channel": 7}
    assert each.columns["channel"][-2] == 7


def test_of_many_rows_every_second_is_counted_by_column(watched, day, monkeypatch):
    table = day(3)
    monkeypatch.setattr(module, "COUNTED_ROWS", table.num_rows - 1)
    (each,) = watched.days(table).values()
    assert each.rows == table.num_rows < COUNTED_ROWS
    channels = Counter(table["channel"].to_pylist()[::2])
    usual = watched.detector.reference.columns["channel"]
    assert each.columns["channel"].tolist() == [*(channels[value] for value in usual.values), 0, 0]


def test_profiles_come_back_from_their_file_and_one_that_is_cut_is_named(two_days, tmp_path):
    days = two_days[2]
    assert read_profile(tmp_path) is None
    write_profile(tmp_path, days, {"version": "3"})
    stored = read_profile(tmp_path)
    assert stored is not None
    assert same(stored[0], days)
    assert stored[1] == {"version": "3"}
    path = tmp_path / "watch.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(ResourceError, match=r"watch.json can't be read .* score that batch again with --force"):
        read_profile(tmp_path)
