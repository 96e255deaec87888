"""Prequential evaluation: which days, what a fit and a score may see, which cards are left out, what comes out."""

import dataclasses
import json
import math
from dataclasses import replace as changed
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.errors import AssayError, TrainingError
from pipeline.evaluation.backtest import blocks, known_cards, run_blocks, scores_table
from pipeline.evaluation.measures import measure
from pipeline.evaluation.results import counts, figures, summarise
from pipeline.labels.known import Labels
from pipeline.pages.backtest import agreements, render_backtest
from pipeline.scoring.score import score_table
from tests.pipeline.fitted import AFTER, START, config, detector_of, feature_table, replace, transactions

SETTINGS = config(features={"families": ("amount", "columns", "change", "risk"), "label_delay_days": 5})
FIRST, LAST = START.date(), (START + timedelta(days=29)).date()
PLANNED = blocks(FIRST, LAST, train_days=8, test_days=7, delay_days=5)


def backtested(folder, table, planned=PLANNED, settings=SETTINGS, **more):
    folder.mkdir(exist_ok=True)
    features = feature_table(folder, table, settings)
    return list(run_blocks(features, planned, Labels(settings), folder, measured_as_of=AFTER, **more))


@pytest.fixture(scope="module")
def table():
    return transactions(2400, seed=3)


@pytest.fixture(scope="module")
def results(table, tmp_path_factory):
    return backtested(tmp_path_factory.mktemp("backtest") / "run", table, segment="channel", fit_again=True, k=3)


def test_blocks_roll_forward_by_a_test_and_wait_for_the_labels():
    days = [(b.train_first.day, b.train_last.day, b.test_first.day, b.test_last.day) for b in PLANNED]
    assert days == [(1, 8, 14, 20), (8, 15, 21, 27), (15, 22, 28, 30)]
    first = PLANNED[0]
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


def test_a_block_is_what_fitting_and_scoring_by_hand_give(results, table, tmp_path):
    item, block = results[1], PLANNED[1]
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
    plain = backtested(tmp_path / "plain", table, PLANNED[:1])[0]
    moments, block = table["at"].to_numpy(), PLANNED[0]
    later = moments >= np.datetime64(block.test.end - timedelta(days=5))
    labels = table["fraud"].to_numpy()
    turned = replace(table, "fraud", np.where(later, 1 - labels, labels))
    after = moments >= np.datetime64(block.test.end)
    turned = replace(turned, "eur", np.where(after, 1e6, table["eur"].to_numpy()))
    turned = replace(turned, "card", np.where(after, "card-00", np.array(table["card"].to_pylist())))
    other = backtested(tmp_path / "turned", turned, PLANNED[:1])[0]
    assert other.ids.equals(plain.ids)
    np.testing.assert_array_equal(other.outcomes.scores, plain.outcomes.scores)
    np.testing.assert_array_equal(other.outcomes.flagged, plain.outcomes.flagged)
    assert (other.threshold, other.promise) == (plain.threshold, plain.promise)
    assert not np.array_equal(other.outcomes.labels, plain.outcomes.labels)  # labels measure, and did move


def test_the_fit_sees_no_label_that_is_known_after_the_test_began(table, tmp_path):
    block = PLANNED[0]
    plain = backtested(tmp_path / "plain", table, PLANNED[:1], leave_out_known=False)[0]
    moments, labels = table["at"].to_numpy(), table["fraud"].to_numpy()
    late = moments > np.datetime64(block.as_of - timedelta(days=5))
    turned = replace(table, "fraud", np.where(late, 1 - labels, labels))
    other = backtested(tmp_path / "late", turned, PLANNED[:1], leave_out_known=False)[0]
    assert (other.threshold, other.summary) == (plain.threshold, plain.summary)
    early = replace(table, "fraud", np.where(~late & (labels == 0) & (np.arange(2400) % 40 == 0), 1, labels))
    known = backtested(tmp_path / "early", early, PLANNED[:1], leave_out_known=False)[0]
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


def test_cards_are_kept_where_that_is_asked_for(table, results, tmp_path):
    kept = backtested(tmp_path / "kept", table, PLANNED[:1], leave_out_known=False)[0]
    assert (kept.left_out, kept.left_out_frauds) == (0, 0)
    assert len(kept.outcomes.scores) == len(results[0].outcomes.scores) + results[0].left_out


