"""Behavioural features against a plain loop over the rows, and what they may and may not see."""

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.features import columns, compute, list_features
from pipeline.features import table as table_module
from pipeline.workspace.history import History
from tests.pipeline.features.by_hand import (
    AGGREGATES,
    DAY,
    EVERY_FAMILY_AND_PAIR,
    START,
    assert_alike,
    by_hand,
    config,
    features_of,
    reviews,
    transactions,
)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"change_counts": "both", "past_weight": 0.5, "risk_weight": 7, "past_gap_hours": 0},
        {"label_delay_days": 0},
        {"label_delay_days": 0.75, "windows_days": (2,), "history_days": 2},
        {"past_gap_hours": 1.5},
    ],
)
def test_features_are_those_of_a_plain_loop(tmp_path, changes):
    places = ("home_lat", "home_lon", "lat", "lon")
    contract = {"categorical": ("channel",), "numeric": places}
    settings = config(contract, families=EVERY_FAMILY_AND_PAIR, aggregates=AGGREGATES, **changes)
    table = transactions()
    random = np.random.default_rng(1)
    minutes = random.choice([0, 10, 50], table.num_rows).astype("timedelta64[m]")
    table = table.set_column(1, "at", pa.array(table["at"].to_numpy() + minutes))
    channels = pa.array(
        random.choice(["web", "shop", "phone"], table.num_rows), mask=random.random(table.num_rows) < 0.1
    )
    table = table.append_column("channel", channels)
    for name in places:
        degrees = random.choice([0, 0, -60.25, 12.5, 89.9, 120, np.inf], table.num_rows)
        table = table.append_column(name, pa.array(degrees, mask=random.random(table.num_rows) < 0.1))
    found = features_of(table, settings, tmp_path)
    assert found.num_columns > 100
    assert_alike(found, by_hand(table, settings), table.column_names)


def test_families_for_one_entity_or_a_pair_are_those_among_all_families(tmp_path):
    table = transactions(seed=9)
    every = features_of(table, config(families=EVERY_FAMILY_AND_PAIR), tmp_path)
    for family in ("velocity:card", "recency:card+shop", "rank:shop", "seen:card", "risk:card+shop"):
        found = features_of(table, config(families=("amount", family)), tmp_path)
        assert found.num_columns > table.num_columns
        assert found.equals(every.select(found.column_names))


def test_rows_of_the_same_moment_do_not_see_each_other(tmp_path):
    table = pa.table(
        {
            "tx": [1, 2, 3, 4],
            "at": pa.array([START, START, START + timedelta(microseconds=1), START + DAY], pa.timestamp("us")),
            "card": ["a"] * 4,
            "shop": ["b"] * 4,
            "eur": [1.0, 2.0, 3.0, 4.0],
            "fraud": pa.array([0] * 4, pa.int8()),
        }
    )
    found = features_of(table, config(windows_days=(1,)), tmp_path)
    # A window reaches back to its first moment and takes that in.
    assert found["card: transactions in 1 day"].to_pylist() == [0, 0, 2, 3]
    assert found["shop: mean eur in 1 day"].to_pylist() == [None, None, 1.5, 2]


rows_of_a_table = st.lists(
    st.tuples(
        st.integers(0, 9 * 8),  # moments in steps of three hours: ties, and gaps of days
        st.integers(0, 3),
        st.integers(0, 2),
        st.floats(0.01, 1e6, allow_nan=False),
        st.sampled_from([0, 1, None]),
    ),
    min_size=1,
    max_size=40,
)


