"""Labels count from the moment at which they became known, until another one replaces them."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from tests.pipeline.features.by_hand import (
    DAY,
    START,
    assert_alike,
    by_hand,
    config,
    features_of,
    own_label,
    reviews,
    transactions,
)

RISKS = ("amount", "risk", "risk:card+shop")


def test_a_label_counts_from_labelled_at_where_there_is_one(tmp_path):
    table = transactions(seed=1)
    random = np.random.default_rng(11)
    waits = random.integers(-24, 24 * 9, table.num_rows)
    moments = [row["at"] + timedelta(hours=int(wait)) for row, wait in zip(table.to_pylist(), waits, strict=True)]
    column = pa.array(moments, pa.timestamp("us"), mask=random.random(table.num_rows) < 0.3)
    table = table.append_column("known_at", column)
    settings = config({"labelled_at": "known_at"}, label_delay_days=2, history_days=9)
    expected = by_hand(table, settings, lambda row, limits: row["known_at"] or own_label(row, limits))
    assert_alike(features_of(table, settings, tmp_path), expected, table.column_names)


def test_a_table_that_says_when_agrees_with_one_that_waits(tmp_path):
    table = transactions(seed=2)
    table = table.filter(table["fraud"].is_valid())
    waited = features_of(table, config(label_delay_days=2), tmp_path)
    moments = pa.array([at + 2 * DAY for at in table["at"].to_pylist()], pa.timestamp("us"))
    settings = config({"labelled_at": "known_at"}, label_delay_days=2)
    said = features_of(table.append_column("known_at", moments), settings, tmp_path)
    assert said.drop_columns(["known_at"]).equals(waited)


def verdicts(table, seed, each=1.5):
    """Labels from review at whole hours: some rows get several, some none, some one dated before the row."""
    random = np.random.default_rng(seed)
    keys = random.integers(0, table.num_rows + 5, int(each * table.num_rows))
    hours, labels = random.integers(-24, 24 * 14, len(keys)), random.integers(0, 2, len(keys))
    moments = [START + timedelta(hours=int(hour)) for hour in hours]
    return list(zip(keys.tolist(), labels.tolist(), moments, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_of_several_labels_of_a_row_the_latest_before_the_moment_holds(tmp_path, seed):
    table, settings = (
        transactions(seed=seed),
        config(families=RISKS, label_delay_days=2, windows_days=(1, 2, 4), history_days=9),
    )
    given = verdicts(table, seed)
    found = features_of(table, settings, tmp_path, reviewed=reviews(given))
    assert_alike(found, by_hand(table, settings, reviewed=given), table.column_names)


def test_labels_from_review_are_enough(tmp_path):
    table, settings = (
        transactions(seed=4).drop_columns(["fraud"]),
        config(families=RISKS, windows_days=(2, 4), history_days=9),
    )
    given = verdicts(table, 4)
    unlabelled = table.append_column("fraud", pa.nulls(table.num_rows, pa.int8()))
    found = features_of(table, settings, tmp_path, reviewed=reviews(given))
    assert_alike(found, by_hand(unlabelled, settings, reviewed=given), table.column_names)


def test_no_label_from_review_is_the_same_as_an_empty_list_of_them(tmp_path):
    table, settings = transactions(seed=5), config(label_delay_days=2)
    assert features_of(table, settings, tmp_path, reviewed=reviews([])).equals(features_of(table, settings, tmp_path))


def test_nothing_at_a_moment_moves_with_labels_from_review_that_came_later(tmp_path):
    table, settings = transactions(seed=6), config(families=RISKS, label_delay_days=2, history_days=9)
    given, moment = verdicts(table, 6), START + 7 * DAY
    changed = [(key, 1 - label if at >= moment else label, at) for key, label, at in given]
    present = pa.array([at <= moment for at in table["at"].to_pylist()])
    before = features_of(table, settings, tmp_path, reviewed=reviews(given))
    after = features_of(table, settings, tmp_path, reviewed=reviews(changed))
    assert after.filter(present).equals(before.filter(present))
    assert not after.equals(before)


def unlabelled(seed):
    table = transactions(seed=seed).drop_columns(["fraud"])
    return table.append_column("fraud", pa.nulls(table.num_rows, pa.int8()))


def test_before_the_first_label_every_risk_is_one_in_a_hundred(tmp_path):
    features = features_of(unlabelled(7), config(families=RISKS, label_delay_days=2, history_days=9), tmp_path)
    risks = [name for name in features.column_names if ": risk over" in name]
    assert len(risks) == 6
    for name in risks:
        np.testing.assert_allclose(features[name].to_numpy(), 0.01, rtol=1e-12)


def test_the_first_labels_raise_the_risk_of_those_that_were_looked_at_far_above_that_of_others(tmp_path):
    table = unlabelled(8)
    settings = config(families=("amount", "risk:shop"), windows_days=(9,), label_delay_days=2, history_days=9)
    shops, moment = np.array(table["shop"].to_pylist()), START + 6 * DAY
    is_reviewed = (shops == "shop-1") & (table["at"].to_numpy() < np.datetime64(moment))
    given = [(int(key), int(place % 2), moment) for place, key in enumerate(table["tx"].to_numpy()[is_reviewed])]
    features = features_of(table, settings, tmp_path, reviewed=reviews(given))
    later = features["at"].to_numpy() > np.datetime64(moment + DAY)
    risk, of_shop = features["shop: risk over 9 days"].to_numpy()[later], np.array(features["shop"].to_pylist())[later]
    assert risk[of_shop == "shop-1"].min() > 0.1
    assert risk[of_shop != "shop-1"].max() < 0.03
