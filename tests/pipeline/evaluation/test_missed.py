"""From the audit slice, missed fraud is estimated without bias."""

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import chi2

from pipeline.evaluation.missed import missed_fraud
from pipeline.evaluation.powered import Sample, powered, total
from pipeline.labels.known import Labels
from pipeline.labels.reviewed import ReviewedLabels
from pipeline.scoring.audit import chances, write_audit
from pipeline.scoring.score import score_table
from tests.pipeline.fitted import AFTER, with_share

MARKS = {"batch_id": "b", "model_version": "1", "scored_at": datetime(2025, 5, 1)}


@pytest.fixture
def audited(fitted, tmp_path):
    """The calibration block without labels, scored and audited, one row in three."""
    _, detector, block, _ = fitted
    detector = with_share(detector, 0.3)
    pq.write_table(pq.read_table(block).drop_columns(["fraud"]), tmp_path / "rows.parquet")
    scored = score_table(tmp_path / "rows.parquet", detector, tmp_path, **MARKS)
    write_audit(tmp_path / "rows.parquet", scored, detector, tmp_path)
    return detector, pq.read_table(block), tmp_path


def test_the_estimate_is_what_review_finds_times_what_each_row_stands_for(audited, tmp_path_factory):
    detector, rows, folder = audited
    labels = dict(zip(rows["tx"].to_pylist(), rows["fraud"].to_pylist(), strict=True))
    audit, alerts = pq.read_table(folder / "audit.parquet"), pq.read_table(folder / "alerts.parquet")
    assert missed_fraud([folder], Labels(detector.config), AFTER) is None
    store = ReviewedLabels(tmp_path_factory.mktemp("labels"), detector.config)

    def review(keys, said, name):
        path = tmp_path_factory.mktemp("delivery") / f"{name}.csv"
        path.write_text("tx,fraud,labelled_at\n" + "".join(f"{key},{said[key]},2025-04-10\n" for key in keys))
        store.append(path)
        return missed_fraud(
            [folder, folder / "nothing"], Labels(detector.config, tuple(store.files())), datetime(2025, 4, 11)
        )

    drawn = audit["tx"].to_pylist()
    said = {**labels, drawn[0]: 1, drawn[3]: 1}  # two frauds that the model does not see
    half = review(drawn[:10], said, "half")
    others = sum(said[key] for key in drawn[:10])
    assert half.missed.value == pytest.approx(others / 0.3 * len(drawn) / 10)
    assert "more wait for a label and are taken to be like these" in str(half)
    whole = review([*drawn[10:], *alerts["tx"].to_pylist()], said, "whole")
    found = sum(said[key] for key in drawn)
    assert (whole.audited, whole.labelled, whole.found) == (len(drawn), len(drawn), found)
    assert whole.missed.value == pytest.approx(found / 0.3)
    assert whole.rows == rows.num_rows - alerts.num_rows
    caught = sum(labels[key] for key in alerts["tx"].to_pylist())
    assert (whole.caught, whole.alerts, whole.unlabelled_alerts) == (caught, alerts.num_rows, 0)
    assert whole.recall.value == pytest.approx(caught / (caught + found / 0.3))
    assert whole.recall.low < whole.recall.value < whole.recall.high
    assert f"about {found / 0.3:,.0f} frauds" in str(whole)
    early = missed_fraud([folder], Labels(detector.config, tuple(store.files())), datetime(2025, 4, 9))
    assert early is None


