"""Prequential evaluation: which days, what a fit and a score may see, which cards are left out."""

import dataclasses
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.errors import AssayError, TrainingError
from pipeline.evaluation.backtest import blocks, known_cards, scores_table
from pipeline.evaluation.measures import measure
from pipeline.labels.known import Labels
from pipeline.scoring.score import score_table
from tests.pipeline.evaluation.small_backtest import PLAN, SETTINGS, backtest, rows_of_backtest
from tests.pipeline.fitted import AFTER, detector_of, feature_table, replace


@pytest.fixture(scope="module")
def table():
    return rows_of_backtest()


def test_blocks_roll_forward_by_a_test_and_wait_for_the_labels():
    days = [(b.train_first.day, b.train_last.day, b.test_first.day, b.test_last.day) for b in PLAN]
    assert days == [(1, 8, 14, 20), (8, 15, 21, 27), (15, 22, 28, 30)]
    first = PLAN[0]
    assert (first.train.start, first.train.end) == (datetime(2025, 3, 1), datetime(2025, 3, 9))
    assert first.as_of == first.test.start == datetime(2025, 3, 14)
    assert first.as_of - first.train.end == timedelta(days=5)
    local = blocks(
        date(2025, 3, 1), date(2025, 3, 30), train_days=8, test_days=7, delay_days=4.5, time_zone="Europe/Berlin"
    )
    assert (local[0].train.start, local[0].test.start) == (datetime(2025, 2, 28, 23), datetime(2025, 3, 13, 23))


def test_the_handbooks_week_is_one_block():
    (block,) = blocks(date(2018, 7, 11), date(2018, 7, 31), train_days=7, test_days=7, delay_days=7)
    assert block.name == "2018-07-25 to 2018-07-31"


def test_a_period_without_room_and_blocks_of_no_days_are_refused():
    with pytest.raises(AssayError, match="has 14 days, and 7 to train on, 7 for labels to become known and 1 to test"):
        blocks(date(2018, 7, 1), date(2018, 7, 14), train_days=7, test_days=7, delay_days=7)
    with pytest.raises(AssayError, match="at least 1 day each"):
        blocks(date(2018, 7, 1), date(2018, 7, 24), train_days=7, test_days=0, delay_days=7)


def test_a_block_is_what_fitting_and_scoring_by_hand_give(backtest_results, table, tmp_path):
    item, block = backtest_results[1], PLAN[1]
    features = pq.read_table(feature_table(tmp_path, table, SETTINGS))
    moments = features["at"].to_numpy()

    def part(period, name):
        rows = (moments >= np.datetime64(period.start)) & (moments < np.datetime64(period.end))
        pq.write_table(features.filter(pa.array(rows)), tmp_path / name)
        return tmp_path / name

    detector = detector_of(part(block.train, "train.parquet"), SETTINGS, block.as_of)
    test = part(block.test, "test.parquet")
    scored = score_table(test, detector, tmp_path, batch_id="", model_version="", scored_at=AFTER)
    scores = dict(zip(*pq.read_table(scored.scores).select(["tx", "anomaly_score"]).to_pydict().values(), strict=True))
    assert item.outcomes.scores.tolist() == [scores[key] for key in item.ids.to_pylist()]
    assert item.threshold == detector.threshold
    rows = pq.read_table(test)
    since = features.filter(pa.array(moments >= np.datetime64(block.train.start)))
    found_out = known_cards(since, rows, Labels(SETTINGS))
    assert item.left_out == found_out.sum() > 0
    assert item.left_out_frauds == rows["fraud"].to_numpy()[found_out].sum()
    kept = rows.filter(pa.array(~found_out))
    assert item.ids.to_pylist() == kept["tx"].to_pylist()
    assert item.outcomes.labels.tolist() == kept["fraud"].to_pylist()
    assert item.outcomes.amounts.tolist() == kept["eur"].to_pylist()
    assert item.segments.tolist() == kept["channel"].to_pylist()
    assert measure(item.outcomes)["auroc"].value == roc_auc_score(kept["fraud"].to_numpy(), item.outcomes.scores)


def test_what_is_not_known_by_then_moves_nothing(table, tmp_path):
    """Turn every label that becomes known only after the test, and every later row: no score, flag or cut moves."""
    plain = backtest(tmp_path / "plain", table, PLAN[:1])[0]
    moments, block = table["at"].to_numpy(), PLAN[0]
    later = moments >= np.datetime64(block.test.end - timedelta(days=5))
    labels = table["fraud"].to_numpy()
    turned = replace(table, "fraud", np.where(later, 1 - labels, labels))
    after = moments >= np.datetime64(block.test.end)
    turned = replace(turned, "eur", np.where(after, 1e6, table["eur"].to_numpy()))
    turned = replace(turned, "card", np.where(after, "card-00", np.array(table["card"].to_pylist())))
    other = backtest(tmp_path / "turned", turned, PLAN[:1])[0]
    assert other.ids.equals(plain.ids)
    np.testing.assert_array_equal(other.outcomes.scores, plain.outcomes.scores)
    np.testing.assert_array_equal(other.outcomes.flagged, plain.outcomes.flagged)
    assert (other.threshold, other.promise) == (plain.threshold, plain.promise)
    assert not np.array_equal(other.outcomes.labels, plain.outcomes.labels)  # labels measure, and did move


