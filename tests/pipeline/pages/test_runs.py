"""What a run came to, on a small real detector."""

from dataclasses import replace
from datetime import datetime

import pytest

from pipeline.detector.parts import split
from pipeline.evaluation.measured import calibration_block, measure_batch
from pipeline.labels.known import Labels
from pipeline.pages.report import render
from pipeline.pages.runs import batch_report, count_rows, outcome, training_report
from pipeline.scoring.maps import MapRows, make_maps
from pipeline.scoring.score import score_table
from pipeline.scoring.suspects import write_suspects
from pipeline.validation.validate import Counts, Validated
from tests.pipeline.fitted import AFTER, config, detector_of, feature_table, transactions


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    features = feature_table(folder, transactions(), config())
    detector = detector_of(features, config())
    parts = split(features, detector.config, Labels(detector.config), detector.as_of)
    block = calibration_block(features, parts, folder / "block.parquet")
    scored = score_table(
        block, detector, folder / "scored", batch_id="b", model_version="1", scored_at=datetime(2025, 5, 1)
    )
    return features, detector, block, scored


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
    drawn, marks = MapRows(detector), {"batch_id": "b", "model_version": "", "scored_at": datetime(2025, 5, 1)}
    scored = score_table(block, detector, tmp_path / "scored", on_part=drawn.add, **marks)
    validated = Validated(block, block, block, Counts(375, 375, 0, 0, 0), {}, None)
    told = {"maps": make_maps(drawn.rows(), scored, detector)}
    parts = split(features, detector.config, Labels(detector.config), detector.as_of)
    told["suspects"] = write_suspects(features, detector, parts, tmp_path / "suspects.parquet")
    measured = measure_batch(block, scored, Labels(detector.config), AFTER)
    page = training_report(detector, validated, scored, measured, source=block, facts={}, notes=[], **told)
    assert page.facts["Model"].startswith("dense: ")
    assert "code_size = 6, hidden = (16,)" in page.facts["Model"]
    count = int(0.1 * detector.summary["fit_rows"])
    assert page.facts["Left out of the fit"].startswith(f"{count} rows, the most anomalous of a first fit")
    assert f"{detector.model.trimmed_['median_after']:.4g} now" in page.facts["Left out of the fit"]
    assert page.facts["Known frauds"] == detector.summary["feedback"]
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