def test_with_frauds_enough_the_scores_of_all_rows_that_were_not_flagged_count(audited, tmp_path_factory):
    detector, _, folder = audited
    audit, alerts = pq.read_table(folder / "audit.parquet"), pq.read_table(folder / "alerts.parquet")
    order = np.argsort(audit["p_value"].to_numpy(), kind="stable")
    said = np.isin(np.arange(audit.num_rows), order[:20])
    said[order[-1]] = True  # one that no score tells
    path = tmp_path_factory.mktemp("delivery") / "all.csv"
    lines = [f"{key},{int(is_fraud)},2025-04-10" for key, is_fraud in zip(audit["tx"].to_pylist(), said, strict=True)]
    path.write_text("\n".join(["tx,fraud,labelled_at", *lines, ""]))
    store = ReviewedLabels(tmp_path_factory.mktemp("labels"), detector.config)
    store.append(path)
    labels = Labels(detector.config, tuple(store.files()))
    other = tmp_path_factory.mktemp("other")
    for name in ("audit.parquet", "alerts.parquet", "scores.parquet"):
        pq.write_table(pq.read_table(folder / name), other / name)
    found = missed_fraud([folder, other], labels, datetime(2025, 4, 11))
    scores = pq.read_table(folder / "scores.parquet").to_pylist()
    flagged = set(alerts["tx"].to_pylist())
    behind = [row for row in scores if row["tx"] not in flagged]
    place_of = {row["tx"]: place for place, row in enumerate(behind)}
    places = np.array([place_of[key] for key in audit["tx"].to_pylist()])
    p_values = np.array([row["p_value"] for row in behind])
    sample = Sample(np.r_[places, len(behind) + places], np.full(2 * len(places), 1 / 0.3), np.r_[said, said])
    expected = powered(np.r_[p_values, p_values], sample)
    assert (found.missed, found.power) == (expected.frauds, expected.power)
    assert 0 < found.power <= 1
    assert "audited rows and the scores of all" in str(found)
    plain = total(sample.weights, sample.frauds)
    assert found.missed.high - found.missed.low < plain.high - plain.low
    assert found.rate.value == pytest.approx(found.missed.value / (2 * len(behind)))


def test_columns_that_scoring_has_renamed_are_found(fitted, tmp_path):
    _, detector, block, _ = fitted
    rows = pq.read_table(block)
    renamed = rows.rename_columns(["rank" if name == "at" else name for name in rows.column_names])
    pq.write_table(renamed, tmp_path / "rows.parquet")
    other = with_share(detector, 0.3, timestamp="rank")
    scored = score_table(tmp_path / "rows.parquet", other, tmp_path, **MARKS)
    audit = pq.read_table(write_audit(tmp_path / "rows.parquet", scored, other, tmp_path))
    assert "rank (input)" in audit.column_names
    found = missed_fraud([tmp_path], Labels(other.config), AFTER)
    assert found.labelled == found.audited == audit.num_rows
    assert found.found == sum(audit["fraud"].to_pylist())


@pytest.mark.parametrize(("share", "missed"), [(0.02, 40), (0.02, 3), (0.1, 25), (0.5, 30)])
def test_over_many_draws_the_estimate_is_unbiased_and_the_interval_holds_as_often_as_it_says(share, missed):
    """The draw itself is repeated, by tables of other names, over 20,000 rows of which some are missed frauds."""
    ids, frauds = pa.array(np.arange(5_000)), np.arange(5_000) < missed
    estimates, inside = [], []
    for number in range(600):
        drawn = chances(ids, f"table {number}") < share
        found = total(np.full(int(drawn.sum()), 1 / share), frauds[drawn])
        estimates.append(found.value)
        inside.append(found.low <= missed <= found.high)
    error = np.sqrt(missed * (1 - share) / share / 600)
    assert np.mean(estimates) == pytest.approx(missed, abs=4 * error)
    assert np.mean(inside) >= 0.9 - 3 * np.sqrt(0.9 * 0.1 / 600)


def test_with_chances_that_differ_it_stays_unbiased_and_safe():
    rng = np.random.default_rng(0)
    chance = np.where(np.arange(4000) < 2000, 0.02, 0.2)
    frauds = (np.arange(4000) % 2000) < 30  # 30 where one row in 50 is drawn, 30 where one in five is
    found = []
    for _ in range(3000):
        drawn = rng.random(4000) < chance
        found.append(total(1 / chance[drawn], frauds[drawn]))
    error = np.sqrt((frauds * (1 - chance) / chance).sum() / 3000)
    assert np.mean([item.value for item in found]) == pytest.approx(60, abs=4 * error)
    assert np.mean([item.low <= 60 <= item.high for item in found]) >= 0.88


def test_of_one_weight_the_interval_is_garwoods_for_a_poisson_count():
    found = total(np.full(400, 50.0), np.arange(400) < 4)
    assert found.value == 200
    assert found.low == pytest.approx(50 * chi2.ppf(0.05, 8) / 2)
    assert found.high == pytest.approx(50 * chi2.ppf(0.95, 10) / 2)
    sure = total(np.ones(10), np.arange(10) < 4)
    assert sure.low == 4  # what was found is there
