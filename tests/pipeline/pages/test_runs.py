"""What a run came to, on a small real detector."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.evaluation.measured import calibration_block, measure_batch
from pipeline.labels.known import Labels
from pipeline.pages.report import render
from pipeline.pages.runs import batch_report, count_rows, outcome, training_report
from pipeline.scoring.maps import make_maps
from pipeline.scoring.score import score_table
from pipeline.scoring.suspects import write_suspects
from pipeline.validation.validate import Counts, Validated
from tests.pipeline.fitted import AFTER, config, detector_of, feature_table, transactions


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    features = feature_table(folder, transactions(), config())
    detector = detector_of(features, config())
    block = calibration_block(features, detector, folder / "block.parquet")
    scored = score_table(
        block, detector, folder / "scored", batch_id="b", model_version="1", scored_at=datetime(2025, 5, 1)
    )
    return features, detector, block, scored


def test_the_calibration_block_is_the_last_share_of_the_rows_in_time(run):
    features, detector, block, _ = run
    times, kept = pq.read_table(features)["at"], pq.read_table(block)["at"]
    assert kept.to_pylist() == sorted(times.to_pylist())[-detector.summary["calibration_rows"] :]


def test_a_card_named_by_a_text_counts_as_one_named_by_a_number_does(run, tmp_path):
    _, detector, block, scored = run
    rows = pq.read_table(block)
    number = pc.cast(pc.utf8_slice_codeunits(rows["card"], 5, 7), pa.int64())
    pq.write_table(rows.set_column(rows.column_names.index("card"), "card", number), tmp_path / "numbers.parquet")
    by_text, by_number = (
        measure_batch(path, scored, Labels(detector.config), AFTER) for path in (block, tmp_path / "numbers.parquet")
    )
    assert by_text.figures == by_number.figures
    assert by_text.bounds == by_number.bounds
    assert by_text.figures["card_precision_at_100"] > 0


def test_measures_are_those_of_the_scores_and_the_labels_known_by_then(run):
    _, detector, block, scored = run
    rows, scores = pq.read_table(block), pq.read_table(scored.scores)
    measured = measure_batch(block, scored, Labels(detector.config), AFTER)
    assert np.array_equal(measured.labels, rows["fraud"].to_numpy())
    expected = roc_auc_score(rows["fraud"].to_numpy(), scores["anomaly_score"].to_numpy())
    assert measured.figures["auroc"] == pytest.approx(expected)
    early = measure_batch(block, scored, Labels(detector.config), pc.min(rows["at"]).as_py())
    assert np.isnan(early.labels).all()
    assert early.figures == {}


def test_labels_from_review_are_measured_on_also_where_the_table_has_none(run, tmp_path):
    _, detector, block, scored = run
    rows, by = pq.read_table(block), datetime(2025, 4, 1)
    given = rows.select(["tx", "fraud"]).rename_columns(["id", "label"])
    given = given.append_column("labelled_at", pa.array([by] * rows.num_rows, pa.timestamp("us")))
    pq.write_table(given.slice(0, 300), tmp_path / "review.parquet")
    pq.write_table(rows.drop_columns(["fraud"]), tmp_path / "rows.parquet")
    without = measure_batch(tmp_path / "rows.parquet", scored, Labels(detector.config), by)
    assert (without.labels, without.evaluation) == (None, None)
    labels = Labels(detector.config, (tmp_path / "review.parquet",))
    measured = measure_batch(tmp_path / "rows.parquet", scored, labels, by)
    np.testing.assert_array_equal(measured.labels[:300], rows["fraud"].to_numpy()[:300])
    assert (measured.evaluation.rows, measured.evaluation.unknown) == (300, rows.num_rows - 300)


def test_the_report_says_what_was_promised_what_came_and_what_is_missing(run, tmp_path):
    _, detector, block, scored = run
    counts = Counts(read=400, accepted=375, quarantined=5, outside=20, refused=0)
    validated = Validated(block, block, block, counts, {"eur: not negative": 5}, tmp_path / "data-docs" / "index.html")
    measured = measure_batch(block, scored, Labels(detector.config), AFTER)
    report = batch_report(
        detector, validated, scored, measured, source=block, facts={"Batch": "b"}, notes=["<gap> in the history"]
    )
    page = render(report)
    assert list(count_rows(validated).values()) == [400, 375, 5, 20, 0]
    assert outcome(scored).startswith(f"{scored.flagged:,} of {scored.scored:,} rows were flagged")
    assert "&lt;gap&gt; in the history" in page
    assert "data-docs/index.html" in page
    assert "eur: not negative" in page
    assert outcome(replace(scored, scored=0, flagged=0, alerts_per_day={})).startswith("0 of 0 rows were flagged (0 %)")


def test_a_training_report_names_the_model_what_it_left_out_and_the_rows_to_look_at_again(run, tmp_path):
    features, _, block, _ = run
    detector = detector_of(features, config(model={"name": "dense", "trim": 0.1}))
    scored = score_table(
        block, detector, tmp_path / "scored", batch_id="b", model_version="", scored_at=datetime(2025, 5, 1)
    )
    validated = Validated(block, block, block, Counts(375, 375, 0, 0, 0), {}, None)
    told = {"maps": make_maps(block, scored, detector)}
    told["suspects"] = write_suspects(features, detector, Labels(detector.config), tmp_path / "suspects.parquet")
    measured = measure_batch(block, scored, Labels(detector.config), AFTER)
    page = training_report(detector, validated, scored, measured, source=block, facts={}, notes=[], **told)
    assert page.facts["Model"].startswith("dense: ")
    assert "code_size = 6, hidden = (16,)" in page.facts["Model"]
    count = int(0.1 * detector.summary["fit_rows"])
    assert page.facts["Left out of the fit"].startswith(f"{count} rows, the most anomalous of a first fit")
    assert f"{detector.model.trimmed_['median_after']:.4g} now" in page.facts["Left out of the fit"]
    assert [row.rank for row in page.suspects] == list(range(1, 21))
    assert "Map of the code" in render(page)
    whole = training_report(
        run[1],
        validated,
        scored,
        measure_batch(block, scored, Labels(detector.config), AFTER),
        source=block,
        facts={},
        notes=[],
    )
    assert "Left out of the fit" not in whole.facts
