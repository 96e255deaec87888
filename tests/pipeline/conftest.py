"""What the tests of the rooms share: two detectors and what each makes of the same rows."""

from datetime import datetime

import pytest

from pipeline.scoring.score import score_table
from tests.pipeline.fitted import config, detector_of, feature_table, transactions


@pytest.fixture(scope="session")
def two(tmp_path_factory):
    """Later rows, and two detectors of one table with what each makes of them; the second flags more."""
    folder = tmp_path_factory.mktemp("two")
    features = feature_table(folder, transactions(), config())
    later = feature_table(folder, transactions(rows=600, seed=5, first_id=9000), config(), name="later")
    settings = [config(), config(model={"seed": 3}, threshold={"false_alert_rate": 0.05})]
    marks = {"batch_id": "b", "model_version": "1", "scored_at": datetime(2025, 5, 1)}
    found = []
    for number, each in enumerate(settings):
        detector = detector_of(features, each)
        found.append((detector, score_table(later, detector, folder / str(number), **marks)))
    return later, found