def test_blocks_without_rows_are_passed_over_and_one_that_cannot_be_fitted_is_named(table, tmp_path):
    moments = table["at"].to_numpy()
    gap = (moments >= np.datetime64("2025-03-14")) & (moments < np.datetime64("2025-03-21"))
    assert [item.block.number for item in backtested(tmp_path / "gap", table.filter(pa.array(~gap)), PLANNED[:2])] == [
        2
    ]
    few = SETTINGS.model_copy(update={"training": SETTINGS.training.model_copy(update={"min_fit_rows": 5000})})
    with pytest.raises(
        TrainingError, match="training on 2025-03-01 to 2025-03-08, to test on 2025-03-14 to 2025-03-20"
    ):
        backtested(tmp_path / "few", table, settings=few)


def test_models_are_compared_with_the_block_before_and_with_another_seed(results):
    assert results[0].before is None
    for item in results[1:]:
        assert item.before.rank_correlation > 0.5
        assert item.before.overlap > 2 * item.before.chance
    assert all(item.again.rank_correlation > 0.5 for item in results)
    assert len(agreements(summarise(results))) == 5


def test_the_result_has_each_block_all_of_them_and_each_segment(results):
    result = summarise(results, k=5)
    assert len(result.rows) == len(results) + 1
    assert [row["tested"] for row in result.rows] == ["03-14 to 03-20", "03-21 to 03-27", "03-28 to 03-30", "all"]
    assert result.rows[-1]["rows"] == f"{sum(len(item.outcomes.scores) for item in results):,}"
    assert {row["tested"] for row in result.segment_rows} == {"web", "shop", "phone"}
    hostile = dataclasses.replace(result, of_segments={"x\x1b[2J" + "y" * 3000: result.pooled})
    assert [row["tested"] for row in hostile.segment_rows] == ["x [2J" + "y" * 18 + "…"]
    rows = result.table().to_pylist()
    one = next(row for row in rows if row["block"] == 2 and row["measure"] == "auroc")
    expected = measure(results[1].outcomes, 5)["auroc"]
    assert (one["value"], one["low"], one["high"]) == (expected.value, expected.low, expected.high)
    every = next(row for row in rows if row["block"] is None and row["segment"] is None and row["measure"] == "auroc")
    assert every["value"] == pytest.approx(np.mean([measure(item.outcomes)["auroc"].value for item in results]))
    content = json.loads(result.to_json({"train_days": 8}))
    assert [block["rows"] for block in content["blocks"]] == [counts(item)["rows"] for item in results]
    assert content["all"]["auroc"]["value"] == result.figures["auroc"] == figures(result.pooled)["auroc"]
    scores = scores_table(results, SETTINGS)
    assert scores.column_names == ["tx", "block", "anomaly_score", "is_flagged", "label"]
    assert scores.num_rows == len(set(scores["tx"].to_pylist()))


def test_rows_without_a_label_stay_unknown_in_every_table(results):
    labels = results[0].outcomes.labels.copy()
    labels[::2] = math.nan
    partly = changed(results[0], outcomes=changed(results[0].outcomes, labels=labels))
    assert counts(partly)["without_label"] == len(labels[::2])
    assert scores_table([partly], SETTINGS)["label"].null_count == len(labels[::2])
    nothing = changed(results[0], outcomes=changed(results[0].outcomes, labels=np.full(len(labels), math.nan)))
    result = summarise([nothing])
    assert result.rows[0]["AUROC"] == "-"
    assert set(result.figures) == {"alerts_per_day", "alerts_per_day_low", "alerts_per_day_high"}
    assert "Block by block" in page(result)


def page(result, **more):
    return render_backtest(result, title="<b>t</b>", subtitle="s", facts={"a": "<script>"}, segment="channel", **more)


def test_the_page_shows_every_block_and_escapes_what_comes_from_data(results):
    segments = np.where(results[0].segments == "web", "<img src=x>", results[0].segments)
    html = page(summarise([changed(results[0], segments=segments), *results[1:]]), notes=["a & b"])
    assert all(item.block.short in html for item in results)
    assert "<img" not in html
    assert "&lt;img src=x&gt;" in html
    assert "<script>" not in html
    assert "a &amp; b" in html
    assert html.count("<svg") > 8


def test_a_table_without_labels_or_cards_has_volume_and_agreement_only(table, tmp_path):
    plain = config(contract={"label": None, "entities": ()}, features={"families": ("amount", "columns")})
    bare = backtested(tmp_path / "bare", table.drop_columns(["fraud"]), PLANNED[:2], plain)
    result = summarise(bare)
    assert [row["AUROC"] for row in result.rows] == ["-"] * 3
    assert result.figures["alerts_per_day"] > 0
    assert "of single rows for measures of rows" in result.left_out
    assert bare[1].before.rank_correlation > 0.5
    assert counts(bare[0])["without_label"] == counts(bare[0])["rows"]
    assert page(result)