@settings(max_examples=15)
@given(
    rows=rows_of_a_table,
    verdicts=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1), st.integers(0, 10 * 8)), max_size=12),
    order=st.randoms(use_true_random=False),
)
def test_a_day_from_the_store_has_the_features_of_the_whole_table_to_the_last_bit(rows, verdicts, order):
    """Batches come in any order, cut anywhere, so that some rows are late, and one comes twice."""
    table = pa.table(
        {
            "tx": np.arange(len(rows)),
            "at": pa.array([START + timedelta(hours=3 * row[0]) for row in rows], pa.timestamp("us")),
            "card": [f"card-{row[1]}" for row in rows],
            "shop": [f"shop-{row[2]}" for row in rows],
            "eur": [row[3] for row in rows],
            "fraud": pa.array([row[4] for row in rows], pa.int8()),
            "channel": pa.array([[None, "web", "phone"][row[2]] for row in rows], pa.string()),
            "lat": [[None, 50.5, -3.25][row[2]] for row in rows],
            "lon": [float(row[0]) for row in rows],
        }
    )
    reviewed = reviews([(key % len(rows), label, START + timedelta(hours=3 * late)) for key, label, late in verdicts])
    setup = config(
        {"categorical": ("channel",), "numeric": ("lat", "lon")},
        families=(
            "travel:card",
            "peers",
            "activity",
            "change:card",
            "robust:shop",
            "rank:card",
            "recency:card+shop",
            "rhythm",
            "seen:card",
            "risk",
        ),
        aggregates=("count", "std", "distinct"),
        windows_days=(1, 2),
        history_days=3,
        label_delay_days=1,
    )
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        whole = features_of(table, setup, folder, reviewed=reviewed)
        history = History(folder / "history", setup)
        places = list(range(len(rows)))
        order.shuffle(places)
        parts = [part for part in np.array_split(np.array(places), 3) if len(part)]
        for number, part in enumerate([*parts, parts[0]]):
            pq.write_table(table.take(pa.array(part)), folder / f"batch-{number}.parquet")
            history.append(folder / f"batch-{number}.parquet", f"batch-{number}")
        days = sorted({at.date() for at in table["at"].to_pylist()})
        day = days[-1 - order.randrange(len(days))]
        start = datetime(day.year, day.month, day.day)
        chosen = np.array([at.date() == day for at in table["at"].to_pylist()])
        pq.write_table(table.filter(pa.array(chosen)), folder / "day.parquet")
        files = history.files(start - timedelta(days=setup.features.max_window_days), start + DAY)
        labels = [folder / "reviewed.parquet"]
        found = pq.read_table(compute(folder / "day.parquet", files, setup, folder / "out.parquet", reviewed=labels))
        expected = whole.filter(pa.array(chosen))
        assert found.sort_by("tx").equals(expected)


def test_long_sums_do_not_depend_on_the_order_of_the_rows(tmp_path):
    table, setup = transactions(rows=20_000, seed=12), config()
    amounts = np.random.default_rng(12).lognormal(3, 1, table.num_rows)
    table = table.set_column(table.column_names.index("eur"), "eur", pa.array(amounts))
    shuffled = table.take(pa.array(np.random.default_rng(12).permutation(table.num_rows)))
    assert features_of(shuffled, setup, tmp_path).equals(features_of(table, setup, tmp_path))


@pytest.mark.parametrize("labelled_at", [None, "known_at"])
def test_nothing_at_a_moment_moves_with_rows_and_labels_not_available_then(tmp_path, labelled_at):
    table = transactions(seed=3)
    setup = config({"labelled_at": labelled_at} if labelled_at else None, label_delay_days=2)
    random = np.random.default_rng(33)
    at = table["at"].to_numpy().astype("datetime64[us]")
    known = at + random.integers(0, 96, len(at)).astype("timedelta64[h]")
    if labelled_at:
        table = table.append_column(labelled_at, pa.array(known))
    else:
        known = at + np.timedelta64(2, "D")
    moment = np.datetime64(START + 7 * DAY, "us")
    later, unknown = at > moment, known >= moment
    changed = table.set_column(
        table.column_names.index("eur"), "eur", pa.array(np.where(later, 9e5, table["eur"].to_numpy()))
    )
    labels = table["fraud"].to_numpy(zero_copy_only=False)
    flipped = np.where(np.isnan(labels), 1, 1 - labels)
    changed = changed.set_column(
        table.column_names.index("fraud"),
        "fraud",
        pa.array(np.where(unknown, flipped, labels), from_pandas=True).cast("int8"),
    )
    cards = np.where(later, "card-1", np.array(table["card"].to_pylist()))
    changed = changed.set_column(table.column_names.index("card"), "card", pa.array(cards))
    present = pa.array(~later)
    before = features_of(table, setup, tmp_path).filter(present).drop_columns(["fraud"])
    after = features_of(changed, setup, tmp_path).filter(present).drop_columns(["fraud"])
    assert after.equals(before)
    everything = features_of(changed, setup, tmp_path).drop_columns(["fraud"])
    assert not everything.equals(features_of(table, setup, tmp_path).drop_columns(["fraud"]))


