"""What the tests of several rooms share. What few of them need is imported late."""

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from pipeline.scoring.score import score_table
from tests.pipeline.fitted import config, detector_of, feature_table, transactions

if TYPE_CHECKING:
    from tests.pipeline.tracking.small_training import Trained


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


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> "Trained":
    """A small training, in a work folder of its own, to be logged to its MLflow store."""
    from tests.pipeline.tracking.small_training import train

    return train(tmp_path_factory.mktemp("a work folder, ä"))


@pytest.fixture(scope="session")
def backtest_results(tmp_path_factory):
    """What each block of a small backtest gave, with the channels as segments and each model fitted once more."""
    from tests.pipeline.evaluation.small_backtest import backtest, rows_of_backtest

    folder = tmp_path_factory.mktemp("backtest")
    return backtest(folder, rows_of_backtest(), segment="channel", fit_again=True, k=3)


@pytest.fixture(scope="session")
def small_comparison(tmp_path_factory):
    """A comparison of two versions, their detectors and their settings."""
    from tests.pipeline.selection.small_comparison import compare_two

    return compare_two(tmp_path_factory.mktemp("comparison"))
