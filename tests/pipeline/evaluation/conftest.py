"""What the tests of this folder share: the small tables and detectors of the folder above."""

from datetime import datetime

import pytest

from pipeline.detector.parts import split
from pipeline.evaluation.measured import calibration_block
from pipeline.labels.known import Labels
from pipeline.scoring.score import score_table
from tests.pipeline.fitted import config, detector_of, feature_table, transactions


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """A feature table, the detector fitted on it, its calibration block, and that block scored."""
    folder = tmp_path_factory.mktemp("fitted")
    features = feature_table(folder, transactions(), config())
    detector = detector_of(features, config())
    parts = split(features, detector.config, Labels(detector.config), detector.as_of)
    block = calibration_block(features, parts, folder / "block.parquet")
    marks = {"batch_id": "b", "model_version": "1", "scored_at": datetime(2025, 5, 1)}
    return features, detector, block, score_table(block, detector, folder / "scored", **marks)
