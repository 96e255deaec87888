"""What the training was like, worked out in plain Python, and batches that are no longer like it."""

import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.detector.reference import Reference, refuse_unusual
from pipeline.errors import UnlikeTraining
from pipeline.settings.config import TableConfig, ValidationConfig
from pipeline.tables.batch import WHOLE, Batch
from pipeline.tables.period import Period
from tests.pipeline.fitted import DAYS, START, config, detector_of, feature_table, replace, transactions

DAY = START + timedelta(days=DAYS)
ROWS = 60  # of a usual day; less than that a day is hard to tell from another


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    settings = config(contract={"numeric": ("age",)})
    return detector_of(feature_table(tmp_path_factory.mktemp("fit"), aged(DAYS * ROWS), settings), settings)


def aged(rows, **options):
    """Transactions with a number besides, that one row in four lacks."""
    ages = [float(row % 7) if row % 4 else None for row in range(rows)]
    return transactions(rows, **options).append_column("age", pa.array(ages, pa.float64()))


def day(seed=1):
    return aged(ROWS, seed=seed, first_id=50_000, start=DAY, days=1)


def check(detector, folder, table, *, period=WHOLE, **limits):
    """Hold a table against the reference; return the notes."""
    pq.write_table(table, folder / "rows.parquet")
    settings = detector.config.model_copy(update={"validation": ValidationConfig(**limits)})
    batch = Batch(path=Path("in.csv"), period=period, digest="", id="b", settings=TableConfig())
    return detector.reference.check(folder / "rows.parquet", batch, settings, detector.encoder)


def test_what_the_training_was_like(detector):
    rows = aged(DAYS * ROWS)
    reference = detector.reference
    assert reference.empty == {"channel": 0, "age": 0.25}
    assert reference.unseen == {"channel": 0}
    by_hour = Counter((at.weekday(), at.hour) for at in rows["at"].to_pylist())
    weekdays = Counter((START + timedelta(days=n)).weekday() for n in range(DAYS))
    usual = [by_hour[n // 24, n % 24] / weekdays[n // 24] for n in range(168)]
    np.testing.assert_allclose(reference.hours, usual)
    assert reference.amounts[0] < reference.amounts[50] < reference.amounts[100] <= pc.max(rows["eur"]).as_py()
    assert Reference.from_dict(reference.to_dict()) == reference


def test_a_short_training_has_one_usual_day(tmp_path):
    settings = config()
    table = transactions(1200, days=10)
    reference = detector_of(feature_table(tmp_path, table, settings), settings).reference
    by_hour = Counter(at.hour for at in table["at"].to_pylist())
    np.testing.assert_allclose(reference.hours, [by_hour[n % 24] / 10 for n in range(168)])


@pytest.mark.parametrize("seed", range(1, 6))
def test_an_ordinary_day_passes_without_a_word(detector, tmp_path, seed):
    assert check(detector, tmp_path, day(seed)) == ()


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("eur", [100 * value for value in day()["eur"].to_pylist()], "half of the 'eur' are above .*98 % of them were"),
        ("eur", [value / 100 for value in day()["eur"].to_pylist()], "half of the 'eur' are below .*check their unit"),
        (
            "channel",
            [None] * ROWS,
            "column 'channel' is empty in 100 % of 60 rows and was in 0 % of the training's; del",
        ),
        ("age", [None] * ROWS, "column 'age' is empty in 100 % of 60 rows and was in 25 % of the training's"),
        (
            "channel",
            [f"c-{n}" for n in range(ROWS)],
            "column 'channel' holds a value that the training never saw in 100 % of 60 rows, where 0 % is usual",
        ),
    ],
)
def test_a_batch_that_was_delivered_wrong_is_refused(detector, tmp_path, *, column, values, message):
    table = replace(day(), column, values)
    with pytest.raises(UnlikeTraining, match=f"^in.csv: {message}.* or score it as it is with --force$") as error:
        check(detector, tmp_path, table)
    assert error.value.read == ROWS
    # The message names the limit that lets it pass.
    limit = re.search(r"\[validation\] (\w+)", str(error.value))[1]
    assert check(detector, tmp_path, table, **{limit: 0 if limit == "amount_tail" else 1}) == ()


