"""What is known of a label as of a moment, in Arrow and in SQL alike."""

from datetime import datetime, timedelta

import duckdb
import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from pipeline.labels.known import Labels, available_at, available_at_sql
from pipeline.settings.config import Config
from pipeline.tables.sql import quote

START = datetime(2025, 3, 1)
MOMENTS = pa.array([START, START + timedelta(days=1), START + timedelta(days=2)], pa.timestamp("us"))


def config(delay=7.0, **contract):
    roles = {"id": "tx", "timestamp": "at", "amount": "eur", "label": "fraud", **contract}
    return Config.model_validate({"contract": roles, "features": {"label_delay_days": delay}})


def test_a_label_is_known_once_the_delay_is_over_and_not_a_moment_before():
    rows = pa.table({"at": MOMENTS, "fraud": pa.array([1, 0, None], pa.int8())})
    just = START + timedelta(days=8)
    np.testing.assert_array_equal(Labels(config()).known(rows, just), [1, 0, np.nan])
    before = just - timedelta(microseconds=1)
    np.testing.assert_array_equal(Labels(config()).known(rows, before), [1, np.nan, np.nan])
    np.testing.assert_array_equal(Labels(config(delay=0.5)).known(rows, START + timedelta(hours=36)), [1, 0, np.nan])


def test_labelled_at_goes_before_the_delay_where_there_is_one():
    said = pa.array([START + timedelta(days=30), START + timedelta(days=1), None], pa.timestamp("us"))
    rows = pa.table({"at": MOMENTS, "fraud": pa.array([1, 0, 1], pa.int8()), "known_at": said})
    settings = config(labelled_at="known_at")
    np.testing.assert_array_equal(Labels(settings).known(rows, START + timedelta(days=1)), [np.nan, 0, np.nan])
    np.testing.assert_array_equal(Labels(settings).known(rows, START + timedelta(days=9)), [np.nan, 0, 1])
    np.testing.assert_array_equal(Labels(settings).known(rows, START + timedelta(days=30)), [1, 0, 1])
    without = rows.drop_columns(["known_at"])
    np.testing.assert_array_equal(Labels(settings).known(without, START + timedelta(days=8)), [1, 0, np.nan])


@pytest.mark.parametrize("source", ["table", "review"])
def test_a_label_that_is_dated_before_its_row_is_known_from_the_row_on(tmp_path, source):
    rows = pa.table({"tx": [1], "at": MOMENTS[2:], "fraud": pa.array([1], pa.int8()), "known_at": MOMENTS[:1]})
    settings, files = config(labelled_at="known_at"), []
    if source == "review":
        rows, files = rows.drop_columns(["fraud"]), [review(tmp_path, [(1, 1, START)])]
    else:
        assert available_at(rows, settings).to_pylist() == [START + timedelta(days=2)]
    for moment, known in ((START + timedelta(days=1), [np.nan]), (START + timedelta(days=2), [1])):
        np.testing.assert_array_equal(Labels(settings, tuple(files)).known(rows, moment), known)


def test_of_a_row_a_label_of_the_table_dated_before_it_gives_way_to_one_from_review_at_the_row(tmp_path):
    rows = pa.table({"tx": [1], "at": MOMENTS[2:], "fraud": pa.array([0], pa.int8()), "known_at": MOMENTS[1:2]})
    files = [review(tmp_path, [(1, 1, START)])]  # both count from the row, and review goes before the table
    assert Labels(config(labelled_at="known_at"), tuple(files)).known(rows, START + timedelta(days=2)) == [1]


@pytest.mark.parametrize("label", [None, "elsewhere"])
def test_without_a_label_column_nothing_is_known(label):
    rows = pa.table({"at": MOMENTS})
    found = Labels(config(label=label)).known(rows, START + timedelta(days=99))
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
        known = ~np.isnan(Labels(settings).known(rows, as_of))
        np.testing.assert_array_equal(known, [moment <= as_of for moment in moments])


def test_identifiers_are_quoted():
    assert quote('a"b; DROP') == '"a""b; DROP"'