def test_the_fit_sees_no_label_that_is_known_after_the_test_began(table, tmp_path):
    block = PLAN[0]
    plain = backtest(tmp_path / "plain", table, PLAN[:1], leave_out_known=False)[0]
    moments, labels = table["at"].to_numpy(), table["fraud"].to_numpy()
    late = moments > np.datetime64(block.as_of - timedelta(days=5))
    turned = replace(table, "fraud", np.where(late, 1 - labels, labels))
    other = backtest(tmp_path / "late", turned, PLAN[:1], leave_out_known=False)[0]
    assert (other.threshold, other.summary) == (plain.threshold, plain.summary)
    early = replace(table, "fraud", np.where(~late & (labels == 0) & (np.arange(2400) % 40 == 0), 1, labels))
    known = backtest(tmp_path / "early", early, PLAN[:1], leave_out_known=False)[0]
    assert known.threshold != plain.threshold


def test_a_card_is_left_out_from_the_day_after_its_fraud_is_known():
    def moments(*days):
        return pa.array([datetime(2025, 3, day, 12) for day in days], pa.timestamp("us"))

    earlier = pa.table({"tx": [1, 2, 3], "at": moments(9, 10, 14), "card": ["a", "b", "c"], "fraud": [1, 0, 1]})
    test = pa.table({"tx": range(7), "at": moments(14, 14, 15, 15, 20, 20, 20), "card": list("abaccba")})
    # Known five days later, at noon: of a on the 14th, of c on the 19th; b's is no fraud.
    assert known_cards(earlier, test, Labels(SETTINGS)).tolist() == [False, False, True, False, True, False, True]


def test_a_fraud_that_becomes_known_at_midnight_is_not_known_before_the_day_that_begins_then():
    def moments(*given):
        return pa.array([datetime(2025, 3, *each) for each in given], pa.timestamp("us"))

    before = timedelta(microseconds=1)
    at = pa.array([datetime(2025, 3, 9), datetime(2025, 3, 9) - before], pa.timestamp("us"))
    earlier = pa.table({"tx": [1, 2], "at": at, "card": ["a", "b"], "fraud": [1, 1]})
    test = pa.table({"tx": range(4), "at": moments((14, 0), (14, 23), (15, 0), (14, 0)), "card": list("aaab")})
    # Five days later: of a at the very beginning of the 14th, of b a microsecond before.
    assert known_cards(earlier, test, Labels(SETTINGS)).tolist() == [False, False, True, True]


def test_cards_are_kept_where_that_is_asked_for(table, backtest_results, tmp_path):
    kept = backtest(tmp_path / "kept", table, PLAN[:1], leave_out_known=False)[0]
    assert (kept.left_out, kept.left_out_frauds) == (0, 0)
    assert len(kept.outcomes.scores) == len(backtest_results[0].outcomes.scores) + backtest_results[0].left_out


def test_blocks_without_rows_are_passed_over_and_one_that_cannot_be_fitted_is_named(table, tmp_path):
    moments = table["at"].to_numpy()
    gap = (moments >= np.datetime64("2025-03-14")) & (moments < np.datetime64("2025-03-21"))
    assert [item.block.number for item in backtest(tmp_path / "gap", table.filter(pa.array(~gap)), PLAN[:2])] == [2]
    few = SETTINGS.model_copy(update={"training": SETTINGS.training.model_copy(update={"min_fit_rows": 5000})})
    with pytest.raises(
        TrainingError, match="training on 2025-03-01 to 2025-03-08, to test on 2025-03-14 to 2025-03-20"
    ):
        backtest(tmp_path / "few", table, settings=few)


def test_models_are_compared_with_the_block_before_and_with_another_seed(backtest_results):
    assert backtest_results[0].before is None
    for item in backtest_results[1:]:
        assert item.before.rank_correlation > 0.5
        assert item.before.overlap > 2 * item.before.chance
    assert all(item.again.rank_correlation > 0.5 for item in backtest_results)


def test_the_scores_are_those_of_each_tested_row_once(backtest_results):
    scores = scores_table(backtest_results, SETTINGS)
    assert scores.column_names == ["tx", "block", "anomaly_score", "is_flagged", "label"]
    assert scores.num_rows == len(set(scores["tx"].to_pylist())) == sum(len(item.ids) for item in backtest_results)


def test_rows_without_a_label_have_none_in_the_table_of_scores(backtest_results):
    labels = backtest_results[0].outcomes.labels.copy()
    labels[::2] = np.nan
    partly = dataclasses.replace(
        backtest_results[0], outcomes=dataclasses.replace(backtest_results[0].outcomes, labels=labels)
    )
    assert scores_table([partly], SETTINGS)["label"].null_count == len(labels[::2])
