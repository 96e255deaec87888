"""Which rows versions are compared on."""

import dataclasses
from datetime import date, datetime

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.errors import InputError
from pipeline.selection.compared_rows import choose_rows, period_after
from pipeline.tables.period import Period
from tests.pipeline.fitted import config, replace, transactions
from tests.pipeline.selection.small_comparison import LATER


def test_a_period_that_a_training_saw_is_refused_and_the_default_begins_after_all(small_comparison):
    _, (late, early), _ = small_comparison
    both = {"version 1": late, "version 2": early}
    period, is_asked = period_after(both, None, None, "UTC")
    assert (period.start, period.end, is_asked) == (datetime(2025, 3, 31), None, False)
    assert period_after(both, date(2025, 4, 2), date(2025, 4, 3), "UTC")[0].end == datetime(2025, 4, 4)
    for first, last in ((date(2025, 3, 30), None), (None, date(2025, 3, 20))):
        with pytest.raises(InputError, match="version 1 was trained on rows up to 2025-03-30"):
            period_after(both, first, last, "UTC")


def test_a_day_that_begins_with_the_last_moment_of_a_training_is_refused(small_comparison):
    _, (late, _), _ = small_comparison
    midnight = dataclasses.replace(late, summary={**late.summary, "last_timestamp": "2025-03-30T00:00:00.000000"})
    with pytest.raises(InputError, match="version 1 was trained on rows up to 2025-03-30"):
        period_after({"version 1": midnight}, date(2025, 3, 30), None, "UTC")
    before = dataclasses.replace(late, summary={**late.summary, "last_timestamp": "2025-03-29T23:59:59.999999"})
    period, _ = period_after({"version 1": before}, date(2025, 3, 30), None, "UTC")
    assert period.start == datetime(2025, 3, 30)


def test_the_latest_labelled_days_are_chosen_unless_days_are_named(small_comparison, tmp_path):
    _, (late, early), (settings, _) = small_comparison
    settings = settings.model_copy(update={"promotion": settings.promotion.model_copy(update={"days": 5})})
    rows = transactions(rows=1200, seed=4, first_id=90_000, start=LATER)
    unknown = np.asarray(rows["at"]).astype("datetime64[D]") > np.datetime64("2025-04-20")
    rows = replace(
        rows, "fraud", [None if hide else value for hide, value in zip(unknown, rows["fraud"].to_pylist(), strict=True)]
    )
    pq.write_table(rows, tmp_path / "later.parquet")
    period, _ = period_after({"version 1": late, "version 2": early}, None, None, "UTC")
    for all_days, days in (
        (False, (date(2025, 4, 16), date(2025, 4, 20))),
        (True, (date(2025, 4, 1), date(2025, 4, 30))),
    ):
        folder = tmp_path / str(all_days)
        folder.mkdir()
        chosen = choose_rows([settings], period, str(tmp_path / "later.parquet"), folder, all_days=all_days)
        assert chosen.days == days
        assert chosen.source == "later.parquet"


def test_rows_are_kept_for_the_version_that_looks_back_furthest(tmp_path):
    short, long = (
        config(
            work_dir=str(tmp_path / "work"),
            features={"history_days": days, "windows_days": (1,), "label_delay_days": 1, "recent_days": 1},
        )
        for days in (2, 20)
    )
    assert (short.features.max_window_days, long.features.max_window_days) == (2, 20)
    pq.write_table(transactions(days=30), tmp_path / "rows.parquet")
    period = Period(datetime(2025, 3, 25), None)
    for number, configs in enumerate(([short, long], [long, short])):
        folder = tmp_path / str(number)
        folder.mkdir()
        chosen = choose_rows(configs, period, str(tmp_path / "rows.parquet"), folder, all_days=True)
        past = pq.read_table(chosen.past[0])["at"].to_numpy()
        assert past.min().astype("datetime64[D]") == np.datetime64("2025-03-05")