def review(folder, verdicts, name="review", key=None):
    """A file of labels from review: tuples of id, label and moment."""
    ids, labels, moments = zip(*verdicts, strict=True) if verdicts else ((), (), ())
    table = {
        "id": pa.array(ids, key or pa.int64()),
        "label": pa.array(labels, pa.int8()),
        "labelled_at": pa.array(moments, pa.timestamp("us")),
    }
    pq.write_table(pa.table(table), folder / f"{name}.parquet")
    return folder / f"{name}.parquet"


def by_hand(rows, settings, as_of, verdicts):
    """What is known of each row's label, one row and one label at a time."""
    found = []
    for row in rows.to_pylist():
        known = []
        if row.get("fraud") is not None:
            said = row.get("known_at") if settings.contract.labelled_at else None
            own = said or row["at"] + timedelta(days=settings.features.label_delay_days)
            known.append((max(own, row["at"]), 0, row["fraud"]))
        known += [(max(moment, row["at"]), 1, label) for key, label, moment in verdicts if key == row["tx"]]
        known = [label for label in known if label[0] <= as_of]
        found.append(max(known)[2] if known else np.nan)
    return found


moments = st.integers(0, 4).map(lambda hours: START + timedelta(hours=hours))
labels = st.sampled_from([0, 1])


@st.composite
def tables(draw):
    """Rows with ties in time, and labels from review of some of them and of rows that are not there."""
    count = draw(st.integers(0, 4))

    def some(values):
        return draw(st.lists(values, min_size=count, max_size=count))

    columns = {"tx": pa.array(range(count), pa.int64()), "at": pa.array(some(moments), pa.timestamp("us"))}
    if draw(st.booleans()):
        columns["fraud"] = pa.array(some(st.none() | labels), pa.int8())
        if draw(st.booleans()):
            columns["known_at"] = pa.array(some(st.none() | moments), pa.timestamp("us"))
    return pa.table(columns), draw(st.lists(st.tuples(st.integers(0, 4), labels, moments), max_size=12))


@hypothesis.settings(max_examples=150)
@hypothesis.given(
    table=tables(),
    as_of=moments,
    delay=st.sampled_from([0, 2 / 24]),
    labelled_at=st.sampled_from([None, "known_at"]),
)
def test_the_latest_label_available_holds_and_a_later_one_changes_nothing(
    tmp_path_factory, *, table, as_of, delay, labelled_at
):
    rows, verdicts = table
    settings = config(delay=delay, **({"labelled_at": labelled_at} if labelled_at else {}))
    folder = tmp_path_factory.mktemp("reviews")
    files = [review(folder, verdicts[::2], "one"), review(folder, verdicts[1::2], "other")]
    found = Labels(settings, tuple(files)).known(rows, as_of)
    np.testing.assert_array_equal(found, by_hand(rows, settings, as_of, verdicts))
    early = review(folder, [verdict for verdict in verdicts if verdict[2] <= as_of], "early")
    np.testing.assert_array_equal(Labels(settings, (early,)).known(rows, as_of), found)
    if "fraud" in rows.column_names:
        late = (np.array(available_at(rows, settings).to_pylist(), dtype="datetime64[us]")) > np.datetime64(as_of)
        hidden = pa.array(rows["fraud"].to_pylist(), pa.int8(), mask=late)
        turned = pa.array([None if label is None else 1 - label for label in rows["fraud"].to_pylist()], pa.int8())
        for others in (hidden, pc.if_else(pa.array(late, pa.bool_()), turned, hidden)):
            changed = rows.set_column(rows.column_names.index("fraud"), "fraud", others)
            np.testing.assert_array_equal(Labels(settings, tuple(files)).known(changed, as_of), found)


def test_a_label_from_review_replaces_the_tables_own_from_its_moment_on(tmp_path):
    rows = pa.table({"tx": ["a", "b", "c"], "at": MOMENTS, "fraud": pa.array([0, 1, None], pa.int8())})
    day = timedelta(days=1)
    verdicts = [("a", 1, START + 9 * day), ("b", 0, START + 2 * day), ("c", 1, START), ("z", 1, START)]
    files = [review(tmp_path, verdicts, key=pa.string())]
    for after, expected in {
        1: [np.nan, np.nan, np.nan],  # c's row comes on day 2 only, and so its label
        2: [np.nan, 0, 1],
        7: [0, 0, 1],
        8: [0, 1, 1],  # the table's own label of b comes later than review's, and so holds
        9: [1, 1, 1],
    }.items():
        np.testing.assert_array_equal(Labels(config(), tuple(files)).known(rows, START + after * day), expected)
    unlabelled = rows.drop_columns(["fraud"])
    np.testing.assert_array_equal(Labels(config(), tuple(files)).known(unlabelled, START + 9 * day), [1, 0, 1])
    assert np.isnan(Labels(config(label=None), tuple(files)).known(rows, START + 9 * day)).all()


