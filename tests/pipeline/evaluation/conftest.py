"""What the tests of this folder share: the small tables and detectors of the folder above."""

import sys
from datetime import datetime
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))

from fitted import AFTER, config, feature_table, transactions

from pipeline.detector import Detector
from pipeline.scoring import score_table
from pipeline.summary import calibration_block


@pytest.fixture(scope="session")
def fitted(tmp_path_factory):
    """A feature table, the detector fitted on it, its calibration block, and that block scored."""
    folder = tmp_path_factory.mktemp("fitted")
    features = feature_table(folder, transactions(), config())
    detector = Detector.fit(features, config(), AFTER)
    block = calibration_block(features, detector, folder / "block.parquet")
    marks = {"batch_id": "b", "model_version": "1", "scored_at": datetime(2025, 5, 1)}
    return features, detector, block, score_table(block, detector, folder / "scored", **marks)