def test_half_of_a_column_may_go_and_half_of_its_values_be_new(detector, tmp_path):
    channel = day()["channel"].to_pylist()
    assert check(detector, tmp_path, replace(day(), "channel", [None] * 30 + channel[30:])) == ()
    assert check(detector, tmp_path, replace(day(), "channel", ["new"] * 30 + channel[30:])) == ()
    with pytest.raises(UnlikeTraining, match=r"empty in 51\.7 % of 60 rows"):
        check(detector, tmp_path, replace(day(), "channel", [None] * 31 + channel[31:]))


def test_a_few_rows_are_held_against_nothing(detector, tmp_path):
    assert check(detector, tmp_path, replace(day(), "channel", [None] * ROWS).slice(0, 29), min_volume=0) == ()


def test_half_a_table_is_told_or_refused(detector, tmp_path):
    rows = day()
    by_time = rows.slice(0, ROWS // 2)  # a copy that broke off
    unsorted = rows.take(np.arange(0, ROWS, 2))
    for half in (by_time, unsorted):
        (note,) = check(detector, tmp_path, half)
        assert note.startswith(f"{DAY:%Y-%m-%d} has 30 rows, ")
        assert note.endswith(" that are usual for it: check that the table is whole.")
        assert check(detector, tmp_path, half, min_volume=0) == ()
        assert check(detector, tmp_path, half, min_volume=0.3) == ()
        with pytest.raises(UnlikeTraining, match=r"^in.csv: 2025-03-31 has 30 rows, .*; deliver the rest, lower"):
            check(detector, tmp_path, half, on_low_volume="refuse")


def test_a_file_of_some_hours_is_held_against_these_hours(detector, tmp_path):
    rows = aged(240, seed=3, start=DAY, days=4)
    hours = pc.hour(rows["at"])
    afternoon = rows.filter(pc.and_(pc.equal(pc.day(rows["at"]), 31), pc.greater_equal(hours, 12)))
    assert afternoon.num_rows < ROWS * 0.6
    assert check(detector, tmp_path, afternoon) == ()


def test_a_period_asked_for_counts_as_a_whole(detector, tmp_path):
    rows = aged(2 * ROWS, seed=4, start=DAY, days=2)
    first = rows.filter(pc.less(rows["at"], pa.scalar(DAY + timedelta(days=1), pa.timestamp("us"))))
    (note,) = check(detector, tmp_path, first, period=Period(DAY, DAY + timedelta(days=2)))
    assert note.startswith("2025-04-01 has 0 rows, 0 % of the ")
    assert check(detector, tmp_path, first, period=Period(DAY, DAY + timedelta(days=1))) == ()


def test_a_batch_of_which_most_is_unusual_is_refused():
    settings = config()
    refuse_unusual(50, 100, source="in.csv", config=settings, read=100)
    refuse_unusual(29, 29, source="in.csv", config=settings, read=29)
    message = (
        r"^in.csv: 51 of 100 rows \(51 %\) score higher than 99 % of the training's normal rows, more than max_unusual"
    )
    with pytest.raises(UnlikeTraining, match=message) as error:
        refuse_unusual(51, 100, source="in.csv", config=settings, read=120)
    assert error.value.read == 120
    loose = settings.model_copy(update={"validation": ValidationConfig(max_unusual=1)})
    refuse_unusual(51, 100, source="in.csv", config=loose, read=120)


def test_it_is_saved_with_the_detector(detector, tmp_path):
    detector.save(tmp_path / "artefact")
    assert type(detector).load(tmp_path / "artefact").reference == detector.reference
