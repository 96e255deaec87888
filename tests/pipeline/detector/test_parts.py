from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy.stats import beta

from pipeline.detector.parts import CALIBRATION, EARLY_STOPPING, FIT, split
from pipeline.errors import TrainingError
from pipeline.features import Feature
from pipeline.labels.known import Labels
from tests.pipeline.fitted import AFTER, DAYS, START, config, replace, transactions


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    path = tmp_path_factory.mktemp("partition") / "features.parquet"
    pq.write_table(transactions(), path)
    return path


def test_the_parts_are_disjoint_and_calibration_is_last_in_time(features):
    table = pq.read_table(features)
    shuffled = np.random.default_rng(1).permutation(table.num_rows)
    pq.write_table(table.take(shuffled), features.with_name("shuffled.parquet"))
    parts = split(features.with_name("shuffled.parquet"), config(), Labels(config()), AFTER)
    taken = {
        role: parts.sample(features.with_name("shuffled.parquet"), role).read(["tx", "at", "fraud"])
        for role in (1, 2, 3)
    }
    assert (FIT, EARLY_STOPPING, CALIBRATION) == (1, 2, 3)
    ids = [set(rows["tx"].to_pylist()) for rows in taken.values()]
    known_frauds = set(table.slice(0, 1125).filter(pc.equal(table["fraud"].slice(0, 1125), 1))["tx"].to_pylist())
    assert sum(map(len, ids)) == len(set.union(*ids)) == 1500 - len(known_frauds)
    assert ids[2] == set(table["tx"].slice(1125).to_pylist())
    for rows in taken.values():
        assert rows["at"].to_pylist() == sorted(rows["at"].to_pylist())
    in_order = split(features, config(), Labels(config()), AFTER).sample(features, 1).read(["tx"])["tx"]
    assert taken[FIT]["tx"].to_pylist() == in_order.to_pylist()
    assert set(taken[FIT]["fraud"].to_pylist()) == set(taken[EARLY_STOPPING]["fraud"].to_pylist()) == {0}


