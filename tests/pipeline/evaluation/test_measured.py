"""pipeline/evaluation/measured.py: what a run's scores are worth against the labels known by now."""

from datetime import datetime
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.detector.parts import CALIBRATION, split
from pipeline.evaluation import measured as evaluated
from pipeline.evaluation.measured import measure_batch
from pipeline.labels.known import Labels
from pipeline.tables.parquet import read_batches
from tests.pipeline.fitted import AFTER


def test_the_calibration_block_is_the_last_share_of_the_rows_in_time(fitted):
    features, detector, block, _ = fitted
    times, kept = pq.read_table(features)["at"], pq.read_table(block)["at"]
    assert kept.to_pylist() == sorted(times.to_pylist())[-detector.summary["calibration_rows"] :]


def test_the_scores_that_the_threshold_was_solved_on_are_those_of_the_block_to_the_last_bit(fitted):
    features, detector, _, scored = fitted
    parts = split(features, detector.config, Labels(detector.config), detector.as_of)
    known = detector.held_out.scores[parts.places(CALIBRATION)]
    assert known.tolist() == pq.read_table(scored.scores)["anomaly_score"].to_pylist()


def test_a_card_named_by_a_text_counts_as_one_named_by_a_number_does(fitted, tmp_path):
    _, detector, block, scored = fitted
    rows = pq.read_table(block)
    number = pc.cast(pc.utf8_slice_codeunits(rows["card"], 5, 7), pa.int64())
    pq.write_table(rows.set_column(rows.column_names.index("card"), "card", number), tmp_path / "numbers.parquet")
    by_text, by_number = (
        measure_batch(path, scored, Labels(detector.config), AFTER) for path in (block, tmp_path / "numbers.parquet")
    )
    assert by_text.figures == by_number.figures
    assert by_text.bounds == by_number.bounds
    assert by_text.figures["card_precision_at_100"] > 0


def test_measures_are_those_of_the_scores_and_the_labels_known_by_then(fitted):
    _, detector, block, scored = fitted
    rows, scores = pq.read_table(block), pq.read_table(scored.scores)
    measured = measure_batch(block, scored, Labels(detector.config), AFTER)
    assert np.array_equal(measured.labels, rows["fraud"].to_numpy())
    expected = roc_auc_score(rows["fraud"].to_numpy(), scores["anomaly_score"].to_numpy())
    assert measured.figures["auroc"] == pytest.approx(expected)
    early = measure_batch(block, scored, Labels(detector.config), pc.min(rows["at"]).as_py())
    assert early.labels is None
    assert early.figures == {}


def test_labels_of_a_batch_read_in_parts_are_those_of_the_whole(fitted, tmp_path, monkeypatch):
    _, detector, block, scored = fitted
    rows, by = pq.read_table(block), datetime(2025, 4, 1)
    given = pa.table({"id": rows["tx"][200:260], "label": pa.array([1] * 60, pa.int8())})
    given = given.append_column("labelled_at", pa.array([by] * 60, pa.timestamp("us")))
    pq.write_table(given, tmp_path / "review.parquet")
    for name in ("with", "without"):
        labels = Labels(detector.config, (tmp_path / "review.parquet",))
        pq.write_table(rows if name == "with" else rows.drop_columns(["fraud"]), tmp_path / "rows.parquet")
        whole = labels.known(pq.read_table(tmp_path / "rows.parquet"), by)
        monkeypatch.setattr(evaluated, "read_batches", partial(read_batches, rows=33))
        measured = measure_batch(tmp_path / "rows.parquet", scored, labels, by)
        np.testing.assert_array_equal(measured.labels, whole)
        assert (whole[200:260] == 1).all()
        assert np.isnan(whole[:200]).all() == (name == "without")


def test_labels_from_review_are_measured_on_also_where_the_table_has_none(fitted, tmp_path):
    _, detector, block, scored = fitted
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