def test_looking_labels_up_in_slices_changes_nothing(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    hours = random.integers(0, 240, 500).astype("timedelta64[h]")
    columns = {"tx": np.arange(500), "at": pa.array(np.datetime64(START, "us") + hours)}
    rows = pa.table(
        {**columns, "fraud": pa.array(random.integers(0, 2, 500), pa.int8(), mask=random.random(500) < 0.2)}
    )
    verdicts = [(int(tx), int(tx) % 2, START + timedelta(days=12)) for tx in random.choice(500, 90, replace=False)]
    files, as_of = [review(tmp_path, verdicts)], START + timedelta(days=14)
    whole = Labels(config(), tuple(files)).known(rows, as_of)
    monkeypatch.setattr("pipeline.labels.known.READ_ROWS", 7)
    np.testing.assert_array_equal(Labels(config(), tuple(files)).known(rows, as_of), whole)
    assert {*np.unique(whole[:400])} >= {0.0, 1.0}


@pytest.mark.parametrize("own", [0, 1])
@pytest.mark.parametrize(("first", "second", "expected"), [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1)])
def test_of_equally_late_labels_review_goes_before_the_table_and_fraud_before_normal(
    tmp_path, *, own, first, second, expected
):
    rows = pa.table({"tx": [1], "at": MOMENTS[:1], "fraud": pa.array([own], pa.int8())})
    moment = START + timedelta(days=7)
    files = [review(tmp_path, [(1, first, moment)], "one"), review(tmp_path, [(1, second, moment)], "other")]
    assert Labels(config(), tuple(files)).known(rows, moment) == [expected]


def test_the_latest_moment_is_that_of_the_last_label_and_not_after_now(tmp_path):
    file = review(tmp_path, [(1, 1, START + timedelta(days=20)), (2, 0, START)])
    now = START + timedelta(days=30)
    assert Labels(config()).latest_moment(START, now) == START + timedelta(days=7)
    assert Labels(config(), (file,)).latest_moment(START, now) == START + timedelta(days=20)
    assert Labels(config(), (file,)).latest_moment(START + timedelta(days=15), now) == START + timedelta(days=22)
    assert Labels(config(), (file,)).latest_moment(START, START + timedelta(days=8)) == START + timedelta(days=8)


def test_a_row_of_an_audit_slice_was_looked_at_with_its_chance_and_any_other_with_a_label_surely(tmp_path):
    rows = pa.table({"tx": ["a", "b", "c", "d"]})
    slices = {
        "ours": {"tx": ["d", "b", "z"], "inclusion_probability": [0.02, 0.02, 0.02]},
        "other id": {"number": ["a"], "inclusion_probability": [0.5]},
        "numbers": {"tx": [1], "inclusion_probability": [0.5]},
        "beside": {"tx (input)": ["c"], "tx": [7], "inclusion_probability": [0.1]},
    }
    for name, columns in slices.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    labels = Labels(config(), audits=tuple(sorted(tmp_path.glob("*.parquet"))))
    np.testing.assert_array_equal(labels.chances(rows, np.array([1, 0, 1, np.nan])), [1, 0.02, 0.1, np.nan])
    np.testing.assert_array_equal(Labels(config()).chances(rows, np.array([1, 0, 1, np.nan])), [1, 1, 1, np.nan])


def test_rows_that_review_gave_a_label_are_counted_once_after_one_moment_and_up_to_another(tmp_path):
    days = [START + timedelta(days=number) for number in range(4)]
    said = [(1, 1, days[0]), (2, 0, days[1]), (2, 1, days[2]), (3, 1, days[3])]
    labels = Labels(config(), (review(tmp_path, said),))
    assert [labels.given_since(days[0], until) for until in days] == [0, 1, 1, 2]
    assert labels.given_since(days[2], days[3]) == 1
    assert Labels(config()).given_since(days[0], days[3]) == 0