@pytest.mark.parametrize("most", [1, 100, 250, 10_000])
def test_of_many_rows_an_even_sample_in_time_is_read(features, most):
    shuffled = np.random.default_rng(2).permutation(1500)
    path = features.with_name("shuffled.parquet")
    pq.write_table(pq.read_table(features).take(shuffled), path, row_group_size=97)
    parts = split(path, config(), Labels(config()), AFTER)
    whole = parts.sample(path, FIT).column("tx").to_pylist()
    some = parts.sample(path, FIT, most).column("tx").to_pylist()
    assert some == whole[:: -(-len(whole) // most)]
    assert len(some) <= most
    in_file = {}
    for places, rows in parts.batches(path, ["tx"], FIT):
        in_file |= dict(zip(places.tolist(), rows["tx"].to_pylist(), strict=True))
    assert [in_file[place] for place in range(len(whole))] == whole


def test_the_summary_counts_every_row_once(features):
    parts = split(features, config(), Labels(config()), AFTER)
    labels = pq.read_table(features)["fraud"].to_numpy()
    found = parts.summary
    assert found["rows"] == 1500
    assert found["calibration_rows"] == 375
    assert found["calibration_normal_rows"] == (labels[1125:] == 0).sum()
    assert found["fit_rows"] + found["early_stopping_rows"] == (labels[:1125] == 0).sum()
    assert found["early_stopping_rows"] == round(0.1 * (labels[:1125] == 0).sum())
    assert found["fraud_rows"] == labels.sum()
    assert found["unknown_label_rows"] == 0
    assert parts.start == pq.read_table(features)["at"][1125].as_py()


def test_without_a_label_column_all_rows_are_normal(features, tmp_path):
    pq.write_table(pq.read_table(features).drop_columns(["fraud"]), tmp_path / "features.parquet")
    for settings in (config(), config(contract={"label": None})):
        found = split(tmp_path / "features.parquet", settings, Labels(settings), START).summary
        assert found["labels"] == "none"
        assert found["fit_rows"] + found["early_stopping_rows"] == 1125
        assert found["calibration_normal_rows"] == 375


def test_rows_too_young_for_their_labels_are_part_of_the_block_beside_its_share_of_the_others(features):
    as_of = START + timedelta(days=DAYS + 2)
    parts = split(features, config(), Labels(config()), as_of)
    moments = pq.read_table(features)["at"].to_numpy()
    old = moments <= np.datetime64(as_of - timedelta(days=7))
    assert 1000 < old.sum() < 1400
    first = old.sum() - int(np.ceil(0.25 * old.sum()))
    assert (parts.role[first:] == CALIBRATION).all()
    assert (parts.role[:first] != CALIBRATION).all()
    assert parts.start == moments[first].astype("datetime64[us]").item()
    assert parts.before == moments[first - 1].astype("datetime64[us]").item()
    assert (np.isnan(parts.labels) == ~old).all()
    assert not parts.normal[~old].any()


@pytest.mark.parametrize(("wait", "old"), [(timedelta(0), 1200), (timedelta(microseconds=1), 1199)])
def test_a_row_aged_exactly_the_delay_is_old_enough_for_its_label(features, wait, old):
    moments = pq.read_table(features)["at"].to_numpy().astype("datetime64[us]")
    assert moments[1198] < moments[1199] < moments[1200]
    parts = split(features, config(), Labels(config()), moments[1199].item() + timedelta(days=7) - wait)
    assert (~np.isnan(parts.labels)).sum() == old
    assert parts.summary["calibration_rows"] == 1500 - old + int(np.ceil(0.25 * old))


def test_rows_of_one_moment_are_never_split(features, tmp_path):
    table = pq.read_table(features)
    moments = table["at"].to_numpy().copy()
    moments[1000:1200] = moments[1000]
    pq.write_table(replace(table, "at", moments), tmp_path / "features.parquet")
    parts = split(tmp_path / "features.parquet", config(), Labels(config()), AFTER)
    assert parts.summary["calibration_rows"] == 500
    assert parts.start == table["at"][1000].as_py()


def test_days_are_counted_whole_when_rows_are_dated_by_day(features, tmp_path):
    table = pq.read_table(features)
    days = table["at"].to_numpy().astype("datetime64[D]").astype("datetime64[us]")
    pq.write_table(replace(table, "at", days), tmp_path / "features.parquet")
    found = split(tmp_path / "features.parquet", config(), Labels(config()), AFTER)
    last = START + timedelta(days=DAYS - 1)
    assert found.summary["calibration_days"] == (last - found.start).days + 1


def test_a_single_row_is_refused(features, tmp_path):
    pq.write_table(pq.read_table(features).slice(3, 1), tmp_path / "one.parquet")
    with pytest.raises(TrainingError, match=r"there are 0 normal rows to fit on .*of 1 rows in the training period"):
        split(tmp_path / "one.parquet", config(), Labels(config()), AFTER)
    pq.write_table(pq.read_table(features).slice(3, 0), tmp_path / "none.parquet")
    with pytest.raises(TrainingError, match="the training period holds no rows"):
        split(tmp_path / "none.parquet", config(), Labels(config()), AFTER)


def test_no_normal_rows_are_refused(features, tmp_path):
    table = pq.read_table(features)
    pq.write_table(replace(table, "fraud", np.ones(1500, np.int8)), tmp_path / "fraud.parquet")
    with pytest.raises(TrainingError, match=r"none of the 1,500 rows .* is known to be normal \(fraud = 0\)"):
        split(tmp_path / "fraud.parquet", config(), Labels(config()), AFTER)
    pq.write_table(replace(table, "fraud", [None] * 1500), tmp_path / "unknown.parquet")
    with pytest.raises(TrainingError, match="fraud is empty in all 1,500 rows"):
        split(tmp_path / "unknown.parquet", config(), Labels(config()), AFTER)


def test_labels_that_come_too_late_are_refused_with_the_time_at_which_they_come(features, tmp_path):
    as_of = START + timedelta(days=5)
    with pytest.raises(TrainingError, match=r"none of the 1,500 labels .* 2025-03-06 00:00 UTC.*from 2025-03-08 "):
        split(features, config(), Labels(config()), as_of)
    table = pq.read_table(features)
    dated = table.append_column("seen", pa.array([START + timedelta(days=40)] * 1500, pa.timestamp("us")))
    pq.write_table(dated, tmp_path / "dated.parquet")
    with pytest.raises(TrainingError, match="from 2025-04-10 00:00 to 2025-04-10 00:00"):
        split(
            tmp_path / "dated.parquet",
            config(contract={"labelled_at": "seen"}),
            Labels(config(contract={"labelled_at": "seen"})),
            AFTER,
        )


def only_reviewed(features, folder, days=10):
    """The feature table whose rows have labels on the first days only, but for every third fraud, as of `AFTER`."""
    table = pq.read_table(features)
    labels, late = table["fraud"].to_numpy(), table["at"].to_numpy() >= np.datetime64(START + timedelta(days=days))
    hidden = late & ((labels == 0) | (np.cumsum(labels) % 3 > 0))
    pq.write_table(replace(table, "fraud", pa.array(labels, mask=hidden)), folder / "partly.parquet")
    return folder / "partly.parquet", labels, late, hidden


def test_rows_whose_label_is_overdue_are_normal_where_many_have_none(features, tmp_path):
    path, labels, late, hidden = only_reviewed(features, tmp_path)
    parts = split(path, config(), Labels(config()), AFTER)
    assert (parts.normal == (hidden | (labels == 0))).all()
    assert (np.isnan(parts.labels) == hidden).all()
    assert parts.summary["taken_for_normal_rows"] == hidden.sum() > 900
    # The share of fraud on the whole days, on all rows of the others, less those that are known there.
    expected = labels[~late].mean() * late.sum() - (labels[late & ~hidden] == 1).sum()
    assert parts.summary["contamination"] == pytest.approx(expected / hidden.sum())
    assert f"{hidden.sum():,} rows whose label is overdue were taken for normal" in parts.notes[0]
    assert split(features, config(), Labels(config()), AFTER).notes == ()


def test_an_audit_slice_says_how_many_of_the_rows_taken_for_normal_are_fraud(features, tmp_path):
    path, labels, _, hidden = only_reviewed(features, tmp_path, days=0)
    drawn, table = np.flatnonzero(hidden)[::5], pq.read_table(path)
    hidden[drawn] = False
    pq.write_table(replace(table, "fraud", pa.array(labels, mask=hidden)), path)
    audit = {"tx": table["tx"].take(pa.array(drawn)), "inclusion_probability": np.full(len(drawn), 0.2)}
    pq.write_table(pa.table(audit), tmp_path / "audit.parquet")
    parts = split(path, config(), Labels(config(), audits=(tmp_path / "audit.parquet",)), AFTER)
    found, summary = (labels[drawn] == 1).sum(), parts.summary
    assert summary["audit_rows"] == len(drawn)
    assert summary["contamination"] == pytest.approx(found / len(drawn))
    ends = beta(found + 0.5, len(drawn) - found + 0.5).ppf([0.05, 0.95])
    assert (summary["contamination_low"], summary["contamination_high"]) == pytest.approx(tuple(ends))
    assert f"by {len(drawn)} rows of audit slices" in parts.notes[0]


def test_rows_of_several_slices_stand_for_as_many_as_they_were_drawn_from(features, tmp_path):
    path, labels, _, hidden = only_reviewed(features, tmp_path, days=0)
    table, places = pq.read_table(path), np.flatnonzero(hidden)
    slices = {0.1: places[:300:3], 0.5: places[300::3]}
    for share, drawn in slices.items():
        hidden[drawn] = False
        audit = {"tx": table["tx"].take(pa.array(drawn)), "inclusion_probability": np.full(len(drawn), share)}
        pq.write_table(pa.table(audit), tmp_path / f"{share}.parquet")
    pq.write_table(replace(table, "fraud", pa.array(labels, mask=hidden)), path)
    files = tuple(tmp_path / f"{share}.parquet" for share in slices)
    parts = split(path, config(), Labels(config(), audits=files), AFTER)
    frauds = sum((labels[drawn] == 1).sum() / share for share, drawn in slices.items())
    rows = sum(len(drawn) / share for share, drawn in slices.items())
    assert parts.summary["contamination"] == pytest.approx(frauds / rows)
    assert parts.summary["contamination_low"] < frauds / rows < parts.summary["contamination_high"]


@pytest.mark.parametrize("unlabelled", ["normal", "neither"])
def test_a_row_drawn_by_chance_stands_for_those_that_nobody_looked_at(features, tmp_path, unlabelled):
    path, labels, _, hidden = only_reviewed(features, tmp_path, days=0)
    table, drawn = pq.read_table(path), np.flatnonzero(hidden)[::5]
    hidden[drawn] = False
    table = replace(table, "fraud", pa.array(labels, mask=hidden))
    settings = config()
    if unlabelled == "neither":  # the table says when labels became known, so that another may still come
        table = table.append_column("known", table["at"])
        settings = config(contract={"labelled_at": "known"}, training={"min_fit_rows": 20, "min_calibration_rows": 10})
    pq.write_table(table, path)
    audit = {
        "tx": table["tx"].take(pa.array(drawn)),
        "inclusion_probability": np.where(np.arange(len(drawn)) % 2, 0.25, 1e-4),
    }
    pq.write_table(pa.table(audit), tmp_path / "audit.parquet")
    parts = split(path, settings, Labels(settings, audits=(tmp_path / "audit.parquet",)), AFTER)
    expected = np.ones(len(labels))
    for label in (0, 1):
        most = np.sqrt(((labels == label) & ~hidden).sum())
        for place, row in enumerate(drawn):
            if labels[row] == label and (label == 1 or unlabelled == "neither"):
                expected[row] = 4 if place % 2 else most
    assert parts.stands_for == pytest.approx(expected)
    assert len(np.unique(expected)) == (3 if unlabelled == "normal" else 4)


def test_rows_that_nobody_looked_at_judge_only_where_few_normal_ones_were(features, tmp_path):
    path, labels, _, hidden = only_reviewed(features, tmp_path, days=0)
    table, drawn = pq.read_table(path), np.flatnonzero(hidden & (labels == 0))[:80]
    judges = np.zeros(len(labels), bool)
    judges[drawn[40] :] = True  # half of those drawn are among the judges
    for n_drawn, are_alone in ((80, False), (160, True)):
        hidden_now = hidden.copy()
        hidden_now[np.flatnonzero(hidden & (labels == 0))[:n_drawn]] = False
        pq.write_table(replace(table, "fraud", pa.array(labels, mask=hidden_now)), path)
        audit = {"tx": table["tx"].take(pa.array(drawn)), "inclusion_probability": np.full(len(drawn), 0.5)}
        pq.write_table(pa.table(audit), tmp_path / "audit.parquet")
        parts = split(path, config(), Labels(config(), audits=(tmp_path / "audit.parquet",)), AFTER)
        weights, is_drawn = parts.judged(judges), np.isin(np.arange(len(labels)), drawn)
        assert (weights[~judges] == 0).all()
        assert (weights[judges & hidden_now] == (0 if are_alone else 1)).all()
        assert (weights[judges & is_drawn] == (2 if are_alone else 1)).all()
        assert (weights[judges & ~hidden_now & ~is_drawn] == 1).all()


def test_without_a_day_of_labels_nothing_is_said_of_how_many_are_fraud(features, tmp_path):
    path, _, _, hidden = only_reviewed(features, tmp_path, days=0)
    parts = split(path, config(), Labels(config()), AFTER)
    assert parts.summary["taken_for_normal_rows"] == hidden.sum()
    assert "contamination" not in parts.summary
    assert "Those that are fraud score high" in parts.notes[0]


def test_a_few_rows_whose_label_is_overdue_are_neither(features, tmp_path):
    table = pq.read_table(features)
    for share, taken in ((0.1, 0), (0.11, 165)):
        hidden = np.arange(1500) < share * 1500
        labels = pa.array(table["fraud"].to_numpy(), mask=hidden)
        pq.write_table(replace(table, "fraud", labels), tmp_path / "features.parquet")
        parts = split(tmp_path / "features.parquet", config(), Labels(config()), AFTER)
        assert parts.normal[hidden].sum() == taken
        assert parts.summary.get("taken_for_normal_rows", 0) == taken


def test_only_rows_as_old_as_the_delay_are_taken_for_normal(features, tmp_path):
    path, _, _, hidden = only_reviewed(features, tmp_path)
    as_of = START + timedelta(days=DAYS)
    parts = split(path, config(), Labels(config()), as_of)
    old = pq.read_table(path)["at"].to_numpy() <= np.datetime64(as_of - timedelta(days=7))
    assert (parts.normal[hidden] == old[hidden]).all()


def review(folder, ids, labels, moments):
    table = {
        "id": pa.array(ids, pa.int64()),
        "label": pa.array(labels, pa.int8()),
        "labelled_at": pa.array(moments, pa.timestamp("us")),
    }
    pq.write_table(pa.table(table), folder / "review.parquet")
    return [folder / "review.parquet"]


def test_labels_from_review_count_as_known_from_their_moment_on(features, tmp_path):
    as_of = START + timedelta(days=DAYS + 3)
    table = pq.read_table(features)
    unknown = np.flatnonzero(table["at"].to_numpy() > np.datetime64(as_of - timedelta(days=7)))
    before = split(features, config(), Labels(config()), as_of).summary
    assert before["unknown_label_rows"] == len(unknown) > 100
    labels = [int(place % 5 == 0) for place in range(100)]
    moments = [as_of] * 60 + [as_of + timedelta(microseconds=1)] * 40
    found = split(
        features, config(), Labels(config(), tuple(review(tmp_path, unknown[:100], labels, moments))), as_of
    ).summary
    assert found["unknown_label_rows"] == before["unknown_label_rows"] - 60
    assert found["fraud_rows"] == before["fraud_rows"] + 12
    assert found["calibration_normal_rows"] == before["calibration_normal_rows"] + 48


def test_without_a_label_column_all_rows_are_normal_that_review_has_not_found_to_be_fraud(features, tmp_path):
    pq.write_table(pq.read_table(features).drop_columns(["fraud"]), tmp_path / "features.parquet")
    reviewed = review(tmp_path, [3, 4, 5, 1400], [1, 0, 1, 1], [AFTER, AFTER, AFTER + timedelta(days=1), AFTER])
    parts = split(tmp_path / "features.parquet", config(), Labels(config(), tuple(reviewed)), AFTER)
    assert np.flatnonzero(~parts.normal).tolist() == [3, 1400]
    assert parts.summary["labels"] == "from review"
    assert parts.summary["fraud_rows"] == 2
    assert parts.summary["unknown_label_rows"] == 1497
    assert parts.summary["fit_rows"] + parts.summary["early_stopping_rows"] == 1124
    assert parts.summary["calibration_normal_rows"] == 374


def test_labels_from_review_that_come_too_late_are_refused_with_their_number(features, tmp_path):
    unlabelled = replace(pq.read_table(features), "fraud", [None] * 1500)
    pq.write_table(unlabelled, tmp_path / "features.parquet")
    reviewed = review(tmp_path, [3, 4], [1, 0], [AFTER, AFTER])
    with pytest.raises(TrainingError, match=r"empty in all 1,500 rows .* review labels 2 of them after 2025-03-01"):
        split(tmp_path / "features.parquet", config(), Labels(config(), tuple(reviewed)), START)


def test_risks_are_looked_at_where_most_rows_to_fit_on_have_a_label(features, tmp_path):
    listed = [
        Feature("eur", "number", "linear", "eur", "The amount."),
        Feature("risk", "number", "linear", "risk", "A risk.", unit="risk"),
    ]
    for days, unused in ((25, set()), (8, {"risk"}), (0, {"risk"})):
        path = only_reviewed(features, tmp_path, days=days)[0]
        assert split(path, config(), Labels(config()), AFTER).unused(listed) == unused
    table = pq.read_table(features).drop_columns(["fraud"])
    pq.write_table(table, tmp_path / "unlabelled.parquet")
    for n_rows, unused in ((100, {"risk"}), (table.num_rows, set())):
        ids = table["tx"].to_numpy()[:n_rows]
        labels = Labels(config(), tuple(review(tmp_path, ids, np.zeros(n_rows, int), [START] * n_rows)))
        assert split(tmp_path / "unlabelled.parquet", config(), labels, AFTER).unused(listed) == unused
