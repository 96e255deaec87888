"""The history store: appended once, by day, with labels that come later."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.settings.config import Config, FeaturesConfig
from pipeline.workspace.history import History, NextHistory

DAY = datetime(2025, 3, 1)


def config(**contract):
    return Config.model_validate(
        {
            "contract": {
                "id": "tx",
                "timestamp": "at",
                "amount": "eur",
                "entities": ["card"],
                "label": "fraud",
                "types": {"tx": "integer"},
                **contract,
            }
        }
    )


def write(folder, name, ids, days, *, labels=None, **columns):
    table = {
        "tx": pa.array(ids, pa.int64()),
        "at": pa.array([DAY + timedelta(days=day) for day in days], pa.timestamp("us")),
        "card": ["c"] * len(ids),
        "eur": [1.0] * len(ids),
        "note": ["not kept"] * len(ids),
        **columns,
    }
    if labels is not None:
        table["fraud"] = pa.array(labels, pa.int8())
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table(table), path)
    return path


def stored(history, start=None, end=None):
    return pa.concat_tables([pq.read_table(file) for file in history.files(start, end)], promote_options="default")


def test_rows_lie_by_utc_day_with_the_contract_columns_only(tmp_path):
    history = History(tmp_path / "history", config())
    history.append(write(tmp_path, "a", [1, 2, 3], [0, 0.999999, 1], labels=[0, 1, None]), "batch")
    files = history.files(None, None)
    assert [str(file.relative_to(history.folder)) for file in files] == [
        "date=2025-03-01/batch.parquet",
        "date=2025-03-02/batch.parquet",
    ]
    table = stored(history)
    assert table.column_names == ["tx", "at", "card", "eur", "fraud"]
    assert table["tx"].to_pylist() == [1, 2, 3]
    assert table["fraud"].to_pylist() == [0, 1, None]


def test_the_same_batch_again_and_rows_that_are_there_change_nothing(tmp_path):
    history = History(tmp_path / "history", config())
    rows = write(tmp_path, "a", [1, 2], [0, 1], labels=[0, 0])
    history.append(rows, "batch")
    before = {file: file.stat().st_mtime_ns for file in history.files(None, None)}
    history.append(rows, "batch")
    history.append(write(tmp_path, "b", [2, 3], [1, 1], labels=[0, 0]), "other")
    after = {file: file.stat().st_mtime_ns for file in history.files(None, None)}
    assert before.items() <= after.items()
    assert sorted(stored(history)["tx"].to_pylist()) == [1, 2, 3]


def test_an_interrupted_append_is_completed_by_the_next(tmp_path):
    history = History(tmp_path / "history", config())
    rows = write(tmp_path, "a", [1, 2], [0, 1], labels=[0, 0])
    history.append(rows, "batch")
    (history.folder / "date=2025-03-02/batch.parquet").unlink()
    history.append(rows, "batch")
    assert stored(history)["tx"].to_pylist() == [1, 2]


def test_labels_that_come_later_are_taken_over_and_the_rest_stays(tmp_path):
    history = History(tmp_path / "history", config(labelled_at="known_at"))
    history.append(write(tmp_path, "a", [1, 2, 3], [0, 0, 0]), "unlabelled")
    assert "fraud" not in stored(history).column_names
    when = {"known_at": pa.array([DAY + timedelta(days=3)] * 2, pa.timestamp("us"))}
    history.append(write(tmp_path, "b", [2, 3], [0, 0], labels=[1, None], **when), "labelled")
    table = stored(history).sort_by("tx")
    assert table["tx"].to_pylist() == [1, 2, 3]
    assert table["fraud"].to_pylist() == [None, 1, None]
    assert table["known_at"].to_pylist() == [None, DAY + timedelta(days=3), None]
    history.append(write(tmp_path, "c", [2], [0], labels=[0], known_at=when["known_at"][:1]), "corrected")
    assert stored(history).sort_by("tx")["fraud"].to_pylist() == [None, 0, None]


def test_a_file_of_one_day_and_what_the_store_keeps_is_taken_as_it_is(tmp_path):
    history = History(tmp_path / "history", config())
    whole = write(tmp_path, "a", [1, 2], [0, 0.5], labels=[0, 1])
    own = pq.read_table(whole).drop_columns("note")
    pq.write_table(own, tmp_path / "own.parquet")
    history.append(tmp_path / "own.parquet", "first", may_link=True)
    history.append(write(tmp_path, "b", [3], [1]), "second", may_link=True)  # a column more
    files = {file.name: file for file in history.files(None, None)}
    assert files["first.parquet"].samefile(tmp_path / "own.parquet")
    assert pq.read_table(files["first.parquet"]).equals(own)
    assert pq.read_table(files["second.parquet"]).column_names == ["tx", "at", "card", "eur"]
    # A label that comes later changes the store, and not the file that lent its rows.
    history.append(write(tmp_path, "c", [1], [0], labels=[1]), "labels")
    assert stored(history).sort_by("tx")["fraud"].to_pylist() == [1, 1, None]
    assert pq.read_table(tmp_path / "own.parquet").equals(own)


@pytest.mark.parametrize("is_there", [False, True])
def test_rows_in_whatever_order_give_the_same_store(tmp_path, is_there):
    random = np.random.default_rng(0)
    days = np.sort(random.uniform(0, 9, 200))
    stores = []
    for name, order in (("ordered", np.arange(200)), ("mixed", random.permutation(200))):
        history = History(tmp_path / name, config())
        if is_there:  # of a day in the middle, rows and one of the batch's are there
            history.append(write(tmp_path, "b", [100, 900], [days[100], 4.5]), "before")
        rows = write(tmp_path, name, order.tolist(), days[order].tolist())
        moments = NextHistory(history, _folder(tmp_path / f"{name}-beside"))
        moments.append(rows, "batch")
        history.append(rows, "batch")
        ends = min(moments.moments), max(moments.moments)
        stores.append((stored(history).sort_by("tx"), sorted(map(str, _names(history))), ends))
    (one, names, ends), (other, other_names, other_ends) = stores
    assert one.equals(other)
    assert one.num_rows == 200 + is_there
    assert (names, ends) == (other_names, other_ends)
    assert len([name for name in names if name.endswith("batch.parquet")]) == 9


def _folder(path):
    path.mkdir()
    return path


def _names(history):
    return [file.relative_to(history.folder) for file in history.files(None, None)]


def test_remove_takes_out_one_batch_and_its_empty_days(tmp_path):
    history = History(tmp_path / "history", config())
    history.append(write(tmp_path, "a", [1, 2], [0, 1]), "first")
    history.append(write(tmp_path, "b", [3], [1]), "second")
    history.remove("first")
    history.remove("never there")
    assert stored(history)["tx"].to_pylist() == [3]
    assert [path.name for path in history.folder.glob("date=*")] == ["date=2025-03-02"]


@pytest.mark.parametrize(
    ("start", "end", "ids"),
    [
        (None, None, [1, 2, 3]),
        (DAY + timedelta(days=1), None, [2, 3]),
        (DAY + timedelta(days=1, hours=5), DAY + timedelta(days=2), [2]),
        (None, DAY + timedelta(days=1), [1]),
        (None, DAY + timedelta(days=1, microseconds=1), [1, 2]),
        (DAY + timedelta(days=3), None, []),
    ],
)
def test_files_are_those_that_the_interval_touches(tmp_path, start, end, ids):
    history = History(tmp_path / "history", config())
    history.append(write(tmp_path, "a", [1, 2, 3], [0, 1, 2]), "batch")
    assert [pq.read_table(file)["tx"][0].as_py() for file in history.files(start, end)] == ids


def test_a_store_that_was_never_written_is_empty(tmp_path):
    assert History(tmp_path / "history", config()).files(None, None) == []


def test_names_and_paths_that_look_like_sql_are_only_names(tmp_path):
    folder = tmp_path / "it's [here] *"
    settings = Config.model_validate({"contract": {"id": 't"; DROP', "timestamp": "a'b", "amount": "e"}})
    table = pa.table({'t"; DROP': ["x"], "a'b": pa.array([DAY], pa.timestamp("us")), "e": [1.0]})
    pq.write_table(table, tmp_path / "rows.parquet")
    history = History(folder, settings)
    history.append(tmp_path / "rows.parquet", "batch")
    history.append(tmp_path / "rows.parquet", "again")
    assert stored(history).equals(table)


def test_features_look_back_over_the_longest_window_and_into_the_days_of_the_rows(tmp_path):
    settings = config()
    days = settings.features.max_window_days
    history = History(tmp_path / "history", settings)
    history.append(write(tmp_path, "a", [1, 2, 3, 4], [0, 1, days + 1, days + 2]), "batch")
    first = DAY + timedelta(days=days + 1)
    assert [pq.read_table(file)["tx"][0].as_py() for file in history.behind(first, first)] == [2, 3]
    assert [pq.read_table(file)["tx"][0].as_py() for file in history.behind(datetime.min, DAY)] == [1]


def test_the_day_of_the_last_row_is_looked_into_also_where_that_row_is_its_first_moment(tmp_path):
    history = History(tmp_path / "history", config())
    history.append(write(tmp_path, "a", [1, 2, 3], [0, 1, 2]), "batch")
    midnight = DAY + timedelta(days=1)
    behind = history.behind(DAY + timedelta(hours=12), midnight)
    assert [pq.read_table(file)["tx"][0].as_py() for file in behind] == [1, 2]


def test_the_days_without_a_row_are_missing_and_neither_the_end_nor_a_day_begun_is_one(tmp_path):
    history = History(tmp_path / "history", config())
    history.append(write(tmp_path, "a", [1, 2], [1, 3.5]), "batch")
    days = [DAY.date() + timedelta(days=day) for day in range(6)]
    assert history.missing_days(DAY, DAY + timedelta(days=6)) == [days[0], days[2], days[4], days[5]]
    assert history.missing_days(DAY + timedelta(hours=5), DAY + timedelta(days=2, hours=3)) == [days[0]]
    assert history.missing_days(DAY + timedelta(days=1), DAY + timedelta(days=2)) == []


def test_rows_that_a_batch_gives_once_another_one_is_gone_join_those_that_it_gave_before(tmp_path):
    history = History(tmp_path / "history", config())
    history.append(write(tmp_path, "a", [2], [0.5]), "first")
    rows = write(tmp_path, "b", [1, 2], [0, 0.5], labels=[None, 0])
    history.append(rows, "second")
    history.remove("first")
    history.append(rows, "second")
    assert [file.name for file in history.files(None, None)] == ["second.parquet"]
    assert stored(history)["tx"].to_pylist() == [1, 2]


def test_the_next_history_shows_what_will_be_and_when_its_rows_are_and_the_store_stays(tmp_path):
    history = History(tmp_path / "history", config())
    history.append(write(tmp_path, "a", [1, 2], [0, 1]), "first")
    before = stored(history)
    (tmp_path / "beside").mkdir()
    following = NextHistory(history, tmp_path / "beside")
    following.append(write(tmp_path, "b", [1], [0], labels=[1]), "second")
    assert (following.moments, following.gone) == ([], set())  # a label only
    following.remove("first")
    following.append(write(tmp_path, "c", [3, 4], [2, 2.5]), "third")
    assert [file.stem for file in following.files(None, None)] == ["third"]
    assert stored(following)["tx"].to_pylist() == [3, 4]
    assert following.gone == {"date=2025-03-01/first.parquet", "date=2025-03-02/first.parquet"}
    assert sorted(following.moments) == [DAY + timedelta(days=day) for day in (0, 0, 1, 1, 2, 2.5)]
    assert stored(history).equals(before)
    history.take_over(tmp_path / "beside", following.gone)
    history.take_over(tmp_path / "beside", following.gone)
    assert [str(file.relative_to(history.folder)) for file in history.files(None, None)] == [
        "date=2025-03-03/third.parquet"
    ]
    assert [path.name for path in history.folder.glob("date=*")] == ["date=2025-03-03"]


def test_the_same_store_for_another_configuration_looks_back_as_far_as_that_one_says(tmp_path):
    history = History(tmp_path / "history", config())
    days = history.config.features.max_window_days
    history.append(write(tmp_path, "a", [1], [0]), "batch")
    moment = DAY + timedelta(days=days + 10)
    assert history.behind(moment, moment) == []
    further = config().model_copy(update={"features": FeaturesConfig(history_days=days + 20)})
    assert history.under(further).behind(moment, moment) == history.files(None, None) != []


def test_days_that_are_dropped_leave_what_tasks_of_spark_made_of_them(tmp_path):
    history = History(tmp_path / "history", config())
    history.append(write(tmp_path, "a", [1, 2, 3], [0, 1, 2]), "batch")
    for day in ("2025-03-01", "2025-03-02"):
        for layout in ("8-a", "16-b"):
            kept = history.buckets / layout / f"date={day}" / "batch-1-2"
            kept.mkdir(parents=True)
            (kept / "e0-00001.parquet").touch()
    history.drop([DAY.date(), DAY.date() + timedelta(days=7)])
    assert history.days() == [(DAY + timedelta(days=number)).date() for number in (1, 2)]
    left = {str(file.relative_to(history.folder)) for file in history.folder.rglob("*.parquet")}
    assert left == {
        *(f"date=2025-03-0{day}/batch.parquet" for day in (2, 3)),
        *(f".buckets/{layout}/date=2025-03-02/batch-1-2/e0-00001.parquet" for layout in ("8-a", "16-b")),
    }