def test_nothing_looks_back_further_than_max_window(tmp_path):
    setup = config(label_delay_days=1)
    table = transactions(seed=4)
    first = START + 8 * DAY
    present = table.filter(pa.array([at >= first for at in table["at"].to_pylist()]))
    reach = first - timedelta(days=setup.features.max_window_days)
    near = table.filter(pa.array([reach <= at < first for at in table["at"].to_pylist()]))
    far = table.filter(pa.array([at < first for at in table["at"].to_pylist()]))
    assert near.num_rows < far.num_rows
    assert features_of(present, setup, tmp_path, [near]).equals(features_of(present, setup, tmp_path, [far]))


def test_a_copy_in_the_history_counts_once(tmp_path):
    setup, table = config(), transactions(seed=5)
    once = features_of(table, setup, tmp_path)
    assert features_of(table, setup, tmp_path, [table.slice(0, 200), table.slice(100)]).equals(once)


def test_a_copy_whose_label_is_known_counts(tmp_path):
    setup, table = config(label_delay_days=1), transactions(seed=6)
    first = START + 6 * DAY
    past = table.filter(pa.array([at < first for at in table["at"].to_pylist()]))
    present = table.filter(pa.array([at >= first for at in table["at"].to_pylist()]))
    unlabelled = past.drop_columns(["fraud"])
    expected = features_of(present, setup, tmp_path, [past])
    assert features_of(present, setup, tmp_path, [unlabelled, past]).equals(expected)
    assert not features_of(present, setup, tmp_path, [unlabelled]).equals(expected)


def test_without_labels_there_is_no_risk_and_the_rest_stays(tmp_path):
    table = transactions(seed=7)
    with_labels = features_of(table, config(), tmp_path)
    setup = config({"label": None})
    without = features_of(table.drop_columns(["fraud"]), setup, tmp_path)
    assert not [feature for feature in list_features(setup) if "risk" in feature.name]
    assert without.equals(with_labels.select(without.column_names))


@pytest.mark.parametrize("entities", [(), ("shop",)])
def test_no_entity_or_one_is_enough(tmp_path, entities):
    setup = config({"entities": entities, "label": None})
    table = transactions(rows=40).drop_columns(["fraud"])
    found = features_of(table, setup, tmp_path)
    assert found.num_rows == 40
    assert {feature.column for feature in list_features(setup)} <= set(found.column_names)
    assert any(feature.source.startswith("shop") for feature in list_features(setup)) == bool(entities)


def test_hour_and_weekday_are_local_across_daylight_saving(tmp_path):
    # Paris: 29 March 2025 23:30 UTC is half past midnight on Sunday; the clock goes forward at 01:00 UTC.
    moments = [datetime(2025, 3, 29, 22, 30), datetime(2025, 3, 29, 23, 30), datetime(2025, 3, 30, 1, 15)]
    table = transactions(rows=3).set_column(1, "at", pa.array(moments, pa.timestamp("us")))
    found = features_of(table, config(table={"time_zone": "Europe/Paris"}), tmp_path)
    assert found["hour of day"].to_pylist() == [23.5, 0.5, 3.25]
    assert found["weekday"].to_pylist() == [5, 6, 6]


def test_every_column_of_the_input_stays_and_features_are_float64(tmp_path):
    setup = config({"categorical": ("channel",), "numeric": ("age",)})
    table = transactions(rows=30).append_column("channel", pa.array(["web"] * 30))
    table = table.append_column("age", pa.array([None] * 30, pa.float64())).append_column("kept", [[[1]] * 30])
    found = features_of(table, setup, tmp_path)
    assert found.select(table.column_names).equals(table)
    made = set(found.column_names) - set(table.column_names)
    assert {found.schema.field(name).type for name in made} == {pa.float64()}
    assert {feature.expected for feature in list_features(setup)} - {None} <= made
    assert next(feature.kind for feature in list_features(setup) if feature.name == "channel") == "category"


def test_a_missing_entity_has_no_past(tmp_path):
    table = transactions(rows=60)
    cards = pa.array([None if number < 30 else "card-1" for number in range(60)], pa.string())
    found = features_of(table.set_column(2, "card", cards), config(), tmp_path)
    assert found["card: transactions in 3 days"].slice(0, 30).null_count == 30
    assert found["card: transactions in 3 days"].slice(30).null_count == 0


def test_a_column_with_the_name_of_a_feature_is_carried_along_under_another(tmp_path):
    table = transactions(rows=5).append_column("hour of day", pa.array([-1.0] * 5))
    found = features_of(table, config(), tmp_path)
    assert found["hour of day (input)"].to_pylist() == [-1.0] * 5
    assert min(found["hour of day"].to_pylist()) >= 0


