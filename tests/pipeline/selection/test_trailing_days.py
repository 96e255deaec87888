"""The days that a retraining learns from and is compared on, and their rows as they were accepted."""

from datetime import date, datetime, timedelta

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.intake import accept
from pipeline.selection.trailing_days import TooEarly, TrailingDays, trailing_days, write_trailing
from pipeline.tables.batch import Batch
from pipeline.workspace.workspace import Workspace
from tests.pipeline.fitted import AFTER, config, transactions

MARCH = [date(2025, 3, day) for day in range(1, 32)]


def workspace_of(settings, **retrain):
    """Return a workspace with the rows of March, and other settings of retraining."""
    return Workspace(settings.model_copy(update={"retrain": settings.retrain.model_copy(update=retrain)}))


def test_the_latest_days_whose_labels_are_known_are_left_to_compare_on(small_comparison):
    _, (_, early), (settings, _) = small_comparison  # the early one has learned from the first 15 days of March
    workspace = workspace_of(settings)
    days = trailing_days(workspace, early, AFTER)
    assert days == TrailingDays(MARCH[8], MARCH[22], MARCH[29])
    assert days.compared_from == MARCH[23]
    # A week before, the labels of the last days were not known.
    assert trailing_days(workspace, early, datetime(2025, 4, 2)) == TrailingDays(MARCH[4], MARCH[18], MARCH[25])
    some = workspace_of(settings, days=3, compare_days=2)
    assert trailing_days(some, early, AFTER) == TrailingDays(MARCH[25], MARCH[27], MARCH[29])
    many = workspace_of(settings, days=90)
    assert trailing_days(many, early, AFTER).first == MARCH[0]  # the history begins there


def test_it_is_too_early_as_long_as_there_is_no_later_day_than_the_champions(small_comparison, tmp_path):
    _, (late, early), (settings, _) = small_comparison
    workspace = workspace_of(settings)
    with pytest.raises(TooEarly, match=r"up to 2025-03-15.*days up to 2025-03-22.*wait for those of 2025-03-23, or"):
        trailing_days(workspace, early, datetime(2025, 3, 29, 12))
    assert trailing_days(workspace, early, datetime(2025, 3, 30, 12)).last == MARCH[15]
    with pytest.raises(TooEarly, match="has learned from days up to 2025-03-30"):
        trailing_days(workspace, late, AFTER)
    empty = Workspace(config(work_dir=str(tmp_path), name="cards"))
    with pytest.raises(TooEarly, match="the history of 'cards' holds no row"):
        trailing_days(empty, early, AFTER)


def test_in_a_table_without_labels_no_day_is_waited_for(tmp_path, small_comparison):
    _, (_, early), _ = small_comparison
    unlabelled = config(work_dir=str(tmp_path), name="cards", contract={"label": None})
    pq.write_table(transactions().drop_columns(["fraud"]), tmp_path / "rows.parquet")
    Workspace(unlabelled).history.append(tmp_path / "rows.parquet", "b")
    assert trailing_days(Workspace(unlabelled), early, datetime(2025, 3, 31)).until == MARCH[29]


def test_rows_are_taken_in_again_as_they_were_accepted_whatever_the_zone(tmp_path):
    settings = config(work_dir=str(tmp_path / "work"), name="cards", table={"time_zone": "Asia/Tokyo"})
    rows = transactions(days=10)
    first, second = rows.slice(0, 700).drop_columns(["fraud"]), rows.slice(700)
    workspace = Workspace(settings)
    for name, part in (("a", first), ("b", second)):  # a label came with the second delivery only
        pq.write_table(part, tmp_path / "part.parquet")
        workspace.history.append(tmp_path / "part.parquet", name)
    days = TrailingDays(MARCH[3], MARCH[5], MARCH[6])
    write_trailing(workspace, days, tmp_path / "trailing.parquet")
    accepted = pq.read_table(accept(Batch.of(tmp_path / "trailing.parquet", settings), workspace, tmp_path).accepted)
    start = datetime(2025, 3, 4) - timedelta(hours=9)
    at = rows["at"]
    inside = pc.and_(pc.greater_equal(at, start), pc.less(at, start + timedelta(days=4)))
    expected = rows.filter(inside).sort_by("tx")
    assert 0 < expected.num_rows < rows.num_rows
    accepted = accepted.sort_by("tx")
    for name in ("tx", "at", "eur", "card", "channel"):
        assert accepted[name].to_pylist() == expected[name].to_pylist()
    known = [None if key < 700 else label for key, label in zip(*(expected[n].to_pylist() for n in ("tx", "fraud")),
                                                                strict=True)]  # fmt: skip
    assert accepted["fraud"].to_pylist() == known