def test_a_column_of_the_contract_with_the_name_of_a_feature_is_refused(tmp_path):
    table = transactions(rows=5).append_column("hour of day", pa.array([1.0] * 5))
    with pytest.raises(ConfigError, match="the contract's column 'hour of day' has the name of a feature; rename"):
        features_of(table, config({"numeric": ["hour of day"]}), tmp_path)
    assert not (tmp_path / "features.parquet").exists()


def test_names_and_paths_that_look_like_sql_are_only_names(tmp_path):
    folder = tmp_path / "it's [here] *"
    folder.mkdir()
    table = transactions(rows=50, seed=8)
    odd = {"tx": 'tx"; DROP', "at": "a't", "card": 'ca"rd', "shop": "sh'op", "eur": 'e"ur', "fraud": "fr aud"}
    setup = config(
        {
            "id": odd["tx"],
            "timestamp": odd["at"],
            "amount": odd["eur"],
            "entities": (odd["card"], odd["shop"]),
            "label": odd["fraud"],
            "types": {},
        }
    )
    pq.write_table(table.rename_columns([odd[name] for name in table.column_names]), folder / "rows.parquet")
    found = pq.read_table(compute(folder / "rows.parquet", [], setup, folder / "out.parquet")).sort_by(odd["tx"])
    plain = features_of(table, config(), tmp_path)
    assert found.num_columns == plain.num_columns
    for column, name in zip(found.columns, plain.column_names, strict=True):
        assert column.equals(plain[name])


def test_rows_come_out_by_timestamp_and_id_and_nothing_else_is_left_behind(tmp_path):
    pq.write_table(transactions(), tmp_path / "rows.parquet")
    setup = config(families=("amount", "change", "risk"), memory_limit="100MB")
    compute(tmp_path / "rows.parquet", [], setup, tmp_path / "out" / "features.parquet")
    found = pq.read_table(tmp_path / "out" / "features.parquet")
    assert found.equals(found.sort_by([("at", "ascending"), ("tx", "ascending")]))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["features.parquet"]


def test_rows_in_order_are_their_own_feature_table_where_no_feature_is_to_be_computed(tmp_path):
    setup = config(families=("amount", "columns"))
    table = transactions().sort_by([("at", "ascending"), ("tx", "ascending")])
    out = tmp_path / "features.parquet"

    def is_taken_over(rows):
        pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=7)
        compute(tmp_path / "rows.parquet", [], setup, out)
        found = pq.read_table(out)
        assert found.select(table.column_names).equals(table.cast(found.select(table.column_names).schema))
        return out.samefile(tmp_path / "rows.parquet")

    assert is_taken_over(table)
    for order in (list(range(len(table)))[::-1], [0, 2, 1, *range(3, len(table))]):
        assert not is_taken_over(table.take(pa.array(order)))
    # Of types that DuckDB writes otherwise, they are what they would be beside features.
    other = table.append_column("more", pa.array(["x"] * len(table)).dictionary_encode())
    assert not is_taken_over(other)
    assert pq.read_schema(out).field("more").type == pa.string()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_rows_that_do_not_fit_at_once_are_written_by_stretches_of_time(tmp_path, monkeypatch):
    setup, reviewed = config(families=EVERY_FAMILY_AND_PAIR), reviews([(3, 1, START + DAY), (3, 0, START + 2 * DAY)])
    whole = features_of(transactions(seed=13), setup, tmp_path, reviewed=reviewed)
    joined, pieces = table_module.join_files, []

    def join_files(files, out, config):
        pieces.extend(pq.read_table(file) for file in files)
        return joined(files, out, config)

    monkeypatch.setattr(table_module, "join_files", join_files)
    monkeypatch.setattr(columns, "BYTES_A_VALUE", 200_000)
    found = features_of(transactions(seed=13), setup, tmp_path, reviewed=reviewed)
    assert found.equals(whole)
    assert len(pieces) > 3
    ends = [(piece["at"][0].as_py(), piece["at"][-1].as_py()) for piece in pieces]
    # Rows of one moment lie in one piece.
    assert all(last < first for (_, last), (first, _) in pairwise(ends))
    whole = pq.read_table(tmp_path / "features.parquet")
    assert whole.equals(whole.sort_by([("at", "ascending"), ("tx", "ascending")]))
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
